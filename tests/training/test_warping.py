"""Shifts and affine maps do to each sample what torch and torchvision do to one image."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from jigstack.configs.heads import Affine
from jigstack.training.warping import affine, random_affine, shift, shifted
from scipy.ndimage import map_coordinates
from scipy.stats import kstest
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as tv


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def smooth(count: int, height: int, width: int) -> torch.Tensor:
    return F.interpolate(torch.rand(count, 3, 5, 5, generator=generator()), (height, width), mode="bicubic")


def test_a_shift_is_a_window_of_the_mirrored_image():
    images = torch.rand(25, 3, 9, 7, generator=generator())
    offsets = torch.stack(torch.meshgrid(torch.arange(-2, 3), torch.arange(-2, 3), indexing="ij")).flatten(1)
    for image, (down, right), result in zip(
        images, offsets.T.tolist(), shifted(images, offsets, 2), strict=True
    ):
        twin = tv.crop(F.pad(image[None], (2, 2, 2, 2), mode="reflect")[0], 2 + down, 2 + right, 9, 7)
        assert torch.equal(result, twin)


def test_every_window_is_drawn():
    ramp = torch.arange(20.0).view(1, 1, 1, 20).expand(600, 1, 20, 20)
    lefts = shift(ramp, 4, generator())[:, 0, 0, 6] - 6
    assert set(lefts.int().tolist()) == set(range(-4, 5))


@pytest.mark.parametrize(("height", "width"), [(32, 32), (24, 40)])
def test_an_affine_map_is_torchvisions_away_from_the_border(height: int, width: int):
    images = smooth(6, height, width)
    angles = torch.tensor([0.0, 30.0, -15.0, 5.0, 0.0, 12.0])
    right, down = torch.tensor([0.0, 1.5, -2.0, 0.0, 3.0, 1.0]), torch.tensor([0.0, -1.0, 2.5, 0.0, 1.0, 0.5])
    scales, shears = (
        torch.tensor([1.0, 1.1, 1.3, 1.2, 1.0, 1.4]),
        torch.tensor([0.0, 0.0, 8.0, 20.0, -10.0, 5.0]),
    )
    ours = affine(images, angles, right, down, scales, shears)
    for index, image in enumerate(images):
        move = [float(right[index]), float(down[index])]
        twin, inside = (
            tv.affine(
                given,
                float(angles[index]),
                move,
                float(scales[index]),
                [float(shears[index]), 0.0],
                interpolation=InterpolationMode.BILINEAR,
                fill=[0.0],
            )
            for given in (image, torch.ones_like(image))
        )
        known = inside > 0.9999
        assert known.float().mean() > 0.6
        torch.testing.assert_close(ours[index][known], twin[known], rtol=0, atol=1e-4)


def test_no_change_is_no_change_and_the_outside_is_mirrored():
    images = smooth(4, 16, 16)
    nothing, ones = torch.zeros(4), torch.ones(4)
    torch.testing.assert_close(affine(images, nothing, nothing, nothing, ones, nothing), images)
    small = affine(torch.ones(4, 1, 16, 16), nothing + 45, nothing + 5, nothing, ones * 0.5, nothing)
    torch.testing.assert_close(small, torch.ones_like(small))


def warped(image: np.ndarray, angle: float, move: np.ndarray, scale: float, shear: float) -> np.ndarray:
    """The slow way, one image (C, H, W): shear, turn, scale, move around the centre; read mirrored beyond the edge.

    scipy's `reflect` mirrors at the edge of the outermost pixels: d c b a | a b c d | d c b a.
    """
    turn, lean = math.radians(angle), math.tan(math.radians(shear))
    rotation = np.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])
    forward = scale * rotation @ np.array([[1, -lean], [0, 1]])  # on (x, y), y pointing down
    height, width = image.shape[1:]
    y, x = np.meshgrid(
        np.arange(height) - (height - 1) / 2, np.arange(width) - (width - 1) / 2, indexing="ij"
    )
    sources = np.linalg.inv(forward) @ (np.stack([x.ravel(), y.ravel()]) - move[:, None])
    places = sources[::-1] + np.array([[(height - 1) / 2], [(width - 1) / 2]])  # rows, columns
    read = [map_coordinates(channel, places, order=1, mode="reflect") for channel in image]
    return np.stack(read).reshape(image.shape)


@pytest.mark.parametrize(("height", "width"), [(16, 16), (13, 21)])
def test_an_affine_map_mirrors_a_picture_at_its_border_as_scipy_does(height: int, width: int):
    """Small scales and long moves: most of what is seen is a mirror image, the last ones twice mirrored."""
    images = torch.rand(6, 3, height, width, generator=generator())
    angles, shears = torch.tensor([0.0, 0, 33, -70, 10, 45]), torch.tensor([0.0, 0, 0, 12, -25, 5])
    right, down = torch.tensor([5.0, -3.3, 0, 2.5, 0, -9]), torch.tensor([0.0, 4.6, 0, -6, 3, 9])
    scales = torch.tensor([1.0, 1, 0.8, 0.9, 0.4, 0.3])
    ours = affine(images, angles, right, down, scales, shears)
    for index, image in enumerate(images.double().numpy()):
        move = np.array([float(right[index]), float(down[index])])
        twin = warped(image, float(angles[index]), move, float(scales[index]), float(shears[index]))
        np.testing.assert_allclose(ours[index].numpy(), twin, rtol=0, atol=1e-4)


def test_random_affine_maps_are_those_of_one_sample_after_the_other_for_the_same_draws():
    images = torch.rand(8, 3, 12, 20, generator=generator())
    options = Affine(degrees=30, translate=0.3, scale=(0.5, 1.5), shear=15)
    ours, draws = random_affine(images, options, generator(4)), generator(4)
    angles, right, down, scales, shears = (
        torch.rand(8, generator=draws, dtype=torch.float64).numpy() for _ in range(5)
    )
    for index, image in enumerate(images.double().numpy()):
        twin = warped(
            image,
            angles[index] * 60 - 30,
            np.array([(right[index] * 0.6 - 0.3) * 20, (down[index] * 0.6 - 0.3) * 12]),
            0.5 * 3 ** scales[index],
            shears[index] * 30 - 15,
        )
        np.testing.assert_allclose(ours[index].numpy(), twin, rtol=0, atol=1e-4)


def slopes(options: Affine, count: int = 2000) -> torch.Tensor:
    """The linear part of each sample's inverse map (B, 2, 2): how the coordinates x and y rise right and down."""
    line = torch.arange(9.0)
    ramps = torch.stack([line.expand(9, 9), line[:, None].expand(9, 9)])  # x, y of each pixel
    moved = random_affine(ramps.expand(count, 2, 9, 9), options, generator())
    right = (moved[..., 4, 5] - moved[..., 4, 3]) / 2  # (B, 2)
    down = (moved[..., 5, 4] - moved[..., 3, 4]) / 2
    return torch.stack([right, down], dim=-1)


def test_turns_are_uniform_to_either_side():
    inverse = slopes(Affine(degrees=20))
    angles = torch.rad2deg(torch.atan2(-inverse[:, 1, 0], inverse[:, 0, 0]))
    assert kstest(angles.numpy(), "uniform", args=(-20, 40)).pvalue > 0.01


def test_scales_are_log_uniform():
    scales = 1 / slopes(Affine(scale=(0.8, 1.25)))[:, 0, 0]
    assert kstest(scales.log().numpy(), "uniform", args=(math.log(0.8), 2 * math.log(1.25))).pvalue > 0.01


def test_shears_are_uniform_and_along_x_only():
    inverse = slopes(Affine(shear=15))
    shears = torch.rad2deg(torch.atan(inverse[:, 0, 1]))
    assert kstest(shears.numpy(), "uniform", args=(-15, 30)).pvalue > 0.01
    torch.testing.assert_close(inverse[:, 1], torch.tensor([0.0, 1.0]).expand(2000, 2))


def test_shifts_are_uniform_shares_of_each_side_drawn_for_itself():
    rows, columns = torch.meshgrid(torch.arange(40.0), torch.arange(24.0), indexing="ij")
    ramps = torch.stack([rows, columns]).expand(2000, 2, 40, 24)
    moved = random_affine(ramps, Affine(translate=0.1), generator())
    down, right = (ramps[:, :, 20, 12] - moved[:, :, 20, 12]).T
    assert kstest(down.numpy(), "uniform", args=(-4, 8)).pvalue > 0.01
    assert kstest(right.numpy(), "uniform", args=(-2.4, 4.8)).pvalue > 0.01
    assert abs(float(torch.corrcoef(torch.stack([down, right]))[0, 1])) < 0.1
