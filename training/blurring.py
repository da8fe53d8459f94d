"""Gaussian blur of a batch of images, with a width for each sample."""

import math

import torch
import torch.nn.functional as F
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
    count, channels = images.shape[:2]
    at = torch.arange(size, dtype=sigmas.dtype, device=sigmas.device) - (size - 1) / 2
    kernels = torch.exp(-0.5 * (at / sigmas[:, None]).square())
    kernels = (kernels / kernels.sum(1, keepdim=True)).to(images.device, images.dtype)  # (B, K)
    kernels = kernels.repeat_interleave(channels, 0)[:, None]  # (B C, 1, K)
    reach = size // 2
    stacked = F.pad(images, (reach, reach, reach, reach), mode="reflect").flatten(0, 1)[None]  # (1, B C, ...)
    across = F.conv2d(stacked, kernels[:, :, None], groups=count * channels)
    down = F.conv2d(across, kernels[..., None], groups=count * channels)
    return down[0].unflatten(0, (count, channels))
