"""What joint-embedding pretexts share."""

import pytest
import torch
from jigstack.backbones.timm_backbone import TimmBackbone
from jigstack.configs.joint import ViewAugment
from jigstack.pretext.view_sets import agreement, draw_views, each_view, gauge, view_sheet
from lightly.utils.debug import std_of_l2_normalized


def draws() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def test_the_gauge_is_lightly_s_standard_deviation_times_the_root_of_the_width():
    outputs = torch.randn(1, 500, 64, generator=draws())
    twin = std_of_l2_normalized(outputs[0]) * 64**0.5
    torch.testing.assert_close(gauge(outputs), twin, rtol=5e-3, atol=0)
    assert gauge(outputs) == pytest.approx(1, abs=0.05)
    assert gauge(torch.ones(2, 10, 8)) < 1e-3


def test_agreement_is_the_mean_cosine_over_pairs_of_views():
    outputs = torch.randn(3, 7, 16, generator=draws())
    pairs = [
        torch.nn.functional.cosine_similarity(outputs[i], outputs[j], dim=1).mean()
        for i in range(3)
        for j in range(3)
        if i != j
    ]
    torch.testing.assert_close(agreement(outputs), torch.stack(pairs).mean())


def test_views_are_normalised_and_differ():
    backbone = TimmBackbone("test_resnet", 3, 32)
    images = torch.randint(0, 256, (5, 3, 40, 40), generator=draws(), dtype=torch.uint8)
    views = draw_views(images, ViewAugment(), 32, 3, backbone, draws())
    assert views.shape == (3, 5, 3, 32, 32)
    assert not torch.equal(views[0], views[1])
    mean, std = (torch.tensor(values)[:, None, None] for values in (backbone.mean, backbone.std))
    unit = views * std + mean
    assert unit.min() > -1e-4 and unit.max() < 1.0001


def test_views_go_through_a_network_one_by_one_or_together():
    views = torch.randn(2, 4, 3, generator=draws())
    network = torch.nn.BatchNorm1d(3)
    apart = each_view(network, views, joint=False)
    together = each_view(network, views, joint=True)
    torch.testing.assert_close(apart.mean(1), torch.zeros(2, 3), atol=1e-6, rtol=0)
    torch.testing.assert_close(together.flatten(0, 1).mean(0), torch.zeros(3), atol=1e-6, rtol=0)
    assert not torch.allclose(apart, together)


def test_a_sheet_shows_each_image_beside_its_views_of_any_size():
    backbone = TimmBackbone("test_resnet", 1, 32)
    images = torch.zeros(2, 1, 50, 50, dtype=torch.uint8)
    page = view_sheet(images, [torch.zeros(2, 1, 32, 32), torch.zeros(2, 1, 16, 16)], backbone)
    assert page.size == (3 * 36, 2 * 36)
