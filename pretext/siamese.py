"""What SimSiam is on pictures and on rows: views of an input that predict each other's projection.

After Chen and He 2021, "Exploring Simple Siamese Representation Learning"; with more than two views FastSiam
(Pototzky et al. 2022): each view predicts the mean projection of the others.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from lightly.loss import NegativeCosineSimilarity
from lightly.models.modules.heads import ProjectionHead, SimSiamPredictionHead, SimSiamProjectionHead
from torch import Tensor, nn

from ..configs.joint import SiameseOptions
from .health import spread
from .view_sets import agreement, each_view, gauge


class Siamese(nn.Module):
    """V views of each input in, their projections z and predictions p out; a subclass draws the views.

    Args:
        backbone: the network that is pretrained, f.
        options: the config's options.
        layers: of the projection.
    """

    def __init__(self, backbone: Any, options: SiameseOptions, layers: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.joint, self.steadies = options.statistics == "joint", options.steady_predictor
        self.projector = projection(backbone.dim, options.width, layers)
        self.predictor = SimSiamPredictionHead(options.width, options.width // 4, options.width)

    def steady(self) -> list[nn.Parameter]:
        """The predictor: its rate does not decay, so that it keeps up with the latest projections (section 4.2)."""
        return list(self.predictor.parameters()) if self.steadies else []

    def forward(self, views: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Embed, project and predict.

        Args:
            views: what `views` returned: `views` (V, B, ...).

        Returns:
            `z` the projections and `p` the predictions, (V, B, width) each.
        """
        z = each_view(self.projector, self.embedded(views), joint=self.joint)
        return {"z": z, "p": each_view(self.predictor, z, joint=self.joint)}

    def embedded(self, views: Mapping[str, Tensor]) -> Tensor:
        """The features (V, B, D) of views."""
        return each_view(self.backbone, views["views"], joint=self.joint)

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
            one input's views; `z_std`: the collapse gauge.
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


def projection(dim: int, width: int, layers: int) -> nn.Module:
    """The projection head: features (B, dim) to (B, width), two or three layers with batch-norm."""
    if layers == 3:
        return SimSiamProjectionHead(dim, width, width)
    return ProjectionHead(
        [
            (dim, width, nn.BatchNorm1d(width), nn.ReLU()),
            (width, width, nn.BatchNorm1d(width, affine=False), None),
        ]
    )


def simsiam_loss(p: Tensor, z: Tensor) -> Tensor:
    """The loss of V views, averaged over views and inputs.

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
