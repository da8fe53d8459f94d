"""Gaussian blur of a batch of images, with a width for each sample."""

import math

import torch
from torch import Tensor


def kernel_size(sigma: float, side: int) -> int:
    """Odd number of pixels that holds three standard deviations to either side, as far as the mirror reaches."""
    return 2 * min(math.ceil(3 * sigma), side - 1) + 1


def blur(images: Tensor, sigmas: Tensor, size: int) -> Tensor:
    """`torchvision.transforms.v2.functional.gaussian_blur` for each sample; mirrored at the border.

    Args:
        images: (B, C, H, W) float.
        sigmas: (B,) standard deviations, pixels.
        size: kernel size, odd, below twice the image's sides.

    Returns:
        The same shape.
    """
    reach = size // 2
    rows, columns = (
        _mirrored_blur(sigmas, reach, n).to(images.device, images.dtype) for n in images.shape[-2:]
    )
    lines = torch.bmm(images.flatten(1, 2), columns.transpose(1, 2))  # (B, C H, W)
    return rows[:, None] @ lines.unflatten(1, images.shape[1:3])


def _mirrored_blur(sigmas: Tensor, reach: int, pixels: int) -> Tensor:
    """(B, pixels, pixels): the weights of every source pixel, with those of its mirror images at both borders."""
    offsets = torch.arange(1 - 2 * pixels, 2 * pixels, dtype=sigmas.dtype, device=sigmas.device)
    taps = torch.exp(-0.5 * (offsets / sigmas[:, None]).square()) * (offsets.abs() <= reach)
    taps = taps / taps.sum(1, keepdim=True)  # (B, offsets)
    at = torch.arange(pixels, device=sigmas.device)
    distance = at[:, None] - at + 2 * pixels - 1  # as an index of `taps`
    before = at[:, None] + at + 2 * pixels - 1
    after = 2 * (pixels - 1) - at[:, None] - at + 2 * pixels - 1
    # The border pixel is the mirror itself and has no image of its own.
    return taps[:, distance] + taps[:, before] * (at > 0) + taps[:, after] * (at < pixels - 1)
