"""The jigsaw shows what perm says, learns, and measures itself as chance would have it."""

import math

import numpy as np
import pytest
import torch
from jigstack.backbones import TimmBackbone
from jigstack.configs.pretext import JigsawOptions
from jigstack.pretext.boards import assemble, cut, random_permutations, take_apart, unshuffle
from jigstack.pretext.jigsaw import Jigsaw, solve
from jigstack.training.augment import dihedral
from PIL import Image

PLAIN = JigsawOptions(gap=0, jitter=0, colour_drop=0, unshuffled=0, dihedral=False, crop=(1.0, 1.0))


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def jigsaw(size: int = 48, channels: int = 3, **options: object) -> Jigsaw:
    torch.manual_seed(0)
    chosen = JigsawOptions(**{**PLAIN.model_dump(), **options})
    return Jigsaw(TimmBackbone("test_resnet", channels, size), chosen, size)


def photos(count: int = 4, side: int = 60, channels: int = 3, seed: int = 0) -> torch.Tensor:
    """Smooth random pictures, as interpolation likes them."""
    coarse = torch.rand(count, channels, 6, 6, generator=generator(seed))
    fine = torch.nn.functional.interpolate(coarse, (side, side), mode="bicubic").clamp(0, 1)
    return (fine * 255).round().to(torch.uint8)


def in_unit(jig: Jigsaw, boards: torch.Tensor) -> torch.Tensor:
    mean, std = (torch.tensor(v).view(-1, 1, 1) for v in (jig.backbone.mean, jig.backbone.std))
    return boards * std + mean


@pytest.mark.parametrize("grid", [2, 3, 4, 5])
def test_a_slot_shows_the_tile_that_perm_names(grid: int):
    """Cell k of the photo is filled with the colour k."""
    side = 60
    jig = jigsaw(side, grid=grid)
    cells = torch.arange(side) // (side // grid)
    photo = (cells[:, None] * grid + cells[None, :]).to(torch.uint8).expand(8, 3, side, side)
    views = jig.views(photo, generator())
    tiles = take_apart(in_unit(jig, views["boards"]), jig.layout) * 255
    shown = views["perm"][:, None, :, None, None].expand_as(tiles).float()
    assert torch.allclose(tiles, shown, atol=1e-3)


def test_without_shuffling_and_changes_the_board_is_the_photo():
    jig = jigsaw(48, unshuffled=1.0)
    batch = torch.randint(0, 256, (4, 3, 48, 48), generator=generator(), dtype=torch.uint8)
    views = jig.views(batch, generator())
    assert torch.equal(views["perm"], torch.arange(9).expand(4, 9))
    assert torch.allclose(in_unit(jig, views["boards"]), batch / 255, atol=1e-5)


def test_unshuffling_the_board_gives_the_photo_back():
    jig = jigsaw(48)
    batch = torch.randint(0, 256, (4, 3, 48, 48), generator=generator(), dtype=torch.uint8)
    views = jig.views(batch, generator())
    tiles = unshuffle(take_apart(views["boards"], jig.layout), views["perm"])
    assert not torch.allclose(in_unit(jig, views["boards"]), batch / 255, atol=0.1)
    assert torch.allclose(in_unit(jig, assemble(tiles, jig.layout)), batch / 255, atol=1e-5)


def test_reading_tiles_straight_from_the_batch_equals_turning_then_cutting():
    """The slow way: turn the whole picture, then cut by index; the same draws in the same order."""
    jig = jigsaw(50, gap=2, jitter=3, dihedral=True)
    batch = torch.randint(0, 256, (32, 3, jig.layout.picture, jig.layout.picture), dtype=torch.uint8)
    views = jig.views(batch, generator(7))
    draws = generator(7)
    k = torch.randint(0, 8, (32,), generator=draws)
    for shape in ((32, 10), (32, 10), (32,), (32,)):  # the boxes, which crop (1, 1) leaves whole
        torch.rand(shape, generator=draws, dtype=torch.float64)
    shifts = torch.randint(0, 4, (32, 9, 2), generator=draws)
    perm = random_permutations(32, 9, 0.0, draws)
    tiles = cut(dihedral(batch / 255, k), jig.layout, perm, shifts)
    normal = jig.backbone.normalise(tiles.flatten(2, 3)).unflatten(2, (9, -1))
    assert torch.equal(views["perm"], perm)
    assert torch.allclose(views["boards"], assemble(normal, jig.layout), atol=1e-4)


def test_jitter_moves_each_tile_within_its_cell():
    """The photo's red is its row and its green its column: each tile tells where it was cut."""
    jig = jigsaw(48, grid=2, jitter=6)
    side = jig.layout.picture
    ramp = torch.arange(side, dtype=torch.uint8)
    photo = torch.zeros(256, 3, side, side, dtype=torch.uint8)
    photo[:, 0], photo[:, 1] = ramp[:, None], ramp[None, :]
    views = jig.views(photo, generator())
    corners = (take_apart(in_unit(jig, views["boards"]), jig.layout)[:, :2, :, 0, 0] * 255).round().long()
    cells = torch.stack([views["perm"] // 2, views["perm"] % 2], 1) * jig.layout.cell
    shifts = corners - cells  # (B, 2, T)
    assert sorted(set(shifts.flatten().tolist())) == list(range(7))
    assert len(torch.unique(shifts.flatten(1), dim=0)) > 250


def test_the_same_generator_gives_the_same_boards():
    jig = jigsaw(50, gap=2, jitter=2, colour_drop=0.5, dihedral=True, crop=(0.5, 1.0))
    first, again, other = (jig.views(photos(16), generator(seed)) for seed in (1, 1, 2))
    assert torch.equal(first["boards"], again["boards"]) and torch.equal(first["perm"], again["perm"])
    assert not torch.equal(first["boards"], other["boards"])


def test_every_board_is_changed_in_its_own_way():
    """Sixteen copies of one photo: crop, turn, jitter and order all differ."""
    jig = jigsaw(48, jitter=2, dihedral=True, crop=(0.5, 1.0), unshuffled=1.0)
    boards = jig.views(photos(1).expand(16, -1, -1, -1), generator())["boards"]
    assert len(torch.unique(boards.flatten(1), dim=0)) == 16


def test_the_asked_share_of_boards_is_grey():
    jig = jigsaw(48, colour_drop=0.5)
    boards = in_unit(jig, jig.views(photos(200), generator())["boards"])
    grey = ((boards - boards.mean(1, keepdim=True)).abs().amax((1, 2, 3)) < 1e-5).sum()
    assert 75 <= int(grey) <= 125


def test_boards_stay_in_order_only_in_training():
    jig = jigsaw(48, unshuffled=1.0)
    in_order = torch.arange(9).expand(4, 9)
    assert torch.equal(jig.train().views(photos(), generator())["perm"], in_order)
    assert not torch.equal(jig.eval().views(photos(), generator())["perm"], in_order)


def test_background_is_the_mean_colour():
    jig = jigsaw(50, gap=4)
    boards = jig.views(photos() // 2 + 100, generator())["boards"]
    edge = jig.layout.border // 2 + jig.layout.tile
    assert not boards[:, :, edge : edge + 4].any()
    assert not boards[:, :, :, edge : edge + 4].any()


@pytest.mark.parametrize("channels", [1, 3])
def test_flat_pictures_stay_finite_under_tile_normalisation(channels: int):
    jig = jigsaw(48, channels, tile_norm=True, colour_drop=0.5, gap=1)
    boards = jig.views(torch.full((4, channels, 60, 60), 77, dtype=torch.uint8), generator())["boards"]
    assert boards.abs().max() < 1e-3


@pytest.mark.parametrize(("side", "channels"), [(50, 3), (64, 1), (200, 3), (20, 3)])
def test_boards_have_their_size_from_any_store(side: int, channels: int):
    jig = jigsaw(50, channels, gap=2, jitter=2, dihedral=True, crop=(0.4, 1.0), colour_drop=0.3)
    views = jig.views(photos(3, side, channels), generator())
    assert views["boards"].shape == (3, channels, 50, 50)
    assert views["boards"].dtype == torch.float32
    assert views["boards"].isfinite().all()
    assert jig(views).shape == (3, 9, 9)


def test_chance_costs_log_t_and_scores_one_in_t():
    jig, perm = jigsaw(), random_permutations(4000, 9, 0.0, generator())
    result = jig.loss(torch.zeros(4000, 9, 9), {"perm": perm})
    assert float(result["loss"]) == pytest.approx(math.log(9), abs=1e-4)
    noise = torch.randn(4000, 9, 9, generator=generator())
    scores = jig.measure(noise, {"perm": perm})
    assert scores["tile_accuracy"] == pytest.approx(1 / 9, abs=0.01)
    assert scores["board_accuracy"] < 0.001
    assert float(jig.loss(noise, {"perm": perm})["tile_accuracy"]) == pytest.approx(scores["tile_accuracy"])


def test_a_perfect_answer_scores_one():
    jig, perm = jigsaw(), random_permutations(8, 9, 0.0, generator())
    logits = torch.nn.functional.one_hot(perm, 9).float() * 50
    assert float(jig.loss(logits, {"perm": perm})["loss"]) < 1e-6
    assert jig.measure(logits, {"perm": perm}) == {"tile_accuracy": 1.0, "board_accuracy": 1.0}
    # [tile, slot] instead of [slot, tile] must not pass.
    assert jig.measure(logits.transpose(1, 2), {"perm": perm})["board_accuracy"] < 1.0


def test_one_to_one_decoding_repairs_a_slot_that_argmax_gets_wrong():
    """Slot 1 slightly prefers tile 0, which slot 0 needs."""
    logits = torch.tensor([[[5.0, 0, 0], [1.1, 1.0, 0], [0, 0, 5.0]]])
    assert logits.argmax(-1).tolist() == [[0, 0, 2]]
    assert solve(logits).tolist() == [[0, 1, 2]]


def test_the_jigsaw_learns():
    """Photos with a fixed layout of colours: easy, so that a few steps must beat chance by far."""
    torch.manual_seed(0)
    jig = jigsaw(32, grid=2)
    batch = photos(1, 32).expand(32, -1, -1, -1)
    optimiser = torch.optim.AdamW(jig.parameters(), lr=3e-3)
    accuracy = 0.0
    for step in range(25):
        views = jig.views(batch, generator(step))
        result = jig.loss(jig(views), views)
        optimiser.zero_grad()
        result["loss"].backward()
        optimiser.step()
        accuracy = float(result["tile_accuracy"])
    assert accuracy > 0.9


def test_health_tells_collapse_from_spread():
    jig = jigsaw()
    spread = dict(jig.health(torch.randn(512, 32, generator=generator())))
    collapsed = dict(jig.health(torch.ones(512, 32)))
    assert spread["feature_std"] == pytest.approx(1.0, abs=0.05)
    assert 28 < spread["feature_rank"] <= 32.1
    assert collapsed["feature_std"] < 1e-3
    assert collapsed["feature_rank"] == pytest.approx(1.0, abs=0.01)


@pytest.mark.parametrize(("channels", "tile_norm"), [(3, False), (1, True)])
def test_the_preview_shows_board_truth_and_prediction(channels: int, tile_norm: bool):
    jig = jigsaw(48, channels, gap=2, tile_norm=tile_norm)
    image = jig.preview(photos(9, channels=channels), generator())
    assert isinstance(image, Image.Image)
    assert image.size == (3 * 56, 6 * 56)
    assert jig.training


def test_the_preview_frames_wrong_tiles_and_shows_the_truth(monkeypatch: pytest.MonkeyPatch):
    jig = jigsaw(48)
    batch = photos(2, 48)
    perm = jig.eval().views(batch, generator())["perm"]
    right = torch.nn.functional.one_hot(perm, 9).float()
    monkeypatch.setattr(jig, "forward", lambda views: right)
    truth = batch[0].permute(1, 2, 0).numpy()
    drawn = np.asarray(jig.preview(batch, generator()))
    for column in (1, 2):
        board = drawn[4:52, column * 56 + 4 : column * 56 + 52].astype(int)
        assert np.abs(board - truth).max() <= 1
    monkeypatch.setattr(jig, "forward", lambda views: right.roll(1, 1))
    drawn = np.asarray(jig.preview(batch, generator()))
    assert (drawn[4, 2 * 56 + 4] == (220, 30, 30)).all()


def test_what_is_no_batch_of_uint8_is_refused():
    with pytest.raises(
        ValueError, match=r"expected a batch \(B, C, H, W\) of uint8, received \(4, 3, 60, 60\)"
    ):
        jigsaw().views(photos().float(), generator())
    with pytest.raises(ValueError, match="expected at least 4 pixels a tile, received size 16 with grid 5"):
        jigsaw(16, grid=5)
