"""Shifts and affine maps of a batch of images, with parameters for each sample."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from ..configs.heads import Affine
from .draws import uniform


def shift(images: Tensor, pad: int, generator: torch.Generator) -> Tensor:
    """Mirror `pad` pixels around each image and cut a window of the old size at random.

    Args:
        images: (B, C, H, W) float.
        pad: pixels, below H and W.
        generator: every draw comes from it.

    Returns:
        The same shape.
    """
    offsets = torch.randint(-pad, pad + 1, (2, len(images)), generator=generator, device=generator.device)
    return shifted(images, offsets, pad)


def shifted(images: Tensor, offsets: Tensor, pad: int) -> Tensor:
    """Cut a window of each mirrored image.

    Args:
        images: (B, C, H, W) float.
        offsets: (2, B) long: how far the window lies down and right of the image, -pad..pad pixels.
        pad: pixels, below H and W.

    Returns:
        The same shape.
    """
    height, width = images.shape[-2:]
    mirrored = F.pad(images, (pad, pad, pad, pad), mode="reflect")
    # A view of all windows, of which one a sample is copied: four times as fast as an index for each pixel.
    windows = mirrored.unfold(2, height, 1).unfold(3, width, 1)  # (B, C, 2 pad + 1, 2 pad + 1, H, W)
    down, right = (offsets + pad).to(images.device)
    return windows[torch.arange(len(images), device=images.device), :, down, right]


def random_affine(images: Tensor, options: Affine, generator: torch.Generator) -> Tensor:
    """Turn, shift, scale and shear each image in its own way.

    Args:
        images: (B, C, H, W) float.
        options: the ranges; all parameters are uniform in theirs but the scale, which is log-uniform.
        generator: every draw comes from it.

    Returns:
        The same shape; what comes from outside is mirrored.
    """
    count, (height, width) = len(images), images.shape[-2:]
    angles = uniform(generator, (count,), -options.degrees, options.degrees)
    moves = uniform(generator, (2, count), -options.translate, options.translate)
    low, high = map(math.log, options.scale)
    scales = uniform(generator, (count,), low, high).exp()
    shears = uniform(generator, (count,), -options.shear, options.shear)
    return affine(images, angles, moves[0] * width, moves[1] * height, scales, shears)


def affine(
    images: Tensor, angles: Tensor, right: Tensor, down: Tensor, scales: Tensor, shears: Tensor
) -> Tensor:
    """`torchvision.transforms.v2.functional.affine`, bilinear, for each sample; mirrored at the border.

    Args:
        images: (B, C, H, W) float.
        angles, shears: (B,) degrees; turned clockwise, sheared along x.
        right, down: (B,) shift in pixels.
        scales: (B,) above 0.

    Returns:
        The same shape.
    """
    height, width = images.shape[-2:]
    turn, lean = torch.deg2rad(angles), torch.deg2rad(shears)
    a, b = turn.cos(), -turn.cos() * lean.tan() - turn.sin()
    c, d = turn.sin(), -turn.sin() * lean.tan() + turn.cos()
    # The inverse map: where in the source a pixel of the result comes from, around the centre.
    x = torch.stack([d, -b, b * down - d * right], dim=1) / scales[:, None]
    y = torch.stack([-c, a, c * right - a * down], dim=1) / scales[:, None]
    matrix = torch.stack([x * 2 / width, y * 2 / height], dim=1).to(images.device, images.dtype)  # (B, 2, 3)
    columns, rows = (
        torch.arange(n, device=images.device, dtype=images.dtype) - (n - 1) / 2 for n in (width, height)
    )
    grid = (
        matrix[:, None, None, :, 0] * columns[:, None]
        + matrix[:, None, None, :, 1] * rows[:, None, None]
        + matrix[:, None, None, :, 2]
    )  # (B, H, W, 2)
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="reflection", align_corners=False)
