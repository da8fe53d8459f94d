"""SimSiam against lightly's own loop, and what keeps it from collapsing."""

import copy
from typing import Any

import pytest
import torch
from jigstack.backbones.timm_backbone import TimmBackbone
from jigstack.configs.joint import SimSiamOptions
from jigstack.pretext.siamese import simsiam_loss
from jigstack.pretext.simsiam import SimSiam
from jigstack.training.optimiser import make_optimiser, parameter_groups, set_learning_rate
from lightly.loss import NegativeCosineSimilarity
from torch import Tensor


def images(count: int = 8, size: int = 40) -> Tensor:
    return torch.randint(0, 256, (count, 3, size, size), generator=draws(), dtype=torch.uint8)


def draws(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def build(**options: Any) -> SimSiam:
    torch.manual_seed(0)
    chosen = SimSiamOptions.model_validate({"width": 32} | options)
    return SimSiam(TimmBackbone("test_resnet", 3, 32), chosen, 32)


def test_three_steps_equal_lightly_s_loop_in_double_precision():
    """The same weights and views: the loop of lightly's SimSiam example, with torch's SGD."""
    method = build(layers=3).double()
    twin = copy.deepcopy(method)
    groups = parameter_groups(
        method.backbone.stages(),
        [*method.projector.parameters(), *method.predictor.parameters()],
        weight_decay=1e-4,
        decay_all=True,
        steady=method.steady(),
    )
    optimiser = make_optimiser("sgd", groups)
    theirs = torch.optim.SGD(twin.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-4)
    criterion = NegativeCosineSimilarity()
    for step in range(3):
        views = {"views": method.views(images(), draws(step))["views"].double()}
        set_learning_rate(optimiser, 0.05, peak=0.05)
        optimiser.zero_grad()
        ours = method.loss(method(views), views)["loss"]
        ours.backward()
        optimiser.step()

        theirs.zero_grad()
        z0, z1 = (twin.projector(twin.backbone(view)) for view in views["views"])
        p0, p1 = twin.predictor(z0), twin.predictor(z1)
        loss = 0.5 * (criterion(p0, z1.detach()) + criterion(p1, z0.detach()))
        loss.backward()
        theirs.step()
        torch.testing.assert_close(ours, loss, atol=1e-12, rtol=0)
    for own, expected in zip(method.state_dict().values(), twin.state_dict().values(), strict=True):
        torch.testing.assert_close(own, expected, atol=1e-9, rtol=0)


def test_the_predictor_is_used():
    method = build()
    views = method.views(images(), draws())
    outputs = method(views)
    torch.testing.assert_close(outputs["p"][0], method.predictor(outputs["z"][0]), atol=1e-5, rtol=1e-4)
    method.loss(outputs, views)["loss"].backward()
    assert all(weight.grad is not None for weight in method.predictor.parameters())
    with torch.no_grad():
        before = float(method.loss(method(views), views)["loss"])
        for weight in method.predictor.parameters():
            weight.mul_(-1)
    assert float(method.loss(method(views), views)["loss"].detach()) != pytest.approx(before, abs=1e-3)


@pytest.mark.parametrize("count", [3, 4])
def test_with_more_views_each_predicts_the_mean_of_the_others(count: int):
    """FastSiam, written as a loop."""
    p, z = torch.randn(2, count, 5, 16, generator=draws())
    expected = torch.zeros(())
    for i in range(count):
        target = torch.stack([z[j] for j in range(count) if j != i]).mean(0)
        expected -= torch.nn.functional.cosine_similarity(p[i], target, dim=1).mean() / count
    torch.testing.assert_close(simsiam_loss(p, z), expected)
    method = build(views=count)
    views = method.views(images(), draws())
    assert views["views"].shape == (count, 8, 3, 32, 32)
    assert method(views)["p"].shape == (count, 8, 32)


def test_each_view_has_its_own_batch_statistics_unless_they_are_joint():
    views = {"views": torch.stack([torch.rand(6, 3, 32, 32), 5 + torch.rand(6, 3, 32, 32)])}
    own, joint = build(), build(statistics="joint")
    joint.load_state_dict(own.state_dict())
    alone = own(views)["z"][0]
    torch.testing.assert_close(alone, own.projector(own.backbone(views["views"][0])), atol=1e-5, rtol=1e-4)
    assert not torch.allclose(joint(views)["z"][0], alone, atol=1e-2)


def test_the_predictor_s_hidden_layer_has_a_quarter_of_the_width():
    first = next(
        module for module in build(width=64).predictor.modules() if isinstance(module, torch.nn.Linear)
    )
    assert first.weight.shape == (16, 64)


def test_residual_branches_of_a_resnet_begin_at_zero():
    backbone = TimmBackbone("resnet18", 3, 32)
    assert not backbone.state_dict()["net.layer1.0.bn2.weight"].any()


def test_the_gauge_tells_a_collapsed_network_from_a_spread_one():
    method = build()
    views = method.views(images(), draws())
    spread = method.loss(method(views), views)["z_std"]
    same = torch.ones(2, 8, 32)
    collapsed = method.loss({"z": same, "p": same}, views)
    assert spread > 0.3 and collapsed["z_std"] < 1e-3
    assert float(collapsed["loss"]) == pytest.approx(-1)  # the loss alone looks perfect


def test_measures_of_held_out_rows_and_the_preview():
    method = build().eval().requires_grad_(False)
    views = method.views(images(), draws())
    measured = method.measure(method(views), views)
    assert set(measured) == {"similarity", "agreement", "z_std"}
    assert all(-1.001 <= value <= 1.1 for value in measured.values())
    picture = method.preview(images(7), draws())
    assert picture.size == (3 * 36, 6 * 36)


@pytest.mark.parametrize("options", [{"views": 1}, {"views": 5}, {"width": 30}, {"layers": 4}])
def test_options_out_of_range_are_refused(options: dict):
    with pytest.raises(ValueError):
        SimSiamOptions(**options)
