"""Several random views of each image: how joint-embedding pretexts draw, embed, watch and show them."""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from ..backbones.timm_backbone import TimmBackbone
from ..configs.joint import MultiCropOptions, ViewAugment
from ..training.random_views import random_view
from .sheet import PREVIEWED, as_pixels


def draw_views(
    batch: Tensor,
    augment: ViewAugment,
    size: int,
    count: int,
    backbone: TimmBackbone,
    generator: torch.Generator,
) -> Tensor:
    """Draw views of every image and normalise them.

    Args:
        batch: (B, C, H, W) uint8.
        augment: what to draw from.
        size: side of a view, pixels.
        count: V, views of each image.
        backbone: knows the mean and the standard deviation of the pixels.
        generator: every draw comes from it.

    Returns:
        (V, B, C, size, size) float32.
    """
    views = [random_view(batch, augment, size, generator) for _ in range(count)]
    return backbone.normalise_(torch.stack(views))


def draw_crops(
    batch: Tensor,
    options: MultiCropOptions,
    size: int,
    count: int,
    backbone: TimmBackbone,
    generator: torch.Generator,
) -> dict[str, Tensor]:
    """Draw large and small crops of every image.

    Args:
        batch: (B, C, H, W) uint8.
        options: how, and how many small ones, L.
        size: side of a large crop, pixels.
        count: G, large crops of each image.
        backbone: knows the mean and the standard deviation of the pixels.
        generator: every draw comes from it.

    Returns:
        `views` (G, B, C, size, size) and, if there are small crops, `locals` (L, B, C, s, s), float32, normalised.
    """
    crops = {"views": draw_views(batch, options.augment, size, count, backbone, generator)}
    if options.local_views:
        small, several = options.local_pixels(size), options.local_views
        crops["locals"] = draw_views(batch, options.local_augment, small, several, backbone, generator)
    return crops


def each_view(network: Callable[[Tensor], Tensor], views: Tensor, *, joint: bool) -> Tensor:
    """Apply a network with batch-norm to every view.

    Args:
        network: (B, ...) to (B, D).
        views: (V, B, ...).
        joint: whether all views share their batch statistics, in one call; else each view has its own, as in a loop
            over the views.

    Returns:
        (V, B, D).
    """
    if joint:
        return network(views.flatten(0, 1)).unflatten(0, views.shape[:2])
    return torch.stack([network(view) for view in views])


def gauge(outputs: Tensor) -> Tensor:
    """The collapse gauge: standard deviation of the normalised outputs times √D (Chen and He 2021, section 4.1).

    Args:
        outputs: (V, B, D) of different images along B.

    Returns:
        A scalar: 1 where the outputs are spread evenly over the sphere, 0 where all images give the same.
    """
    unit = F.normalize(outputs.detach().float(), dim=-1)
    return unit.std(dim=1, correction=0).mean() * unit.shape[-1] ** 0.5


def agreement(outputs: Tensor) -> Tensor:
    """Mean cosine similarity between the views of one image: V views (V, B, D), V >= 2, to a scalar."""
    unit = F.normalize(outputs.detach().float(), dim=-1)
    views = len(unit)
    together = unit.sum(0).square().sum(-1).mean()  # Σ_ij cos_ij of each image, its V ones on the diagonal
    return (together - views) / (views * (views - 1))


def view_sheet(batch: Tensor, views: Sequence[Tensor], backbone: TimmBackbone) -> Image.Image:
    """Draw one row for each image: as it is, then its views.

    Args:
        batch: (B, C, H, W) uint8.
        views: (B, C, s, s) float each, normalised; sizes may differ.
        backbone: whose normalisation is undone.

    Returns:
        The picture, of up to 6 rows.
    """
    side = max(view.shape[-1] for view in views)
    plain = F.interpolate(batch[:PREVIEWED].float(), size=(side, side), mode="bilinear", antialias=True)
    shown = [plain.clamp(0, 255).round().to(torch.uint8).expand(-1, 3, -1, -1)]
    for view in views:
        pixels = as_pixels(view[:PREVIEWED], backbone, tile_norm=False)
        missing = side - pixels.shape[-1]
        shown.append(F.pad(pixels, (0, missing, 0, missing), value=255))
    framed = F.pad(torch.stack(shown, dim=1), (2, 2, 2, 2), value=255)  # (B, 1 + V, 3, s, s)
    page = framed.permute(0, 3, 1, 4, 2).flatten(2, 3).flatten(0, 1)  # (B s, (1 + V) s, 3)
    return Image.fromarray(page.contiguous().numpy())
