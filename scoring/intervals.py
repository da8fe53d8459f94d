"""Group-bootstrap intervals: how far a score would move with other groups of rows."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .metrics import Array, Metric

CELLS = 8_000_000
"""Most resamples x rows to hold at a time: 64 MB in float64."""


@dataclass(frozen=True)
class Interval:
    """A percentile interval of bootstrap scores.

    Args:
        low: lower end.
        high: upper end.
        level: share of the resamples inside.
        undefined: share of the resamples without a score (one class only, for instance), left out.
    """

    low: float
    high: float
    level: float
    undefined: float = 0.0

    @classmethod
    def of(cls, scores: NDArray, level: float = 0.95) -> "Interval":
        """The central interval that holds `level` of the resampled scores (R,).

        Raises:
            ValueError: `level` outside 0 to 1.
        """
        if not 0 < level < 1:
            raise ValueError(f"`level` must lie between 0 and 1; received {level}.")
        defined = scores[np.isfinite(scores)]
        undefined = 1 - len(defined) / len(scores)
        if not len(defined):
            return cls(float("nan"), float("nan"), level, undefined)
        low, high = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2])
        return cls(float(low), float(high), level, undefined)

    def excludes_zero(self) -> bool:
        """Whether both ends lie on one side of zero: a difference beyond noise."""
        return self.low > 0 or self.high < 0


def bootstrap_scores(
    metric: Metric,
    truth: NDArray,
    predictions: Sequence[NDArray],
    groups: Sequence[str] | NDArray | None,
    generator: np.random.Generator,
    resamples: int = 1000,
) -> Array:
    """Score several sets of predictions on the same resamples of whole groups, drawn with replacement.

    Rows of one group are not independent (photos of one series, cells of one donor): a bootstrap of rows
    would make the interval too narrow. Differences between two rows of the result are paired.
    Source: Efron & Tibshirani, An Introduction to the Bootstrap (1993), ch. 13; clusters: Field & Welsh
    (2007).

    Args:
        metric: the score.
        truth: as the metric wants it, N rows.
        predictions: M sets of predictions of the same N rows.
        groups: the group of each row (N,); None: each row is its own.
        generator: source of the draws.
        resamples: R, how many.

    Returns:
        Scores (M, R); NaN where a resample has none.

    Raises:
        ValueError: no resamples, or `groups` of another length.
    """
    if resamples < 1:
        raise ValueError(f"`resamples` must be 1 or more; received {resamples}.")
    n_rows = len(truth)
    if groups is not None and len(groups) != n_rows:
        raise ValueError(f"`groups` must have one entry a row, {n_rows}; received {len(groups)}.")
    codes = (
        np.arange(n_rows)
        if groups is None
        else np.unique(np.asarray(groups, dtype=str), return_inverse=True)[1]
    )
    n_groups = int(codes.max(initial=-1)) + 1
    scorers = [metric.scorer(truth, prediction, codes, n_groups) for prediction in predictions]
    parts = [
        [score(counts) for score in scorers] for counts in _draws(n_groups, n_rows, generator, resamples)
    ]
    return np.concatenate([np.stack(part) for part in parts], axis=1)


def bootstrap_interval(
    metric: Metric,
    truth: NDArray,
    prediction: NDArray,
    groups: Sequence[str] | NDArray | None,
    generator: np.random.Generator,
    resamples: int = 1000,
    level: float = 0.95,
) -> Interval:
    """The group-bootstrap interval of one score; arguments as `bootstrap_scores`."""
    return Interval.of(bootstrap_scores(metric, truth, [prediction], groups, generator, resamples)[0], level)


def paired_interval(
    metric: Metric,
    truth: NDArray,
    first: NDArray,
    second: NDArray,
    groups: Sequence[str] | NDArray | None,
    generator: np.random.Generator,
    resamples: int = 1000,
    level: float = 0.95,
) -> Interval:
    """The interval of score(first) - score(second) on the same resamples; see `bootstrap_scores`."""
    scores = bootstrap_scores(metric, truth, [first, second], groups, generator, resamples)
    return Interval.of(scores[0] - scores[1], level)


def _draws(n_groups: int, n_rows: int, generator: np.random.Generator, resamples: int) -> Iterator[Array]:
    """How often each group is taken, (r, G) at a time: at most 64 MB whatever the number of rows."""
    most = max(1, CELLS // max(n_groups, n_rows))
    for start in range(0, resamples, most):
        r = min(most, resamples - start)
        taken = generator.integers(0, n_groups, size=(r, n_groups))  # (r, G)
        flat = (taken + np.arange(r)[:, None] * n_groups).ravel()
        yield np.bincount(flat, minlength=r * n_groups).reshape(r, n_groups).astype(np.float64)
