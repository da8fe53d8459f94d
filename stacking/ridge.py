"""Ridge regression as level 2: linear, and hard to overfit with."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..scoring.metrics import Array
from .design import varying

Split = tuple[NDArray[np.int64], NDArray[np.int64]]
"""Positions of the rows to fit on, and of those held out."""

PENALTIES = 10.0 ** np.arange(-4.0, 2.5, 0.5)
"""Penalty a row, on standardised features: scikit-learn's `alpha` divided by N."""
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
            basis = _Basis(x[fit], y[fit])
            z = basis.standardise(x[held])
            for p, penalty in enumerate(PENALTIES):
                errors[p] += ((z @ basis.weights(penalty) + basis.intercept - y[held]) ** 2).sum(axis=0)
        if self.probabilities:
            errors[:] = errors.sum(axis=1, keepdims=True)
        # The stronger penalty wins a tie.
        best = len(PENALTIES) - 1 - errors[::-1].argmin(axis=0)
        return {"penalty": PENALTIES[best].tolist()}

    def fit(self, x: Array, y: Array, names: Sequence[str], setting: dict[str, Any]) -> RidgeModel:
        """Fit one ridge; arguments as `tune`, and its result."""
        basis = _Basis(x, y)
        penalty = np.asarray(setting["penalty"])
        weights = np.stack([basis.weights(value)[:, o] for o, value in enumerate(penalty)], axis=1)
        return RidgeModel(
            tuple(names), basis.mean, basis.scale, weights, basis.intercept, penalty, self.probabilities
        )


class _Basis:
    """The eigenvectors of standardised features Z: every penalty then costs one product.

    w = (Z'Z + λN I)⁻¹ Z'y = V (E + λN)⁻¹ V' Z'y with Z'Z = V E V', or, the smaller side to take where D > N,
    w = Z' (ZZ' + λN I)⁻¹ y = Z'U (E + λN)⁻¹ U' y with ZZ' = U E U'.
    """

    def __init__(self, x: Array, y: Array) -> None:
        self.n_rows = len(x)
        moving = varying(x)
        safe = np.where(moving, x, 0.0)
        self.mean = np.nanmean(safe, axis=0)
        self.scale = np.where(moving, np.nanstd(safe, axis=0), 1.0)
        self.intercept = y.mean(axis=0)
        self.moving = moving
        z = self.standardise(x)
        wide = z.shape[1] > z.shape[0]
        self.values, vectors = np.linalg.eigh(z @ z.T if wide else z.T @ z)
        self.vectors = z.T @ vectors if wide else vectors  # (D, D or N)
        self.projected = vectors.T @ (y - self.intercept if wide else z.T @ (y - self.intercept))

    def standardise(self, x: Array) -> Array:
        return np.nan_to_num((np.where(self.moving, x, 0.0) - self.mean) / self.scale)

    def weights(self, penalty: float) -> Array:
        """(D, O); the zero columns of constant features get the weight 0."""
        inverse = 1.0 / (np.maximum(self.values, 0.0) + penalty * self.n_rows)
        weights = self.vectors @ (inverse[:, None] * self.projected)
        return np.where(self.moving[:, None], weights, 0.0)
