"""Tiles keep their numbers, their order and their pixels."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from jigstack.pretext.boards import (
    Layout,
    assemble,
    cut,
    normalise_tiles,
    random_permutations,
    shuffle,
    take_apart,
    unshuffle,
)
from scipy.stats import chisquare


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def ordered(count: int, tiles: int) -> torch.Tensor:
    return torch.arange(tiles).expand(count, tiles)


def no_shift(count: int, tiles: int) -> torch.Tensor:
    return torch.zeros(count, tiles, 2, dtype=torch.long)


def numbered(layout: Layout) -> torch.Tensor:
    """A picture whose cell k is filled with k, row by row: (1, 1, P, P)."""
    rows = torch.arange(layout.picture) // layout.cell
    return (rows[:, None] * layout.grid + rows[None, :]).float()[None, None]


layouts = st.builds(
    Layout,
    size=st.integers(48, 100),
    grid=st.integers(2, 5),
    gap=st.integers(0, 4),
    jitter=st.integers(0, 4),
)


@settings(max_examples=60, deadline=None)
@given(layouts)
def test_tiles_are_equal_and_fill_the_board(layout: Layout):
    width = layout.grid * layout.tile + (layout.grid - 1) * layout.gap + layout.border
    assert width == layout.size
    assert 0 <= layout.border < layout.grid
    assert layout.picture % layout.grid == 0


@settings(max_examples=40, deadline=None)
@given(layouts, st.integers(0, 1000))
def test_perm_names_the_source_tile_shown_at_a_slot(layout: Layout, seed: int):
    """Cell k of the picture is filled with k: slot s of the board shows perm[s], whatever the jitter."""
    draws = generator(seed)
    perm = random_permutations(2, layout.tiles, 0.0, draws)
    shifts = torch.randint(0, layout.jitter + 1, (2, layout.tiles, 2), generator=draws)
    boards = assemble(
        cut(numbered(layout).expand(2, 1, -1, -1), layout, perm, shifts), layout, background=-1.0
    )
    assert boards.shape == (2, 1, layout.size, layout.size)
    shown = take_apart(boards, layout)[:, 0]  # (B, T, t, t)
    assert torch.equal(shown, perm[:, :, None, None].expand_as(shown).float())
    assert int((boards == -1).sum()) == 2 * (layout.size**2 - layout.tiles * layout.tile**2)


@settings(max_examples=40, deadline=None)
@given(layouts, st.integers(0, 1000))
def test_unshuffle_undoes_shuffle(layout: Layout, seed: int):
    tiles = torch.rand(3, 2, layout.tiles, layout.tile, layout.tile, generator=generator(seed))
    perm = random_permutations(3, layout.tiles, 0.3, generator(seed))
    assert torch.equal(unshuffle(shuffle(tiles, perm), perm), tiles)
    assert torch.equal(shuffle(tiles, ordered(3, layout.tiles)), tiles)


@settings(max_examples=40, deadline=None)
@given(layouts, st.integers(0, 1000))
def test_taking_apart_undoes_assembling(layout: Layout, seed: int):
    tiles = torch.rand(2, 3, layout.tiles, layout.tile, layout.tile, generator=generator(seed))
    assert torch.equal(take_apart(assemble(tiles, layout), layout), tiles)


def test_cutting_in_order_without_gap_and_jitter_is_a_no_op():
    layout = Layout(size=48, grid=3)
    pictures = torch.rand(2, 3, 48, 48, generator=generator())
    assert torch.equal(assemble(cut(pictures, layout, ordered(2, 9), no_shift(2, 9)), layout), pictures)


def test_an_ordered_board_is_the_picture_under_lines_of_background():
    layout = Layout(size=94, grid=3, gap=2)
    pictures = torch.rand(1, 1, layout.picture, layout.picture, generator=generator())
    boards = assemble(cut(pictures, layout, ordered(1, 9), no_shift(1, 9)), layout, background=-1.0)
    behind = pictures[..., 1 : 1 + 94, 1 : 1 + 94]
    assert torch.equal(boards, torch.where(boards == -1, boards, behind))


def test_a_tile_is_cut_at_its_shift():
    """Against plain slicing, tile by tile."""
    layout = Layout(size=50, grid=3, gap=3, jitter=4)
    draws = generator(3)
    pictures = torch.rand(2, 3, layout.picture, layout.picture, generator=draws)
    perm = random_permutations(2, 9, 0.0, draws)
    shifts = torch.randint(0, 5, (2, 9, 2), generator=draws)
    tiles = cut(pictures, layout, perm, shifts)
    for b in range(2):
        for slot in range(9):
            row, column = divmod(int(perm[b, slot]), 3)
            top = row * layout.cell + layout.gap // 2 + int(shifts[b, slot, 0])
            left = column * layout.cell + layout.gap // 2 + int(shifts[b, slot, 1])
            plain = pictures[b, :, top : top + layout.tile, left : left + layout.tile]
            assert torch.equal(tiles[b, :, slot], plain)


def test_permutations_are_uniform():
    """All 24 orders of four tiles are equally frequent (chi-square)."""
    perm = random_permutations(24_000, 4, 0.0, generator(0))
    assert torch.equal(perm.sort(1).values, ordered(24_000, 4))
    codes = (perm * torch.tensor([64, 16, 4, 1])).sum(1)
    counts = torch.unique(codes, return_counts=True)[1]
    assert len(counts) == 24
    assert chisquare(counts.numpy()).pvalue > 0.01


def test_every_tile_comes_to_every_slot_equally():
    perm = random_permutations(9_000, 9, 0.0, generator(1))
    for slot in range(9):
        assert chisquare(torch.bincount(perm[:, slot], minlength=9).numpy()).pvalue > 0.001


def test_permutations_differ_between_boards_and_repeat_with_the_generator():
    perm = random_permutations(64, 9, 0.0, generator(5))
    assert len(torch.unique(perm, dim=0)) == 64
    assert torch.equal(perm, random_permutations(64, 9, 0.0, generator(5)))
    assert not torch.equal(perm, random_permutations(64, 9, 0.0, generator(6)))


@pytest.mark.parametrize(("share", "low", "high"), [(0.0, 0, 0), (0.25, 400, 600), (1.0, 2000, 2000)])
def test_the_asked_share_of_boards_stays_in_order(share: float, low: int, high: int):
    perm = random_permutations(2000, 9, share, generator(2))
    assert low <= int((perm == torch.arange(9)).all(1).sum()) <= high


def test_normalised_tiles_have_mean_0_and_deviation_1():
    tiles = normalise_tiles(torch.rand(2, 3, 9, 8, 8, generator=generator()) * 0.3)
    assert torch.allclose(tiles.mean((-2, -1)), torch.zeros(2, 3, 9), atol=1e-5)
    assert torch.allclose(tiles.std((-2, -1), correction=0), torch.ones(2, 3, 9), atol=1e-4)


def test_a_constant_tile_becomes_zero_not_nan():
    for value in (0.0, 0.3, 1.0):
        assert normalise_tiles(torch.full((1, 3, 4, 8, 8), value)).abs().max() < 1e-4


def test_tiles_too_small_are_refused():
    with pytest.raises(
        ValueError, match=r"received size 32 with grid 5 and gap 8 \(0 a tile\); choose a larger size"
    ):
        Layout(size=32, grid=5, gap=8)
