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
        self.register_buffer("_zero", left[:, 0].clone(), persistent=False)  # (D,), where the code is 0
        bound = torch.tensor([1 / math.sqrt(column.shape[1]) for column in bins]).view(
            -1, 1, 1
        )  # as nn.Linear
        self.weight = nn.Parameter((torch.rand(*left.shape, width) * 2 - 1) * bound)
        self.bias = nn.Parameter((torch.rand(len(bins), width) * 2 - 1) * bound[:, 0])

    def forward(self, x: Tensor, absent: Tensor, blank: Tensor) -> Tensor:
        """Encode numbers.

        Args:
            x: (B, D) numbers; what stands in absent cells does not matter.
            absent: (B, D) bool, the cells without a number.
            blank: (D, W), the features of an absent cell of each column.

        Returns:
            (B, D, W), a view of a (D, B, W) tensor.
        """
        # At the first edge the code is 0 and the layer gives relu(bias): the difference to the blank is added by a
        # product of rank one, as `where` over (D, B, W) took half of a step's time (2,000 columns, batch 1,024).
        x = torch.where(absent, self.get_buffer("_zero"), x)
        # Columns first, so that the layers of all columns are one batched product.
        code = torch.addcmul(self.get_buffer("_shift"), x.T.unsqueeze(-1), self.get_buffer("_scale"))
        code = code.clamp_(self.get_buffer("_low"), self.get_buffer("_high"))  # (D, B, bins)
        bias = self.bias.unsqueeze(1)
        present = torch.baddbmm(bias, code, self.weight).relu_()
        gap = blank.unsqueeze(1) - bias.relu()
        return torch.baddbmm(present, absent.T.unsqueeze(-1).to(gap.dtype), gap).transpose(0, 1)


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
