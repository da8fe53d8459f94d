"""Parts of images erased or moved, with places for each sample."""

import math

import torch
from torch import Tensor

from ..configs.heads import Erase
from .draws import uniform

_TRIES = 10


def erase_boxes(count: int, height: int, width: int, options: Erase, generator: torch.Generator) -> Tensor:
    """Draw rectangles as torchvision's `RandomErasing` does: uniform area, log-uniform height over width.

    Ten pairs are tried for each sample; where none fits, nothing is erased.

    Returns:
        (B, 4) long on the generator's device: top, left, height, width; height and width 0 for nothing.
    """
    area = height * width * uniform(generator, (count, _TRIES), *options.area)  # (B, tries)
    ratio = uniform(generator, (count, _TRIES), *map(math.log, options.ratio)).exp()
    h, w = (area * ratio).sqrt().round(), (area / ratio).sqrt().round()
    fits = (h < height) & (w < width) & (h > 0) & (w > 0)
    first = fits.int().argmax(1, keepdim=True)
    h, w = (side.gather(1, first)[:, 0] * fits.any(1) for side in (h, w))
    places = uniform(generator, (2, count))
    top, left = (places[0] * (height - h + 1)).floor(), (places[1] * (width - w + 1)).floor()
    return torch.stack([top, left, h, w], dim=1).long()


def erase(images: Tensor, boxes: Tensor) -> Tensor:
    """Fill a rectangle of each image with the image's mean colour.

    Args:
        images: (B, C, H, W) float.
        boxes: (B, 4) top, left, height, width, pixels.
    """
    top, left, height, width = boxes.to(images.device)[..., None].unbind(1)  # (B, 1)
    rows, columns = (torch.arange(n, device=images.device) for n in images.shape[-2:])
    inside = ((rows >= top) & (rows < top + height))[:, :, None] & (
        (columns >= left) & (columns < left + width)
    )[:, None]
    return torch.where(inside[:, None], images.mean((2, 3), keepdim=True), images)


def shuffle_cells(images: Tensor, orders: Tensor, grid: int) -> Tensor:
    """Cut each image into grid x grid equal cells and lay them in another order.

    What the division leaves stays where it is, right and below.

    Args:
        images: (B, C, H, W).
        orders: (B, grid²), `orders[b, place]` is the cell that comes to `place`, row by row.
        grid: cells a side, at most H and W.
    """
    tall, wide = (side // grid for side in images.shape[-2:])
    inner = images[..., : grid * tall, : grid * wide]
    cells = inner.unflatten(3, (grid, wide)).unflatten(2, (grid, tall)).transpose(3, 4).flatten(2, 3)
    sample = torch.arange(len(images), device=images.device)[:, None]
    moved = cells.transpose(1, 2)[sample, orders.to(images.device)].transpose(
        1, 2
    )  # (B, C, grid², tall, wide)
    laid = moved.unflatten(2, (grid, grid)).transpose(3, 4).flatten(4, 5).flatten(2, 3)
    result = images.clone()
    result[..., : grid * tall, : grid * wide] = laid
    return result
