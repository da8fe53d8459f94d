"""What predicted cells of a table cost, in one unit for all columns: 1 is knowing the column's distribution only."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

import torch
from torch import Tensor, nn

from ..datasets.table_column import FIRST_LEVEL, TableColumn

SMALLEST = 1e-12
"""A level's share that is taken for 0."""


@dataclass(frozen=True)
class CellLosses:
    """The losses of a batch's cells: numbers (B, Dn), then categories (B, Dc), each in the order of the columns.

    Attributes:
        numbers, levels: losses, 0 or more; 0 where not counted.
        counted_numbers, counted_levels: bool of the same shapes: the cell was masked and its value is known.
    """

    numbers: Tensor
    levels: Tensor
    counted_numbers: Tensor
    counted_levels: Tensor

    @property
    def mean(self) -> Tensor:
        """A scalar: the mean over all counted cells; 0, with its graph, where there is none."""
        return self.means["loss"]

    @property
    def means(self) -> dict[str, Tensor]:
        """`loss`, the mean, and that over the counted cells of each kind that has columns: `numbers`, `levels`."""
        sums = self.numbers.sum(), self.levels.sum()
        counts = self.counted_numbers.sum(), self.counted_levels.sum()
        means = {"loss": (sums[0] + sums[1]) / (counts[0] + counts[1]).clamp_min(1)}
        for name, losses, total, count in zip(
            ("numbers", "levels"), (self.numbers, self.levels), sums, counts, strict=True
        ):
            if losses.shape[1]:
                means[name] = total / count.clamp_min(1)
        return means

    @property
    def by_column(self) -> Tensor:
        """(Dn + Dc,) sums of the losses of each column."""
        return torch.cat([self.numbers, self.levels], 1).sum(0)

    @property
    def by_row(self) -> tuple[Tensor, Tensor]:
        """(B,) sums of the losses of each row, and (B,) how many cells they are of."""
        return (
            self.numbers.sum(1) + self.levels.sum(1),
            self.counted_numbers.sum(1) + self.counted_levels.sum(1),
        )


def skill_of(losses: Tensor, by_chance: Tensor) -> Tensor:
    """How well columns are predicted: 1 - their loss over that of their means and shares on the same cells.

    The variance of the rows that a schema was fitted on would not do: of a column in which one row in a thousand is
    huge, it calls any guess for the other rows nearly perfect.

    Args:
        losses, by_chance: (D,) `CellLosses.by_column` of predictions and of `CellLoss.by_chance`.

    Returns:
        (D,): R² of a number, the explained share of a category's entropy; 0 for means and shares, below 0 for worse.
        NaN where no known cell was hidden, or all hidden cells hold the mean.
    """
    return (1 - losses / by_chance).where(by_chance > 0, torch.nan)


class CellLoss(nn.Module):
    """Losses of cells that a network predicted from the other cells of their row.

    A number costs the squared error of its standardised value, so that the column's mean costs 1 on average over the
    rows that the column was fitted on; a category its cross-entropy over the entropy of `shares`, so that predicting
    the shares costs 1. Neither depends on what else stands in the batch: no variance of a batch can be 0 or tiny.
    Missing cells, levels that are not known and categories that leave nothing to predict cost nothing.

    The normalisers of all categories are computed at once, each as the sum of its own stretch of levels, in their
    order: sums scattered to the columns are added in another order each time on a CUDA device, and took longer.

    Args:
        columns: D columns, in the order of the batch.

    Attributes:
        numbers, categories: (Dn,) and (Dc,) long, the places of the columns of each kind.
        levels: L, the known levels of all categories together.
        level_columns, level_places: (L,) long, of each the place of its category among the Dc and its own in there.

    Example:
        >>> cells = CellLoss([TableColumn("age")])
        >>> mean, hidden = torch.zeros(2, 1), torch.ones(2, 1, dtype=torch.bool)
        >>> cells(mean, torch.zeros(2, 0), torch.tensor([[1.0], [-1.0]]), hidden).mean
        tensor(1.)
    """

    def __init__(self, columns: Sequence[TableColumn]) -> None:
        super().__init__()
        self.columns = tuple(columns)
        places = {
            kind: [j for j, column in enumerate(self.columns) if column.kind == kind]
            for kind in ("number", "category")
        }
        categories = [self.columns[j] for j in places["category"]]
        sizes = [len(column.levels) for column in categories]
        self.levels = sum(sizes)
        entropies = torch.tensor([column.entropy for column in categories], dtype=torch.float64)
        self.numbers: Tensor
        self.categories: Tensor
        self.level_columns: Tensor
        self.level_places: Tensor
        column = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes, dtype=torch.long))
        starts = torch.tensor([0, *accumulate(sizes)][: len(sizes)], dtype=torch.long)
        buffers = {
            "numbers": torch.tensor(places["number"], dtype=torch.long),
            "categories": torch.tensor(places["category"], dtype=torch.long),
            "_sizes": torch.tensor(sizes, dtype=torch.long),
            "_starts": starts,
            "level_columns": column,
            "level_places": torch.arange(self.levels) - starts[column],
            # Of a column without entropy every cell is left out, whatever its weight.
            "_weights": torch.where(entropies > 0, 1 / entropies, 0.0).to(torch.get_default_dtype()),
            "_log_shares": torch.tensor(
                [math.log(max(share, SMALLEST)) for each in categories for share in each.shares],
                dtype=torch.get_default_dtype(),
            ),
        }
        for name, value in buffers.items():
            self.register_buffer(name, value, persistent=False)  # the columns of the card tell them all
        # Neighbouring columns, as a schema puts them, are read where they lie; gathering took as long as the loss.
        self._slices = {kind: _as_slice(found) for kind, found in places.items()}

    def forward(self, numbers: Tensor, levels: Tensor, values: Tensor, masked: Tensor) -> CellLosses:
        """Compare.

        Args:
            numbers: (B, Dn) predicted standardised values, float32 at least.
            levels: (B, L) logits of the levels, one category after the other.
            values: (B, D), as `TableColumn` says.
            masked: (B, D) bool, the cells that were hidden.

        Returns:
            The loss of each cell.
        """
        truth = self._of_numbers(values).to(numbers.dtype)
        counted_numbers = self._of_numbers(masked) & truth.isfinite()
        # A NaN times 0 stays NaN, in the gradient too, so the truth is replaced first. A product with the mask takes a
        # fifth of a `where`.
        errors = ((numbers - truth.nan_to_num(0, 0, 0)) * counted_numbers.to(numbers.dtype)).square()

        place, known = self.places(values)
        weights = self.get_buffer("_weights")
        counted_levels = self._of_categories(masked) & known & (weights > 0)
        if not self.levels:
            return CellLosses(errors, levels.new_zeros(place.shape), counted_numbers, counted_levels)
        nats = self.surprise(levels, place)
        costs = (nats * weights).where(counted_levels, 0)
        return CellLosses(errors, costs, counted_numbers, counted_levels)

    def by_chance(self, values: Tensor, masked: Tensor) -> CellLosses:
        """What the same cells cost who knows the columns' distributions only: the means, and `shares`.

        Args:
            values: (B, D), as `TableColumn` says, float32 at least.
            masked: (B, D) bool, the cells that were hidden.

        Returns:
            The loss of each cell.
        """
        means = values.new_zeros(len(values), len(self.numbers))
        shares = self.get_buffer("_log_shares").to(values.dtype).expand(len(values), -1)
        return self(means, shares, values, masked)

    def places(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """(B, Dc) long: the place of each category's level, 0 where it has none; and (B, Dc) bool: whether it has."""
        place = self._of_categories(values) - FIRST_LEVEL
        known = (place >= 0) & (place < self.get_buffer("_sizes"))
        return place.where(known, 0).long(), known

    def known(self, values: Tensor) -> Tensor:
        """(B, D) bool: the cells that hold a finite number or a level of their column."""
        known = values.isfinite()
        known[:, self.categories] = self.places(values)[1]
        return known

    def surprise(self, levels: Tensor, place: Tensor) -> Tensor:
        """(B, L) logits and (B, Dc) places to (B, Dc): the cross-entropy of each category, nats, never below 0."""
        column, starts = self.level_columns, self.get_buffer("_starts")
        top = self._top(levels.detach())
        # Below 0, and 0 at the largest, so that the sum is 1 or more whatever the other columns' logits are.
        shifted = levels - top.index_select(1, column)
        sums = segment_sums(shifted.exp(), self.get_buffer("_sizes"))
        at = (place + starts).clamp_max(self.levels - 1)  # of a last column without levels too
        # A category without levels has nothing to sum.
        return sums.where(self.get_buffer("_sizes") > 0, 1).log() - shifted.gather(1, at)

    def most_likely(self, levels: Tensor) -> Tensor:
        """(B, L) logits to (B, Dc) long: the place of each category's largest, of equals the first; 0 without any."""
        column = self.level_columns
        largest = levels == self._top(levels).index_select(1, column)
        at = self.level_places.where(largest, self.levels)
        place = at.new_full((len(levels), len(self.categories)), self.levels)
        place = place.scatter_reduce(1, column.expand_as(levels), at, "amin")
        return place.where(self.get_buffer("_sizes") > 0, 0)

    def _of_numbers(self, cells: Tensor) -> Tensor:
        return _of(cells, self._slices["number"], self.numbers)

    def _of_categories(self, cells: Tensor) -> Tensor:
        return _of(cells, self._slices["category"], self.categories)

    def _top(self, levels: Tensor) -> Tensor:
        """(B, Dc): the largest logit of each category, 0 without levels."""
        top = levels.new_full((len(levels), len(self.categories)), -torch.inf)
        top = top.scatter_reduce(1, self.level_columns.expand_as(levels), levels, "amax")
        return top.where(self.get_buffer("_sizes") > 0, 0)


def segment_sums(values: Tensor, lengths: Tensor) -> Tensor:
    """Sums of neighbouring values, added in one order: the same bits each time, on every device.

    Args:
        values: (B, L), the stretches one after the other.
        lengths: (C,) long, of the stretches, which add up to L; 0 is allowed.

    Returns:
        (B, C).
    """
    if values.device.type in ("cpu", "cuda"):
        return torch.segment_reduce(
            values, "sum", lengths=lengths.expand(len(values), -1), axis=1, unsafe=True
        )
    return sums_one_by_one(values, lengths.tolist())  # slower for hundreds of them, but every device has it


def sums_one_by_one(values: Tensor, lengths: Sequence[int]) -> Tensor:
    """What `segment_sums` says, of plain sums."""
    return torch.stack([part.sum(1) for part in values.split(list(lengths), 1)], 1)


def _of(cells: Tensor, span: slice | None, places: Tensor) -> Tensor:
    return cells.index_select(1, places) if span is None else cells[:, span]


def _as_slice(places: Sequence[int]) -> slice | None:
    if places and places[-1] - places[0] + 1 == len(places):
        return slice(places[0], places[-1] + 1)
    return None
