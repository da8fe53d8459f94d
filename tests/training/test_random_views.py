"""A random view is what lightly's SimSiam transform makes of one image."""

import numpy as np
import pytest
import torch
from jigstack.configs.heads import Blur, ColourJitter
from jigstack.configs.joint import ViewAugment
from jigstack.training import random_views as ours
from lightly.transforms.simsiam_transform import SimSiamViewTransform
from PIL import Image
from scipy.stats import binomtest, kstest
from torchvision.transforms.v2 import functional as tv

STILL = ViewAugment(crop=(1.0, 1.0), ratio=(1.0, 1.0), hflip=0, colour_p=0, grey=0, blur=Blur(p=0))


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pixels(count: int = 8, channels: int = 3, side: int = 20) -> torch.Tensor:
    return torch.randint(0, 256, (count, channels, side, side), generator=generator(), dtype=torch.uint8)


def still(**changes: object) -> ViewAugment:
    return STILL.model_copy(update=changes)


def likely(hits: int, trials: int, share: float) -> bool:
    return bool(binomtest(hits, trials, share).pvalue > 0.001)


def test_a_view_without_changes_is_the_image():
    assert torch.equal(ours.random_view(pixels(), STILL, 20, generator()), pixels() / 255)


@pytest.mark.parametrize("channels", [1, 3])
def test_views_are_reproducible_in_range_and_leave_their_input(channels: int):
    batch, options = pixels(64, channels), ViewAugment(rot90=True, vflip=0.5, blur=Blur(p=0.5), solarise=0.2)
    before = batch.clone()
    views = ours.random_view(batch, options, 16, generator())
    assert views.shape == (64, channels, 16, 16) and views.dtype == torch.float32
    assert float(views.min()) >= 0 and float(views.max()) <= 1
    assert torch.equal(batch, before)
    assert torch.equal(views, ours.random_view(batch, options, 16, generator()))
    assert not torch.equal(views, ours.random_view(batch, options, 16, generator(1)))


@pytest.mark.parametrize(
    ("options", "twin"),
    [
        (still(hflip=1.0), tv.horizontal_flip),
        (still(vflip=1.0), tv.vertical_flip),
        (still(solarise=1.0), lambda x: tv.solarize(x, 0.5)),
        (still(grey=1.0), lambda x: tv.rgb_to_grayscale(x, 3)),
        (still(blur=Blur(p=1.0, sigma=(1.0, 1.0))), lambda x: tv.gaussian_blur(x, [7, 7], [1.0, 1.0])),
    ],
    ids=["hflip", "vflip", "solarise", "grey", "blur"],
)
def test_each_operation_is_torchvisions(options: ViewAugment, twin):
    views = ours.random_view(pixels(), options, 20, generator())
    for view, image in zip(views, pixels() / 255, strict=True):
        torch.testing.assert_close(view, twin(image), rtol=0, atol=1e-5)


def test_quarter_turns_are_torchs_and_equally_likely():
    batch = pixels(1).expand(800, -1, -1, -1)
    views = ours.random_view(batch, still(rot90=True), 20, generator())
    turned = torch.stack([(batch[0] / 255).rot90(k, (-2, -1)) for k in range(4)])
    same = (views[:, None] == turned).flatten(2).all(2)  # (B, 4)
    assert bool((same.sum(1) == 1).all())
    assert all(likely(int(hits), 800, 0.25) for hits in same.sum(0))


def test_operations_come_in_the_order_of_simsiam():
    """Grey comes after the colours, blur after grey, solarising last."""
    jitter = ColourJitter(brightness=0.9, saturation=0.9, hue=0.5)
    changes = still(colour=jitter, colour_p=1.0, grey=1.0, blur=Blur(p=1.0, sigma=(1.0, 1.0)), solarise=1.0)
    views = ours.random_view(pixels(64), changes, 20, generator())
    assert torch.allclose(views[:, 0], views[:, 1], atol=1e-6)
    unsolarised = ours.random_view(pixels(64), changes.model_copy(update={"solarise": 0.0}), 20, generator())
    assert torch.equal(views, torch.where(unsolarised >= 0.5, 1 - unsolarised, unsolarised))
    sharp = ours.random_view(
        pixels(64), changes.model_copy(update={"blur": Blur(), "solarise": 0.0}), 20, generator()
    )
    torch.testing.assert_close(
        unsolarised, torch.stack([tv.gaussian_blur(x, [7, 7], [1.0, 1.0]) for x in sharp]), rtol=0, atol=1e-5
    )


def test_shares_are_those_of_the_options():
    batch = pixels(1).expand(1000, -1, -1, -1)
    for options, share in (
        (still(hflip=0.5), 0.5),
        (still(hflip=0.3), 0.3),
        (still(vflip=0.7), 0.7),
        (still(grey=0.2), 0.2),
        (still(colour_p=0.8), 0.8),
        (still(solarise=0.1), 0.1),
        (still(blur=Blur(p=0.5, sigma=(1.0, 2.0))), 0.5),
    ):
        views = ours.random_view(batch, options, 20, generator())
        changed = (views != batch / 255).flatten(1).any(1)
        assert likely(int(changed.sum()), 1000, share), (options, share)


def test_views_are_distributed_as_lightlys():
    """Kolmogorov-Smirnov on what 1,500 views of one picture show: light, contrast, colour, direction, sharpness."""
    side, count = 40, 1500
    ramp = torch.linspace(0, 1, side)
    dots = (torch.arange(side) // 4 % 2).float()
    image = torch.stack([ramp.expand(side, side), ramp[:, None] * dots, 0.5 * dots[:, None] * (1 - ramp)])
    batch = (image * 255).round().to(torch.uint8)[None]  # (1, 3, H, W)
    drawn = ours.random_view(batch.expand(count, -1, -1, -1), ViewAugment(blur=Blur(p=0.5)), 24, generator())
    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002 - lightly draws from the global generator
    transform = SimSiamViewTransform(input_size=24, normalize=None)
    picture = Image.fromarray(batch[0].permute(1, 2, 0).numpy())
    twin = torch.stack([transform(picture) for _ in range(count)])
    looks = {
        "brightness": lambda x: x.mean((1, 2, 3)),
        "contrast": lambda x: x.std((1, 2, 3)),
        "colour": lambda x: (x.amax(1) - x.amin(1)).mean((1, 2)),
        "across": lambda x: x[..., 12:].mean((1, 2, 3)) - x[..., :12].mean((1, 2, 3)),
        "down": lambda x: x[..., 12:, :].mean((1, 2, 3)) - x[..., :12, :].mean((1, 2, 3)),
        "sharpness": lambda x: x.diff(dim=-1).abs().mean((1, 2, 3)),
    }
    for name, look in looks.items():
        assert kstest(look(drawn).numpy(), look(twin).numpy()).pvalue > 0.001, name
    grey = [int((x.amax(1) - x.amin(1)).flatten(1).amax(1).lt(0.01).sum()) for x in (drawn, twin)]
    assert all(likely(hits, count, 0.2) for hits in grey)


def test_pixels_that_are_no_bytes_are_refused():
    with pytest.raises(ValueError, match=r"expected a batch \(B, C, H, W\) of uint8"):
        ours.random_view(torch.rand(2, 3, 8, 8), STILL, 8, generator())


def test_two_channels_have_no_colours_to_change():
    with pytest.raises(ValueError, match="expected 1 or 3 channels"):
        ours.random_view(pixels(channels=2), ViewAugment(colour_p=1.0), 20, generator())
