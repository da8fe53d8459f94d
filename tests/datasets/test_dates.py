"""Dates of every precision become fractional years, and come back."""

import datetime
import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jigstack.configs.schema import Task
from jigstack.datasets.dates import DateTarget, fractional_years
from jigstack.datasets.targets import code_target, restore_target


def dates(column: pd.Series, **options: object) -> DateTarget:
    frame = pd.DataFrame({"made": column})
    return code_target("year", Task(kind="date", columns=["made"], options=options), frame)  # pyright: ignore[reportReturnType]


@given(st.datetimes(datetime.datetime(1000, 1, 1), datetime.datetime(2199, 12, 31)))
def test_an_iso_datetime_lies_in_its_year_as_pandas_counts_the_days(moment: datetime.datetime):
    start, end = datetime.datetime(moment.year, 1, 1), datetime.datetime(moment.year + 1, 1, 1)
    expected = moment.year + (moment - start) / (end - start)
    column = pd.Series([moment.isoformat(), moment], dtype=object)
    np.testing.assert_allclose(fractional_years(column), expected, rtol=0, atol=1e-9)
    assert pd.to_datetime(moment.isoformat()) == moment


@pytest.mark.parametrize(
    ("text", "year"),
    [
        ("1911", 1911.0),
        ("1911.25", 1911.25),
        ("-300", -300.0),
        ("1911-01-01", 1911.0),
        ("1911/07/02 12:00", 1911.5),
        ("1912-07-02", 1912.5),
        ("19110702", 1911 + 182 / 365),
        ("1911-05", 1911 + 135.5 / 365),
        ("05/1911", 1911 + 135.5 / 365),
        ("May 1911", 1911 + 135.5 / 365),
        ("3 May 1911", 1911 + 122 / 365),
        ("May 3, 1911", 1911 + 122 / 365),
        ("5/3/1911", 1911 + 122 / 365),
        (1911, 1911.0),
        (datetime.date(1911, 5, 3), 1911 + 122 / 365),
    ],
)
def test_every_way_to_write_a_date_is_read(text: object, year: float):
    assert fractional_years(pd.Series([text], dtype=object))[0] == pytest.approx(year, abs=1e-9)


@pytest.mark.parametrize(
    "text", ["soon", "1911-13", "1911-02-30", "31/31/1911", "Mai 1911", "1911-05-03T25:00", "12345"]
)
def test_what_is_no_date_is_nan(text: str):
    assert np.isnan(fractional_years(pd.Series([text]))[0])


def test_dayfirst_turns_day_and_month():
    column = pd.Series(["3/5/1911"])
    assert fractional_years(column, dayfirst=True)[0] == pytest.approx(1911 + 122 / 365)
    assert fractional_years(column)[0] == pytest.approx(1911 + 63 / 365)


def test_a_column_of_years_keeps_its_own_units_and_stands_for_its_column():
    years = pd.Series([1886.0, 1900.0, np.nan, 1942.0, 1915.0])
    target = dates(years).fit(pd.DataFrame({"made": years}))
    back = target.decode(target.encode(pd.DataFrame({"made": years})))
    np.testing.assert_allclose(back[[0, 1, 3, 4], 0], years.dropna(), atol=1e-3)
    assert np.isnan(back[2, 0])
    assert target.decodes == {"made": {"year": 1.0}}


def test_a_column_of_fractional_years_keeps_its_own_units_too():
    """In 2010, 2016.6, 2018 the whole years are fractional years like the others, not years of unknown month."""
    years = pd.Series([2010.0, 2016.6, 2018.0])
    target = dates(years)
    np.testing.assert_array_equal(target.truth(pd.DataFrame({"made": years}))[:, 0], years)
    assert target.decodes == {"made": {"year": 1.0}}


def test_compact_dates_survive_a_gap_in_their_column():
    """pandas makes 19110702.0 of 19110702 where a row is empty."""
    column = pd.Series([19110702, None])
    target = dates(column)
    assert target.truth(pd.DataFrame({"made": column}))[0, 0] == pytest.approx(1911 + 182 / 365)
    assert target.decodes == {}


def test_a_bare_year_among_days_stands_for_its_middle():
    mixed = pd.Series(["1911", "1911-07-02"])
    target = dates(mixed)
    np.testing.assert_allclose(target.years(pd.DataFrame({"made": mixed})), [1911.5, 1911 + 182 / 365])
    assert target.decodes == {}


def test_the_scale_is_that_of_the_fold_and_no_outlier_moves_it():
    rng = np.random.default_rng(0)
    usual = pd.Series(rng.normal(1900, 10, 2001))
    frame = pd.DataFrame({"made": pd.concat([usual, pd.Series([1.0, 2.0])], ignore_index=True)})
    target = dates(frame.loc[:, "made"]).fit(frame)
    assert target.centre == pytest.approx(1900, abs=1)
    assert target.scale == pytest.approx(10, rel=0.1)
    assert np.abs(target.encode(frame)[:2001]).mean() < 1


@pytest.mark.parametrize("values", [[1900.0, 1900.0, 1900.0], [1900.0, 1900.0, 1900.0, 1900.0, 1950.0]])
def test_a_column_that_hardly_varies_has_a_finite_scale(values: list[float]):
    frame = pd.DataFrame({"made": values})
    encoded = dates(frame.loc[:, "made"]).fit(frame).encode(frame)
    assert np.isfinite(encoded).all()
    assert np.abs(encoded).max() < 10


def test_wrong_and_far_values_are_named_with_the_way_out():
    column = pd.Series(["1911", "soon", "9999"], index=["a", "b", "c"])
    with pytest.raises(
        ValueError, match=r"years 1 to 2200.*received 2 other values \(b: 'soon', c: '9999'\).*missing"
    ):
        dates(column)
    target = dates(column, invalid="missing")
    assert target.notes == [
        "task year: left out of 'made', since no dates of the years 1 to 2200: 2 values (b: 'soon', c: '9999')"
    ]
    assert np.isnan(
        target.fit(pd.DataFrame({"made": column})).encode(pd.DataFrame({"made": column}))[1:]
    ).all()


def test_a_column_without_dates_and_a_fold_without_them_are_refused():
    with pytest.raises(ValueError, match="expected dates in column 'made', received none"):
        dates(pd.Series([None, np.nan], dtype=object))
    with pytest.raises(ValueError, match="received none in this fold"):
        dates(pd.Series(["1911", None])).fit(pd.DataFrame({"made": [None]}))
    with pytest.raises(ValueError, match="expected one column for a date head"):
        code_target("year", Task(kind="date", columns=["a", "b"]), pd.DataFrame({"a": [1], "b": [2]}))


def test_a_date_target_survives_json():
    frame = pd.DataFrame({"made": ["1911", "1920-05", "1930-01-02"]})
    target = dates(frame.loc[:, "made"]).fit(frame)
    assert restore_target(json.loads(json.dumps(target.state()))) == target
