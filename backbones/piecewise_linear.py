"""Numbers as their place between quantiles, each column through a layer of its own."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence


class PiecewiseLinear(nn.Module):
    """Piecewise-linear encoding, then a linear layer and a ReLU for each column (Gorishniy et al. 2022).

    The code of a number has one value for each bin between neighbouring edges: 1 for the bins below the number, 0 for
    those above, and in its own bin the share of the bin that lies below it. Beyond the outer edges the outer bin's
    value runs on for one more bin's width, where the paper's runs on without end: a last bin of a millionth of a
    standard deviation would make a million of an outlier. A column with fewer than two edges is its own code.

    Args:
        edges: for each of D columns its strictly rising edges.
        width: W, features of each column.

    Attributes:
        weight: (D, bins, W); columns with fewer bins than the most have rows that no number reaches.
        bias: (D, W).
    """

    def __init__(self, edges: Sequence[Sequence[float]], width: int) -> None:
        super().__init__()
        bins = [_bins(column) for column in edges]
        # Of a padded bin scale and bounds are 0, and so its code.
        left, scale, low, high = (
            pad_sequence([column[i] for column in bins], batch_first=True).float() for i in range(4)
        )
        # (D, 1, bins); not persistent, since the columns of the card hold the edges.
        for name, value in (("_shift", -left * scale), ("_scale", scale), ("_low", low), ("_high", high)):
            self.register_buffer(name, value.unsqueeze(1), persistent=False)
        bound = torch.tensor([1 / math.sqrt(column.shape[1]) for column in bins]).view(
            -1, 1, 1
        )  # as nn.Linear
        self.weight = nn.Parameter((torch.rand(*left.shape, width) * 2 - 1) * bound)
        self.bias = nn.Parameter((torch.rand(len(bins), width) * 2 - 1) * bound[:, 0])

    def forward(self, x: Tensor) -> Tensor:
        """Encode numbers.

        Args:
            x: (B, D), finite.

        Returns:
            (B, D, W), a view of a (D, B, W) tensor.
        """
        # Columns first, so that the layers of all columns are one batched product.
        code = torch.addcmul(self.get_buffer("_shift"), x.T.unsqueeze(-1), self.get_buffer("_scale"))
        code = code.clamp_(self.get_buffer("_low"), self.get_buffer("_high"))  # (D, B, bins)
        return torch.baddbmm(self.bias.unsqueeze(1), code, self.weight).relu_().transpose(0, 1)


def _bins(edges: Sequence[float]) -> Tensor:
    """(4, bins): left edge, 1 / width, smallest and largest code."""
    if len(edges) < 2:
        return torch.tensor([[0.0], [1.0], [-math.inf], [math.inf]], dtype=torch.float64)
    places = torch.tensor(edges, dtype=torch.float64)
    width = places.diff()
    if not bool((width > 0).all()):
        raise ValueError(
            f"edges: expected strictly rising numbers, received {list(edges)}; remove repeated ones"
        )
    low, high = torch.zeros_like(width), torch.ones_like(width)
    low[0] -= 1
    high[-1] += 1
    return torch.stack([places[:-1], 1 / width, low, high])
