"""Metrics: one number for a set of predictions, and the same number for every bootstrap resample at once.

All but AUC are functions of sums over rows (Σ squared error, Σ hits, ...). So a resample that takes group g
c_g times needs no second look at the rows: its sums are Σ_g c_g · (sums of group g), and 1,000 resamples are
one matrix product.

Two kinds. A ``value`` metric takes truth (N,) or (N, K) and predictions of the same shape; with K columns it
is the uniform average of the columns' scores (scikit-learn's ``multioutput="uniform_average"``), but for
cosine and pearson, which are means over rows. A ``probability`` metric takes the class codes (N,), integers 0
to C-1, and class probabilities (N, C).
"""

from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from .pearson import ROUNDING, row_correlations

Array = NDArray[np.float64]
Kind = Literal["value", "probability"]


@dataclass(frozen=True)
class Metric:
    """A named score.

    Args:
        name: its name in the config.
        greater_is_better: whether a larger score is better.
        kind: ``value`` or ``probability``: what the predictions are.
        resample: (truth, prediction, group (N,) codes 0..G-1, counts (R, G)) → scores (R,), NaN where
            undefined.
        squared: whether the score is a function of the mean squared error, so that averaging models has a
            known effect.
        by_row: where the score is a mean over rows: (truth, prediction) → (N,), NaN where a row is left out.
    """

    name: str
    greater_is_better: bool
    kind: Kind
    resample: Callable[[Array, Array, NDArray[np.int64], Array], Array]
    squared: bool = False
    by_row: Callable[[Array, Array], Array] | None = None

    def function(self, truth: NDArray, prediction: NDArray) -> float:
        """Score the predictions.

        Args:
            truth: (N,) or (N, K) values, or (N,) class codes.
            prediction: values of truth's shape, or probabilities (N, C).

        Returns:
            The score; NaN where it is undefined (AUC of one class, r2 or qwk of constant truth).

        Raises:
            ValueError: no rows, shapes that do not fit, or missing values.
        """
        truth, prediction = self.check(truth, prediction)
        return float(
            self.resample(truth, prediction, np.zeros(len(truth), dtype=np.int64), np.ones((1, 1)))[0]
        )

    def check(self, truth: NDArray, prediction: NDArray) -> tuple[Array, Array]:
        """Bring truth to (N, K) or (N,) and predictions to (N, K) or (N, C), as float64.

        Raises:
            ValueError: as `function`.
        """
        y, p = np.asarray(truth, dtype=np.float64), np.asarray(prediction, dtype=np.float64)
        if self.kind == "value":
            y, p = (values[:, None] if values.ndim == 1 else values for values in (y, p))
        fits = (
            p.shape == y.shape and y.ndim == 2
            if self.kind == "value"
            else (p.ndim == 2 and y.shape == p.shape[:1] and p.shape[1] > 1)
        )
        if not fits or not len(y):
            expected = (
                "values (N, K) of both"
                if self.kind == "value"
                else "codes (N,) and probabilities (N, C), C > 1"
            )
            raise ValueError(
                f"{self.name}: expected {expected}, N > 0; received {np.shape(truth)}, "
                f"{np.shape(prediction)}."
            )
        if not (np.isfinite(y).all() and np.isfinite(p).all()):
            raise ValueError(
                f"{self.name}: expected finite truth and predictions, received NaN or infinite values."
            )
        if self.kind == "probability" and not (
            np.isin(y, np.arange(p.shape[1])).all() and p.min() >= 0 and p.max() <= 1 + 1e-6
        ):
            raise ValueError(
                f"{self.name}: expected class codes 0 to {p.shape[1] - 1} and probabilities from 0 to 1; "
                f"received codes {y.min():g} to {y.max():g}, values {p.min():g} to {p.max():g}."
            )
        return y, p

    def scorer(
        self, truth: NDArray, prediction: NDArray, group: NDArray[np.int64], n_groups: int
    ) -> Callable[[Array], Array]:
        """A function from counts (R, G) to the scores (R,) of these resamples.

        The scores of rows, where there are such, are computed once for all resamples.

        Raises:
            ValueError: as `function`.
        """
        y, p = self.check(truth, prediction)
        if self.by_row is None:
            return lambda counts: self.resample(y, p, group, counts)
        sums = _group_sums(_row_sums(self.by_row(y, p)), group, n_groups)  # (G, 2)
        return lambda counts: _ratio(counts @ sums)

    def better(self, score: float, other: float) -> bool:
        """Whether `score` is strictly better than `other`."""
        return score > other if self.greater_is_better else score < other


def _grouped(sums: Array, group: NDArray[np.int64], counts: Array) -> Array:
    """Sums of every resample: row sums (N, S) → group sums (G, S) → (R, S)."""
    return counts @ _group_sums(sums, group, counts.shape[1])


def _group_sums(sums: Array, group: NDArray[np.int64], n_groups: int) -> Array:
    """Row sums (N, S) → group sums (G, S)."""
    columns = [np.bincount(group, weights=column, minlength=n_groups) for column in sums.T]
    return np.stack(columns, axis=1).astype(np.float64, copy=False)


def _row_sums(scores: Array) -> Array:
    """Of scores (N,), NaN where left out: value and weight (N, 2)."""
    defined = np.isfinite(scores)
    return _stack(np.where(defined, scores, 0.0), defined.astype(np.float64))


def _ratio(s: Array) -> Array:
    with np.errstate(divide="ignore", invalid="ignore"):
        return s[:, 0] / s[:, 1]


def _mean_of_rows(name: str, by_row: Callable[[Array, Array], Array]) -> Metric:
    """A value metric, greater is better, that is the mean over rows of (truth, prediction) → (N,)."""

    def resample(truth: Array, prediction: Array, group: NDArray[np.int64], counts: Array) -> Array:
        return _ratio(_grouped(_row_sums(by_row(truth, prediction)), group, counts))

    return Metric(name, True, "value", resample, by_row=by_row)


def _of_columns(row_sums: Callable[[Array, Array], Array], finish: Callable[[Array], Array]):
    """A value metric: row_sums of one column's (N,), (N,) gives (N, S); finish turns (R, S) into (R,)."""

    def resample(truth: Array, prediction: Array, group: NDArray[np.int64], counts: Array) -> Array:
        with np.errstate(divide="ignore", invalid="ignore"):
            scores = [
                finish(_grouped(row_sums(truth[:, k], prediction[:, k]), group, counts))
                for k in range(truth.shape[1])
            ]
        return np.mean(scores, axis=0)

    return resample


def _of_classes(row_sums: Callable[[NDArray[np.int64], Array], Array], finish: Callable[[Array], Array]):
    """A probability metric of sums over rows."""

    def resample(truth: Array, prediction: Array, group: NDArray[np.int64], counts: Array) -> Array:
        with np.errstate(divide="ignore", invalid="ignore"):
            return finish(_grouped(row_sums(truth.astype(np.int64), prediction), group, counts))

    return resample


def _stack(*columns: Array) -> Array:
    return np.stack(columns, axis=1)


def _squared_error(y: Array, p: Array) -> Array:
    return _stack((y - p) ** 2, np.ones_like(y))


def _absolute_error(y: Array, p: Array) -> Array:
    return _stack(np.abs(y - p), np.ones_like(y))


def _r2_sums(y: Array, p: Array) -> Array:
    centred = (
        y - y.mean()
    )  # the spread does not depend on the origin, and Σy² - (Σy)²/n loses no digits near 0
    return _stack((y - p) ** 2, centred, centred**2, np.ones_like(y))


def _r2(s: Array) -> Array:
    spread = s[:, 2] - s[:, 1] ** 2 / s[:, 3]
    return np.where(spread > 1e-12 * s[:, 2], 1 - s[:, 0] / spread, np.nan)


def _kappa_sums(y: Array, p: Array) -> Array:
    if (y != np.round(y)).any():
        raise ValueError(
            "qwk: expected whole numbers as truth, received fractions; use rmse or mae for those."
        )
    nearest = np.floor(p + 0.5)  # halves go up
    return _stack((y - nearest) ** 2, y, nearest, y**2 + nearest**2, np.ones_like(y))


def _kappa(s: Array) -> Array:
    # Σ_ij (i-j)² n_i m_j / n, the disagreement expected by chance, opens to Σt² + Σp² - 2 Σt Σp / n.
    chance = s[:, 3] - 2 * s[:, 1] * s[:, 2] / s[:, 4]
    return np.where(chance > 1e-12, 1 - s[:, 0] / chance, np.nan)


def _hits(y: NDArray[np.int64], p: Array) -> Array:
    return _stack((p.argmax(axis=1) == y).astype(np.float64), np.ones(len(y)))


def _surprise(y: NDArray[np.int64], p: Array) -> Array:
    p = np.clip(p, np.finfo(np.float64).eps, 1.0)
    return _stack(-np.log((p / p.sum(axis=1, keepdims=True))[np.arange(len(y)), y]), np.ones(len(y)))


def _confusions(y: NDArray[np.int64], p: Array) -> Array:
    n_classes = p.shape[1]
    true, guess = np.eye(n_classes)[y], np.eye(n_classes)[p.argmax(axis=1)]
    return np.concatenate([true * guess, true + guess], axis=1)  # true positives; 2 tp + fp + fn


def _f1(s: Array) -> Array:
    n_classes = s.shape[1] // 2
    scores = 2 * s[:, :n_classes] / s[:, n_classes:]  # a class in neither truth nor guesses is 0/0: left out
    return scores[:, 1] if n_classes == 2 else np.nanmean(scores, axis=1)


def _auc(truth: Array, prediction: Array, group: NDArray[np.int64], counts: Array) -> Array:
    n_classes = prediction.shape[1]
    scores = []
    for c in [1] if n_classes == 2 else range(n_classes):
        order = np.argsort(prediction[:, c], kind="stable")
        _, starts = np.unique(prediction[order, c], return_index=True)
        weights = counts[:, group[order]]  # (R, N)
        is_class = truth[order] == c
        positive = np.add.reduceat(weights * is_class, starts, axis=1)  # (R, distinct values)
        negative = np.add.reduceat(weights * ~is_class, starts, axis=1)
        below = np.cumsum(negative, axis=1) - negative / 2  # ties count half
        with np.errstate(divide="ignore", invalid="ignore"):
            scores.append((positive * below).sum(axis=1) / (positive.sum(axis=1) * negative.sum(axis=1)))
    return _mean_of_known(np.array(scores))


def _cosines(truth: Array, prediction: Array) -> Array:
    lengths = np.linalg.norm(truth, axis=1) * np.linalg.norm(prediction, axis=1)
    return (truth * prediction).sum(axis=1) / np.where(lengths > 0, lengths, 1.0)


def _column_correlations(truth: Array, prediction: Array, group: NDArray[np.int64], counts: Array) -> Array:
    scores = []
    for k in range(truth.shape[1]):
        # Σyp - Σy Σp / n loses no digits about the mean; a column that is constant but for rounding is made so.
        y, p = (values[:, k] - values[:, k].mean() for values in (truth, prediction))
        y, p = (
            np.where(np.linalg.norm(c) > ROUNDING * np.linalg.norm(whole[:, k]), c, 0.0)
            for c, whole in ((y, truth), (p, prediction))
        )
        s = _grouped(_stack(y * p, y, p, y**2, p**2, np.ones_like(y)), group, counts)
        n = np.maximum(s[:, 5], 1.0)
        shared = s[:, 0] - s[:, 1] * s[:, 2] / n
        of_truth, of_prediction = s[:, 3] - s[:, 1] ** 2 / n, s[:, 4] - s[:, 2] ** 2 / n
        defined, varies = of_truth > 1e-12 * s[:, 3], of_prediction > 1e-12 * s[:, 4]
        lengths = np.sqrt(np.where(defined, of_truth, 1.0) * np.where(varies, of_prediction, 1.0))
        found = np.where(varies, np.clip(shared / lengths, -1.0, 1.0), 0.0)
        scores.append(np.where(defined, found, np.nan))
    return _mean_of_known(np.array(scores))


def _mean_of_known(scores: Array) -> Array:
    """Mean over the first axis, without NaN; NaN where there is nothing else."""
    known = np.isfinite(scores)
    with np.errstate(invalid="ignore"):
        return np.where(known, scores, 0.0).sum(axis=0) / known.sum(axis=0)


METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric(
            "rmse",
            False,
            "value",
            _of_columns(_squared_error, lambda s: np.sqrt(s[:, 0] / s[:, 1])),
            squared=True,
        ),
        Metric("mae", False, "value", _of_columns(_absolute_error, lambda s: s[:, 0] / s[:, 1])),
        Metric("r2", True, "value", _of_columns(_r2_sums, _r2), squared=True),
        Metric("qwk", True, "value", _of_columns(_kappa_sums, _kappa)),
        _mean_of_rows("cosine", _cosines),
        _mean_of_rows("pearson", row_correlations),
        Metric("pearson_columns", True, "value", _column_correlations),
        Metric("accuracy", True, "probability", _of_classes(_hits, lambda s: s[:, 0] / s[:, 1])),
        Metric("logloss", False, "probability", _of_classes(_surprise, lambda s: s[:, 0] / s[:, 1])),
        Metric("f1", True, "probability", _of_classes(_confusions, _f1)),
        Metric("auc", True, "probability", _auc),
    )
}
"""name → metric.

qwk: Cohen's kappa with quadratic weights; predictions are rounded to the nearest whole number (`stacking` has
rounded them to the nearest known class before: a metric sees the truth of its rows only, and a fold may lack
a class). accuracy and f1 take the most probable class. f1: of the second class when there are two, else the
macro average over the classes that occur in truth or guesses. auc: of the second class when there are two,
else the macro average of one class against the rest, over the classes that occur. cosine: the mean over rows of the
cosine of the angle between the two vectors (N, K); a vector of length 0 has the cosine 0 with all. It scores
embeddings, and is no metric of a stack. pearson: the mean over rows of the correlation within a row, over two or more
columns; pearson_columns: the mean over columns of the correlation within a column. `scoring.pearson` says what becomes
of constant rows and columns.
"""


def get_metric(name: str) -> Metric:
    """The metric of that name.

    Raises:
        ValueError: no such metric.
    """
    if name not in METRICS:
        near = get_close_matches(name, METRICS, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"`metric` must be one of {list(METRICS)}; received {name!r}.{hint}")
    return METRICS[name]
