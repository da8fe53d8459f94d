"""How the columns of a table become the numbers that networks read, and back."""

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from ..configs.steps import Step
from .files import atomic, digest, read_json, write_json
from .findings import did_you_mean, name_some
from .table_blocks import Floats, Moments, quantiles, sampled
from .table_cells import KINDS, Cells, ColumnsError, Kind, Source, check_columns, kind_of, texts_of
from .table_column import FIRST_LEVEL, MISSING, UNKNOWN, TableColumn
from .table_steps import FittedStep, fit_step

MOST_LEVELS = 100
EDGES = 17
_FEW = 20  # rows in which all values may differ without being ids
_ROUNDING = 1e-12  # share of the largest value below which a difference is arithmetic
FILES = ("table.json", "table.safetensors")


@dataclass(frozen=True, eq=False)
class TableSchema:
    """D columns as networks know them, and how a table's cells become their values.

    Numbers (dates as days, booleans as 0 and 1) pass the steps and are standardised: mean 0 and standard deviation 1 on
    the rows that the schema was fitted on, at least as far as these vary more than rounding does. Categories become
    their level's number. Numbers stand before categories, each in the order of the table.

    The scale has no floor of the smallest gap between two values: of a rare binary column that gap is 1, and with it
    predicting the mean would cost the variance, next to nothing, instead of exactly 1. Nor does it need one: of N rows
    no value lies more than √(N - 1) standard deviations from their mean, and what varies less than rounding is dropped.

    Attributes:
        columns: the D columns.
        sources: the columns of a table that are read, and their kinds.
        steps: what the numbers pass, in order.
        kept: which of the steps' outputs vary, and so are columns.
        centre, scale: of each kept output, float64.
        dropped: column, or output of a step -> why it is left out.
    """

    columns: tuple[TableColumn, ...]
    sources: tuple[Source, ...]
    steps: tuple[FittedStep, ...]
    kept: NDArray[np.int64]
    centre: Floats
    scale: Floats
    dropped: dict[str, str]

    @classmethod
    def fit(
        cls,
        frame: pd.DataFrame,
        names: Sequence[str],
        *,
        steps: Sequence[Step] = (),
        kinds: Mapping[str, Kind] | None = None,
        excluded: Mapping[str, str] | None = None,
        most_levels: int = MOST_LEVELS,
        seed: int = 0,
    ) -> "TableSchema":
        """Learn kinds, levels and statistics from rows.

        Left out, and named in `dropped`, are columns without two different values (a value and missing ones are one)
        and ids: texts that all differ, and whole numbers that all differ and fill more than half of their range.

        Args:
            frame: N rows, those to learn from and no others.
            names: the columns to take.
            steps: what numbers pass before they are standardised.
            kinds: column -> kind, where it is known better: `category` for numbers that are codes, `number` for numbers
                that look like ids.
            excluded: column -> reason: those of `names` to leave out, such as the group.
            most_levels: the most frequent values of a category that are levels; the others are `UNKNOWN`.
            seed: of the rows drawn for quantiles, and of decompositions too large for an exact one.

        Raises:
            ValueError: no such column, an unknown kind, no rows, cells that suit no kind, infinite numbers, a step that
                does not fit the columns, or no column left.
        """
        kinds, names = dict(kinds or {}), list(dict.fromkeys(names))
        check_columns(frame, names)
        _check(names, kinds, most_levels)
        dropped = {name: reason for name, reason in (excluded or {}).items() if name in set(names)}
        sources: list[Source] = []
        categories: list[TableColumn] = []
        for name in names:
            if name in dropped:
                continue
            kind = kinds.get(name) or kind_of(frame.loc[:, name])
            if kind is None:
                dropped[name] = "has no value"
            elif kind == "category":
                column = _category(frame.loc[:, name], most_levels, forced=name in kinds)
                if isinstance(column, str):
                    dropped[name] = column
                else:
                    categories.append(column)
            else:
                sources.append(Source(name, kind))
        sources = _varying(frame, sources, kinds, dropped)
        numbers, fitted, kept, centre, scale = _fit_numbers(
            Cells(frame, sources), steps, dropped, np.random.default_rng(seed)
        )
        columns = (*numbers, *categories)
        if not columns:
            why = (
                "; ".join(f"{name} {reason}" for name, reason in list(dropped.items())[:5]) or "there is none"
            )
            raise ColumnsError(f"expected columns to learn from, received none that is left: {why}")
        sources += [Source(column.name, "category") for column in categories]
        return cls(columns, tuple(sources), fitted, kept, centre, scale, dropped)

    @property
    def names(self) -> tuple[str, ...]:
        """The columns that a table needs."""
        return tuple(source.name for source in self.sources)

    def encode(self, frame: pd.DataFrame) -> NDArray[np.float32]:
        """Turn rows into what networks read.

        Args:
            frame: N rows with the columns `names`; others are not looked at.

        Returns:
            (N, D) float32: numbers standardised, NaN where they are missing; categories as their level's number, or
            `UNKNOWN`, or `MISSING`.

        Raises:
            ValueError: a column is absent, a number infinite, or a cell of numbers or dates holds something else.
        """
        check_columns(frame, self.names)
        cells = Cells(frame, [source for source in self.sources if source.kind != "category"])
        count = len(self.kept)
        values = np.empty((len(frame), len(self.columns)), dtype=np.float32)
        for start, stop in cells.ranges:
            block = cells.numbers(start, stop)
            for step in self.steps:
                block = step.apply(block)
            block = block if len(self.kept) == block.shape[1] else block[:, self.kept]
            block -= self.centre
            block /= self.scale
            with np.errstate(over="ignore"):
                values[start:stop, :count] = block
        infinite = np.isinf(values[:, :count]).any(axis=0)
        if infinite.any():
            names = [self.columns[int(j)].name for j in np.flatnonzero(infinite)]
            raise ColumnsError(
                f"expected numbers like those the table was fitted on, received some in "
                f"{name_some(names)} that lie over 3e38 standard deviations away; leave such cells empty"
            )
        for j, column in enumerate(self.columns[count:], count):
            codes, texts = texts_of(frame.loc[:, column.name])
            places = {level: FIRST_LEVEL + i for i, level in enumerate(column.levels)}
            numbers = [float(places.get(text, UNKNOWN)) for text in texts]
            values[:, j] = np.array([*numbers, MISSING], dtype=np.float32)[codes]
        return values

    def decode(self, values: NDArray[np.floating]) -> pd.DataFrame:
        """Turn values back into the units of the table.

        Args:
            values: (N, D) as `encode` gives them, or a network that fills them in.

        Returns:
            N rows: numbers in their units, booleans as numbers, dates as datetimes, levels as text, missing what is no
            level. Columns that went into a decomposition or a row's scale cannot be told and are left out.

        Raises:
            ValueError: another number of columns, or numbers that no level has.
        """
        if values.ndim != 2 or values.shape[1] != len(self.columns):
            raise ValueError(f"values: expected (N, {len(self.columns)}), received {tuple(values.shape)}")
        count = len(self.kept)
        width = len(self.steps[-1].names) if self.steps else len(self.sources) - (len(self.columns) - count)
        block = np.full((len(values), width), np.nan)
        block[:, self.kept] = values[:, :count] * self.scale + self.centre
        made = {self.columns[j].name for j in range(count)}
        lost: set[str] = set()
        for step in reversed(self.steps):
            block = step.undo(block)
            lost |= set(step.lost)
        found: dict[str, Any] = {}
        for j, source in enumerate(source for source in self.sources if source.kind != "category"):
            if source.name in made and source.name not in lost:
                found[source.name] = _dates(block[:, j]) if source.kind == "date" else block[:, j]
        for j, column in enumerate(self.columns[count:], count):
            found[column.name] = _levels(values[:, j], column)
        return pd.DataFrame(found)

    @cached_property
    def digest(self) -> str:
        """A name for the fitted content: 16 hexadecimal digits."""
        plain, arrays = self._state()
        return digest(plain, _digests(arrays))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, TableSchema) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write `table.json` and `table.safetensors`, each whole or not at all."""
        folder = Path(folder)
        plain, arrays = self._state()
        with atomic(folder / FILES[1]) as temporary:
            save_file({name: np.asarray(array, order="C") for name, array in arrays.items()}, temporary)
        write_json(folder / FILES[0], {**plain, "digests": _digests(arrays)})

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> "TableSchema":
        """Read what `save` wrote.

        Raises:
            ValueError: the files are absent, or do not belong together.
        """
        folder = Path(folder)
        files = folder / FILES[0], folder / FILES[1]
        if not all(file.is_file() for file in files):
            raise ValueError(
                f"folder: expected one with {files[0].name} and {files[1].name}, received {folder}"
            )
        plain, arrays = read_json(files[0]), load_file(files[1])
        if plain["digests"] != _digests(arrays):
            raise ValueError(
                f"{files[1]}: expected the arrays that {files[0].name} was written with, received others; copy both "
                "files together"
            )
        columns = [
            TableColumn.restore({**state, "edges": edges[~np.isnan(edges)].tolist()})
            for state, edges in zip(plain["columns"], arrays["edges"], strict=True)
        ]
        steps = [
            FittedStep.restore(step, _below(arrays, f"steps.{i}.")) for i, step in enumerate(plain["steps"])
        ]
        return cls(
            tuple(columns),
            tuple(Source(**source) for source in plain["sources"]),
            tuple(steps),
            arrays["kept"],
            arrays["centre"],
            arrays["scale"],
            plain["dropped"],
        )

    def _state(self) -> tuple[dict[str, Any], dict[str, NDArray]]:
        edges = np.full((len(self.columns), EDGES), np.nan)
        for j, column in enumerate(self.columns):
            edges[j, : len(column.edges)] = column.edges
        arrays: dict[str, NDArray] = {
            "edges": edges,
            "kept": self.kept,
            "centre": self.centre,
            "scale": self.scale,
        }
        steps: list[dict[str, Any]] = []
        for i, step in enumerate(self.steps):
            plain, more = step.state()
            steps.append(plain)
            arrays |= {f"steps.{i}.{name}": array for name, array in more.items()}
        plain = {
            "columns": [{**column.state(), "edges": []} for column in self.columns],
            "sources": [{"name": source.name, "kind": source.kind} for source in self.sources],
            "steps": steps,
            "dropped": self.dropped,
        }
        return plain, arrays


def _check(names: Sequence[str], kinds: Mapping[str, Kind], most_levels: int) -> None:
    known = set(names)
    for name, kind in kinds.items():
        if name not in known:
            raise ValueError(
                f"kinds: expected columns out of {name_some(names, 12)}, received {name!r}.{did_you_mean(name, names)}"
            )
        if kind not in KINDS:
            raise ValueError(f"kinds: expected one of {', '.join(KINDS)} for {name!r}, received {kind!r}")
    if most_levels < 2:
        raise ValueError(f"most_levels: expected 2 or more, received {most_levels}")


def _category(column: pd.Series, most: int, forced: bool) -> TableColumn | str:
    """The column with its levels, the most frequent first; or why there is none."""
    codes, texts = texts_of(column)
    counts = np.bincount(codes[codes >= 0], minlength=len(texts))
    # A pandas category may know values that no row has.
    places = sorted(np.flatnonzero(counts), key=lambda i: (-counts[i], texts[i]))
    if len(places) < 2:
        return "has one value only" if places else "has no value"
    if not forced and len(places) >= _FEW and counts.max() == 1:
        return "is an id: every row has another text"
    places = places[:most]
    total = int(counts[places].sum())
    return TableColumn(
        str(column.name),
        "category",
        levels=tuple(texts[i] for i in places),
        shares=tuple(int(counts[i]) / total for i in places),
    )


def _varying(
    frame: pd.DataFrame, sources: list[Source], kinds: Mapping[str, Kind], dropped: dict[str, str]
) -> list[Source]:
    """The sources that tell something; the others are put among `dropped`."""
    cells = Cells(frame, sources)
    moments = Moments.of(cells.blocks)
    if not len(moments.count) and sources:
        raise ValueError("frame: expected rows to fit on, received none")
    constant, kept = _constant(moments), []
    for j, source in enumerate(sources):
        count, span = int(moments.count[j]), moments.high[j] - moments.low[j]
        if constant[j]:
            one = "varies less than its numbers are rounded" if span > 0 else "has one value only"
            dropped[source.name] = one if count else "has no value"
            continue
        dense = count >= _FEW and count - 1 <= span < 2 * count
        if dense and source.kind == "number" and source.name not in kinds:
            values = Cells(frame, [source]).numbers(0, len(frame))[:, 0]
            values = values[~np.isnan(values)]
            if len(np.unique(values)) == count and (values == np.floor(values)).all():
                dropped[source.name] = "is an id: whole numbers that count up, another in every row"
                continue
        kept.append(source)
    return kept


def _fit_numbers(
    cells: Cells, steps: Sequence[Step], dropped: dict[str, str], generator: np.random.Generator
) -> tuple[list[TableColumn], tuple[FittedStep, ...], NDArray[np.int64], Floats, Floats]:
    """Columns of numbers, the fitted steps, and of their outputs which are kept, their centres and scales."""
    fitted: list[FittedStep] = []
    names: tuple[str, ...] = tuple(source.name for source in cells.sources)
    blocks = cells.blocks
    for options in steps:
        step = fit_step(options, names, blocks, generator)
        blocks, names = blocks.through(step.apply), step.names
        fitted.append(step)
    moments = Moments.of(blocks)
    constant = _constant(moments)
    dropped |= {name: "is constant after the steps" for name, bad in zip(names, constant, strict=True) if bad}
    kept = np.flatnonzero(~constant)
    centre, scale = moments.mean[kept], moments.scale[kept]
    if not len(kept):
        return [], tuple(fitted), kept, centre, scale
    marks = quantiles(sampled(blocks, generator)[:, kept], np.linspace(0, 1, EDGES))
    marks[0], marks[-1] = moments.low[kept], moments.high[kept]
    marks = ((np.sort(marks, axis=0) - centre) / scale).astype(np.float32)
    columns = [
        TableColumn(names[int(at)], edges=tuple(np.unique(marks[:, j][~np.isnan(marks[:, j])]).tolist()))
        for j, at in enumerate(kept)
    ]
    return columns, tuple(fitted), kept, centre, scale


def _constant(moments: Moments) -> NDArray[np.bool_]:
    largest = np.maximum(np.abs(moments.low), np.abs(moments.high))
    return ~(moments.high - moments.low > _ROUNDING * largest)  # NaN where there is no value


def _dates(days: Floats) -> NDArray[np.datetime64]:
    """Datetimes of days since 1970-01-01, to the second."""
    seconds = np.where(np.isnan(days), 0, np.round(days * 86_400)).astype("timedelta64[s]")
    found = np.datetime64("1970-01-01", "s") + seconds
    found[np.isnan(days)] = np.datetime64("NaT")
    return found


def _levels(values: NDArray[np.floating], column: TableColumn) -> NDArray[np.object_]:
    if not np.isin(values, np.arange(column.size)).all():
        raise ValueError(
            f"values: expected whole numbers from 0 to {column.size - 1} for the category {column.name!r}, received "
            f"{values[~np.isin(values, np.arange(column.size))][0]}"
        )
    texts = np.array([None] * FIRST_LEVEL + list(column.levels), dtype=object)
    return texts[values.astype(np.int64)]


def _below(arrays: Mapping[str, NDArray], prefix: str) -> dict[str, NDArray]:
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}


def _digests(arrays: Mapping[str, NDArray]) -> dict[str, str]:
    return {
        name: hashlib.sha256(f"{array.dtype.str} {array.shape} ".encode() + array.tobytes()).hexdigest()[:16]
        for name, array in sorted(arrays.items())
    }
