"""What `init` asks of a network of tables."""

import numpy as np
import pandas as pd
from jigstack.pipeline.table_draft import (
    batch_for,
    codes,
    head_epochs,
    joining,
    masked_epochs,
    steps_for,
    unreadable,
)


def test_only_whole_numbers_of_few_values_with_a_name_of_codes_are_codes():
    frame = pd.DataFrame(
        {
            "industry_recode": np.arange(300) % 7,
            "zip": np.arange(300) % 50,
            "decoded": np.arange(300) % 7,
            "code": np.arange(300),
            "colour_code": np.arange(300) % 7 + 0.5,
            "age": np.arange(300) % 80,
        }
    )
    assert codes(frame, list(frame)) == ["industry_recode", "zip"]


def test_skewed_numbers_become_ranks_and_many_become_directions():
    rng = np.random.default_rng(0)
    even = pd.DataFrame(rng.normal(size=(400, 3)), columns=list("abc"))
    assert steps_for(even, ["a", "b", "c"], [])[0] == []
    skewed = even.assign(d=rng.lognormal(sigma=2, size=400))
    assert steps_for(skewed, list("abcd"), [])[0] == [{"kind": "quantile"}]
    assert steps_for(skewed, list("abcd"), ["d"])[0] == []  # a code is no number
    wide = pd.DataFrame(rng.normal(size=(400, 500))).rename(columns=str)
    assert steps_for(wide, list(wide), [])[0] == [{"kind": "svd", "n": 64}]


def test_fewer_rows_are_shown_more_often():
    assert [masked_epochs(rows, 1.0) for rows in (100, 6700, 10**6)] == [100, 30, 5]
    assert [head_epochs(rows, 1.0) for rows in (100, 6000, 10**6)] == [40, 15, 3]
    assert masked_epochs(10**6, 0.01) == head_epochs(10**6, 0.01) == 1
    assert [batch_for(rows) for rows in (999, 1000, 6000, 10**5)] == [32, 64, 256, 1024]


def test_columns_of_which_none_can_be_learned_from_are_told():
    ids = pd.DataFrame({"name": [f"n{row}" for row in range(50)], "age": range(0, 500, 10)})
    assert "is an id" in str(unreadable(ids, ["name"], []))
    assert unreadable(ids, ["name", "age"], []) is None


def test_rows_without_labels_join_where_they_have_all_that_the_network_reads():
    rows = pd.DataFrame({"a": [1, 2], "b": [3, 4], "c": [5, 6]})
    assert joining({"x.csv": rows, "y.csv": rows.filter(["a"])}, ["a", "b"]) == (
        {"x.csv": 2},
        {"y.csv": "lacks 'b'"},
    )
    assert joining({}, ["a"]) == ({}, {})
