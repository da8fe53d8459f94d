"""Probes: how much of a target can be read off frozen features, without training anything."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Literal

import numpy as np
import scipy.linalg
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from ..datasets.table_column import TableColumn
from ..scoring.metrics import METRICS, Array
from ..scoring.neighbours import neighbours
from ..scoring.ridge import PENALTIES, Basis, Moments, best_penalty

Kind = Literal["classes", "values", "directions", "rows", "columns"]
MEASURES: dict[Kind, tuple[str, ...]] = {
    "classes": ("accuracy",),
    "values": ("rmse", "r2"),
    "directions": ("cosine",),
    "rows": ("pearson",),
    "columns": ("pearson_columns",),
}
NUMBERS = ("values", "rows", "columns")
"""Kinds of targets that are numbers: in their own units, or of interest as far as they correlate."""
INNER = 5
"""Most inner splits that judge a penalty; more folds than these are joined."""
KEPT = INNER * (INNER + 1) // 2
"""Fits to keep for other folds: every pair of them left out, and each alone."""


def probe(
    features: NDArray | Tensor,
    targets: NDArray,
    kind: Kind,
    folds: NDArray[np.int64],
    *,
    groups: NDArray | None = None,
    scored: Sequence[int] | None = None,
    k: int = 20,
    labels: int | None = None,
    draws: np.random.Generator | None = None,
) -> Iterator[tuple[str, float]]:
    """Score frozen features by nearest neighbours and by a ridge, out of fold.

    Fold f is predicted by what is fitted on the labelled rows outside of it, and the scores are those of all predicted
    rows together. The one penalty of a ridge is chosen on inner splits of the rows it is fitted on: the other folds
    among themselves, never the scored rows; what it says of values is cut to the range of those it has learned.
    Sources: Wu et al. 2018 (neighbours); Zhai et al. 2019, VTAB, and `fewshot_lsr` of google-research/big_vision
    (closed-form ridge).

    Args:
        features: (N, D) of the rows.
        targets: (N, K) one-hot classes, values in their own units, vectors of which the direction counts, or values of
            which the correlation within a row (two columns or more) or a column counts. A row with a NaN is left out.
        kind: what the targets are.
        folds: (N,) the fold that scores a row; -1 for a row that is only learned from.
        groups: (N,) rows of one group stay together in inner splits; needed with fewer than three folds only. None:
            each row is its own.
        scored: the folds to score; None: all.
        k: number of neighbours.
        labels: learn from only so many rows a fold; needs `draws`. The same order of rows serves all folds.
        draws: source of that order.

    Yields:
        `knn.accuracy` and `ridge.accuracy` of classes; `knn.rmse`, `knn.r2`, `ridge.rmse` and `ridge.r2` of values, the
        average over the columns; `knn.cosine` and `ridge.cosine` of directions; `knn.pearson` and `ridge.pearson` of
        rows; `knn.pearson_columns` and `ridge.pearson_columns` of columns. r2 and correlations are left out where all
        scored values are equal.

    Raises:
        ValueError: shapes that do not fit, features that are not finite, an unknown kind, `labels` without `draws` or
            below 2, or no fold with rows to score and two rows to learn from.
    """
    x = np.asarray(torch.as_tensor(features).detach().cpu(), dtype=np.float64)
    y = np.asarray(targets, dtype=np.float64)
    _check(x, y, kind, folds, groups, labels, draws)
    present = np.flatnonzero(np.isfinite(y).all(axis=1))
    order = present if labels is None or draws is None else draws.permutation(present)
    names = np.arange(len(x)) if groups is None else np.unique(groups, return_inverse=True)[1]
    x = _centred(x)
    ridge = _Ridge(x, y, kind)

    truth, by_neighbours, by_ridge = [], [], []
    for fold in np.unique(folds[folds >= 0]) if scored is None else scored:
        held = present[folds[present] == fold]
        learned = np.sort(order[folds[order] != fold][:labels])
        if not len(held) or len(learned) < 2:
            continue
        truth.append(y[held])
        # Neighbours compare raw directions, as in the reference code; the ridge standardises by itself.
        raw = (
            torch.as_tensor(features)[torch.as_tensor(learned)],
            torch.as_tensor(features)[torch.as_tensor(held)],
        )
        by_neighbours.append(neighbours(raw[0].detach(), y[learned], raw[1].detach(), k))
        penalty = ridge.tune(learned, inner_splits(folds[learned], names[learned]))
        guesses = ridge.fit(learned).predict(x[held], penalty)
        if kind in NUMBERS:
            # A feature that is dead on all learned rows but one may light up in a picture and decide the whole score.
            guesses = np.clip(guesses, y[learned].min(axis=0), y[learned].max(axis=0))
        by_ridge.append(guesses)
    if not truth:
        raise ValueError(
            f"probe: expected a fold with labelled rows to score and two outside of it, received {len(present)} "
            f"labelled rows in folds {np.unique(folds[present]).tolist()}"
        )
    right = np.concatenate(truth)
    for name, guesses in (("knn", by_neighbours), ("ridge", by_ridge)):
        for measure in MEASURES[kind]:
            value = _score(measure, right, np.concatenate(guesses))
            if np.isfinite(value):
                yield f"{name}.{measure}", value


def inner_splits(folds: NDArray[np.int64], groups: NDArray[np.int64]) -> list[NDArray[np.bool_]]:
    """Masks (N,) of the rows to hold out, one after the other, to choose by.

    The folds are held out in turn, at most `INNER` sets of them. Where there are fewer than two, the groups are dealt
    to three parts instead; of one group alone nothing is held out.
    """
    known = np.unique(folds[folds >= 0])
    if len(known) > 1:
        return [np.isin(folds, known[part::INNER]) for part in range(min(INNER, len(known)))]
    order = np.unique(groups, return_inverse=True)[1]
    parts = min(3, int(order.max()) + 1)
    return [order % parts == part for part in range(parts)] if parts > 1 else []


def pixel_features(batches: Iterable[Tensor], side: int = 32, dims: int = 128) -> Tensor:
    """The baseline that no network may lose to: shrunken pictures on their principal axes, found without labels.

    Args:
        batches: N pictures in batches (B, C, H, W), uint8 or float.
        side: pixels a side that are left.
        dims: at most so many axes.

    Returns:
        (N, K) float32, the largest variance first; K = min(dims, N / 4, C·side²): a ridge gives all axes the same
        variance, and on N - 1 such axes all pictures are equally far from each other.

    Raises:
        ValueError: fewer than two pictures, or another shape.
    """
    parts = []
    for batch in batches:
        if batch.ndim != 4:
            raise ValueError(f"`batches`: expected pictures (B, C, H, W), received {tuple(batch.shape)}")
        small = F.interpolate(
            batch.float(), (side, side), mode="bilinear", align_corners=False, antialias=True
        )
        parts.append(small.flatten(1).cpu().numpy())
    return _principal(parts, dims)


def column_features(batches: Iterable[Tensor], columns: Sequence[TableColumn], dims: int = 128) -> Tensor:
    """The baseline of tables: numbers, 0 where missing, and levels one-hot, on their principal axes.

    Args:
        batches: N lines in batches (B, D), as `TableColumn` says.
        columns: the D columns.
        dims: at most so many axes.

    Returns:
        (N, K) float32, as of `pixel_features`.

    Raises:
        ValueError: fewer than two lines.
    """
    numbers = [i for i, column in enumerate(columns) if column.kind == "number"]
    categories = [(i, column.size) for i, column in enumerate(columns) if column.kind == "category"]
    parts = []
    for batch in batches:
        known = [F.one_hot(batch[:, i].long(), size).float() for i, size in categories]
        parts.append(torch.cat([batch[:, numbers].nan_to_num(0.0), *known], 1).cpu().numpy())
    return _principal(parts, dims)


def _principal(parts: Sequence[NDArray], dims: int) -> Tensor:
    """The coordinates of rows (N, P) on their leading principal axes."""
    count = sum(map(len, parts))
    if count < 2:
        raise ValueError(f"`batches`: expected two inputs or more, received {count}")
    flat = np.concatenate(parts)  # (N, P)
    flat -= flat.mean(axis=0)
    wide = flat.shape[1] > count
    square = (flat @ flat.T if wide else flat.T @ flat).astype(np.float64)
    kept, last = min(dims, max(1, count // 4), flat.shape[1]), len(square) - 1
    values, vectors = scipy.linalg.eigh(square, subset_by_index=(last - kept + 1, last))
    # X = U S V': the coordinates are U S from XX' = U S² U', or X V from X'X = V S² V'.
    found = vectors * np.sqrt(np.maximum(values, 0.0)) if wide else flat @ vectors
    return torch.from_numpy(np.ascontiguousarray(found[:, ::-1], dtype=np.float32))


class _Ridge:
    """Ridges on subsets of the same N rows; the sums over a subset are those of all rows without the others.

    The inner fit for folds 0 and 1 left out serves both of them, so fits are kept for a while.
    """

    def __init__(self, x: Array, y: Array, kind: Kind) -> None:
        self.x, self.y, self.kind = x, y, kind
        self.whole: tuple[NDArray[np.int64], Moments] | None = None
        self.known: dict[bytes, Basis] = {}

    def fit(self, rows: NDArray[np.int64]) -> Basis:
        """The basis of these rows."""
        key = rows.tobytes()
        if key not in self.known:
            if len(self.known) > KEPT:
                self.known.pop(next(iter(self.known)))
            self.known[key] = self._fit(rows)
        return self.known[key]

    def _fit(self, rows: NDArray[np.int64]) -> Basis:
        if len(rows) <= self.x.shape[1]:
            return Basis.of(self.x[rows], self.y[rows])
        if self.whole is None:
            present = np.flatnonzero(np.isfinite(self.y).all(axis=1))
            self.whole = present, Moments.of(self.x[present], self.y[present])
        all_rows, sums = self.whole
        others = np.setdiff1d(all_rows, rows, assume_unique=True)
        if len(others) > len(rows):
            return Basis.of_moments(Moments.of(self.x[rows], self.y[rows]))
        return Basis.of_moments(sums - Moments.of(self.x[others], self.y[others]))

    def tune(self, rows: NDArray[np.int64], held_out: Sequence[NDArray[np.bool_]]) -> float:
        """The penalty of the least squared error on inner held-out rows, each column in units of its variance.

        The correlation within a row sees columns in the table's units, so that with it they are weighed in these.
        """
        spread = self.y[rows].var(axis=0)
        errors = np.zeros(len(PENALTIES))
        for held in held_out:
            if 1 < (~held).sum() < len(rows):
                found = self.fit(rows[~held]).errors(self.x[rows[held]], self.y[rows[held]])  # (P, K)
                errors += (
                    (found / np.where(spread > 0, spread, 1.0)).sum(axis=1)
                    if self.kind in ("values", "columns")
                    else (found.sum(axis=1))
                )
        return float(best_penalty(errors[:, None])[0])


def _centred(x: Array) -> Array:
    """Near mean 0 and deviation 1, so that sums of squares lose no digits."""
    return (x - x.mean(axis=0)) / np.where(x.std(axis=0) > 0, x.std(axis=0), 1.0)


def _score(measure: str, truth: Array, guess: Array) -> float:
    if measure == "accuracy":
        return float((guess.argmax(axis=1) == truth.argmax(axis=1)).mean())
    return METRICS[measure].function(truth, guess)


def _check(
    x: Array,
    y: Array,
    kind: str,
    folds: NDArray[np.int64],
    groups: NDArray | None,
    labels: int | None,
    draws: np.random.Generator | None,
) -> None:
    lengths = {len(x), len(y), len(folds), len(x) if groups is None else len(groups)}
    if x.ndim != 2 or y.ndim != 2 or len(lengths) > 1:
        raise ValueError(
            "expected `features` (N, D), `targets` (N, K), `folds` (N,) and `groups` (N,), received "
            f"{x.shape}, {y.shape}, {np.shape(folds)} and {None if groups is None else np.shape(groups)}"
        )
    if kind not in MEASURES:
        raise ValueError(f"`kind`: expected one of {', '.join(MEASURES)}, received {kind!r}")
    if not np.isfinite(x).all():
        raise ValueError("`features`: expected finite values, received NaN or infinite ones")
    if labels is not None and (labels < 2 or draws is None):
        raise ValueError(
            f"`labels`: expected 2 or more together with `draws`, received {labels}, draws={draws}"
        )
