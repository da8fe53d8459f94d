"""Rows of a table with the face of pictures."""

import pickle

import numpy as np
import pandas as pd
import pytest
import torch
from jigstack.datasets.pictures import Pictures
from jigstack.datasets.table_rows import TableRows
from jigstack.datasets.table_schema import TableSchema

VALUES = np.arange(12, dtype=np.float32).reshape(4, 3)
IDS = ["007", "a", "b", "c"]
SCHEMA = TableSchema.fit(pd.DataFrame({"x": [1.0, 2.0], "y": [3.0, 5.0], "z": [0.0, 1.5]}), ["x", "y", "z"])


def test_a_batch_holds_the_rows_that_are_asked_for():
    rows = TableRows(VALUES, IDS, SCHEMA)
    assert len(rows) == len(rows.store) == 4 and rows.store.nbytes == VALUES.nbytes
    batch = rows.store.gather(rows.first(["c", "007", "c"]))
    assert batch.dtype == torch.float32 and torch.equal(batch, torch.from_numpy(VALUES[[3, 0, 3]]))
    batch[:] = -1  # a copy: the table stays
    assert torch.equal(rows.store.slice(1, 3), torch.from_numpy(VALUES[1:3]))
    assert rows.store.gather(np.zeros(0, dtype=np.int64)).shape == (0, 3)


def test_each_row_owns_itself():
    rows = TableRows(torch.from_numpy(VALUES), np.array(IDS, dtype=object), SCHEMA)
    positions, counts = rows.of(["b", "a"])
    assert positions.tolist() == [2, 1] and counts.tolist() == [1, 1]
    assert rows.owners.tolist() == rows.store.ids.tolist() == IDS and rows.numbers.tolist() == [0] * 4
    assert rows.most == 1 and rows.one_each and rows.readable(["c", "a"]).tolist() == [True, True]
    assert rows.store.readable.all()


def test_what_pictures_show_to_training_rows_show_too():
    wanted = {name for name in dir(Pictures) if not name.startswith("_")} - {"channels"}
    assert wanted <= set(dir(TableRows(VALUES, IDS, SCHEMA)))


def test_another_process_gets_the_same_rows():
    again = pickle.loads(pickle.dumps(TableRows(VALUES, IDS, SCHEMA)))
    assert again.takes == SCHEMA.columns
    assert torch.equal(again.store.values, torch.from_numpy(VALUES)) and again.first(["b"]).tolist() == [2]
    store = pickle.loads(pickle.dumps(again.store))
    assert store.rows(["c"]).tolist() == [3]


def test_mistakes_are_named():
    rows = TableRows(VALUES, IDS, SCHEMA)
    for ask in (rows.of, rows.first, rows.readable):
        with pytest.raises(ValueError, match=r"ids of the 4 rows of the table, received 1 others \('7'\)"):
            ask(["a", "7"])
    with pytest.raises(ValueError, match="rows: expected 0 to 3, received 1 to 4"):
        rows.store.gather(np.array([1, 4]))
    with pytest.raises(ValueError, match=r"expected \(N, D\) float32, received \(4, 3\) float64"):
        TableRows(VALUES.astype(np.float64), IDS, SCHEMA)  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="ids: expected 4, one a row, received 2"):
        TableRows(VALUES, ["a", "b"], SCHEMA)
    with pytest.raises(ValueError, match="unique ids, received 'a' more than once"):
        TableRows(VALUES, ["a", "a", "b", "c"], SCHEMA)
