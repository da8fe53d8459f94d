"""SimSiam: two random views of an image should predict each other's projection; see `siamese`."""

from typing import ClassVar

import torch
from PIL import Image
from torch import Tensor

from ..backbones.timm_backbone import TimmBackbone
from ..configs.joint import SimSiamOptions
from .siamese import Siamese
from .view_sets import draw_views, view_sheet


class SimSiam(Siamese):
    """The SimSiam pretext: V views of each image in, their projections z and predictions p out.

    Args:
        backbone: the network that is pretrained, f.
        options: the config's options.
        size: side of a view, pixels.
    """

    shows: ClassVar[str] = "Held-out pictures: as they are | their views."

    def __init__(self, backbone: TimmBackbone, options: SimSiamOptions, size: int) -> None:
        super().__init__(backbone, options, options.layers_at(size))
        self.options, self.size = options, size

    def views(self, batch: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        """Draw V views of every image.

        Args:
            batch: (B, C, H, W) uint8.
            generator: every draw comes from it.

        Returns:
            `views` (V, B, C, size, size) float32, normalised.
        """
        options = self.options
        return {
            "views": draw_views(batch, options.augment, self.size, options.views, self.backbone, generator)
        }

    @torch.no_grad()
    def preview(self, batch: Tensor, generator: torch.Generator) -> Image.Image:
        """Draw the first images of a batch, each with its views.

        Args:
            batch: (B, C, H, W) uint8.
            generator: every draw comes from it.

        Returns:
            A picture with one row for each of up to 6 images: as it is | view 1 | view 2 ...
        """
        views = self.views(batch, generator)["views"]
        return view_sheet(batch.cpu(), list(views.cpu()), self.backbone)
