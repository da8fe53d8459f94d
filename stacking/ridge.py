"""Ridge regression as level 2: linear, and hard to overfit with."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..scoring.metrics import Array
from ..scoring.ridge import PENALTIES, Basis, best_penalty
from .columns import TABLE

Split = tuple[NDArray[np.int64], NDArray[np.int64]]
"""Positions of the rows to fit on, and of those held out."""

FLOOR = 1e-3
"""Smallest probability of a class: the linear fit may go below zero, which logloss cannot take."""
TAILS = (None, 0.005)
"""Shares of the training rows at either end of a table column that may be drawn in to the quantile there."""


@dataclass(frozen=True)
class RidgeModel:
    """A fitted ridge.

    Args:
        names: the D feature names.
        mean: (D,) means of the training rows; a missing value counts as the mean.
        scale: (D,) standard deviations of the training rows; 1 for constant features.
        weights: (D, O) on standardised features; 0 for constant features.
        intercept: (O,).
        penalty: (O,) penalty a row.
        bounds: (2, D) the least and the largest value that counts of each feature; larger ones count as that.
        limits: (2, O) what the outputs are cut to: the range of those learned, and as far again to either side. A line
            may be drawn on, but not to a row a hundred deviations away.
        probabilities: whether the outputs are clipped to [FLOOR, 1] and normalised to a sum of 1. The
            unclipped ones sum to 1 by themselves (the one-hot columns do, and the fit is linear in them), so
            the largest is positive.
    """

    names: tuple[str, ...]
    mean: Array
    scale: Array
    weights: Array
    intercept: Array
    penalty: Array
    bounds: Array
    limits: Array
    probabilities: bool

    def predict(self, x: Array) -> Array:
        """Outputs (N, O) of features (N, D)."""
        standard = (np.clip(x, *self.bounds) - self.mean) / self.scale
        outputs = np.nan_to_num(standard) @ self.weights + self.intercept
        if not self.probabilities:
            return np.clip(outputs, *self.limits)
        outputs = np.clip(outputs, FLOOR, 1.0)
        return outputs / outputs.sum(axis=1, keepdims=True)

    def state(self) -> dict[str, Any]:
        """The model as plain lists, for JSON."""
        return {
            "features": list(self.names),
            "mean": self.mean.tolist(),
            "scale": self.scale.tolist(),
            "weights": self.weights.tolist(),
            "intercept": self.intercept.tolist(),
            "penalty": self.penalty.tolist(),
            "bounds": [[None if np.isinf(end) else end for end in row] for row in self.bounds.tolist()],
            "limits": self.limits.tolist(),
        }


@dataclass(frozen=True)
class Ridge:
    """Fits ridges, their settings chosen by the squared error on held-out rows.

    Columns of a table may hold a few values far from all others. What heads and embeddings give is left as it is; table
    columns are taken as they are, or with both tails drawn in to a quantile of the training rows (winsorised: Dixon
    1960, "Simplified estimation from censored normal samples"), whichever predicts better.

    Args:
        probabilities: whether the outputs are class probabilities (a ridge on one-hot columns with one
            penalty for all classes) or values (one penalty a column).
    """

    probabilities: bool

    def tune(self, x: Array, y: Array, names: Sequence[str], splits: Sequence[Split]) -> dict[str, Any]:
        """Choose the penalty and, of table columns, the tail.

        Args:
            x: features (N, D).
            y: outputs to learn (N, O).
            names: the D feature names.
            splits: rows to fit on and rows to judge by; groups must not straddle them.

        Returns:
            ``{"penalty": O values}``, and with table columns ``"tail"``: one of `TAILS`, which counts for all outputs.
        """
        tails = TAILS if _of_table(names).any() else TAILS[:1]
        errors = np.zeros((len(tails), len(PENALTIES), y.shape[1]))
        for fit, held in splits:
            for found, tail in zip(errors, tails, strict=True):
                bounds = _bounds(x[fit], names, tail)
                basis = Basis.of(np.clip(x[fit], *bounds), y[fit])
                found += basis.errors(np.clip(x[held], *bounds), y[held])
        if self.probabilities:
            errors[:] = errors.sum(axis=2, keepdims=True)
        spread = y.var(axis=0)
        best = (errors.min(axis=1) / np.where(spread > 0, spread, 1.0)).sum(axis=1)  # (tails,)
        chosen = int(best.argmin())
        setting = {"penalty": best_penalty(errors[chosen]).tolist()}
        return setting if len(tails) == 1 else {**setting, "tail": tails[chosen]}

    def fit(self, x: Array, y: Array, names: Sequence[str], setting: dict[str, Any]) -> RidgeModel:
        """Fit one ridge; arguments as `tune`, and its result."""
        bounds = _bounds(x, names, setting.get("tail"))
        basis = Basis.of(np.clip(x, *bounds), y)
        penalty = np.asarray(setting["penalty"])
        weights = np.stack([basis.weights(value)[:, o] for o, value in enumerate(penalty)], axis=1)
        low, high = y.min(axis=0), y.max(axis=0)
        return RidgeModel(
            tuple(names),
            basis.mean,
            basis.scale,
            weights,
            basis.intercept,
            penalty,
            bounds,
            np.stack([2 * low - high, 2 * high - low]),
            self.probabilities,
        )


def _of_table(names: Sequence[str]) -> NDArray[np.bool_]:
    return np.array([name.startswith(f"{TABLE}.") for name in names], dtype=bool)


def _bounds(x: Array, names: Sequence[str], tail: float | None) -> Array:
    """(2, D) quantiles `tail` and 1 - `tail` of the table's columns, values that some row has; else infinite."""
    bounds = np.stack([np.full(x.shape[1], -np.inf), np.full(x.shape[1], np.inf)])
    if tail is None:
        return bounds
    columns = np.flatnonzero(_of_table(names))
    values = np.sort(x[:, columns], axis=0)  # missing ones come last
    known = np.isfinite(values).sum(axis=0)
    cut = np.floor(tail * np.maximum(known - 1, 0)).astype(np.int64)
    for side, places in enumerate((cut, np.maximum(known - 1 - cut, 0))):
        ends = np.take_along_axis(values, places[None], axis=0)[0]
        bounds[side, columns] = np.where(known > 0, ends, bounds[side, columns])
    return bounds
