"""LeJEPA against lightly's loss."""

import pytest
import torch
from jigstack.backbones.timm_backbone import TimmBackbone
from jigstack.configs.joint import LejepaOptions
from jigstack.pretext.lejepa import Lejepa
from lightly.loss import LeJEPALoss
from torch import Tensor


def draws(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def images(count: int = 6) -> Tensor:
    return torch.randint(0, 256, (count, 3, 48, 48), generator=draws(), dtype=torch.uint8)


def build(**options) -> Lejepa:
    torch.manual_seed(0)
    small = {"hidden": 16, "width": 8, "local_views": 3, "slices": 32}
    return Lejepa(TimmBackbone("test_resnet", 3, 32), LejepaOptions.model_validate(small | options), 32)


def test_the_loss_is_lightly_s_on_the_same_projections_and_directions():
    method = build(weight=0.1)
    views = method.views(images(), draws())
    z = method(views)
    assert z.shape == (5, 6, 8)
    torch.manual_seed(1)
    found = method.loss(z, views)
    torch.manual_seed(1)
    twin = LeJEPALoss(lambda_param=0.1, sigreg_num_vectors=32)(global_proj=z[:2], local_proj=z[2:])
    torch.testing.assert_close(found["loss"], twin)
    found["loss"].backward()
    assert all(weight.grad is not None for weight in method.projector.parameters())


def test_a_collapsed_cloud_costs_more_than_a_gaussian_one():
    method = build()
    gaussian = method.loss(torch.randn(5, 200, 8, generator=draws()), {})
    collapsed = method.loss(torch.zeros(5, 200, 8), {})
    assert collapsed["gaussian"] > 10 * gaussian["gaussian"]
    assert collapsed["z_std"] < 1e-3 and gaussian["z_std"] == pytest.approx(1, abs=0.1)


def test_it_works_with_large_crops_alone():
    method = build(local_views=0, views=3)
    views = method.views(images(), draws())
    assert set(views) == {"views"}
    assert method.loss(method(views), views)["loss"].isfinite()


def test_measures_of_held_out_rows_and_the_preview():
    method = build().eval()
    views = method.views(images(), draws())
    assert set(method.measure(method(views), views)) == {"agreement", "z_std"}
    assert method.preview(images(2), draws()).size == (6 * 36, 2 * 36)


@pytest.mark.parametrize("options", [{"weight": 0.0}, {"views": 1}, {"slices": 0}, {"local_size": 1.5}])
def test_options_out_of_range_are_refused(options: dict):
    with pytest.raises(ValueError):
        LejepaOptions(**options)
