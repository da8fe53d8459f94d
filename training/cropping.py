"""Random crops of a batch of images, resized with anti-aliasing, with a box for each sample."""

import torch
import torch.nn.functional as F
from torch import Tensor

from .augment import check_images


def crop(images: Tensor, boxes: Tensor, size: int) -> Tensor:
    """`torchvision.transforms.v2.functional.resized_crop` with `antialias=True`, for each sample.

    Args:
        images: (B, C, H, W) uint8.
        boxes: (B, 4) top, left, height, width: whole numbers of pixels, inside the image.
        size: side of the result, pixels.

    Returns:
        (B, C, size, size) float32 in 0..1.

    Raises:
        ValueError: `images` is not such a batch.
    """
    check_images(images)
    # Per image, a processor's kernel reads the few pixels that count: 1.0 to 5 times as fast as the matrices, more so
    # the larger the image. A GPU would wait for each of its thousands of small launches.
    crops = (
        _one_by_one(images, boxes, size) if images.device.type == "cpu" else by_matrices(images, boxes, size)
    )
    return crops.div_(255).clamp_(0.0, 1.0)


def _one_by_one(images: Tensor, boxes: Tensor, size: int) -> Tensor:
    crops = torch.empty(*images.shape[:2], size, size)
    for image, made, box in zip(images.split(1), crops, boxes.int().tolist(), strict=True):
        top, left, height, width = box
        cut = image[:, :, top : top + height, left : left + width].float()
        made.copy_(F.interpolate(cut, (size, size), mode="bilinear", antialias=True)[0])
    return crops


def by_matrices(images: Tensor, boxes: Tensor, size: int) -> Tensor:
    """`crop` as two products of matrices a sample: columns, then rows. All samples at once, on any device.

    Args:
        images: (B, C, H, W) uint8.
        boxes: (B, 4) top, left, height, width in pixels.
        size: side of the result, pixels.

    Returns:
        (B, C, size, size) float32 in 0..255.
    """
    count, channels, height, width = images.shape
    top, left, tall, wide = boxes.to(images.device, torch.float32).unbind(1)
    rows = resize_matrices(top, tall, height, size)  # (B, size, H)
    columns = resize_matrices(left, wide, width, size)  # (B, size, W)
    # Rows before channels: the second product, too, is then one of B matrices instead of B C small ones.
    pixels = images.transpose(1, 2).float().reshape(count, height * channels, width)  # (B, H C, W)
    across = torch.bmm(pixels, columns.transpose(1, 2)).view(count, height, channels * size)  # (B, H, C size)
    both = torch.bmm(rows, across).view(count, size, channels, size)
    return both.transpose(1, 2).contiguous()


def resize_matrices(starts: Tensor, lengths: Tensor, pixels: int, size: int) -> Tensor:
    """What each pixel of a line gives to each pixel of a resized part of it.

    The triangle filter, as wide as the scale where the line shrinks, cut at the ends of the part and made to sum to 1:
    torch's `interpolate(mode="bilinear", antialias=True)`.

    Args:
        starts: (B,) float, first pixel of the part.
        lengths: (B,) float, pixels of the part.
        pixels: of the whole line.
        size: pixels of the result.

    Returns:
        (B, size, pixels) float: row i makes pixel i of the result; each row sums to 1.
    """
    lines = {"device": starts.device, "dtype": starts.dtype}
    scale = (lengths / size)[:, None, None]  # (B, 1, 1)
    centres = scale * (torch.arange(size, **lines) + 0.5)[:, None]  # (B, size, 1), from the start of the part
    at = (torch.arange(pixels, **lines) + 0.5 - starts[:, None])[:, None]  # (B, 1, pixels)
    inside = (at > 0) & (at < lengths[:, None, None])
    weights = (1 - (at - centres).abs() / scale.clamp(min=1)).clamp_(min=0) * inside
    return weights / weights.sum(2, keepdim=True)
