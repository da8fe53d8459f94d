"""Ridge regression as level 2: linear, and hard to overfit with."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..scoring.metrics import Array
from ..scoring.ridge import PENALTIES, Basis, best_penalty

Split = tuple[NDArray[np.int64], NDArray[np.int64]]
"""Positions of the rows to fit on, and of those held out."""

FLOOR = 1e-3
"""Smallest probability of a class: the linear fit may go below zero, which logloss cannot take."""


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
    probabilities: bool

    def predict(self, x: Array) -> Array:
        """Outputs (N, O) of features (N, D)."""
        outputs = np.nan_to_num((x - self.mean) / self.scale) @ self.weights + self.intercept
        if not self.probabilities:
            return outputs
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
        }


@dataclass(frozen=True)
class Ridge:
    """Fits ridges, their penalty chosen by the squared error on held-out rows.

    Args:
        probabilities: whether the outputs are class probabilities (a ridge on one-hot columns with one
            penalty for all classes) or values (one penalty a column).
    """

    probabilities: bool

    def tune(self, x: Array, y: Array, names: Sequence[str], splits: Sequence[Split]) -> dict[str, Any]:
        """Choose the penalty.

        Args:
            x: features (N, D).
            y: outputs to learn (N, O).
            names: the D feature names.
            splits: rows to fit on and rows to judge by; groups must not straddle them.

        Returns:
            ``{"penalty": O values}``.
        """
        errors = np.zeros((len(PENALTIES), y.shape[1]))
        for fit, held in splits:
            errors += Basis.of(x[fit], y[fit]).errors(x[held], y[held])
        if self.probabilities:
            errors[:] = errors.sum(axis=1, keepdims=True)
        return {"penalty": best_penalty(errors).tolist()}

    def fit(self, x: Array, y: Array, names: Sequence[str], setting: dict[str, Any]) -> RidgeModel:
        """Fit one ridge; arguments as `tune`, and its result."""
        basis = Basis.of(x, y)
        penalty = np.asarray(setting["penalty"])
        weights = np.stack([basis.weights(value)[:, o] for o, value in enumerate(penalty)], axis=1)
        return RidgeModel(
            tuple(names), basis.mean, basis.scale, weights, basis.intercept, penalty, self.probabilities
        )
