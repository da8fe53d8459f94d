"""Named steps that prepare the numbers of a table, fitted on blocks of its rows."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter
from scipy.linalg import eigh, qr
from scipy.special import ndtr, ndtri

from ..configs.steps import Log1pStep, PcaStep, QuantileStep, RowsStep, StandardStep, Step, SvdStep
from .findings import did_you_mean, name_some
from .table_blocks import Blocks, Floats, Moments, quantiles, sampled

MOST_SIDE = 4096  # of a Gram matrix whose eigenvectors are computed whole
OVERSAMPLED, ITERATIONS = 10, 6  # of the randomised decomposition
_TINY = 1e-7  # scikit-learn's: what lies so near to the first or last quantile is taken for it
_LANES = 16  # columns that are turned together, so that their rows stay in the cache
_STEP: TypeAdapter[Step] = TypeAdapter(Step)


@dataclass(frozen=True, eq=False)
class FittedStep:
    """A step with what it learned from the rows it was fitted on.

    Attributes:
        options: what was asked for.
        before, names: the K columns that come in and the K' that go out, in order.
        places: where the columns it takes stand in `before`, group after group.
        arrays: what it learned, by name.
    """

    options: Step
    before: tuple[str, ...]
    names: tuple[str, ...]
    places: NDArray[np.int64]
    arrays: dict[str, NDArray]

    def apply(self, block: Floats) -> Floats:
        """Take a block (B, K) to (B, K'); the block may be overwritten. Missing numbers stay so, except that a
        decomposition puts the column's mean for them.

        Raises:
            ValueError: log1p of -1 or less.
        """
        arrays, some = self.arrays, len(self.places) < block.shape[1]
        taken = block[:, self.places] if some else block
        match self.options:
            case StandardStep():
                taken -= arrays["mean"]
                taken /= arrays["scale"]
            case Log1pStep():
                _check_above(np.fmin.reduce(taken, initial=np.inf), [self.before[at] for at in self.places])
                np.log1p(taken, out=taken)
            case QuantileStep():
                _to_normal(taken, arrays["quantiles"])
            case RowsStep(how="standard"):
                here = np.maximum((~np.isnan(taken)).sum(axis=1, keepdims=True), 1)
                taken -= np.nansum(taken, axis=1, keepdims=True) / here
                sd = np.sqrt(np.nansum(taken**2, axis=1, keepdims=True) / here)
                taken /= np.where(sd > 0, sd, 1.0)
            case RowsStep():
                sums = np.nansum(taken, axis=1, keepdims=True)
                taken *= np.where(sums > 0, arrays["total"] / np.where(sums > 0, sums, 1.0), 1.0)
            case SvdStep() | PcaStep():
                parts = [np.delete(block, self.places, axis=1)]
                for group, place in self._groups():
                    filled = taken[:, place] - arrays["mean"][place]
                    filled[np.isnan(filled)] = 0.0
                    if isinstance(self.options, SvdStep):
                        filled += arrays["mean"][place]
                    parts.append(filled @ arrays[f"components.{group}"].T)
                return np.concatenate(parts, axis=1)
        if some:
            block[:, self.places] = taken
        return block

    def undo(self, block: Floats) -> Floats:
        """Take a block (B, K') back to (B, K); NaN for the columns in `lost`."""
        if isinstance(self.options, SvdStep | PcaStep):
            whole = np.full((len(block), len(self.before)), np.nan)
            rest = np.delete(np.arange(len(self.before)), self.places)
            whole[:, rest] = block[:, : len(rest)]
            return whole
        block, arrays = block.copy(), self.arrays
        taken = block[:, self.places]
        match self.options:
            case StandardStep():
                taken = taken * arrays["scale"] + arrays["mean"]
            case Log1pStep():
                taken = np.expm1(taken)
            case QuantileStep():
                shares = np.linspace(0, 1, len(arrays["quantiles"]))
                for j in range(len(self.places)):
                    taken[:, j] = np.interp(ndtr(taken[:, j]), shares, arrays["quantiles"][:, j])
            case _:
                taken[:] = np.nan
        block[:, self.places] = taken
        return block

    @property
    def lost(self) -> tuple[str, ...]:
        """Columns that cannot be told from what comes out."""
        if isinstance(self.options, StandardStep | Log1pStep | QuantileStep):
            return ()
        return tuple(self.before[at] for at in self.places)

    def state(self) -> tuple[dict[str, Any], dict[str, NDArray]]:
        """Plain values, and arrays by name; `restore` reads them."""
        plain = {"options": self.options.model_dump(), "before": list(self.before), "names": list(self.names)}
        return plain, {"places": self.places, **self.arrays}

    @classmethod
    def restore(cls, plain: Mapping[str, Any], arrays: Mapping[str, NDArray]) -> "FittedStep":
        """The step that `state` described."""
        rest = {name: array for name, array in arrays.items() if name != "places"}
        return cls(
            _STEP.validate_python(plain["options"]),
            tuple(plain["before"]),
            tuple(plain["names"]),
            arrays["places"],
            rest,
        )

    def _groups(self) -> Iterator[tuple[int, slice]]:
        """Number and range in `places` of each group."""
        ends = np.cumsum(self.arrays["sizes"])
        for group, (end, size) in enumerate(zip(ends, self.arrays["sizes"], strict=True)):
            yield group, slice(int(end - size), int(end))


def fit_step(
    options: Step, names: Sequence[str], blocks: Blocks, generator: np.random.Generator
) -> FittedStep:
    """Learn a step from rows.

    Args:
        options: the step.
        names: the K columns of the blocks.
        blocks: the rows to learn from, after all steps before.
        generator: draws the rows of quantiles where there are more than `MOST_SAMPLED`, and the first subspace of a
            decomposition with more than `MOST_SIDE` columns and rows.

    Returns:
        The step; components get deterministic signs: the largest weight of each is positive.

    Raises:
        ValueError: a pattern or a group that no column matches, log1p of -1 or less, or a name given twice.
    """
    taken = _matched(options.columns, names)
    if isinstance(options, SvdStep | PcaStep):
        return _fit_decomposition(options, names, taken, blocks, generator)
    places = np.array(taken, dtype=np.int64)
    chosen = blocks.through(lambda block: block[:, places])
    arrays: dict[str, NDArray] = {}
    match options:
        case StandardStep():
            moments = Moments.of(chosen)
            arrays = {"mean": moments.mean, "scale": moments.scale}
        case Log1pStep():
            _check_above(Moments.of(chosen).low, [names[at] for at in taken])
        case QuantileStep():
            rows = sampled(chosen, generator)
            shares = np.linspace(0, 1, max(2, min(options.quantiles, len(rows))))
            arrays = {"quantiles": np.maximum.accumulate(quantiles(rows, shares))}
        case RowsStep(how="total"):
            sums = np.concatenate([np.nansum(block, axis=1) for block in chosen.read()])
            some = sums[sums > 0]
            median = float(np.median(some)) if len(some) else 1.0
            arrays = {"total": np.array(options.total or median)}
    return FittedStep(options, tuple(names), tuple(names), places, arrays)


def _fit_decomposition(
    options: SvdStep | PcaStep,
    names: Sequence[str],
    taken: list[int],
    blocks: Blocks,
    generator: np.random.Generator,
) -> FittedStep:
    groups: dict[str, list[int]] = {}
    for at in taken:
        match = re.search(options.group, names[at]) if options.group is not None else None
        if options.group is None or (match is not None and match[1] is not None):
            groups.setdefault("" if match is None else match[1], []).append(at)
    if not groups:
        raise ValueError(
            f"steps: expected names of columns that the group {options.group!r} of an {options.kind} matches, received "
            f"{name_some([names[at] for at in taken])}"
        )
    places = np.array([at for members in groups.values() for at in members], dtype=np.int64)
    mean = Moments.of(blocks.through(lambda block: block[:, places])).mean
    arrays: dict[str, NDArray] = {
        "mean": mean,
        "sizes": np.array([len(members) for members in groups.values()], dtype=np.int64),
    }
    grams = _grams(blocks, places, mean, arrays["sizes"])
    rest = np.delete(np.arange(len(names)), places)
    after = [names[int(at)] for at in rest]
    start = 0
    for number, (group, members) in enumerate(groups.items()):
        ours = slice(start, start + len(members))
        offset = mean[ours] if isinstance(options, SvdStep) else np.zeros(len(members))
        found = _components(options.n, blocks, places[ours], mean[ours], offset, grams.get(number), generator)
        arrays[f"components.{number}"] = found
        word = options.name or options.kind
        after += [f"{group}.{word}{i}" if group else f"{word}{i}" for i in range(len(found))]
        start += len(members)
    twice = (
        [name for name in dict.fromkeys(after) if after.count(name) > 1]
        if len(set(after)) < len(after)
        else []
    )
    if twice:
        raise ValueError(
            f"steps: expected components with names of their own, received {name_some(twice)} twice; give the "
            f"{options.kind} a `name`"
        )
    return FittedStep(options, tuple(names), tuple(after), places, arrays)


def _grams(blocks: Blocks, places: NDArray[np.int64], mean: Floats, sizes: NDArray) -> dict[int, Floats]:
    """Of each group whose columns are the smaller side X'X of its centred columns, all in one pass."""
    ends = np.cumsum(sizes)
    wanted = {
        group: (slice(int(end - size), int(end)), np.zeros((size, size)))
        for group, (end, size) in enumerate(zip(ends, sizes, strict=True))
        if size <= min(blocks.rows, MOST_SIDE)
    }
    if wanted:
        for block in blocks.read():
            centred = _centred(block, places, mean)
            for ours, gram in wanted.values():
                part = centred[:, ours]
                gram += part.T @ part
    return {group: gram for group, (_, gram) in wanted.items()}


def _components(
    most: int,
    blocks: Blocks,
    places: NDArray[np.int64],
    mean: Floats,
    offset: Floats,
    gram: Floats | None,
    generator: np.random.Generator,
) -> Floats:
    """(n, D) orthonormal: the leading right singular vectors of X = centred columns + offset.

    V comes from the eigenvectors of X'X, of X X' where there are fewer rows than columns (V = X'U/s), or from a
    randomised subspace iteration where both are many (Halko et al. 2011, algorithm 4.4).
    """
    width = len(places)

    def whole(block: Floats) -> Floats:
        return _centred(block, places, mean) + offset

    if gram is not None:
        values, vectors = _leading(gram + blocks.rows * np.outer(offset, offset), most)
    elif blocks.rows <= MOST_SIDE:
        rows = np.concatenate([whole(block) for block in blocks.read()])  # (N, D)
        values, left = _leading(rows @ rows.T, most)
        vectors = rows.T @ (left / np.sqrt(np.maximum(values, np.finfo(float).tiny)))
    else:
        values, vectors = _randomised(most, blocks.through(whole), width, generator)
    # Beyond the rank of the columns a direction would be noise of the arithmetic.
    found = vectors.T[values > values.max(initial=0.0) * np.finfo(float).eps * max(width, blocks.rows)]
    largest = np.abs(found).argmax(axis=1)
    return found * np.sign(found[np.arange(len(found)), largest])[:, None]


def _randomised(most: int, rows: Blocks, width: int, generator: np.random.Generator) -> tuple[Floats, Floats]:
    """About the largest eigenvalues of X'X, falling, and their vectors (width, n), by passes over the rows of X."""
    basis = generator.standard_normal((width, min(width, most + OVERSAMPLED)))
    for _ in range(ITERATIONS):
        basis, image = np.asarray(qr(basis, mode="economic")[0]), np.zeros_like(basis)
        for part in rows.read():
            image += part.T @ (part @ basis)
        basis = image
    basis = np.asarray(qr(basis, mode="economic")[0])
    small = np.zeros((basis.shape[1], basis.shape[1]))
    for part in rows.read():
        short = part @ basis
        small += short.T @ short
    values, inner = _leading(small, most)
    return values, basis @ inner


def _leading(gram: Floats, most: int) -> tuple[Floats, Floats]:
    """The largest eigenvalues of a symmetric matrix, falling, and their vectors (side, n)."""
    side = len(gram)
    values, vectors = eigh(gram, subset_by_index=[max(0, side - most), side - 1])
    return values[::-1], vectors[:, ::-1]


def _centred(block: Floats, places: NDArray[np.int64], mean: Floats) -> Floats:
    part = block[:, places] - mean
    part[np.isnan(part)] = 0.0
    return part


def _to_normal(values: Floats, marks: Floats) -> None:
    """Make of columns (B, K) what scikit-learn's QuantileTransformer makes of them: ranks between marks (Q, K), ties in
    their middle.

    Values in rising order walk along the marks; finding the place of each by itself took four times as long.
    """
    shares, edge = np.linspace(0, 1, len(marks)), ndtri(_TINY - np.spacing(1))
    for start in range(0, values.shape[1], _LANES):
        ours = slice(start, start + _LANES)
        columns, steps = np.ascontiguousarray(values[:, ours].T), np.ascontiguousarray(marks[:, ours].T)
        ranks = np.empty_like(columns)
        for column, step, rank in zip(columns, steps, ranks, strict=True):
            order = np.argsort(column)
            rising = column[order]
            found = np.interp(rising, step, shares)
            if (step[1:] == step[:-1]).any():  # only there the two ends of a tie differ
                found = 0.5 * (found - np.interp(-rising, -step[::-1], -shares[::-1]))
            rank[order] = found
        ranks[columns - _TINY < steps[:, :1]] = 0.0
        ranks[columns + _TINY > steps[:, -1:]] = 1.0
        ndtri(ranks, out=ranks)
        values[:, ours] = np.clip(ranks, edge, -edge, out=ranks).T


def _check_above(low: Floats, names: Sequence[str]) -> None:
    bad = np.flatnonzero(low <= -1)
    if len(bad):
        raise ValueError(
            f"steps: expected values above -1 for log1p, received down to {low[bad].min():g} in "
            f"{name_some([names[int(at)] for at in bad])}; give the step other `columns`"
        )


def _matched(patterns: Sequence[str], names: Sequence[str]) -> list[int]:
    """Where the columns stand that a name or pattern means, in their order."""
    found: set[int] = set()
    for pattern in patterns:
        hits = [at for at, name in enumerate(names) if name == pattern or fnmatchcase(name, pattern)]
        if not hits:
            raise ValueError(
                f"steps: expected columns of numbers or patterns of them, received {pattern!r}, which matches none of "
                f"{name_some(names, 12)}.{did_you_mean(pattern, names)}"
            )
        found.update(hits)
    return sorted(found)
