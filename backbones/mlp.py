"""A multi-layer perceptron on the features of a table."""

from collections import OrderedDict

from torch import Tensor, nn

from .linear import Linear
from .table_backbone import TableBackbone
from .table_input import TableInput


class Mlp(TableBackbone):
    """Layers of equal width, each with a ReLU and dropout.

    On a piecewise-linear input it is the MLP-Q-LR of Gorishniy et al. 2022.

    Args:
        input: the module that reads the columns.
        width: D, of every layer.
        depth: number of layers.
        dropout: share of a layer's outputs that is dropped in training.

    Example:
        >>> from jigstack.datasets.table_column import TableColumn
        >>> Mlp(TableInput([TableColumn("age")]), width=16).dim
        16
    """

    kind = "mlp"

    def __init__(self, input: TableInput, *, width: int = 256, depth: int = 3, dropout: float = 0.1) -> None:
        super().__init__(input, {"width": width, "depth": depth, "dropout": dropout})
        self.dim = width
        widths = [input.dim, *[width] * (depth - 1)]
        self.layers = nn.Sequential(
            *(nn.Sequential(Linear(before, width), nn.ReLU(), nn.Dropout(dropout)) for before in widths)
        )

    def forward(self, x: Tensor, masked: Tensor | None = None) -> Tensor:
        """Turn rows into features.

        Args:
            x: (B, columns), as `TableColumn` says.
            masked: (B, columns) bool, the cells not to be seen; None: all are.

        Returns:
            (B, D) features.
        """
        return self.layers(self.input(x, masked))

    def stage_modules(self) -> "OrderedDict[str, list[nn.Module]]":
        """`stem`, the input, then each layer."""
        stages: OrderedDict[str, list[nn.Module]] = OrderedDict(stem=[self.input])
        stages.update((f"layers.{i}", [layer]) for i, layer in enumerate(self.layers))
        return stages
