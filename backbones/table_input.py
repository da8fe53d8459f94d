"""From a batch of a table to features: masked, missing and unknown cells have vectors of their own."""

from collections.abc import Sequence
from itertools import accumulate, groupby, pairwise
from typing import Any, Literal

import torch
from torch import Tensor, nn

from ..datasets.table_column import MASKED, MISSING, UNKNOWN, TableColumn
from .level_embedding import LevelEmbedding, auto_width
from .piecewise_linear import PiecewiseLinear


class TableInput(nn.Module):
    """Features of the columns: the first module of every backbone of tables.

    First come the numbers in the order of the columns, then the categories, the narrow ones first. What a masked cell
    held never reaches a feature. Random weights come from torch's global generator.

    Args:
        columns: D columns, in the order of the batch.
        category_width: features of each category; `auto`: by the number of its levels (`auto_width`).
        numbers: `plain`: a number is a feature; `piecewise`: it goes through `PiecewiseLinear` on the column's edges.
        number_width: features of each number, for `numbers="piecewise"`.

    Attributes:
        columns: as given.
        dim: E, the number of features.
        slots: (E,) long, the column of each feature.
        blank: what stands for a masked or missing number, initially 0: (numbers,) or (numbers, number_width).
        embeddings: of the categories, one for each width.

    Raises:
        ValueError: there is no column.
    """

    def __init__(
        self,
        columns: Sequence[TableColumn],
        *,
        category_width: int | Literal["auto"] = "auto",
        numbers: Literal["plain", "piecewise"] = "plain",
        number_width: int = 8,
    ) -> None:
        super().__init__()
        if not columns:
            raise ValueError(
                "columns: expected at least one, received none; see which ones the schema dropped"
            )
        self.columns = tuple(columns)
        self.category_width, self.numbers, self.number_width = category_width, numbers, number_width
        piecewise = numbers == "piecewise"
        places = [j for j, column in enumerate(self.columns) if column.kind == "number"]
        slots = [j for j in places for _ in range(number_width if piecewise else 1)]
        self.blank = nn.Parameter(
            torch.zeros(len(places), number_width) if piecewise else torch.zeros(len(places))
        )
        self.encode = (
            PiecewiseLinear([self.columns[j].edges for j in places], number_width)
            if piecewise and places
            else None
        )

        widths = {
            j: auto_width(len(column.levels)) if category_width == "auto" else category_width
            for j, column in enumerate(self.columns)
            if column.kind == "category"
        }
        categories = sorted(widths, key=lambda j: (widths[j], j))
        sizes = [self.columns[j].size for j in categories]
        self.embeddings = nn.ModuleList()
        for width, same in groupby(categories, key=widths.__getitem__):
            group = list(same)
            self.embeddings.append(LevelEmbedding([self.columns[j].size for j in group], width))
            slots += [j for j in group for _ in range(width)]
        ends = accumulate((len(part.offsets) for part in self._tables()), initial=0)
        self._spans = [slice(start, stop) for start, stop in pairwise(ends)]

        self.dim = len(slots)
        self.slots: Tensor
        # Not persistent, since the columns of the card tell them all.
        for name, values in (
            ("slots", slots),
            ("_number_places", places),
            ("_category_places", categories),
            ("_sizes", sizes),
        ):
            self.register_buffer(name, torch.tensor(values, dtype=torch.long), persistent=False)
        # Neighbouring columns are read where they lie; others are gathered.
        self._number_slice = _as_slice(places)

    def forward(self, x: Tensor, masked: Tensor | None = None) -> Tensor:
        """Turn cells into features.

        Args:
            x: (B, D) float, as `TableColumn` says; the number of a level that the column does not have is unknown,
                infinities are missing.
            masked: (B, D) bool, the cells not to be seen; None: all are.

        Returns:
            (B, E).

        Raises:
            ValueError: `x` or `masked` is of another shape.
        """
        self._check(x, masked)
        parts: list[Tensor] = []
        if len(self.blank):
            parts.append(self._numbers(x, masked))
        if self._spans:
            levels = self._levels(x, masked)
            parts += [part(levels[:, span]) for part, span in zip(self._tables(), self._spans, strict=True)]
        return torch.cat(parts, 1) if len(parts) > 1 else parts[0]

    def missing(self, x: Tensor) -> Tensor:
        """The cells of (B, D) that hold no value: NaN, infinities, or the number `MISSING` of a category."""
        absent = ~x.isfinite()
        if self._spans:
            places = self.get_buffer("_category_places")
            absent[:, places] |= x[:, places] == MISSING
        return absent

    def options(self) -> dict[str, Any]:
        """The keywords to build it again, beside its columns."""
        return {
            "category_width": self.category_width,
            "numbers": self.numbers,
            "number_width": self.number_width,
        }

    def _tables(self) -> list[LevelEmbedding]:
        return [part for part in self.embeddings if isinstance(part, LevelEmbedding)]

    def _numbers(self, x: Tensor, masked: Tensor | None) -> Tensor:
        x = self._of_numbers(x)
        absent = ~x.isfinite()
        if masked is not None:
            absent |= self._of_numbers(masked)
        if self.encode is None:
            return torch.where(absent, self.blank, x)
        return self.encode(x, absent, self.blank).flatten(1)

    def _of_numbers(self, cells: Tensor) -> Tensor:
        if self._number_slice is not None:
            return cells[:, self._number_slice]
        return cells[:, self.get_buffer("_number_places")]

    def _levels(self, x: Tensor, masked: Tensor | None) -> Tensor:
        places = self.get_buffer("_category_places")
        x = x[:, places]
        # Whatever has no place in the table goes before the conversion to whole numbers, which NaN and infinities lack.
        known = (x >= 0) & (x < self.get_buffer("_sizes"))
        levels = x.masked_fill(~known, UNKNOWN).masked_fill(~x.isfinite(), MISSING)
        if masked is not None:
            levels = levels.masked_fill(masked[:, places], MASKED)
        return levels.long()

    def _check(self, x: Tensor, masked: Tensor | None) -> None:
        expected = len(self.columns)
        if x.ndim != 2 or x.shape[1] != expected:
            raise ValueError(
                f"x: expected (B, {expected}), a value for each column, received {tuple(x.shape)}; "
                "encode the table with the schema of the backbone"
            )
        if masked is not None and (masked.shape != x.shape or masked.dtype != torch.bool):
            raise ValueError(
                f"masked: expected a bool for each cell of {tuple(x.shape)}, "
                f"received {masked.dtype} {tuple(masked.shape)}"
            )


def _as_slice(places: Sequence[int]) -> slice | None:
    if not places or places[-1] - places[0] + 1 != len(places):
        return None
    return slice(places[0], places[-1] + 1)
