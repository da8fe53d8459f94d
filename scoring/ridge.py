"""Ridge regression in closed form: every penalty from one eigen-decomposition."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .metrics import Array

PENALTIES = 10.0 ** np.arange(-4.0, 2.5, 0.5)
"""Penalty a row, on standardised features: scikit-learn's `alpha` divided by N."""
FLAT = 1e-10
"""Least variance, in units of the mean square, of a feature that counts as moving where only sums are known."""


@dataclass(frozen=True)
class Moments:
    """Sums over rows from which a ridge follows; those of two sets of rows add up.

    Args:
        n_rows: N.
        x: (D,) sum of the features.
        y: (O,) sum of the outputs.
        xx: (D, D) X'X.
        xy: (D, O) X'y.
    """

    n_rows: int
    x: Array
    y: Array
    xx: Array
    xy: Array

    @classmethod
    def of(cls, x: Array, y: Array) -> "Moments":
        """The sums over rows with features (N, D) and outputs (N, O), none of them missing."""
        return cls(len(x), x.sum(axis=0), y.sum(axis=0), x.T @ x, x.T @ y)

    def __sub__(self, other: "Moments") -> "Moments":
        """The sums without those of some of the rows."""
        return Moments(
            self.n_rows - other.n_rows,
            self.x - other.x,
            self.y - other.y,
            self.xx - other.xx,
            self.xy - other.xy,
        )


@dataclass(frozen=True)
class Basis:
    """The eigenvectors of standardised features Z: every penalty then costs one product.

    w = (Z'Z + λN I)⁻¹ Z'y = V (E + λN)⁻¹ V' Z'y with Z'Z = V E V', or, the smaller side to take where D > N,
    w = Z' (ZZ' + λN I)⁻¹ y = Z'U (E + λN)⁻¹ U' y with ZZ' = U E U'.

    Args:
        n_rows: N.
        moving: (D,) whether a feature takes more than one value.
        mean: (D,) of the features; a missing value counts as the mean.
        scale: (D,) their standard deviations; 1 for those that do not move.
        intercept: (O,) mean of the outputs.
        values: (R,) E, with R = min(N, D).
        vectors: (D, R) V, or Z'U.
        projected: (R, O) V'Z'y, or U'y.
    """

    n_rows: int
    moving: NDArray[np.bool_]
    mean: Array
    scale: Array
    intercept: Array
    values: Array
    vectors: Array
    projected: Array

    @classmethod
    def of(cls, x: Array, y: Array) -> "Basis":
        """The basis of features (N, D), NaN where missing, and outputs (N, O)."""
        moving = varying(x)
        safe = np.where(moving, x, 0.0)
        mean = np.nanmean(safe, axis=0)
        scale = np.where(moving, np.nanstd(safe, axis=0), 1.0)
        intercept = y.mean(axis=0)
        z = _standardised(x, moving, mean, scale)
        wide = z.shape[1] > z.shape[0]
        values, vectors = np.linalg.eigh(z @ z.T if wide else z.T @ z)
        projected = vectors.T @ (y - intercept if wide else z.T @ (y - intercept))
        return cls(
            len(x), moving, mean, scale, intercept, values, z.T @ vectors if wide else vectors, projected
        )

    @classmethod
    def of_moments(cls, sums: Moments) -> "Basis":
        """The basis of rows of which only the sums are known; exact where the features are near mean 0, deviation 1."""
        mean, intercept = sums.x / sums.n_rows, sums.y / sums.n_rows
        square = np.diag(sums.xx) / sums.n_rows
        moving = square - mean**2 > FLAT * np.maximum(square, 1e-300)
        mean = np.where(moving, mean, 0.0)
        scale = np.sqrt(np.where(moving, square - mean**2, 1.0))
        both = moving[:, None] & moving
        covariance = np.where(both, sums.xx - sums.n_rows * np.outer(mean, mean), 0.0)
        values, vectors = np.linalg.eigh(covariance / np.outer(scale, scale))
        crossed = (sums.xy - np.outer(mean, sums.y)) * (moving / scale)[:, None]
        return cls(sums.n_rows, moving, mean, scale, intercept, values, vectors, vectors.T @ crossed)

    def standardise(self, x: Array) -> Array:
        """(N, D) features as the ridge sees them; 0 where missing or constant."""
        return _standardised(x, self.moving, self.mean, self.scale)

    def weights(self, penalty: float) -> Array:
        """(D, O); the zero columns of constant features get the weight 0."""
        return np.where(self.moving[:, None], self.vectors @ self._shrunk(penalty), 0.0)

    def predict(self, x: Array, penalty: float) -> Array:
        """Outputs (M, O) of features (M, D)."""
        return self.standardise(x) @ self.weights(penalty) + self.intercept

    def errors(self, x: Array, y: Array) -> Array:
        """Sums of squared errors (P, O) on other rows (M, D), (M, O), for each of `PENALTIES`."""
        turned = self.standardise(x) @ self.vectors  # (M, R)
        residual = y - self.intercept
        return np.stack([((turned @ self._shrunk(p) - residual) ** 2).sum(axis=0) for p in PENALTIES])

    def _shrunk(self, penalty: float) -> Array:
        inverse = 1.0 / (np.maximum(self.values, 0.0) + penalty * self.n_rows)
        return inverse[:, None] * self.projected


def best_penalty(errors: Array) -> Array:
    """The penalty (O,) of the least error of each column of `Basis.errors` (P, O); the stronger one wins a tie."""
    return PENALTIES[len(PENALTIES) - 1 - errors[::-1].argmin(axis=0)]


def varying(x: Array) -> NDArray[np.bool_]:
    """Which columns (D,) take more than one value; var over a single view, for instance, does not."""
    low = np.min(np.where(np.isnan(x), np.inf, x), axis=0)
    high = np.max(np.where(np.isnan(x), -np.inf, x), axis=0)
    # The features are float32: a difference in the last digit is no information.
    return high - low > 2e-7 * np.maximum(np.abs(high), np.abs(low))


def _standardised(x: Array, moving: NDArray[np.bool_], mean: Array, scale: Array) -> Array:
    return np.nan_to_num((np.where(moving, x, 0.0) - mean) / scale)
