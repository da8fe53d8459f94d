"""Random crops of a batch of images, resized with anti-aliasing, with a box for each sample."""

import torch
import torch.nn.functional as F
from torch import Tensor

from .augment import check_images
from .parts import in_parts


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
    top, left, tall, wide = boxes.float().unbind(1)
    rows = _on(images.device, *line_weights(top, tall, size))
    columns = _on(images.device, *line_weights(left, wide, size))
    return in_parts(_resize, images, *rows, *columns).div_(255).clamp_(0.0, 1.0)


def line_weights(starts: Tensor, lengths: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Which pixels of a line, and with what weights, make each pixel of a resized part of it.

    The triangle filter, as wide as the scale where the line shrinks, cut at the ends of the part and made to sum to 1:
    torch's `interpolate(mode="bilinear", antialias=True)`.

    Args:
        starts: (B,) float, first pixel of the part.
        lengths: (B,) float, pixels of the part, at least 1.
        size: pixels of the result.

    Returns:
        (B, size, K) long, places on the line, inside the part; (B, size, K) float, weights that sum to 1 over K.
    """
    scale = (lengths / size)[:, None]  # (B, 1)
    reach = scale.clamp(min=1)
    centres = scale * (torch.arange(size, device=scale.device) + 0.5)  # (B, size), from the start of the part
    taps = int(2 * float(reach.max())) + 1 if len(reach) else 1
    first = (centres - reach + 0.5).floor()[:, :, None]
    places = first + torch.arange(taps, device=scale.device)  # (B, size, K)
    weights = (1 - (places + 0.5 - centres[:, :, None]).abs() / reach[:, :, None]).clamp_(min=0)
    last = (lengths - 1)[:, None, None]
    weights *= (places >= 0) & (places <= last)
    weights /= weights.sum(2, keepdim=True)
    return (places.clamp_(min=0).minimum(last) + starts[:, None, None]).long(), weights


def _resize(images: Tensor, rows: Tensor, high: Tensor, columns: Tensor, wide: Tensor) -> Tensor:
    """(B, C, H, W) uint8, and places and weights of rows and of columns (B, S, K): (B, C, S, S) in 0..255."""
    count, channels, height, width = images.shape
    size = rows.shape[1]
    lines = images.transpose(1, 2).to(torch.float32, memory_format=torch.contiguous_format)  # (B, H, C, W)
    lines = _weigh(lines.reshape(count, height, channels * width), rows, high)  # (B, S, C W)
    lines = lines.view(count, size, channels, width).permute(0, 3, 2, 1)  # (B, W, C, S)
    lines = _weigh(lines.reshape(count, width, channels * size), columns, wide)  # (B, S, C S)
    return lines.view(count, size, channels, size).permute(0, 2, 3, 1).contiguous()


def _weigh(lines: Tensor, places: Tensor, weights: Tensor) -> Tensor:
    """Weighted sums of the lines (B, N, F) at places (B, S, K): (B, S, F)."""
    # `embedding_bag` is the one kernel that gathers, weighs and sums at once, a whole line at a time.
    count, many, features = lines.shape
    places = places + many * torch.arange(count, device=places.device)[:, None, None]
    sums = F.embedding_bag(
        places.flatten(0, 1), lines.flatten(0, 1), mode="sum", per_sample_weights=weights.flatten(0, 1)
    )
    return sums.view(count, places.shape[1], features)


def _on(device: torch.device, *tensors: Tensor) -> tuple[Tensor, ...]:
    return tuple(tensor.to(device) for tensor in tensors)
