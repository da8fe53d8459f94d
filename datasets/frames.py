"""What scikit-learn's users hand in, as tables with named columns."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.utils.validation import check_array, validate_data

from .table_cells import ColumnsError
from .table_schema import TableSchema


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


def encoded(schema: TableSchema, frame: pd.DataFrame) -> NDArray[np.float32]:
    """(N, D) rows as a schema encodes them; see `told_of_rows`."""
    with told_of_rows():
        return schema.encode(frame)


@contextmanager
def told_of_rows() -> Iterator[None]:
    """Mistakes in the columns of a table are told of `X`, which is what scikit-learn's users handed in.

    Raises:
        ValueError: in the place of a `ColumnsError`.
    """
    try:
        yield
    except ColumnsError as error:
        raise ValueError(f"X: {error.said}") from error


def row_ids(count: int) -> np.ndarray:
    """(N,) texts that sort as the rows stand, for rows that are only told apart."""
    return np.array([f"{row:09d}" for row in range(count)], dtype=object)
