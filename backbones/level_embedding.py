"""The levels of several categories as vectors out of one table."""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_LARGEST = 5  # 2**5 = 32


class LevelEmbedding(nn.Module):
    """One table for the levels of all columns of one width.

    Args:
        sizes: of K columns, the numbers that each takes.
        width: W, features of each column.

    Attributes:
        weight: (sum of sizes, W), from a normal distribution as `nn.Embedding` has it.
        offsets: (K,) the row of each column's number 0.
    """

    def __init__(self, sizes: Sequence[int], width: int) -> None:
        super().__init__()
        starts = torch.tensor([0, *sizes]).cumsum(0)
        self.weight = nn.Parameter(torch.randn(int(starts[-1]), width))
        self.offsets: Tensor
        self.register_buffer("offsets", starts[:-1], persistent=False)

    def forward(self, levels: Tensor) -> Tensor:
        """Look up.

        Args:
            levels: (B, K) long, column k's below its size.

        Returns:
            (B, K * W), the features of a column side by side.
        """
        return F.embedding(levels + self.offsets, self.weight).flatten(1)


def auto_width(levels: int) -> int:
    """The power of two nearest to 1.6 · levels ** .56 (the rule of thumb of fastai), 2 to 32.

    Powers of two, so that a table of many columns has few widths.

    Example:
        >>> [auto_width(levels) for levels in (2, 10, 50, 1000)]
        [2, 8, 16, 32]
    """
    rule = 1.6 * max(levels, 1) ** 0.56
    return 2 ** min(max(round(math.log2(rule)), 1), _LARGEST)
