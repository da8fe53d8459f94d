"""The nearest rows of a table: how they are found, and how a batch gets one beside each of its rows."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from ..datasets.files import atomic
from ..datasets.table_column import MISSING, UNKNOWN, TableColumn
from ..training.interrupt import Interrupted

QUERIES, KEYS = 1024, 8192
"""Rows that are compared at a time: 32 MiB of distances, whatever the length of the table."""


class Rows(Protocol):
    """Rows of a table by their numbers."""

    def __len__(self) -> int: ...

    def batch(self, rows: Tensor, draws: torch.Generator | None = None) -> Any:
        """(B, D) values."""
        ...


class NeighbourPairs:
    """A source of pairs: each row beside one of its nearest others, drawn anew for each batch (the idea of ivis).

    After Szubert et al. 2019, "Structure-preserving visualisation of high dimensional single-cell datasets", without
    their negative examples.

    Args:
        rows: N rows.
        among: where the neighbours come from.
        nearest: (N, k) their numbers, the nearest first.
    """

    def __init__(self, rows: Rows, among: Rows, nearest: Tensor) -> None:
        self.rows, self.among, self.nearest = rows, among, nearest

    def __len__(self) -> int:
        return len(self.rows)

    def batch(self, rows: Tensor, draws: torch.Generator | None = None) -> Tensor:
        """Pairs of rows.

        Args:
            rows: B numbers.
            draws: which neighbour comes from it; None: the nearest one.

        Returns:
            (B, 2, D): the row, its neighbour.
        """
        k = self.nearest.shape[1]
        places = (
            torch.zeros(len(rows), dtype=torch.long)
            if draws is None
            else torch.randint(k, (len(rows),), generator=draws)
        )
        others = self.nearest[rows, places].long()
        return torch.stack([self.rows.batch(rows), self.among.batch(others)], 1)


def nearest_rows(
    among: Rows,
    columns: Sequence[TableColumn],
    k: int,
    queries: Rows | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> Tensor:
    """Find the k nearest rows of each row, by comparing all with all.

    The squared distance of two rows is the sum over the columns of (x - y)² of standardised numbers and 2 for different
    levels: two rows drawn at random are 2 apart in a number. A missing number lies x² + 1 from a known one, which is 2
    on average, and 0 from another missing one. Missing and unknown levels are levels of their own.

    Args:
        among: N rows, from which the neighbours come.
        columns: D columns.
        k: neighbours of each.
        queries: M other rows; None: the N rows themselves, of which none is its own neighbour, equal ones are.
        stop: asked after every `QUERIES` rows.

    Returns:
        (M, k) int32 numbers of rows, the nearest first, on the CPU.

    Raises:
        ValueError: there are fewer than k (other) rows.
        Interrupted: `stop` became true.
    """
    own = queries is None
    if len(among) - own < k:
        raise ValueError(
            f"neighbours: expected at most {len(among) - own}, as many as there are other rows to learn from, "
            f"received {k}; lower neighbours"
        )
    gaps = gaps_of(among, len(columns))
    if queries is not None:
        gaps |= gaps_of(queries, len(columns))
    found = []
    for first, part in _blocks(among if queries is None else queries, QUERIES, columns, gaps):
        best = torch.full((len(part), k), torch.inf, device=part.device)
        numbers = torch.zeros((len(part), k), dtype=torch.int32, device=part.device)
        for start, keys in _blocks(among, KEYS, columns, gaps):
            # |q|² is the same for all keys and is left out.
            apart = torch.addmm(keys.square().sum(1), part, keys.T, alpha=-2)  # (Q, K)
            if own and start < first + len(part) and first < start + len(keys):
                here = torch.arange(max(first, start), min(first + len(part), start + len(keys)))
                apart[here - first, here - start] = torch.inf
            close, places = apart.topk(min(k, len(keys)), largest=False)
            close = torch.cat([best, close], 1)
            places = torch.cat([numbers, (places + start).int()], 1)
            best, order = close.topk(k, largest=False)
            numbers = places.gather(1, order)
        found.append(numbers.cpu())
        if stop():
            raise Interrupted
    return torch.cat(found)


def kept(file: Path, key: str, find: Callable[[], Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """What `find` says, the first time; what a file keeps of it for the same key, from then on.

    Args:
        file: written whole or not at all; one of another key is replaced.
        key: names what the result hangs on.
        find: finds it.
    """
    if file.is_file():
        with safe_open(file, "pt") as written:
            same = written.metadata() == {"key": key}
        if same:
            return load_file(file)
    found = dict(find())
    with atomic(file) as temporary:
        save_file(found, temporary, {"key": key})
    return found


def seconds_to_compare(values: Tensor, columns: Sequence[TableColumn], k: int, count: int) -> float:
    """What `nearest_rows` takes, from one timed block.

    Args:
        values: (M, D) rows like those to compare, where they will lie.
        columns: D columns.
        k: neighbours of each.
        count: of the rows that are all compared with each other.
    """
    among, queries = _Some(values[: min(KEYS, count)]), _Some(values[: min(QUERIES, count)])
    start = time.perf_counter()
    nearest_rows(among, columns, min(k, len(among)), queries)
    return (time.perf_counter() - start) * (count / len(queries)) * (count / len(among))


class _Some:
    """Rows that are at hand."""

    def __init__(self, values: Tensor) -> None:
        self.values = values

    def __len__(self) -> int:
        return len(self.values)

    def batch(self, rows: Tensor, draws: torch.Generator | None = None) -> Tensor:
        """(B, D) values."""
        return self.values[rows.to(self.values.device)]


def _blocks(
    rows: Rows, size: int, columns: Sequence[TableColumn], gaps: Tensor
) -> Iterator[tuple[int, Tensor]]:
    """The number of the first row and (B, E) coordinates, block after block."""
    for numbers in torch.arange(len(rows)).split(size):
        yield int(numbers[0]), coordinates(rows.batch(numbers), columns, gaps)


def gaps_of(rows: Rows, columns: int) -> Tensor:
    """(D,) bool on the CPU: the columns in which a cell is not finite."""
    found = torch.zeros(columns, dtype=torch.bool)
    for numbers in torch.arange(len(rows)).split(KEYS):
        found |= ~rows.batch(numbers).isfinite().all(0).cpu()
    return found


def coordinates(batch: Tensor, columns: Sequence[TableColumn], gaps: Tensor | None = None) -> Tensor:
    """Points whose squared Euclidean distances are those of the rows.

    Args:
        batch: (B, D), as `TableColumn` says.
        columns: D columns.
        gaps: (D,) bool, the numbers that may be missing; None: all may.

    Returns:
        (B, E): for each number its value, 0 where missing, and where it may be missing whether it is; for each category
        a 1 at its level.
    """
    number = torch.tensor([column.kind == "number" for column in columns])
    values = batch[:, number.to(batch.device)]
    absent = ~batch[:, (number if gaps is None else number & gaps).to(batch.device)].isfinite()
    parts = [values.masked_fill(~values.isfinite(), 0.0), absent.to(batch.dtype)]
    for j, column in enumerate(columns):
        if column.kind == "category":
            cells = batch[:, j]
            known = (cells >= 0) & (cells < column.size)
            levels = cells.masked_fill(~known, UNKNOWN).masked_fill(~cells.isfinite(), MISSING)
            parts.append(F.one_hot(levels.long(), column.size).to(batch.dtype))
    return torch.cat(parts, 1)
