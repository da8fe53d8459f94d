"""The masked pretraining of pytorch-tabnet 4.1 from its formulas: for comparison, and for who wants its curves."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from ..backbones.ghost_norm import GhostBatchNorm1d
from ..backbones.table_backbone import TableBackbone
from ..backbones.tabnet import TabNet
from ..backbones.tabnet_encoder import FeatureTransformer
from ..configs.masked import MaskedOptions
from ..datasets.table_column import FIRST_LEVEL
from .cell_loss import CellLoss

_EPSILON = 1e-9


class PeerReconstruction(nn.Module):
    """pytorch-tabnet's way from rows to reconstructed features, and what these cost.

    It reconstructs features, not cells: of a category its embedding, which learns too. The i-th feature transformer of
    the decoder reads the ReLU of the encoder's i-th step; their first layers share weights; one layer without bias
    follows their sum. In evaluation the cells stay hidden, unlike there, where all are seen and copied.

    Args:
        backbone: a TabNet of plain numbers. With `initial_norm: true`, `group_scale: mean` and copied weights its
            outputs are those of pytorch-tabnet.
        options: the config's.

    Raises:
        ValueError: the backbone is another.
    """

    def __init__(self, backbone: TableBackbone, options: MaskedOptions) -> None:
        super().__init__()
        if backbone.kind != TabNet.kind or backbone.input.numbers != "plain":
            raise ValueError(
                f"mode: expected cell for the backbone {backbone.kind} with numbers: {backbone.input.numbers}, "
                "received pytorch-tabnet, which is for tabnet with numbers: plain"
            )
        assert isinstance(backbone, TabNet)
        width = backbone.dim

        def layer() -> nn.Linear:
            linear = nn.Linear(width, 2 * width, bias=False)
            nn.init.xavier_uniform_(linear.weight)
            return linear

        self.shared = nn.ModuleList([layer()])
        self.transformers = nn.ModuleList(
            FeatureTransformer(
                [layer() for _ in range(options.layers - 1)],
                [
                    GhostBatchNorm1d(2 * width, options.virtual_batch, options.momentum)
                    for _ in range(options.layers)
                ],
            )
            for _ in backbone.encoder.transformers
        )
        self.output = nn.Linear(width, backbone.input.dim, bias=False)
        nn.init.xavier_uniform_(self.output.weight)

    def forward(self, backbone: TabNet, values: Tensor, masked: Tensor) -> dict[str, Tensor]:
        """Hide, encode and reconstruct.

        Args:
            backbone: that of the pretext, which holds it.
            values: (B, D), as `TableColumn` says.
            masked: (B, D) bool, the cells that are hidden; missing ones are too.

        Returns:
            `features` (B, E) of the cells as they are, and `reconstructed` (B, E).
        """
        features = backbone.input(values)
        hidden = masked | backbone.input.missing(values)
        seen = features * (~hidden[:, backbone.input.slots]).to(features.dtype)
        encoded = backbone.encoder(seen, (~hidden).to(features.dtype))
        return {"features": features, "reconstructed": self.decode(encoded.steps)}

    def decode(self, steps: Sequence[Tensor]) -> Tensor:
        """Of each step of the encoder d_i (B, n_d), to features (B, E)."""
        decoded = [
            transformer(step.relu(), self.shared)
            for transformer, step in zip(self.transformers, steps, strict=True)
        ]
        return self.output(torch.stack(decoded).sum(0))


def peer_loss(reconstructed: Tensor, features: Tensor, asked: Tensor) -> Tensor:
    """The unsupervised loss of pytorch-tabnet 4.1, with its faults.

    Squared errors are divided by the feature's variance in this batch, where that is 0 by its mean, so that it can turn
    negative and very large; then by how many features of the row are asked for.

    Args:
        reconstructed, features: (B, E), in float32 at least.
        asked: (B, E), 1 for the features that are to be reconstructed, else 0.

    Returns:
        A scalar.
    """
    errors = ((reconstructed - features) * asked).square()
    means = features.mean(0)
    means = means.where(means != 0, 1)
    # Theirs is NaN for a batch of one row, which no batch norm there gets as far as.
    variances = features.var(0) if len(features) > 1 else torch.zeros_like(means)
    rows = errors @ (1 / variances.where(variances != 0, means))
    return (rows / (asked.sum(1) + _EPSILON)).mean()


def cells_of(backbone: TabNet, cells: CellLoss, outputs: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
    """What reconstructed features say of the cells.

    Args:
        backbone: it made the features.
        cells: knows where the levels stand.
        outputs: what `PeerReconstruction` returned.

    Returns:
        (B, Dn) standardised values, and (B, L) minus half the squared distance to each level's embedding, up to a
        constant of the row and column: the nearest level is the likeliest.
    """
    reconstructed = outputs["reconstructed"]
    numbers = reconstructed[:, : len(cells.numbers)]
    if not cells.levels:
        return numbers, reconstructed[:, :0]
    column, place = cells.level_columns, cells.level_places
    probes = reconstructed.new_zeros(int(place.max()) + 1, len(backbone.columns))
    probes[:, cells.categories] = FIRST_LEVEL + torch.arange(len(probes), device=place.device)[:, None].to(
        probes.dtype
    )
    own = backbone.input.slots == cells.categories[column][:, None]  # (L, E)
    embedded = backbone.input(probes)[place] * own
    return numbers, reconstructed @ embedded.T - embedded.square().sum(1) / 2
