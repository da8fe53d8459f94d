"""The tile jigsaw: what it cuts, what it answers, that it learns, that no brightness tells the place."""

import math
from typing import Any

import pytest
import torch
from jigstack.backbones import build_backbone
from jigstack.configs.pretext import JigsawOptions, TilesOptions
from jigstack.configs.schema import Backbone, Pretext
from jigstack.pretext.boards import take_apart, unshuffle
from jigstack.pretext.jigsaw import Jigsaw
from jigstack.pretext.permutations import far_apart
from jigstack.pretext.pretrain import build_pretext
from jigstack.pretext.tiles import Tiles

PLAIN = {"gap": 0, "jitter": 0, "colour_drop": 0.0, "unshuffled": 0.0, "dihedral": False, "crop": (1.0, 1.0)}


def draws(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def tiles(size: int = 48, **options: Any) -> Tiles:
    torch.manual_seed(0)
    return Tiles(
        build_backbone(Backbone(name="test_resnet"), 3, 16), TilesOptions(hidden=32, **options), size
    )


def numbered(count: int = 4, size: int = 48) -> torch.Tensor:
    """Pictures whose cell k, row by row, has the value 20 k everywhere."""
    cells = torch.arange(9, dtype=torch.uint8).view(3, 3) * 20
    picture = cells.repeat_interleave(size // 3, 0).repeat_interleave(size // 3, 1)
    return picture.expand(count, 3, size, size).contiguous()


def photos(count: int = 8, size: int = 60) -> torch.Tensor:
    return torch.randint(0, 256, (count, 3, size, size), dtype=torch.uint8, generator=draws(9))


@pytest.mark.parametrize("target", ["slots", "permutations"])
def test_the_slot_shows_the_tile_that_perm_names(target: str):
    method = tiles(target=target, tile_norm=False, **PLAIN)
    views = method.views(numbered(), draws())
    shown = views["tiles"] * torch.tensor(method.backbone.std).view(-1, 1, 1, 1)
    shown = (shown + torch.tensor(method.backbone.mean).view(-1, 1, 1, 1)) * 255
    expected = views["perm"][:, None, :, None, None] * 20.0
    torch.testing.assert_close(shown, expected.expand_as(shown), rtol=0, atol=1e-3)
    assert not torch.equal(views["perm"], torch.arange(9).expand_as(views["perm"]))
    assert torch.equal(
        unshuffle(shown, views["perm"])[:, 0, :, 0, 0].round(), torch.arange(9.0).expand(4, 9) * 20
    )


def test_the_tiles_are_those_of_the_board_for_the_same_draws():
    board = Jigsaw(build_backbone(Backbone(name="test_resnet"), 3, 48), JigsawOptions(), 48)
    method = tiles(tile_norm=False)
    one, other = method.views(photos(), draws(3)), board.views(photos(), draws(3))
    assert torch.equal(one["perm"], other["perm"])
    torch.testing.assert_close(one["tiles"], take_apart(other["boards"], board.layout))


def test_all_tiles_in_one_call_give_what_a_loop_over_tiles_gives():
    method = tiles().eval()
    views = method.views(photos(), draws())
    features = torch.stack([method.backbone(views["tiles"][:, :, slot]) for slot in range(9)], dim=1)
    twin = method.head(features.flatten(1)).unflatten(1, (9, 9))
    torch.testing.assert_close(method(views), twin, rtol=1e-4, atol=1e-5)


def test_the_joined_features_stand_in_the_order_of_the_slots():
    method = tiles().eval()
    views = method.views(photos(), draws())
    swapped = views | {"tiles": views["tiles"].flip(2)}
    assert not torch.allclose(method(views), method(swapped), atol=1e-5)


def test_brightness_and_contrast_of_a_tile_do_not_tell_its_place():
    method = tiles(**PLAIN)
    pictures = torch.randint(60, 120, (4, 3, 48, 48), generator=draws(1)).to(torch.uint8)
    ramp = (torch.arange(9).view(3, 3) * 10).repeat_interleave(16, 0).repeat_interleave(16, 1).to(torch.uint8)
    plain, lit = (method.views(given, draws(2))["tiles"] for given in (pictures, pictures + ramp))
    torch.testing.assert_close(plain, lit, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(plain.mean((-2, -1)), torch.zeros(4, 3, 9), rtol=0, atol=1e-4)


def test_an_order_is_one_of_the_set_and_the_ordered_ones_are_its_first():
    method = tiles(target="permutations", permutations=20, unshuffled=0.5).train()
    views = method.views(photos(64), draws())
    orders = torch.from_numpy(far_apart(9, 20).copy())
    assert torch.equal(views["perm"], orders[views["order"]])
    assert 0.35 < float((views["order"] == 0).float().mean()) < 0.7
    shuffled = method.eval().views(photos(64), draws())
    assert float((shuffled["order"] == 0).float().mean()) < 0.2


@pytest.mark.parametrize(("target", "classes"), [("slots", 9), ("permutations", 30)])
def test_an_untrained_head_is_near_chance_and_the_gradient_reaches_the_backbone(target: str, classes: int):
    method = tiles(target=target, permutations=30)
    views = method.views(photos(32), draws())
    outputs = method(views)
    assert outputs.shape == ((32, 9, 9) if target == "slots" else (32, 30))
    losses = method.loss(outputs, views)
    assert losses["loss"].item() == pytest.approx(math.log(classes), rel=0.25)
    losses["loss"].backward()
    assert all(parameter.grad is not None for parameter in method.parameters())
    assert any(float(parameter.grad.abs().max()) > 0 for parameter in method.backbone.parameters())  # pyright: ignore[reportOptionalMemberAccess]


@pytest.mark.parametrize("target", ["slots", "permutations"])
def test_the_measures_of_a_network_that_knows_are_one(target: str):
    method = tiles(target=target, permutations=30).eval()
    views = method.views(photos(), draws())
    knows = (
        torch.nn.functional.one_hot(views["perm"], 9).float() * 9
        if target == "slots"
        else torch.nn.functional.one_hot(views["order"], 30).float() * 9
    )
    assert method.measure(knows, views) == {"tile_accuracy": 1.0, "board_accuracy": 1.0}
    assert method.measure(-knows, views)["board_accuracy"] < 1.0


@pytest.mark.parametrize("target", ["slots", "permutations"])
def test_it_learns_where_pictures_tell_the_place(target: str):
    """Stripes whose slant differs from cell to cell survive the normalisation of tiles."""
    line = torch.arange(16.0)
    cells = [
        torch.sin(line[:, None] * math.cos(k * 0.35) + line[None] * math.sin(k * 0.35)) for k in range(9)
    ]
    rows = [torch.cat(cells[3 * row : 3 * row + 3], dim=1) for row in range(3)]
    picture = ((torch.cat(rows) + 1) * 100).to(torch.uint8).expand(16, 3, 48, 48).contiguous()
    method = tiles(target=target, permutations=8, **(PLAIN | {"gap": 0})).train()
    optimiser = torch.optim.AdamW(method.parameters(), lr=3e-3)
    first, last = 0.0, 0.0
    for step in range(40):
        views = method.views(picture, draws(step))
        loss = method.loss(method(views), views)["loss"]
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        first, last = (float(loss) if step == 0 else first), float(loss.detach())
    assert last < 0.6 * first


def test_the_backbone_is_built_for_the_side_of_a_tile():
    options = Pretext(name="t", kind="tiles", size=64, options={"gap": 2})
    method = build_pretext(options, Backbone(name="test_resnet"), 3)
    assert Tiles.input_size(TilesOptions(gap=2), 64) == method.layout.tile == 20
    assert method.backbone.card()["size"] == 20


def test_the_preview_draws_three_columns(tmp_path):
    for target in ("slots", "permutations"):
        picture = tiles(target=target, permutations=10).preview(photos(3), draws())
        assert picture.size == (3 * 56, 3 * 56)


def test_tiles_too_small_and_orders_too_many_are_refused():
    with pytest.raises(ValueError, match="expected at least 4 pixels a tile"):
        tiles(size=12)
    with pytest.raises(ValueError, match="at most 24, the orders of 2 x 2 tiles"):
        tiles(grid=2, target="permutations", permutations=25)
