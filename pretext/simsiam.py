"""SimSiam: two random views of an image should predict each other's projection.

After Chen and He 2021, "Exploring Simple Siamese Representation Learning"; with more than two views FastSiam
(Pototzky et al. 2022): each view predicts the mean projection of the others.
"""

from collections.abc import Iterator, Mapping
from typing import ClassVar

import torch
from lightly.loss import NegativeCosineSimilarity
from lightly.models.modules.heads import ProjectionHead, SimSiamPredictionHead, SimSiamProjectionHead
from PIL import Image
from torch import Tensor, nn

from ..backbones.timm_backbone import TimmBackbone
from ..configs.joint import SimSiamOptions
from .health import spread
from .view_sets import agreement, draw_views, each_view, gauge, view_sheet

SMALL = 64
"""Up to this side, pixels, the projection has two layers, as for CIFAR (Chen and He 2021, appendix D)."""


class SimSiam(nn.Module):
    """The SimSiam pretext: V views of each image in, their projections z and predictions p out.

    Args:
        backbone: the network that is pretrained, f.
        options: the config's options.
        size: side of a view, pixels.
    """

    shows: ClassVar[str] = "Held-out pictures: as they are | their views."

    def __init__(self, backbone: TimmBackbone, options: SimSiamOptions, size: int) -> None:
        super().__init__()
        self.backbone, self.options, self.size = backbone, options, size
        self.projector = projection(backbone.dim, options, size)
        self.predictor = SimSiamPredictionHead(options.width, options.width // 4, options.width)

    def steady(self) -> list[nn.Parameter]:
        """The predictor: its rate does not decay, so that it keeps up with the latest projections (section 4.2)."""
        return list(self.predictor.parameters()) if self.options.steady_predictor else []

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

    def forward(self, views: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Embed, project and predict.

        Args:
            views: what `views` returned.

        Returns:
            `z` the projections and `p` the predictions, (V, B, width) each.
        """
        joint = self.options.statistics == "joint"
        f = each_view(self.backbone, views["views"], joint=joint)
        z = each_view(self.projector, f, joint=joint)
        return {"z": z, "p": each_view(self.predictor, z, joint=joint)}

    def loss(self, outputs: Mapping[str, Tensor], views: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Negative cosine similarity, in float32 at least.

        Args:
            outputs: what `forward` returned.
            views: what `views` returned.

        Returns:
            `loss` (-1..1, -1 if every prediction is right) and `z_std`, the collapse gauge (`gauge`): a loss of -1 says
            nothing where it is 0.
        """
        z, p = (
            each if each.dtype == torch.float64 else each.float() for each in (outputs["z"], outputs["p"])
        )
        return {"loss": simsiam_loss(p, z), "z_std": gauge(z)}

    def measure(self, outputs: Mapping[str, Tensor], views: Mapping[str, Tensor]) -> dict[str, float]:
        """Judge views of rows that are not trained on.

        Args:
            outputs: what `forward` returned in evaluation mode.
            views: what `views` returned.

        Returns:
            `similarity`: mean cosine of predictions and targets (-loss); `agreement`: mean cosine of the projections of
            one image's views; `z_std`: the collapse gauge.
        """
        z, p = outputs["z"].float(), outputs["p"].float()
        return {
            "similarity": -float(simsiam_loss(p, z)),
            "agreement": float(agreement(z)),
            "z_std": float(gauge(z)),
        }

    def health(self, features: Tensor) -> Iterator[tuple[str, float]]:
        """Yield signs of collapse; see `spread`."""
        yield from spread(features)

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


def projection(dim: int, options: SimSiamOptions, size: int) -> nn.Module:
    """The projection head: features (B, dim) to (B, width), two or three layers with batch-norm."""
    layers = options.layers if options.layers != "auto" else 2 if size <= SMALL else 3
    width = options.width
    if layers == 3:
        return SimSiamProjectionHead(dim, width, width)
    return ProjectionHead(
        [
            (dim, width, nn.BatchNorm1d(width), nn.ReLU()),
            (width, width, nn.BatchNorm1d(width, affine=False), None),
        ]
    )


def simsiam_loss(p: Tensor, z: Tensor) -> Tensor:
    """The loss of V views, averaged over views and images.

    View i predicts t_i, the mean of the other views' projections, which is the other's where V = 2. No gradient flows
    into t_i: it is detached here, so that no caller can forget it.

    Args:
        p: (V, B, D) predictions.
        z: (V, B, D) projections.

    Returns:
        A scalar, -1..1.
    """
    z = z.detach()
    targets = (z.sum(0) - z) / (len(z) - 1)  # (V, B, D)
    return NegativeCosineSimilarity(dim=-1)(p, targets)
