"""How networks see a batch: pictures are resized, turned and normalised; a line of a table is as it is."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ..configs.heads import HeadAugment
from .augment import augment_images, resize
from .views import apply_view


def seen(backbone: Any, batch: Tensor, views: Sequence[str], size: int | None = None) -> Tensor:
    """Fixed views of a batch, as a network reads them when it predicts.

    Args:
        backbone: knows how to normalise pictures; its `modality` is `image` or `table`.
        batch: (B, C, H, W) uint8 pictures, or (B, D) lines of a table.
        views: V names of `training.views.VIEWS`; a table has the one view `identity`.
        size: side of pictures as the network reads them, pixels; None: what the backbone was built for.

    Returns:
        (V * B, ...) float32, view after view.

    Raises:
        ValueError: a table in another view.
    """
    if backbone.modality == "table":
        if list(views) != ["identity"]:
            raise ValueError(f"views: expected ['identity'] of a table, received {list(views)}")
        return batch
    resized = backbone.normalise(resize(batch, size or backbone.size))
    return torch.cat([apply_view(resized, view) for view in views])


def changed(
    backbone: Any, batch: Tensor, augment: HeadAugment, size: int, generator: torch.Generator
) -> Tensor:
    """A batch with random changes, as a network reads it when it learns.

    Args:
        backbone: as in `seen`.
        batch: as in `seen`.
        augment: the changes of pictures; lines of a table are not changed.
        size: side of the result, pixels.
        generator: every draw comes from it.

    Returns:
        (B, ...) float32.
    """
    if backbone.modality == "table":
        return batch
    return backbone.normalise(augment_images(batch, augment, size, generator))
