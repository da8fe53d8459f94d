"""Residual blocks on the features of a table."""

from collections import OrderedDict

from torch import Tensor, nn

from .linear import Linear
from .row_batch_norm import RowBatchNorm
from .table_backbone import TableBackbone
from .table_input import TableInput


class ResidualMlp(TableBackbone):
    """The ResNet for tables of Gorishniy et al. 2021 (section 3.2), its prediction without the last layer.

        block(z) = z + drop(linear(drop(relu(linear(norm(z))))))
        features = relu(norm(block(...block(linear(input)))))

    Args:
        input: the module that reads the columns.
        width: D, of the stream that the blocks add to.
        depth: number of blocks.
        expansion: width inside a block over `width`.
        dropout: share dropped between a block's two layers.
        residual_dropout: share dropped of what a block adds.
    """

    kind = "resmlp"

    def __init__(
        self,
        input: TableInput,
        *,
        width: int = 256,
        depth: int = 3,
        expansion: float = 2.0,
        dropout: float = 0.1,
        residual_dropout: float = 0.0,
    ) -> None:
        super().__init__(
            input,
            {
                "width": width,
                "depth": depth,
                "expansion": expansion,
                "dropout": dropout,
                "residual_dropout": residual_dropout,
            },
        )
        self.dim = width
        inside = max(1, round(width * expansion))
        self.first = Linear(input.dim, width)
        self.blocks = nn.ModuleList(
            nn.Sequential(
                RowBatchNorm(width),
                Linear(width, inside),
                nn.ReLU(),
                nn.Dropout(dropout),
                Linear(inside, width),
                nn.Dropout(residual_dropout),
            )
            for _ in range(depth)
        )
        self.tail = nn.Sequential(RowBatchNorm(width), nn.ReLU())

    def forward(self, x: Tensor, masked: Tensor | None = None) -> Tensor:
        """Turn rows into features.

        Args:
            x: (B, columns), as `TableColumn` says.
            masked: (B, columns) bool, the cells not to be seen; None: all are.

        Returns:
            (B, D) features, none below 0.
        """
        z = self.first(self.input(x, masked))
        for block in self.blocks:
            z = z + block(z)
        return self.tail(z)

    def stage_modules(self) -> "OrderedDict[str, list[nn.Module]]":
        """`stem`, the input and the first layer, then each block, then `tail`."""
        stages: OrderedDict[str, list[nn.Module]] = OrderedDict(stem=[self.input, self.first])
        stages.update((f"blocks.{i}", [block]) for i, block in enumerate(self.blocks))
        stages["tail"] = [self.tail]
        return stages
