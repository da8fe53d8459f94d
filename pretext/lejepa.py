"""LeJEPA: all views of an image to one point, all images to a Gaussian cloud; no teacher and no predictor.

After Balestriero and LeCun 2025, "LeJEPA: Provable and Scalable Self-Supervised Learning Without the Heuristics".
"""

from collections.abc import Iterator, Mapping
from typing import ClassVar

import torch
from lightly.loss.lejepa_loss import SIGReg, lejepa_invariance_loss
from lightly.models.modules.heads import ProjectionHead
from PIL import Image
from torch import Tensor, nn

from ..backbones.timm_backbone import TimmBackbone
from ..configs.joint import LejepaOptions
from .health import spread
from .view_sets import agreement, draw_crops, each_view, gauge, view_sheet


class Lejepa(nn.Module):
    """The LeJEPA pretext: V views of each image in, their projections out.

    Args:
        backbone: the network that is pretrained.
        options: the config's options.
        size: side of a large crop, pixels; the small ones have `options.local_size` of it.

    Raises:
        ValueError: the backbone cannot take the small crops.
    """

    shows: ClassVar[str] = "Held-out pictures: as they are | large crops | small crops."

    def __init__(self, backbone: TimmBackbone, options: LejepaOptions, size: int) -> None:
        super().__init__()
        self.backbone, self.options, self.size = backbone, options, size
        if options.local_views:
            backbone.probe(options.local_pixels(size))
        hidden = options.hidden
        self.projector = ProjectionHead(
            [
                (backbone.dim, hidden, nn.BatchNorm1d(hidden), nn.ReLU()),
                (hidden, hidden, nn.BatchNorm1d(hidden), nn.ReLU()),
                (hidden, options.width, None, None),
            ]
        )
        self.regulariser = SIGReg(num_vectors=options.slices)

    def views(self, batch: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        """Draw the crops of every image.

        Args:
            batch: (B, C, H, W) uint8.
            generator: every draw comes from it.

        Returns:
            `views` (G, B, C, size, size) and, if there are small crops, `locals` (L, B, C, s, s), float32, normalised.
        """
        return draw_crops(batch, self.options, self.size, self.options.views, self.backbone, generator)

    def forward(self, views: Mapping[str, Tensor]) -> Tensor:
        """Embed and project.

        Args:
            views: what `views` returned.

        Returns:
            (G + L, B, width) projections, those of the large crops first.
        """
        features = [each_view(self.backbone, part, joint=True) for part in views.values()]
        return each_view(self.projector, torch.cat(features), joint=True)

    def loss(self, outputs: Tensor, views: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """λ · distance of the projections from a standard Gaussian + (1 - λ) · distance of views from their centre.

        The Gaussian is tested along random directions, drawn from torch's global generator, which the training loop
        seeds before each step.

        Args:
            outputs: (G + L, B, width).
            views: what `views` returned.

        Returns:
            `loss`, its parts `gaussian` and `invariance`, and `z_std`, the collapse gauge.
        """
        z = outputs.float()
        gaussian = self.regulariser(z)
        invariance = lejepa_invariance_loss(all_proj=z, global_proj=z[: self.options.views])
        weight = self.options.weight
        return {
            "loss": weight * gaussian + (1 - weight) * invariance,
            "gaussian": gaussian,
            "invariance": invariance,
            "z_std": gauge(z),
        }

    def measure(self, outputs: Tensor, views: Mapping[str, Tensor]) -> dict[str, float]:
        """Judge views of rows that are not trained on.

        Args:
            outputs: what `forward` returned in evaluation mode.
            views: what `views` returned.

        Returns:
            `agreement`: mean cosine of the projections of one image's large crops; `z_std`: the collapse gauge.
        """
        z = outputs[: self.options.views].float()
        return {"agreement": float(agreement(z)), "z_std": float(gauge(z))}

    def health(self, features: Tensor) -> Iterator[tuple[str, float]]:
        """Yield signs of collapse; see `spread`."""
        yield from spread(features)

    @torch.no_grad()
    def preview(self, batch: Tensor, generator: torch.Generator) -> Image.Image:
        """Draw the first images of a batch, each with its crops.

        Args:
            batch: (B, C, H, W) uint8.
            generator: every draw comes from it.

        Returns:
            A picture with one row for each of up to 6 images: as it is | large crops | small crops.
        """
        views = self.views(batch, generator)
        return view_sheet(
            batch.cpu(), [view for part in views.values() for view in part.cpu()], self.backbone
        )
