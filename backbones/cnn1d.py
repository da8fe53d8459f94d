"""A one-dimensional convolutional network whose first layer lays the features of a table out as a signal."""

from collections import OrderedDict

from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import weight_norm

from .row_batch_norm import RowBatchNorm
from .table_backbone import TableBackbone
from .table_input import TableInput

_CELU_ALPHA = 0.06


class Cnn1d(TableBackbone):
    """The 1-D CNN of the second place of the Kaggle competition "Mechanisms of Action" (2020), up to its last layer.

    A weight-normed layer gives `hidden` numbers, which are read as `channels` x length. Convolutions of 5 and 3
    positions follow, with an average over pairs between them; then two more, of 3 and 5, whose output is multiplied by
    what went into them; a maximum over 4 positions in steps of 2 ends it. The order of its positions is learned.

    Args:
        input: the module that reads the columns.
        hidden: width of the first layer, a multiple of `channels` and at least 4 times as many.
        channels: of the signal.
        filters: channels of every convolution.
        dropout_input: share dropped before the first layer.
        dropout: share dropped before each convolution.
        dropout_output: share of the features that is dropped.

    Attributes:
        dim: D = `filters` x the length that is left, a quarter of `hidden` / `channels`.
    """

    kind = "cnn1d"

    def __init__(
        self,
        input: TableInput,
        *,
        hidden: int = 1024,
        channels: int = 128,
        filters: int = 384,
        dropout_input: float = 0.1,
        dropout: float = 0.2,
        dropout_output: float = 0.1,
    ) -> None:
        super().__init__(
            input,
            {
                "hidden": hidden,
                "channels": channels,
                "filters": filters,
                "dropout_input": dropout_input,
                "dropout": dropout,
                "dropout_output": dropout_output,
            },
        )
        halved = hidden // channels // 2
        self.dim = filters * (halved // 2)
        self.first = nn.Sequential(
            RowBatchNorm(input.dim),
            nn.Dropout(dropout_input),
            weight_norm(nn.Linear(input.dim, hidden)),
            nn.CELU(_CELU_ALPHA),
            nn.Unflatten(1, (channels, hidden // channels)),
        )
        self.conv1 = _convolution(channels, filters, 5, dropout)
        self.halve = nn.AdaptiveAvgPool1d(halved)
        self.conv2 = _convolution(filters, filters, 3, dropout)
        self.conv3 = _convolution(filters, filters, 3, dropout)
        self.conv4 = _convolution(filters, filters, 5, dropout)
        self.tail = nn.Sequential(RowBatchNorm(self.dim), nn.Dropout(dropout_output))

    def forward(self, x: Tensor, masked: Tensor | None = None) -> Tensor:
        """Turn rows into features.

        Args:
            x: (B, columns), as `TableColumn` says.
            masked: (B, columns) bool, the cells not to be seen; None: all are.

        Returns:
            (B, D) features.
        """
        z = self.first(self.input(x, masked))  # (B, channels, L)
        z = self.conv2(self.halve(self.conv1(z)))  # (B, filters, L / 2)
        z = z * self.conv4(self.conv3(z))
        z = F.max_pool1d(z, 4, stride=2, padding=1)  # (B, filters, L / 4)
        return self.tail(z.flatten(1))

    def stage_modules(self) -> "OrderedDict[str, list[nn.Module]]":
        """`stem`, the input and the first layer, then each convolution, then `tail`."""
        return OrderedDict(
            stem=[self.input, self.first],
            conv1=[self.conv1],
            conv2=[self.conv2],
            conv3=[self.conv3],
            conv4=[self.conv4],
            tail=[self.tail],
        )


def _convolution(before: int, after: int, size: int, dropout: float) -> nn.Sequential:
    return nn.Sequential(
        RowBatchNorm(before),
        nn.Dropout(dropout),
        weight_norm(nn.Conv1d(before, after, size, padding=size // 2)),
        nn.ReLU(),
    )
