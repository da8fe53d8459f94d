"""Changes of colour do to each sample what torchvision does to one image."""

import itertools

import pytest
import torch
from jigstack.configs.heads import ColourJitter
from jigstack.training import colours as ours
from scipy.stats import kstest
from torchvision.transforms.v2 import functional as tv


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def images(count: int = 6, channels: int = 3, side: int = 12, seed: int = 0) -> torch.Tensor:
    """Random pixels with a grey, a black, a white and a pure red sample among them."""
    batch = torch.rand(count, channels, side, side, generator=generator(seed))
    batch[-4] = batch[-4, :1]
    batch[-3], batch[-2] = 0.0, 1.0
    batch[-1, 1:] = 0.0
    return batch


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    ("change", "twin", "low", "high"),
    [
        (ours.brightness, tv.adjust_brightness, 0.0, 2.0),
        (ours.contrast, tv.adjust_contrast, 0.0, 2.0),
        (ours.saturation, tv.adjust_saturation, 0.0, 2.0),
        (ours.hue, tv.adjust_hue, -0.5, 0.5),
    ],
    ids=["brightness", "contrast", "saturation", "hue"],
)
def test_each_sample_gets_its_own_change_of_colour_as_in_torchvision(change, twin, low, high, channels):
    batch = images(64, channels)
    amounts = torch.linspace(low, high, 64)
    changed = change(batch, amounts)
    for one, amount, result in zip(batch, amounts, changed, strict=True):
        assert torch.allclose(result, twin(one, float(amount)), atol=2e-5)


def test_grey_is_torchvisions():
    assert torch.allclose(ours.grey(images()), tv.rgb_to_grayscale(images()), atol=1e-6)


def test_colour_strengths_bound_the_factors():
    grey = torch.full((500, 3, 2, 2), 0.4)
    bright = ours.colour_jitter(grey, ColourJitter(brightness=0.5), generator())[:, 0, 0, 0]
    assert kstest(bright.numpy(), "uniform", args=(0.2, 0.4)).pvalue > 0.01
    assert ours.colour_jitter(grey, ColourJitter(), generator()) is grey


def test_two_channels_have_no_colour():
    with pytest.raises(ValueError, match="expected 1 or 3 channels for a change of colour, received 2"):
        ours.hue(images(6, 2), torch.zeros(6))


def test_colours_change_in_each_of_the_24_orders_as_torchvision_does_one_after_the_other():
    batch = torch.rand(24, 3, 9, 11, generator=torch.Generator().manual_seed(5))
    draws = torch.Generator().manual_seed(6)
    factors = torch.cat(
        [torch.rand(24, 3, generator=draws) * 1.6 + 0.2, torch.rand(24, 1, generator=draws) - 0.5], dim=1
    )
    orders = torch.tensor(list(itertools.permutations(range(4))))
    twins = [tv.adjust_brightness, tv.adjust_contrast, tv.adjust_saturation, tv.adjust_hue]
    found = ours.jitter_in_order(batch, factors, orders)
    for image, own, order, changed in zip(batch, factors, orders, found, strict=True):
        for operation in order:
            image = twins[operation](image, float(own[operation]))
        torch.testing.assert_close(changed, image, atol=2e-5, rtol=0)


def test_the_order_is_drawn_for_each_sample_and_weak_strengths_change_little():
    batch = torch.rand(3, 3, 8, 8, generator=torch.Generator().manual_seed(7)).repeat_interleave(40, 0)
    strengths = ColourJitter(brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1)
    one, two = (
        ours.jitter_in_any_order(batch, strengths, torch.Generator().manual_seed(8)) for _ in range(2)
    )
    assert torch.equal(one, two)
    assert len({tuple(image.flatten().tolist()) for image in one}) == 120
    assert torch.equal(ours.jitter_in_any_order(batch, ColourJitter(), torch.Generator()), batch)
