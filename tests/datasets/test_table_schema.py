"""How a table becomes numbers, and back."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jigstack.configs.steps import Log1pStep, QuantileStep, RowsStep, Step, SvdStep
from jigstack.datasets.table_column import FIRST_LEVEL, MASKED, MISSING, UNKNOWN
from jigstack.datasets.table_schema import TableSchema


def table(rows: int = 60, seed: int = 0) -> pd.DataFrame:
    draws = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "size": draws.gamma(2, 100, rows),
            "colour": draws.choice(["red", "blue", "green"], rows, p=[0.6, 0.3, 0.1]),
            "age": draws.integers(0, 90, rows).astype(float),
            "alive": draws.random(rows) < 0.5,
            "born": pd.Timestamp("1900-01-01") + pd.to_timedelta(draws.integers(0, 9999, rows), unit="D"),
            "code": draws.integers(1, 5, rows),
        },
        index=[f"r{i}" for i in range(rows)],
    )
    frame.loc[draws.random(rows) < 0.2, "age"] = np.nan
    frame.loc[draws.random(rows) < 0.2, "colour"] = None
    return frame


NAMES = list(table(1))
STEPS: list[list[Step]] = [
    [],
    [Log1pStep(columns=("size",)), QuantileStep(columns=("age",))],
    [RowsStep(columns=("size", "age")), SvdStep(columns=("size", "age", "alive"), n=2)],
]


def fit(frame: pd.DataFrame, names: list[str] | None = None, **options: Any) -> TableSchema:
    return TableSchema.fit(frame, NAMES if names is None else names, **options)


def test_numbers_stand_before_categories_standardised_and_missing_ones_stay_so():
    frame = table()
    schema = fit(frame, kinds={"code": "category"})
    assert [column.name for column in schema.columns] == ["size", "age", "alive", "born", "colour", "code"]
    values = schema.encode(frame)
    assert values.shape == (60, 6) and values.dtype == np.float32
    np.testing.assert_allclose(np.nanmean(values[:, :4], axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(np.nanstd(values[:, :4], axis=0), 1, rtol=1e-5)
    np.testing.assert_array_equal(np.isnan(values[:, 1]), frame["age"].isna())
    np.testing.assert_allclose(
        values[:, 0], (frame["size"] - frame["size"].mean()) / frame["size"].std(ddof=0), rtol=1e-5, atol=1e-6
    )


def test_levels_are_numbered_from_the_most_frequent_and_the_rarest_are_unknown():
    frame = pd.DataFrame({"c": ["a"] * 3 + ["b"] * 5 + ["d"] * 2 + ["e", None]})
    schema = fit(frame, ["c"], most_levels=3)
    (column,) = schema.columns
    assert column.levels == ("b", "a", "d") and column.shares == (0.5, 0.3, 0.2)
    wanted = [FIRST_LEVEL + 1] * 3 + [FIRST_LEVEL] * 5 + [FIRST_LEVEL + 2] * 2 + [UNKNOWN, MISSING]
    assert schema.encode(frame)[:, 0].tolist() == wanted


def test_edges_rise_and_hold_equally_many_rows():
    frame = table(3000).assign(rare=lambda rows: (np.arange(len(rows)) == 7).astype(int))
    schema = fit(frame, [*NAMES, "rare"])
    values = schema.encode(frame)
    for j, column in enumerate(schema.columns[:-1]):
        assert all(low < high for low, high in zip(column.edges, column.edges[1:], strict=False))
        assert column.edges[0] == np.nanmin(values[:, j]) and column.edges[-1] == np.nanmax(values[:, j])
    size = schema.columns[0]
    assert len(size.edges) == 17
    counts, _ = np.histogram(values[:, 0], size.edges)
    assert counts.min() > 180 and counts.max() < 195
    assert [len(column.edges) for column in schema.columns if column.name in ("alive", "rare")] == [2, 2]


def test_columns_that_tell_nothing_are_dropped_and_named():
    frame = table(40).assign(
        one=3,
        none=np.nan,
        same="x",
        gap=[None, "x"] * 20,
        row=range(40),
        key=[f"k{i}" for i in range(40)],
        g=1,
    )
    shuffled = frame.sample(frac=1, random_state=0)
    more = ["one", "none", "same", "gap", "row", "key", "g"]
    for rows in (frame, shuffled, frame.iloc[::2].sample(frac=1, random_state=0)):
        schema = fit(rows, [*NAMES, *more], excluded={"g": "is the group", "elsewhere": "is no column"})
        assert set(schema.dropped) == set(more)
        assert schema.dropped["g"] == "is the group" and schema.dropped["one"] == "has one value only"
        assert schema.dropped["none"] == "has no value" and "counts up" not in schema.dropped["key"]
        assert "count up" in schema.dropped["row"] and "is an id" in schema.dropped["key"]
    large = fit(frame.assign(large=10**18 + np.arange(40) * 1000), [*NAMES, "large"])
    assert large.dropped == {"large": "varies less than its numbers are rounded"}
    forced = fit(frame, [*NAMES, "row", "key"], kinds={"row": "number", "key": "category"})
    assert not forced.dropped


def test_a_column_that_hardly_varies_is_scaled_by_no_less_than_its_rounding():
    frame = pd.DataFrame({"x": [1e9, 1e9 + 1, 1e9, 1e9 + 2], "y": [1, 2, 3, 5]})
    values = fit(frame, ["x", "y"]).encode(frame)
    assert np.abs(values[:, 0]).max() < 0.01 and np.isfinite(values).all()


@pytest.mark.parametrize(
    "steps",
    [*STEPS, [RowsStep()], [RowsStep(how="total")], [RowsStep(how="total", total=10.0)]],
    ids=["plain", "elementwise", "svd", "rows", "rows' total", "a given total"],
)
def test_saved_and_loaded_it_is_the_same(steps: list[Step], tmp_path: Path):
    schema = fit(table(), steps=steps)
    schema.save(tmp_path)
    again = TableSchema.load(tmp_path)
    assert again == schema and again.digest == schema.digest and hash(again) == hash(schema)
    assert again.columns == schema.columns and again.dropped == schema.dropped and again.names == schema.names
    new = table(seed=1)
    np.testing.assert_array_equal(again.encode(new), schema.encode(new))
    assert schema != fit(table(seed=1), steps=steps)
    assert {path.name for path in tmp_path.iterdir()} == {"table.json", "table.safetensors"}


def test_halves_of_two_schemas_are_refused(tmp_path: Path):
    with pytest.raises(ValueError, match=r"expected one with table\.json and table\.safetensors"):
        TableSchema.load(tmp_path)
    fit(table()).save(tmp_path)
    kept = (tmp_path / "table.json").read_bytes()
    fit(table(seed=1)).save(tmp_path)
    (tmp_path / "table.json").write_bytes(kept)
    with pytest.raises(ValueError, match="copy both files together"):
        TableSchema.load(tmp_path)


@pytest.mark.parametrize("steps", STEPS, ids=["plain", "elementwise", "svd"])
@given(seed=st.integers(0, 2**32 - 1))
def test_each_row_is_encoded_by_itself(steps: list[Step], seed: int):
    schema, frame = fit(table(), steps=steps), table(30, seed=2)
    order = np.random.default_rng(seed).permutation(30)
    np.testing.assert_allclose(
        schema.encode(frame.iloc[order]), schema.encode(frame)[order], rtol=1e-5, atol=1e-5
    )


@given(st.lists(st.text() | st.none() | st.integers() | st.booleans() | st.floats(), max_size=20))
def test_whatever_stands_in_a_category_is_encoded(cells: list[Any]):
    frame = table()
    schema = fit(frame, ["colour", "size"])
    new = pd.DataFrame({"colour": pd.Series(cells, dtype=object), "size": 1.0})
    values = schema.encode(new)[:, 1]
    known = {text: FIRST_LEVEL + i for i, text in enumerate(schema.columns[1].levels)}
    assert set(values) <= {UNKNOWN, MISSING, *known.values()}
    assert schema.encode(pd.DataFrame({"colour": ["mauve", " red ", None], "size": 1}))[:, 1].tolist() == [
        UNKNOWN,
        known["red"],
        MISSING,
    ]


@pytest.mark.parametrize("kind", [int, float, str])
def test_a_code_is_the_same_level_whether_its_file_has_gaps_or_not(kind: type):
    schema = fit(table(), ["code", "size"], kinds={"code": "category"})
    new = pd.DataFrame({"size": 1.0, "code": [2, 3]}).astype({"code": kind})
    wanted = [FIRST_LEVEL + schema.columns[1].levels.index(level) for level in ("2", "3")]
    assert schema.encode(new)[:, 1].tolist() == wanted


def test_decoding_gives_the_cells_back():
    frame = table()
    schema = fit(frame, steps=STEPS[1])
    found = schema.decode(schema.encode(frame))
    np.testing.assert_allclose(found["size"], frame["size"], rtol=1e-4)
    np.testing.assert_allclose(found["age"], frame["age"], rtol=1e-3, atol=0.05)
    np.testing.assert_allclose(found["alive"], frame["alive"], atol=1e-6)
    away = (pd.to_datetime(found["born"]).to_numpy() - frame["born"].to_numpy()) / np.timedelta64(1, "D")
    assert np.abs(away).max() < 0.01
    assert (
        found["colour"].where(found["colour"].notna(), None).tolist()
        == frame["colour"].where(frame["colour"].notna(), None).tolist()
    )


def test_what_cannot_be_told_is_not_decoded():
    frame = table()
    schema = fit(frame, steps=STEPS[2])
    assert [column.name for column in schema.columns] == ["born", "code", "svd0", "svd1", "colour"]
    assert list(schema.decode(schema.encode(frame))) == ["born", "code", "colour"]
    blank = np.array([[np.nan, np.nan, 0.0, 0.0, level] for level in (MASKED, UNKNOWN, MISSING)])
    assert schema.decode(blank).isna().all(axis=None)
    with pytest.raises(ValueError, match=r"values: expected \(N, 5\), received \(3, 4\)"):
        schema.decode(blank[:, :4])
    with pytest.raises(ValueError, match=r"from 0 to 5 for the category 'colour', received 6\.0"):
        schema.decode(np.array([[0.0, 0.0, 0.0, 0.0, 6.0]]))


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        ({}, {"kinds": {"colr": "number"}}, r"kinds: .* received 'colr'\. Did you mean 'colour'"),
        (
            {},
            {"kinds": {"colour": "word"}},
            "one of number, boolean, date, category for 'colour', received 'word'",
        ),
        ({}, {"kinds": {"colour": "number"}}, "expected numbers in 'colour', received 3 other values"),
        ({}, {"most_levels": 1}, "most_levels: expected 2 or more, received 1"),
        ({}, {"names": ["absent"]}, "without 'absent'"),
        ({}, {"names": []}, "received none that is left: there is none"),
        ({"size": 1.0}, {"names": ["size"]}, "none that is left: size has one value only"),
        ({"size": np.inf}, {}, "infinite ones"),
        ({}, {"steps": [Log1pStep(columns=("colour",))]}, "received 'colour', which matches none of 'size'"),
    ],
)
def test_what_cannot_be_fitted_is_named(change: dict[str, Any], options: dict[str, Any], message: str):
    with pytest.raises(ValueError, match=message):
        fit(table().assign(**change), **options)


def test_rows_that_do_not_fit_the_schema_are_named():
    frame = table()
    schema = fit(frame)
    with pytest.raises(ValueError, match="without 'age', 'code'"):
        schema.encode(frame.drop(columns=["age", "code"]))
    with pytest.raises(ValueError, match=r"in 'size' \(rows 'r0', 'r1', .* 55 more\)"):
        schema.encode(frame.assign(size=-np.inf))
    with pytest.raises(ValueError, match="expected numbers in 'size', received 1 other values"):
        schema.encode(frame.assign(size="big"))
    with pytest.raises(ValueError, match="received some in 'size' that lie over 3e38"):
        schema.encode(frame.assign(size=1e60))
    assert schema.encode(frame.iloc[:0]).shape == (0, 6)


@given(
    count=st.integers(3, 400),
    gaps=st.floats(-1e3, 1e3),
    gap=st.floats(1e-3, 1e6),
    data=st.data(),
)
def test_however_rare_a_value_is_predicting_the_mean_costs_exactly_1_and_nothing_explodes(
    count: int, gaps: float, gap: float, data: st.DataObject
):
    level = gaps * gap  # far below 1e-6 of the mean a difference counts as rounding
    rare = data.draw(st.integers(1, count - 1))
    frame = pd.DataFrame({"flag": level + gap * (np.arange(count) < rare), "fixed": np.full(count, level)})
    schema = TableSchema.fit(frame, ["flag", "fixed"], kinds={"flag": "number"})
    assert [column.name for column in schema.columns] == ["flag"] and "one value" in schema.dropped["fixed"]
    values = schema.encode(frame)[:, 0].astype(np.float64)
    assert (values**2).mean() == pytest.approx(1.0, abs=1e-4)
    assert np.abs(values).max() <= np.sqrt(count - 1) * (1 + 1e-4)
