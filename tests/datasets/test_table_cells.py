"""Cells of a table as numbers."""

import pickle
from typing import Any

import numpy as np
import pandas as pd
import pytest
from jigstack.datasets import table_cells
from jigstack.datasets.table_cells import (
    Cells,
    ColumnsError,
    Kind,
    Source,
    foreign,
    kind_of,
    spoiled,
    texts_of,
)


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([1, 2, 5], "number"),
        ([1.5, np.nan], "number"),
        (pd.array([1, None], dtype="Int64"), "number"),
        ([" 1", "2.5 ", "?", "NA", "", "-3e2"], "number"),
        (pd.to_timedelta([1, 2], unit="D"), "number"),
        (["007", "12"], "category"),
        (["0.5", "0"], "number"),
        ([True, False], "boolean"),
        ([True, None, False], "boolean"),
        (["True", "false", ""], "boolean"),
        (pd.to_datetime(["2020-01-05", None]), "date"),
        (["2020-01-05", " 1911/07", "1911-07-05T12:30", "2020-01-05 12:00:00.5+09:00"], "date"),
        (["2020-13-05", "2020-01-05"], "category"),
        (["red", "1"], "category"),
        (pd.Categorical([1, 2, None]), "category"),
        ([np.nan, np.nan], None),
        (["", "?"], None),
    ],
)
def test_a_column_tells_its_kind(values: Any, kind: Kind | None):
    assert kind_of(pd.Series(values)) == kind


def numerals(count: int) -> list[str]:
    return [f"{place}.5" for place in range(count)]


@pytest.mark.parametrize(
    ("values", "near"),
    [
        ([*numerals(9), "oops"], ("number", ["oops"])),
        ([*numerals(18), "oops", None, "alas", "oops"], ("number", ["oops", "alas"])),
        ([*numerals(8), "oops"], None),  # fewer than nine tenths
        (numerals(10), None),  # nothing keeps them from being numbers
        ([*numerals(9), "007", "oops"], None),  # codes
        ([*(f"1911-05-{day}" for day in range(10, 20)), "in May"], ("date", ["in May"])),
        (["red", "blue"], None),
        (list(range(20)), None),
    ],
)
def test_a_column_tells_which_few_texts_spoil_it(values: list[Any], near: tuple[Kind, list[str]] | None):
    assert spoiled(pd.Series(values)) == near


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (["0,125", "-3,5", "7", None], "decimal comma"),
        (["1.250.000,50", "12,0"], "decimal comma"),
        (["1,125", "0,250"], "decimal comma"),
        (["1,234", "850"], "between thousands"),
        (["-1,234,567.89", "12,000", "7.5"], "between thousands"),
        (["12.5%", "0 %", "100%"], "sign of percent"),
        (["$1,200.00", "-$3", "€ 4,50"], "sign of percent or money"),
        (["$1,200.00", "free"], None),
        (["5%", "7"], None),
        (["13.05.2020", "1.6.1999"], "year comes last"),
        (["13/05/20", "1/6/99"], "year comes last"),
        (["1.2.10", "10.2.14"], None),
        (["5/13/2020", "6/1/1999 12:30"], "year comes last"),
        (["0.125", "3.5"], None),
        (["2020-05-13", "1999-06-01"], None),
        (["0,125", "red"], None),
        (["1,2,3", "4,5,6"], None),
        (["007", "012"], None),
        ([None, None], None),
    ],
)
def test_numbers_and_dates_of_other_customs_are_known(values: list[Any], said: str | None):
    found = foreign(pd.Series(values, dtype=object))
    assert found is None if said is None else found is not None and said in found


def test_a_pandas_category_is_what_its_owner_made_of_it():
    assert spoiled(pd.Series([*numerals(9), "oops"], dtype="category")) is None
    assert foreign(pd.Series(["0,1", "0,2"], dtype="category")) is None


def test_texts_are_stripped_and_whole_floats_are_whole_numbers():
    codes, texts = texts_of(pd.Series([" red", "red", "?", None, "blue "]))
    assert texts == ["red", "blue"] and codes.tolist() == [0, 0, -1, -1, 1]
    assert texts_of(pd.Series([7.0, np.nan, 0.5]))[1] == texts_of(pd.Series(["7", "0.5"]))[1] == ["7", "0.5"]
    codes, texts = texts_of(pd.Series(pd.Categorical(["b", None, "a"], categories=["a", "b", "c"])))
    assert [texts[code] for code in codes[[0, 2]]] == ["b", "a"] and codes[1] == -1


def test_cells_are_numbers_row_by_row(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(table_cells, "_BLOCK", 1)
    frame = pd.DataFrame(
        {
            "a": [1, 2, 3],
            "when": ["1970-01-02", "1970-01-01T06:00", ""],
            "yes": [True, None, "False"],
            "b": [0.5, np.nan, 2.0],
            "text": [" 7", "?", "-1"],
            "moment": pd.to_datetime(["1970-01-03", None, "1969-12-31"]),
        },
        index=["x", "y", "z"],
    )
    kinds: dict[str, Kind] = {
        "a": "number",
        "when": "date",
        "yes": "boolean",
        "b": "number",
        "text": "number",
        "moment": "date",
    }
    wanted = np.array(
        [[1, 1, 1, 0.5, 7, 2], [2, 0.25, np.nan, np.nan, np.nan, np.nan], [3, np.nan, 0, 2, -1, -1]]
    )
    cells = Cells(frame, [Source(name, kind) for name, kind in kinds.items()])
    np.testing.assert_array_equal(cells.numbers(0, 3), wanted)
    np.testing.assert_array_equal(cells.numbers(1, 2), wanted[1:2])
    np.testing.assert_array_equal(np.concatenate(list(cells.blocks.read())), wanted)
    turned = Cells(frame, [Source("b", "number"), Source("a", "number")])
    np.testing.assert_array_equal(turned.numbers(0, 3), wanted[:, [3, 0]])


def test_many_rows_come_in_pieces_and_the_table_stays_as_it_is(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(table_cells, "_BLOCK", 1)
    frame = pd.DataFrame(np.arange(2000.0).reshape(1000, 2), columns=["a", "b"])
    cells = Cells(frame, [Source("a", "number"), Source("b", "number")])
    assert cells.ranges == [(0, 256), (256, 512), (512, 768), (768, 1000)]
    for block in cells.blocks.read():
        block[:] = -1
    np.testing.assert_array_equal(
        np.concatenate(list(cells.blocks.read())), np.arange(2000.0).reshape(1000, 2)
    )


@pytest.mark.parametrize(
    ("values", "kind", "message"),
    [
        (["1", "two"], "number", r"expected numbers in 'x', received 1 other values \('two'\)"),
        (["2020-01-05", "2020-02-31"], "date", r"ISO dates in 'x', received 1 other values \('2020-02-31'\)"),
        (["yes", "no"], "boolean", "true and false in 'x', received 2 other values"),
        ([1.0, np.inf], "number", r"infinite ones, or beyond 1e\+100, in 'x' \(rows 'r1'\)"),
        (["1", "-inf"], "number", "infinite ones"),
        ([[1], [2]], "number", "received cells that hold more"),
    ],
)
def test_cells_of_another_kind_are_named(values: Any, kind: Kind, message: str):
    frame = pd.DataFrame({"x": pd.Series(values, index=["r0", "r1"])})
    with pytest.raises(ValueError, match=message):
        Cells(frame, [Source("x", kind)]).numbers(0, 2)


def test_columns_that_are_absent_or_twice_are_named():
    frame = pd.DataFrame([[1, 2, 3]], columns=["age", "a", "a"])
    with pytest.raises(ValueError, match=r"without 'agee'\. Did you mean 'age'\?"):
        Cells(frame, [Source("agee", "number")])
    with pytest.raises(ValueError, match="received 'a' twice"):
        Cells(frame, [Source("a", "number")])


@pytest.mark.parametrize("kind", ["float64", "float32", "Float64", "mixed"])
def test_picked_rows_are_those_of_the_blocks_and_the_frame_is_left_alone(kind: str):
    values = np.random.default_rng(0).normal(size=(50, 3))
    values[4, 1] = np.nan
    frame = pd.DataFrame(values, columns=["a", "b", "c"])
    frame = frame.assign(b=frame["b"].astype(str)) if kind == "mixed" else frame.astype(kind)
    before = frame.copy()
    blocks = Cells(frame, [Source(name, "number") for name in frame]).blocks
    whole, rows = np.concatenate(list(blocks.read())), np.array([0, 4, 5, 49])
    np.testing.assert_allclose(whole, values, rtol=1e-6)
    some = blocks.pick(rows)
    np.testing.assert_array_equal(some, whole[rows])
    some[:] = 0.0
    next(iter(blocks.read()))[:] = 0.0
    pd.testing.assert_frame_equal(frame, before)


def test_a_mistake_in_the_columns_passes_between_processes_with_its_words():
    with pytest.raises(ColumnsError, match=r"^data.columns: expected numbers in 'a'") as caught:
        Cells(pd.DataFrame({"a": ["1", "often"]}), [Source("a", "number")])
    copied = pickle.loads(pickle.dumps(caught.value))
    assert str(copied) == str(caught.value) and (copied.said, copied.name) == (
        caught.value.said,
        caught.value.name,
    )
