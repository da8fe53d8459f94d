"""The random views: torchvision's operations for each sample, lightly's distribution over samples."""

from typing import Any

import numpy as np
import pytest
import torch
from jigstack.configs.heads import ColourJitter
from jigstack.configs.joint import ViewAugment
from jigstack.training.random_views import random_view
from lightly.transforms.simsiam_transform import SimSiamViewTransform
from PIL import Image
from torch import Tensor

PLAIN: dict[str, Any] = {"colour_p": 0.0, "grey": 0.0, "blur": 0.0, "hflip": 0.0}


def pictures(count: int = 64, channels: int = 3, size: int = 48) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(count, channels, 6, 6, generator=generator)
    smooth = torch.nn.functional.interpolate(coarse, size=(size, size), mode="bilinear")
    return (smooth * 255).to(torch.uint8)


def draw(images: Tensor, size: int = 32, seed: int = 3, **options: Any) -> Tensor:
    return random_view(images, ViewAugment(**options), size, torch.Generator().manual_seed(seed))


def test_the_draws_come_from_the_generator_alone_and_the_images_stay():
    images = pictures()
    before = images.clone()
    options: dict[str, Any] = {"vflip": 0.5, "rot90": True, "blur": 0.5, "solarise": 0.2}
    first = draw(images, **options)
    torch.manual_seed(99)
    assert torch.equal(first, draw(images, **options))
    assert not torch.equal(first, draw(images, seed=4, **options))
    assert torch.equal(images, before)
    assert first.shape == (64, 3, 32, 32) and first.dtype == torch.float32
    assert first.min() >= 0 and first.max() <= 1


def test_without_any_change_the_view_is_the_picture():
    images = pictures(size=32)
    view = draw(images, crop=(1.0, 1.0), ratio=(1.0, 1.0), **PLAIN)
    torch.testing.assert_close(view, images.float() / 255, atol=1e-6, rtol=0)


def test_quarter_turns_and_mirrors_reach_all_eight_positions():
    images = pictures(1, size=32).expand(400, -1, -1, -1)
    whole: dict[str, Any] = {"crop": (1.0, 1.0), "ratio": (1.0, 1.0)}
    views = draw(images, rot90=True, **whole, hflip=0.5, colour_p=0.0, grey=0.0, blur=0.0)
    kinds = {tuple(view[:, :8, :8].mul(255).round().flatten().tolist()) for view in views}
    assert len(kinds) == 8


def test_half_the_views_are_solarised():
    images = pictures(size=32).clamp(0, 100)  # dark: solarising leaves these
    bright = 255 - images
    options = PLAIN | {"crop": (1.0, 1.0), "ratio": (1.0, 1.0), "solarise": 0.5}
    torch.testing.assert_close(draw(images, **options), images.float() / 255, atol=1e-6, rtol=0)
    changed = (draw(bright, **options) - bright.float() / 255).abs().amax((1, 2, 3)) > 0.1
    assert 0.3 < changed.float().mean() < 0.7


def test_blur_is_left_out_up_to_64_pixels_unless_asked_for():
    images = pictures(8)
    options: dict[str, Any] = {"colour_p": 0.0, "grey": 0.0}
    assert torch.equal(draw(images, **options), draw(images, blur=0.0, **options))
    assert not torch.equal(draw(images, **options), draw(images, blur=1.0, **options))
    assert not torch.equal(draw(images, 80, **options), draw(images, 80, blur=0.0, **options))


def test_grey_images_are_cropped_and_blurred_but_have_no_colours_to_change():
    assert draw(pictures(4, channels=1), blur=1.0).shape == (4, 1, 32, 32)


@pytest.mark.parametrize("bad", [torch.zeros(2, 3, 8, 8), torch.zeros(3, 8, 8, dtype=torch.uint8)])
def test_anything_but_a_batch_of_bytes_is_refused(bad: Tensor):
    with pytest.raises(ValueError, match=r"images: expected a batch \(B, C, H, W\) of uint8"):
        draw(bad)


def test_the_distribution_is_that_of_lightly_s_transform():
    """Mean, spread, local contrast and colourfulness of 3,000 views of one picture, and the share in grey."""
    picture, count = pictures(1, size=64)[0], 3000
    raw = Image.fromarray(picture.permute(1, 2, 0).numpy())
    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002 - lightly blurs by numpy's global generator
    transform = SimSiamViewTransform(input_size=32, gaussian_blur=0.5, normalize=None)
    theirs = torch.stack([transform(raw) for _ in range(count)])
    ours = draw(picture.expand(count, -1, -1, -1), blur=0.5)

    def moments(views: Tensor) -> Tensor:
        colourful = views.std(1).mean((1, 2))
        rough = (views[..., 1:] - views[..., :-1]).abs().mean((1, 2, 3))
        each = torch.stack(
            [views.mean((1, 2, 3)), views.std((1, 2, 3)), colourful, rough, (colourful < 1e-3).float()]
        )
        return torch.cat([each.mean(1), each.std(1)])

    expected, found = moments(theirs), moments(ours)
    # Five standard errors of a mean, and what 8-bit rounding and Pillow's box blur leave.
    torch.testing.assert_close(found, expected, rtol=0.06, atol=0.012)


def test_strengths_reach_the_views():
    images = pictures(200)
    options: dict[str, Any] = {
        "grey": 0.0,
        "colour_p": 1.0,
        "crop": (1.0, 1.0),
        "ratio": (1.0, 1.0),
        "hflip": 0.0,
    }
    strong = draw(images, colour=ColourJitter(brightness=0.8), **options).mean((1, 2, 3))
    weak = draw(images, colour=ColourJitter(brightness=0.1), **options).mean((1, 2, 3))
    assert strong.std() > 2 * weak.std()
