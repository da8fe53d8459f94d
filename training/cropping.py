"""Crops of a batch of images, each with a box of its own, resized with anti-aliasing by two matrix products."""

import torch
from torch import Tensor


def antialiased_crop(images: Tensor, boxes: Tensor, size: int, mirrored: Tensor | None = None) -> Tensor:
    """`torchvision.transforms.v2.functional.resized_crop(..., antialias=True)` of float images, for each sample.

    The bilinear filter is separable: a crop resized is R · image · Cᵀ with one matrix for the rows and one for the
    columns. That reads pixels outside the box with weight 0, but costs two matrix products for a whole batch where a
    loop would need a call for each image; mirroring is an order of rows and costs nothing.

    Args:
        images: (B, C, H, W) float.
        boxes: (B, 4) top, left, height, width in pixels.
        size: side of the result, pixels.
        mirrored: (B, 2) bool: top to bottom, left to right, after the crop; None: none.

    Returns:
        (B, C, size, size) float.
    """
    height, width = images.shape[-2:]
    top, left, tall, wide = boxes.to(images.device, images.dtype).unbind(1)
    rows, columns = resize_matrix(top, tall, height, size), resize_matrix(left, wide, width, size)
    if mirrored is not None:
        down, across = mirrored.to(images.device)[..., None, None].unbind(1)
        rows = torch.where(down, rows.flip(1), rows)
        columns = torch.where(across, columns.flip(1), columns)
    lines = torch.bmm(images.flatten(1, 2), columns.transpose(1, 2))  # (B, C H, size)
    return rows[:, None] @ lines.unflatten(1, images.shape[1:3])


def resize_matrix(start: Tensor, length: Tensor, pixels: int, size: int) -> Tensor:
    """The weights with which torch's anti-aliased bilinear filter makes `size` pixels of a part of a line.

    Pixel i of the result has its centre at (i + .5) · length / size of the part; its weights fall linearly to 0 at one
    source pixel from there, or at one pixel of the result where that is wider, and sum to 1 within the part.

    Args:
        start, length: (B,) the part, in pixels.
        pixels: of the whole line.
        size: pixels of the result.

    Returns:
        (B, size, pixels), rows of sum 1.

    Example:
        >>> resize_matrix(torch.tensor([0.0]), torch.tensor([4.0]), 4, 2)[0, 0].tolist()
        [0.4285714328289032, 0.4285714328289032, 0.1428571492433548, 0.0]
    """
    start, length = start[:, None, None], length[:, None, None]
    scale = length / size
    at = torch.arange(pixels, device=start.device, dtype=start.dtype) + 0.5 - start  # (B, 1, pixels)
    centres = (torch.arange(size, device=start.device, dtype=start.dtype)[:, None] + 0.5) * scale
    weights = (1 - (at - centres).abs_() / scale.clamp(min=1)).clamp_(min=0)
    weights = weights.mul_((at > 0) & (at < length))
    return weights.div_(weights.sum(2, keepdim=True))
