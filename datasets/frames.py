"""What scikit-learn's users hand in, as tables with named columns."""

from typing import Any

import numpy as np
import pandas as pd
from sklearn.utils.validation import check_array, validate_data


def frame_of(
    estimator: Any, X: Any, y: Any = "no_validation", *, reset: bool, fewest: int = 1
) -> pd.DataFrame:
    """Check rows as scikit-learn does, and name their columns.

    Args:
        estimator: whose `n_features_in_` and `feature_names_in_` are set, or compared with.
        X: (N, D) a DataFrame, or whatever scikit-learn makes an array of; missing cells are fine.
        y: None is refused for an estimator that needs labels; left out: it is not looked at.
        reset: whether these rows say what is expected of later ones.
        fewest: rows that are needed.

    Returns:
        N rows in their order, with the index of `X`. Columns have the names of `feature_names_in_`, or x0, x1, ...
        where the estimator was fitted without names.

    Raises:
        ValueError: another number of columns or other names than at the time of `fit`, too few rows, or numbers that
            are infinite or complex.
        TypeError: a sparse matrix.
    """
    # Typed as `Any`: scikit-learn's stubs know strings only.
    check: Any = check_array
    checks = {"dtype": None, "ensure_min_samples": fewest, "estimator": estimator}
    if isinstance(X, pd.DataFrame):
        if X.shape[1] == 0 or len(X) < fewest or any(dtype.kind == "c" for dtype in X.dtypes):
            check(X.to_numpy(), ensure_all_finite=False, **checks)  # for its words, which users know
        frame = X
    else:
        values = check(X, ensure_all_finite="allow-nan", **checks)
        frame = pd.DataFrame(values if values.dtype.kind in "biuf" else values.astype(object)).infer_objects()
    validate: Any = validate_data
    validate(estimator, X, y, reset=reset, skip_check_array=True)
    return frame.set_axis(column_names(estimator), axis=1)


def column_names(estimator: Any) -> list[str]:
    """The names that `fit` saw, or x0, x1, ... where it saw none."""
    names = getattr(estimator, "feature_names_in_", None)
    if names is None:
        return [f"x{j}" for j in range(estimator.n_features_in_)]
    return [str(name) for name in names]


def row_ids(count: int) -> np.ndarray:
    """(N,) texts that sort as the rows stand, for rows that are only told apart."""
    return np.array([f"{row:09d}" for row in range(count)], dtype=object)
