"""Changes of colour do to each sample what torchvision does to one image."""

from itertools import permutations

import pytest
import torch
from jigstack.configs.heads import ColourJitter
from jigstack.training import colours as ours
from scipy.stats import kstest
from torchvision.transforms import v2
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


TWINS = (tv.adjust_brightness, tv.adjust_contrast, tv.adjust_saturation, tv.adjust_hue)


def change_all(batch: torch.Tensor, amounts: torch.Tensor, orders: torch.Tensor) -> torch.Tensor:
    return ours.change_colours_(batch.clone(), torch.arange(len(batch)), amounts, orders)


@pytest.mark.parametrize("channels", [1, 3])
def test_every_order_of_the_changes_is_torchvisions(channels: int):
    orders = torch.tensor(list(permutations(range(4)))).repeat(4, 1)
    batch = images(len(orders), channels)
    amounts = torch.rand(len(orders), 4, generator=generator(1)) * torch.tensor([2.0, 2.0, 2.0, 1.0])
    amounts[:, 3] -= 0.5
    changed = change_all(batch, amounts, orders)
    for one, numbers, order, result in zip(batch, amounts.tolist(), orders.tolist(), changed, strict=True):
        for kind in order:
            one = TWINS[kind](one, numbers[kind])
        assert torch.allclose(result, one, atol=5e-5)


def test_a_part_of_the_batch_is_changed_as_the_whole():
    """More samples than are worked on at a time."""
    batch = torch.rand(40, 3, 96, 96, generator=generator())
    amounts, orders = (
        torch.rand(40, 4, generator=generator(1)) / 2,
        torch.rand(40, 4, generator=generator(2)).argsort(1),
    )
    whole = change_all(batch, amounts, orders)
    assert torch.equal(change_all(batch[33:35], amounts[33:35], orders[33:35]), whole[33:35])


def test_only_the_chosen_samples_are_changed():
    batch, some = images(8), torch.tensor([5, 1])
    amounts = torch.tensor([[0.5, 1.0, 1.0, 0.0], [0.25, 1.0, 1.0, 0.0]])
    changed = ours.change_colours_(batch.clone(), some, amounts, torch.tensor([[0, 3, 1, 2], [3, 2, 1, 0]]))
    expected = batch.clone()
    expected[5] *= 0.5
    expected[1] *= 0.25
    assert torch.allclose(changed, expected, atol=1e-6)
    others = [i for i in range(8) if i not in (1, 5)]
    assert torch.equal(changed[others], batch[others])


def test_a_shuffled_jitter_is_distributed_as_torchvisions():
    """Kolmogorov-Smirnov on one pixel of one image over many draws."""
    one = torch.tensor([0.7, 0.4, 0.2])[:, None, None].expand(3, 2, 2).clone()
    one[:, 0, 0] = 0.1
    strengths = ColourJitter(brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1)
    batch = ours.shuffled_jitter_(one.repeat(3000, 1, 1, 1), strengths, 1.0, generator())
    torch.manual_seed(0)
    jitter = v2.ColorJitter(0.4, 0.4, 0.4, 0.1)
    twin = torch.stack([jitter(one) for _ in range(3000)])
    for channel in range(3):
        drawn, expected = batch[:, channel, 1, 1].numpy(), twin[:, channel, 1, 1].numpy()
        assert kstest(drawn, expected).pvalue > 0.001


def test_a_shuffled_jitter_follows_its_generator_and_changes_its_share():
    strengths = ColourJitter(brightness=0.4, hue=0.1)
    batch = torch.rand(500, 3, 4, 4, generator=generator())
    changed = ours.shuffled_jitter_(batch.clone(), strengths, 0.7, generator())
    assert torch.equal(changed, ours.shuffled_jitter_(batch.clone(), strengths, 0.7, generator()))
    assert 300 < int((changed != batch).flatten(1).any(1).sum()) < 400
    assert torch.equal(ours.shuffled_jitter_(batch.clone(), strengths, 0.0, generator()), batch)
    assert torch.equal(ours.shuffled_jitter_(batch.clone(), ColourJitter(), 1.0, generator()), batch)


def test_two_channels_cannot_be_changed_in_any_order():
    with pytest.raises(ValueError, match="expected 1 or 3 channels for a change of colour, received 2"):
        ours.shuffled_jitter_(images(6, 2), ColourJitter(contrast=0.4), 1.0, generator())
