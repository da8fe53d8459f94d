"""Predicted cells put into the gaps of a table."""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..datasets.table_cells import Kind, texts_of
from ..datasets.table_column import MISSING
from ..datasets.table_schema import TableSchema


def fill_frame(
    frame: pd.DataFrame, schema: TableSchema, values: NDArray[np.floating], filled: NDArray[np.floating]
) -> pd.DataFrame:
    """Fill the gaps of rows, and leave every other cell as it is.

    Args:
        frame: N rows.
        schema: what encoded them.
        values: (N, D) as it did.
        filled: (N, D) the same with predictions in place of missing cells.

    Returns:
        N rows with the index and the columns of `frame`. Columns that the schema cannot take back stay as they are.
    """
    decoded = schema.decode(filled)
    kinds: dict[str, Kind] = {source.name: source.kind for source in schema.sources}
    places = {column.name: j for j, column in enumerate(schema.columns)}
    result = frame.copy()
    for name in map(str, decoded.columns):
        given = values[:, places[name]]
        absent = given == MISSING if kinds[name] == "category" else np.isnan(given)
        if absent.any():
            guess = decoded.loc[:, name].set_axis(frame.index)
            result[name] = _filled(frame.loc[:, name], absent, guess, kinds[name])
    return result


def _filled(column: Any, absent: NDArray[np.bool_], guess: Any, kind: Kind) -> pd.Series:
    """One column; its type stays where that holds such values."""
    types = pd.api.types
    if kind == "category":
        originals = _originals(column)
        guess = guess.map(lambda level: originals.get(level, level))
        if isinstance(column.dtype, pd.CategoricalDtype):
            new = [level for level in guess[absent].unique() if level not in column.cat.categories]
            return column.cat.add_categories(new).mask(absent, guess)
    elif kind == "boolean":
        guess = guess >= 0.5
    elif kind == "date":
        if not types.is_datetime64_any_dtype(column):
            guess = guess.dt.strftime("%Y-%m-%d")
        elif isinstance(column.dtype, pd.DatetimeTZDtype):
            guess = guess.dt.tz_localize(column.dt.tz)
    elif types.is_timedelta64_dtype(column):
        guess = pd.to_timedelta(guess, unit="D")
    elif not types.is_float_dtype(column):
        column = pd.Series(pd.to_numeric(column.mask(absent)), dtype=float)  # texts, or whole numbers
    if column.dtype == object:
        return column.mask(absent, guess.astype(object)).infer_objects()
    return column.mask(absent, guess)


def _originals(column: pd.Series) -> dict[str, Any]:
    """Level -> the value of the column that it is the text of."""
    codes, texts = texts_of(column)
    found, rows = np.unique(codes, return_index=True)
    return {texts[code]: column.iloc[row] for code, row in zip(found, rows, strict=True) if code >= 0}
