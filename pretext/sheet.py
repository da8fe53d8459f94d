"""The preview of a jigsaw: shuffled, as it was, and as the network puts it together."""

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from ..backbones.timm_backbone import TimmBackbone
from .boards import Layout, assemble, unshuffle

PREVIEWED = 6
_WRONG = (220, 30, 30)


def sheet(tiles: Tensor, perm: Tensor, predicted: Tensor, layout: Layout) -> Image.Image:
    """Draw one row for each picture: shuffled | truth | prediction.

    Args:
        tiles: (B, 3, T, t, t) uint8, shuffled.
        perm, predicted: (B, T) the true and the predicted source of every slot.
        layout: the geometry.

    Returns:
        The picture. A wrong tile of the prediction has a red frame.
    """
    guess = unshuffle(tiles, predicted).clone()
    wrong = unshuffle((predicted != perm)[:, None, :, None, None], predicted).expand_as(guess)
    frame = torch.ones(layout.tile, layout.tile, dtype=torch.bool)
    frame[2:-2, 2:-2] = False
    red = torch.tensor(_WRONG, dtype=torch.uint8).view(1, 3, 1, 1, 1)
    guess = torch.where(wrong & frame, red, guess)
    drawn = torch.stack([tiles, unshuffle(tiles, perm), guess], dim=1)  # (B, 3 columns, 3, T, t, t)
    sheets = assemble(drawn.flatten(0, 1), layout, background=255.0)
    sheets = F.pad(sheets, (4, 4, 4, 4), value=255).unflatten(0, (-1, 3))  # (B, 3, 3, S, S)
    page = sheets.permute(0, 3, 1, 4, 2).flatten(2, 3).flatten(0, 1)  # (B S, 3 S, 3)
    return Image.fromarray(page.contiguous().numpy())


def as_pixels(images: Tensor, backbone: TimmBackbone, tile_norm: bool) -> Tensor:
    """Undo the normalisation for the eye: (B, C, ...) -> (B, 3, ...) uint8."""
    if tile_norm:
        unit = images / 5 + 0.5
    else:
        shape = (-1, *[1] * (images.ndim - 2))
        mean, std = (torch.tensor(values).view(shape) for values in (backbone.mean, backbone.std))
        unit = images * std + mean
    return unit.clamp(0, 1).mul(255).round().to(torch.uint8).expand(-1, 3, *images.shape[2:])
