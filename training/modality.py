"""How networks see a batch: pictures are resized, turned and normalised; a line of a table is as it is."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from ..configs.heads import HeadAugment
from .augment import augment_images, resize
from .views import apply_view


def seen(backbone: Any, batch: Any, views: Sequence[str], size: int | None = None) -> Any:
    """Fixed views of a batch, as a network reads them when it predicts.

    Args:
        backbone: knows how to normalise pictures; its `modality` is `image`, `table` or `joined`.
        batch: (B, C, H, W) uint8 pictures, or (B, D) lines of a table; of a joined network part -> one of these.
        views: V names of `training.views.VIEWS`; a table alone has the one view `identity`. Beside pictures its lines
            are the same in every view.
        size: side of pictures as the network reads them, pixels; None: what the backbone was built for.

    Returns:
        (V * B, ...) float32, view after view; of a joined network part -> such.

    Raises:
        ValueError: a table without pictures in another view.
    """
    if backbone.modality == "joined":
        pictured = any(part.modality == "image" for part in backbone.parts.values())
        found = {}
        for name, part in backbone.parts.items():
            repeated = pictured and part.modality == "table"
            own = seen(part, batch[name], ["identity"] if repeated else views, size)
            found[name] = own.repeat(len(views), 1) if repeated else own  # (V * B, D)
        return found
    if backbone.modality == "table":
        if list(views) != ["identity"]:
            raise ValueError(f"views: expected ['identity'] of a table, received {list(views)}")
        return batch
    resized = backbone.normalise(resize(batch, size or backbone.size))
    return torch.cat([apply_view(resized, view) for view in views])


def changed(backbone: Any, batch: Any, augment: HeadAugment, size: int, generator: torch.Generator) -> Any:
    """A batch with random changes, as a network reads it when it learns.

    Args:
        backbone: as in `seen`.
        batch: as in `seen`.
        augment: the changes of pictures; lines of a table are not changed.
        size: side of the result, pixels.
        generator: every draw comes from it, those of a joined network part after part.

    Returns:
        (B, ...) float32; of a joined network part -> such.
    """
    if backbone.modality == "joined":
        parts = backbone.parts.items()
        return {name: changed(part, batch[name], augment, size, generator) for name, part in parts}
    if backbone.modality == "table":
        return batch
    return backbone.normalise(augment_images(batch, augment, size, generator))


def rows_of(batch: Tensor | Mapping[str, Tensor]) -> int:
    """B of a batch, whether it is one tensor or one for each part."""
    return len(batch) if isinstance(batch, Tensor) else len(next(iter(batch.values())))
