"""Pearson correlation of several columns at once: within rows, within columns, and its derivatives for boosters.

The definition, the same for the metrics `pearson` and `pearson_columns`, the losses of `scoring.losses` and boosters:

- A cell whose truth is missing (NaN) counts nowhere; its row or column is centred on the cells that are left.
- A row whose truth is constant, or known in fewer than two cells, has no correlation and is left out.
- A row whose prediction is constant, but its truth is not, has the correlation 0: it says nothing. (Some competitions
  count -1 for it.)

Both vectors are centred first: without it [1, 2, 3] against [103, 102, 101] has the cosine +.93 instead of -1.
"""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

SHORT = 1e-3
"""Length of a centred prediction below which losses stop to divide by it: with torch's own 1e-8 a constant row gets a
gradient of 1e8."""
ROUNDING = 16 * np.finfo(np.float64).eps
CURVATURE = 2 / np.sqrt(3)


def row_correlations(truth: NDArray, prediction: NDArray) -> Array:
    """The correlation of prediction and truth within each row, over its columns.

    Args:
        truth: (N, D) values, D > 1; NaN where missing.
        prediction: (N, D) finite values.

    Returns:
        (N,) correlations from -1 to 1; 0 for a constant prediction, NaN where the truth has none.

    Raises:
        ValueError: other shapes, fewer than two columns, or predictions that are not finite.

    Example:
        >>> row_correlations(np.array([[1, 2, 3], [1, 2, 3]]), np.array([[103, 102, 101], [7, 7, 7]])).tolist()
        [-1.0, 0.0]
    """
    y, p = _checked(truth, prediction)
    if y.shape[1] < 2:
        raise ValueError(
            f"pearson: expected two or more columns to correlate within a row, received {y.shape[1]}; "
            "pearson_columns correlates within a column."
        )
    return _correlations(y, p)


def column_correlations(truth: NDArray, prediction: NDArray) -> Array:
    """The correlation of prediction and truth within each column, over the rows: (D,); see `row_correlations`."""
    y, p = _checked(truth, prediction)
    return _correlations(y.T, p.T)


def mean_correlation(correlations: NDArray) -> float:
    """The mean of the rows or columns that have a correlation; NaN if none has."""
    defined = np.isfinite(correlations)
    return float(correlations[defined].mean()) if defined.any() else float("nan")


def derivatives(truth: NDArray, prediction: NDArray, shortest: float = SHORT) -> tuple[Array, Array]:
    """Gradient and a bound of the Hessian of the loss Σ_i (1 - r_i) over rows i, for boosters.

    Let a be the centred row of predictions, u = a / |a|, v the centred truth of length 1, r = u · v. Then

        gradient = -(v - r u) / |a|,
        Hessian  = (u v' + v u' + r (P - 3 u u')) / |a|², P the centring.

    With v = r u + s w, w of length 1 and orthogonal to u, s² = 1 - r², the eigenvalues of |a|² Hessian are r off the
    plane of u and w, and (r ± √(4 - 3 r²)) / 2 in it: never above 2 / √3, which r = 1 / √3 reaches. So 2 / √3 / |a|² in
    every cell is a diagonal matrix that is nowhere below the Hessian, and positive. A Newton step is then a share of
    |a|, whatever the scale of the predictions; a Hessian of 1 makes it a share of 1 / |a|, next to nothing for large
    ones.

    As usual for boosters each row has its own loss; for the mean, divide both by the number of rows that have a
    correlation, and for weighted rows multiply both by the weights. Start from the columns' means: out of a constant
    row the first steps are about as short as `shortest`.

    Args:
        truth: (N, D) values, D > 1; NaN where missing.
        prediction: (N, D) finite values.
        shortest: where |a| is smaller, this stands for it (r is then smaller than the correlation), as in
            `losses.row_correlation_loss`.

    Returns:
        Gradient and Hessian, (N, D) each; both 0 in cells that count nowhere, which is a weight of 0.

    Raises:
        ValueError: as `row_correlations`, or `shortest` not above 0.
    """
    y, p = _checked(truth, prediction)
    if y.shape[1] < 2:
        raise ValueError(f"`truth`: expected two or more columns to correlate, received {y.shape[1]}.")
    if not shortest > 0:
        raise ValueError(f"`shortest`: expected a length above 0, received {shortest}.")
    present = np.isfinite(y)
    centred, norm, varies = _centred(y, present)
    a, length, _ = _centred(p, present)
    v = centred / np.where(varies, norm, 1.0)[:, None]
    n = np.maximum(length, shortest)[:, None]  # (N, 1)
    u = np.where(length[:, None] >= shortest, a / n, 0.0)  # n does not move with a below it
    r = (u * v).sum(axis=1, keepdims=True)
    counts = present & varies[:, None]
    return np.where(counts, -(v - r * u) / n, 0.0), np.where(counts, CURVATURE / n**2, 0.0)


def _checked(truth: NDArray, prediction: NDArray) -> tuple[Array, Array]:
    y, p = np.asarray(truth, dtype=np.float64), np.asarray(prediction, dtype=np.float64)
    if y.ndim != 2 or y.shape != p.shape or not y.size:
        raise ValueError(
            "pearson: expected truth and prediction of one shape (N, D), N > 0; received "
            f"{np.shape(truth)}, {np.shape(prediction)}."
        )
    if not np.isfinite(p).all() or np.isinf(y).any():
        raise ValueError(
            "pearson: expected finite predictions, and truth that is finite or missing (NaN); received other values."
        )
    return y, p


def _correlations(y: Array, p: Array) -> Array:
    present = np.isfinite(y)
    truth, truth_norm, defined = _centred(y, present)
    guess, norm, varies = _centred(p, present)
    dots = (truth * guess).sum(axis=1)
    lengths = np.where(defined, truth_norm, 1.0) * np.where(varies, norm, 1.0)
    return np.where(defined, np.where(varies, np.clip(dots / lengths, -1.0, 1.0), 0.0), np.nan)


def _centred(values: Array, present: NDArray[np.bool_]) -> tuple[Array, Array, NDArray[np.bool_]]:
    """Rows less their mean (0 where missing), their lengths (N,), and whether these are more than rounding."""
    known = np.where(present, values, 0.0)
    mean = known.sum(axis=1, keepdims=True) / np.maximum(present.sum(axis=1, keepdims=True), 1)
    centred = np.where(present, known - mean, 0.0)
    norm = np.linalg.norm(centred, axis=1)
    return centred, norm, norm > ROUNDING * np.linalg.norm(known, axis=1)
