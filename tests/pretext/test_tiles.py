"""The tile jigsaw: what it cuts, what it answers, that it learns, that no brightness tells the place."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from jigstack.backbones import build_backbone
from jigstack.configs.pretext import JigsawOptions, TilesOptions
from jigstack.configs.schema import Backbone, Pretext
from jigstack.pretext.boards import normalise_tiles, take_apart, unshuffle
from jigstack.pretext.jigsaw import Jigsaw
from jigstack.pretext.permutations import far_apart
from jigstack.pretext.pretrain import build_pretext
from jigstack.pretext.tiles import Tiles
from scipy.stats import chisquare

PLAIN = {"gap": 0, "jitter": 0, "colour_drop": 0.0, "unshuffled": 0.0, "dihedral": False, "crop": (1.0, 1.0)}


def draws(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def tiles(size: int = 48, channels: int = 3, **options: Any) -> Tiles:
    torch.manual_seed(0)
    return Tiles(
        build_backbone(Backbone(name="test_resnet"), channels, 16), TilesOptions(hidden=32, **options), size
    )


def numbered(grid: int, count: int = 4) -> torch.Tensor:
    """Pictures whose cell k, row by row, has the value 10 k everywhere, 12 pixels wide."""
    cells = torch.arange(grid**2, dtype=torch.uint8).view(grid, grid) * 10
    picture = cells.repeat_interleave(12, 0).repeat_interleave(12, 1)
    return picture.expand(count, 3, 12 * grid, 12 * grid).contiguous()


def photos(count: int = 8, size: int = 60, channels: int = 3) -> torch.Tensor:
    return torch.randint(0, 256, (count, channels, size, size), dtype=torch.uint8, generator=draws(9))


def in_unit(method: Tiles, shown: torch.Tensor) -> torch.Tensor:
    mean, std = (torch.tensor(v).view(-1, 1, 1, 1) for v in (method.backbone.mean, method.backbone.std))
    return shown * std + mean


def answers(method: Tiles, views: dict[str, torch.Tensor]) -> torch.Tensor:
    """What a network that knows would say."""
    truth = views["order"] if "order" in views else views["perm"]
    return torch.nn.functional.one_hot(truth, len(method.orders) or method.layout.tiles).float() * 9


def always_say(method: Tiles, logits: torch.Tensor) -> None:
    """Let the network answer the same whatever it sees."""
    last = method.head[-1]
    assert isinstance(last, torch.nn.Linear)
    with torch.no_grad():
        last.weight.zero_()
        last.bias.copy_(logits)


@pytest.mark.parametrize("target", ["slots", "permutations"])
@pytest.mark.parametrize("grid", [2, 3, 4, 5])
def test_the_slot_shows_the_tile_that_perm_names(target: str, grid: int):
    method = tiles(12 * grid, grid=grid, target=target, permutations=20, tile_norm=False, **PLAIN)
    views = method.views(numbered(grid), draws())
    shown = in_unit(method, views["tiles"]) * 255  # (4, 3, T, 12, 12)
    expected = views["perm"][:, None, :, None, None] * 10.0
    torch.testing.assert_close(shown, expected.expand_as(shown), rtol=0, atol=1e-3)
    ordered = torch.arange(grid**2).expand(4, -1)
    assert not torch.equal(views["perm"], ordered)
    assert torch.equal(unshuffle(shown, views["perm"])[:, 0, :, 0, 0].round(), ordered * 10.0)
    assert method(views).shape == ((4, grid**2, grid**2) if target == "slots" else (4, 20))


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


def test_slots_stay_in_order_only_in_training():
    method = tiles(unshuffled=1.0)
    ordered = torch.arange(9)
    assert torch.equal(method.train().views(photos(), draws())["perm"], ordered.expand(8, 9))
    assert not (method.eval().views(photos(), draws())["perm"] == ordered).all(1).any()


def test_every_order_is_asked_equally_often_in_evaluation():
    """The ordered one too, however many stay in order in training."""
    method = tiles(12, grid=2, target="permutations", permutations=20, unshuffled=1.0)
    given = photos(2000, 12)
    assert not method.train().views(given, draws())["order"].any()
    counts = torch.bincount(method.eval().views(given, draws())["order"], minlength=20)
    assert len(counts) == 20 and chisquare(counts.numpy()).pvalue > 0.01


@pytest.mark.parametrize(("grid", "classes"), [(2, 4), (3, 9)])
def test_a_network_that_says_the_same_of_every_slot_is_right_once_in_every_picture(grid: int, classes: int):
    method = tiles(grid=grid).eval()
    always_say(method, torch.zeros(classes**2))
    views = method.views(photos(20), draws())
    outputs = method(views)
    losses = method.loss(outputs, views)
    assert losses["loss"].item() == pytest.approx(math.log(classes))
    assert losses["tile_accuracy"].item() == pytest.approx(1 / classes, abs=1e-7)
    assert method.measure(outputs, views)["tile_accuracy"] == pytest.approx(1 / classes, abs=1e-12)


def test_a_network_that_says_the_same_order_of_every_picture_is_right_in_one_of_p():
    method = tiles(12, grid=2, target="permutations", permutations=20).eval()
    views = method.views(photos(4000, 12), draws())
    everyone = torch.stack([(views["order"] == order).nonzero()[0, 0] for order in range(20)])
    views = {name: values[everyone] for name, values in views.items()}  # every order is asked once
    for said in range(20):
        always_say(method, torch.arange(20.0) == said)
        outputs = method(views)
        assert method.loss(outputs, views)["order_accuracy"].item() == pytest.approx(1 / 20)
        assert method.measure(outputs, views)["board_accuracy"] == pytest.approx(1 / 20)


@pytest.mark.parametrize("target", ["slots", "permutations"])
def test_the_same_generator_gives_the_same_views(target: str):
    method = tiles(target=target, colour_drop=0.5, crop=(0.5, 1.0))
    first, again, other = (method.views(photos(16), draws(seed)) for seed in (1, 1, 2))
    assert first.keys() == ({"tiles", "perm"} if target == "slots" else {"tiles", "perm", "order"})
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not any(torch.equal(first[name], other[name]) for name in first)


@pytest.mark.parametrize(("side", "channels"), [(48, 3), (64, 1), (200, 3), (20, 1), (20, 3)])
@pytest.mark.parametrize("target", ["slots", "permutations"])
def test_tiles_have_their_size_from_any_store(side: int, channels: int, target: str):
    method = tiles(50, channels, target=target, permutations=30, crop=(0.4, 1.0))
    views = method.views(photos(3, side, channels), draws())
    assert views["tiles"].shape == (3, channels, 9, 15, 15) and views["tiles"].dtype == torch.float32
    assert views["tiles"].isfinite().all()
    losses = method.loss(method(views), views)
    losses["loss"].backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in method.parameters())


@pytest.mark.parametrize("channels", [1, 3])
def test_flat_pictures_stay_finite_under_tile_normalisation(channels: int):
    method = tiles(channels=channels, colour_drop=0.5)
    views = method.views(torch.full((4, channels, 60, 60), 77, dtype=torch.uint8), draws())
    assert views["tiles"].abs().max() < 1e-3
    loss = method.loss(method(views), views)["loss"]
    loss.backward()
    assert loss.isfinite()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in method.parameters())


def test_health_is_finite_and_tells_collapse_from_spread():
    method = tiles().eval()
    features = method.backbone(method.views(photos(16), draws())["tiles"].transpose(1, 2).flatten(0, 1))
    spread, same, dead = (
        dict(method.health(given))
        for given in (features, features[:1].expand(144, -1), torch.zeros_like(features))
    )
    assert np.isfinite([*spread.values(), *same.values(), *dead.values()]).all()
    assert max(same["feature_std"], dead["feature_std"]) < 1e-3 < 0.05 < spread["feature_std"]
    assert same["feature_rank"] == pytest.approx(1.0, abs=0.01)
    assert 1.5 < spread["feature_rank"] <= method.backbone.dim


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
    knows = answers(method, views)
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
        last = float(loss.detach())
        first = last if step == 0 else first
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


@pytest.mark.parametrize("tile_norm", [False, True])
@pytest.mark.parametrize("target", ["slots", "permutations"])
def test_the_preview_shows_tiles_truth_and_prediction(
    target: str, tile_norm: bool, monkeypatch: pytest.MonkeyPatch
):
    """Drawn by plain slicing, for a network that knows and for one that does not."""
    method = tiles(target=target, permutations=10, tile_norm=tile_norm, **PLAIN)
    batch = photos(3, 48)
    views = method.eval().views(batch, draws())
    right = answers(method, views)
    whole = (batch / 255).unflatten(2, (3, 16)).unflatten(4, (3, 16)).permute(0, 2, 4, 1, 3, 5)
    cells = whole.flatten(1, 2).transpose(1, 2)  # (B, C, T, 16, 16)
    if tile_norm:
        cells = (normalise_tiles(cells) / 5 + 0.5).clamp(0, 1)
    cells = (cells * 255).permute(0, 2, 3, 4, 1).numpy()  # (B, T, 16, 16, C)
    wrong = right.roll(1, 1)
    for outputs in (right, wrong):
        monkeypatch.setattr(method, "forward", lambda given, said=outputs: said)
        drawn = np.asarray(method.preview(batch, draws())).astype(int)
        assert drawn.shape == (3 * 56, 3 * 56, 3)
        perm, predicted = views["perm"], method.solve(outputs)
        for row in range(3):
            for slot in range(9):
                source, guessed = int(perm[row, slot]), int(predicted[row, slot])
                for column, place in enumerate((slot, source, guessed)):
                    top, left = row * 56 + 4 + place // 3 * 16, column * 56 + 4 + place % 3 * 16
                    seen, expected = drawn[top : top + 16, left : left + 16], cells[row, source]
                    assert np.abs(seen - expected)[2:-2, 2:-2].max() <= 1
                    if column == 2 and guessed != source:
                        assert (seen[:2] == (220, 30, 30)).all()
                    else:
                        assert np.abs(seen - expected).max() <= 1
    assert not torch.equal(method.solve(wrong), views["perm"])


@pytest.mark.parametrize("training", [True, False])
def test_a_preview_leaves_the_network_as_it_was(training: bool):
    method = tiles().train(training)
    before = {name: value.clone() for name, value in method.state_dict().items()}
    method.preview(photos(3), draws())
    assert all(module.training == training for module in method.modules())
    assert all(torch.equal(value, before[name]) for name, value in method.state_dict().items())
    assert any("running_mean" in name for name in before)


def test_what_is_no_batch_of_uint8_is_refused():
    for target in ("slots", "permutations"):
        with pytest.raises(
            ValueError, match=r"expected a batch \(B, C, H, W\) of uint8, received \(8, 3, 60, 60\)"
        ):
            tiles(target=target).views(photos().float(), draws())


def test_tiles_too_small_and_orders_too_many_are_refused():
    with pytest.raises(ValueError, match="expected at least 4 pixels a tile"):
        tiles(size=12)
    with pytest.raises(ValueError, match="at most 24, the orders of 2 x 2 tiles"):
        tiles(grid=2, target="permutations", permutations=25)
