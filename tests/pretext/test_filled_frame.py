"""Predicted cells go into the gaps, in the units and types of the table, and nowhere else."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from jigstack.datasets.table_column import FIRST_LEVEL, MISSING
from jigstack.datasets.table_schema import TableSchema
from jigstack.pretext.filled_frame import fill_frame


def filled(frame: pd.DataFrame, guess: float = 0.0, level: int = 0, **options: Any) -> Any:
    """The frame with all gaps filled by a standardised number, and by a level."""
    schema = TableSchema.fit(frame, list(frame.columns), **options)
    values = schema.encode(frame)
    absent = np.column_stack(
        [
            v == MISSING if c.kind == "category" else np.isnan(v)
            for c, v in zip(schema.columns, values.T, strict=True)
        ]
    )
    guesses = [FIRST_LEVEL + level if column.kind == "category" else guess for column in schema.columns]
    prediction = np.where(absent, guesses, values)
    return fill_frame(frame, schema, values, prediction)


def test_numbers_are_filled_in_their_unit_and_known_cells_stay_as_they_are():
    given = pd.DataFrame({"a": [0.1, None, 0.7, 1e9 + 0.1], "b": [1, 2, 4, 9]}, index=list("wxyz"))
    result = filled(given)
    assert result.loc["x", "a"] == pytest.approx(given["a"].mean())
    pd.testing.assert_frame_equal(result.drop(index="x"), given.drop(index="x"))  # to the last digit
    assert result["b"].dtype == given["b"].dtype


def test_the_frame_that_was_given_keeps_its_gaps():
    given = pd.DataFrame({"a": [0.1, None, 0.7]})
    filled(given)
    assert given.isna().sum().to_dict() == {"a": 1}


@pytest.mark.parametrize("dtype", [object, "str", "category"])
def test_texts_are_filled_with_a_level(dtype):
    given = pd.DataFrame({"a": pd.Series(["x", None, "y", "x"], dtype=dtype)})
    result = filled(given)
    assert result["a"].tolist() == ["x", "x", "y", "x"]
    assert isinstance(result["a"].dtype, pd.CategoricalDtype) == (dtype == "category")


def test_codes_that_are_numbers_are_filled_with_numbers():
    given = pd.DataFrame({"a": [7.0, None, 9.0, 7.0]})
    assert filled(given, kinds={"a": "category"})["a"].tolist() == [7.0, 7.0, 9.0, 7.0]


def test_a_level_that_no_row_has_joins_the_categories():
    fitted = pd.DataFrame({"a": pd.Categorical(["x", "y", "x"])})
    schema = TableSchema.fit(fitted, ["a"])
    given = pd.DataFrame({"a": pd.Categorical(["y", None], categories=["y"])})
    values = schema.encode(given)
    result = fill_frame(
        given, schema, values, np.array([[FIRST_LEVEL + 1.0], [FIRST_LEVEL]], dtype=np.float32)
    )
    assert result["a"].tolist() == ["y", "x"]


def test_truths_are_filled_with_truths():
    given = pd.DataFrame({"a": pd.Series([True, None, False, True], dtype=object)})
    assert filled(given, guess=1.0)["a"].tolist() == [True, True, False, True]
    assert filled(given, guess=-1.5)["a"].tolist() == [True, False, False, True]


@pytest.mark.parametrize("zone", [None, "Europe/Berlin"])
def test_dates_are_filled_with_dates(zone):
    days = pd.to_datetime(pd.Series(["2020-01-01", None, "2020-01-03"])).dt.tz_localize(zone)
    result = filled(pd.DataFrame({"a": days}))
    assert result["a"].dtype == days.dtype
    assert result["a"].dt.strftime("%Y-%m-%d").tolist() == ["2020-01-01", "2020-01-02", "2020-01-03"]


def test_dates_that_are_texts_are_filled_with_such_texts():
    given = pd.DataFrame({"a": ["2020-01-01", None, "2020-01-03"]})
    assert filled(given)["a"].tolist() == ["2020-01-01", "2020-01-02", "2020-01-03"]


def test_durations_are_filled_with_durations():
    given = pd.DataFrame({"a": pd.to_timedelta(["1D", None, "3D"])})
    assert filled(given)["a"].tolist() == [pd.Timedelta(days=k) for k in (1, 2, 3)]


@pytest.mark.parametrize("cells", [["1", "?", "3"], pd.array([1, None, 3], dtype="Int64")])
def test_texts_that_are_numbers_and_whole_numbers_become_numbers(cells):
    result = filled(pd.DataFrame({"a": cells}))
    assert result["a"].tolist() == [1.0, 2.0, 3.0]
    assert pd.api.types.is_float_dtype(result["a"])


def test_columns_that_are_left_out_or_decomposed_keep_their_gaps():
    given = pd.DataFrame({"a": [1.0, None, 3.0, 5.0], "same": [1.0, None, 1.0, 1.0]})
    result = filled(given)
    assert result.isna().sum().to_dict() == {"a": 0, "same": 1}
