"""DINO: the teacher, the crops and lightly's loss."""

import math

import pytest
import torch
from jigstack.backbones.timm_backbone import TimmBackbone
from jigstack.configs.joint import DinoOptions
from jigstack.pretext.dino import Dino, Prototypes
from lightly.loss import DINOLoss
from lightly.models.modules.heads import DINOProjectionHead
from torch import Tensor


def draws(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def images(count: int = 6) -> Tensor:
    return torch.randint(0, 256, (count, 3, 48, 48), generator=draws(), dtype=torch.uint8)


def build(**options) -> Dino:
    torch.manual_seed(0)
    small = {"hidden": 16, "bottleneck": 8, "outputs": 12, "local_views": 3}
    return Dino(TimmBackbone("test_resnet", 3, 32), DinoOptions.model_validate(small | options), 32)


def test_the_head_is_lightly_s_with_a_normalised_last_layer():
    ours = Prototypes(10, 16, 8, 12)
    with pytest.warns(FutureWarning):
        theirs = DINOProjectionHead(10, 16, 8, 12)
    theirs.layers.load_state_dict(ours.layers.layers.state_dict())
    theirs.last_layer.weight_v.data.copy_(ours.directions.weight.data)  # pyright: ignore
    features = torch.randn(5, 10, generator=draws())
    torch.testing.assert_close(ours(features), theirs(features))


def test_the_loss_is_lightly_s_over_large_and_small_crops():
    method = build()
    views = method.views(images(), draws())
    assert views["views"].shape == (2, 6, 3, 32, 32) and views["locals"].shape == (3, 6, 3, 16, 16)
    outputs = method(views)
    assert outputs["student"].shape == (5, 6, 12) and outputs["teacher"].shape == (2, 6, 12)
    twin = DINOLoss(12, warmup_teacher_temp=0.04, teacher_temp=0.04)
    expected = twin(list(outputs["teacher"]), list(outputs["student"]))
    torch.testing.assert_close(method.loss(outputs, views)["loss"], expected)
    torch.testing.assert_close(method.criterion.center, twin.center)


def test_only_the_student_learns_and_the_teacher_follows_by_its_momentum():
    method = build(momentum=0.9)
    method.loss(method(views := method.views(images(), draws())), views)["loss"].backward()
    assert all(weight.grad is None for weight in method.exported.parameters())
    assert any(weight.grad is not None for weight in method.backbone.parameters())
    before = [weight.clone() for weight in method.exported.parameters()]
    with torch.no_grad():
        for weight in method.backbone.parameters():
            weight.add_(1.0)
    method.follow(0.0)
    for weight, old in zip(method.exported.parameters(), before, strict=True):
        torch.testing.assert_close(weight, old + 0.1, atol=1e-5, rtol=1e-4)
    after = [weight.clone() for weight in method.exported.parameters()]
    method.follow(1.0)  # at the end the teacher stands still
    assert all(torch.equal(a, b) for a, b in zip(after, method.exported.parameters(), strict=True))


def test_without_small_crops_there_are_two_large_ones():
    method = build(local_views=0)
    views = method.views(images(), draws())
    assert set(views) == {"views"} and method(views)["student"].shape == (2, 6, 12)


def test_measures_of_held_out_rows_and_the_preview():
    method = build().eval()
    views = method.views(images(), draws())
    measured = method.measure(method(views), views)
    assert set(measured) == {"agreement"} and -1 <= measured["agreement"] <= 1
    assert method.preview(images(2), draws()).size == (6 * 36, 2 * 36)


def test_a_blunt_teacher_and_tiny_crops_are_refused():
    with pytest.raises(ValueError, match="teacher_temperature of at most student_temperature"):
        DinoOptions(teacher_temperature=0.2)
    with pytest.raises(ValueError, match="small crops of at least 16 pixels, which are 8"):
        DinoOptions().check_size(16)


def test_the_teacher_s_entropy_is_log_k_where_it_knows_nothing_and_0_where_it_is_sure():
    method = build()
    student = torch.randn(5, 6, 12, generator=draws())
    ignorant = method.loss({"student": student, "teacher": torch.zeros(2, 6, 12)}, {})
    assert float(ignorant["teacher_entropy"]) == pytest.approx(math.log(12))
    sure = torch.zeros(2, 6, 12)
    sure[..., 3] = 1.0
    assert float(build().loss({"student": student, "teacher": sure}, {})["teacher_entropy"]) < 1e-3
