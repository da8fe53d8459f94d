"""Pictures and lines of a table joined by the id of their row."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from jigstack.configs.data import Decode
from jigstack.datasets.images import build_store
from jigstack.datasets.joined import JoinedInputs
from jigstack.datasets.pictures import PictureFiles, Pictures
from jigstack.datasets.table_rows import TableRows
from jigstack.datasets.table_schema import TableSchema
from PIL import Image

LINES = ["d", "c", "b", "a", "e"]
"""The table's rows in another order than the pictures', with one that has no picture."""
SCHEMA = TableSchema.fit(pd.DataFrame({"x": [1.0, 2.0]}), ["x"])


def table() -> TableRows:
    return TableRows(np.array([[ord(name)] for name in LINES], dtype=np.float32), LINES, SCHEMA)


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Pictures:
    """One picture of a, c, d and z, two of b, each as grey as its place times 10; that of d is broken."""
    root = tmp_path_factory.mktemp("joined")
    owners = np.array(["a", "b", "b", "c", "d", "z"], dtype=object)
    paths = [root / f"{place}.png" for place in range(len(owners))]
    for place, path in enumerate(paths):
        Image.new("RGB", (8, 8), (10 * place,) * 3).save(path)
    paths[4].write_bytes(b"broken")
    names = [f"{owner}{place}" for place, owner in enumerate(owners)]
    store = build_store(names, list(map(str, paths)), root / "store", 8, Decode())
    return Pictures(store, PictureFiles(store.ids, owners, store.paths))


@pytest.mark.parametrize("order", [["img", "rows"], ["rows", "img"]])
def test_each_picture_comes_with_the_line_of_its_row(pictures: Pictures, order: list[str]):
    parts = {"img": pictures, "rows": table()}
    inputs = JoinedInputs({name: parts[name] for name in order})
    positions, counts = inputs.of(["c", "b"])
    assert counts.tolist() == [1, 2] and inputs.owners[positions].tolist() == ["c", "b", "b"]
    batch = inputs.store.gather(positions)
    assert list(batch) == order
    assert batch["rows"][:, 0].tolist() == [ord("c"), ord("b"), ord("b")]
    assert batch["img"][:, 0, 0, 0].tolist() == [30, 10, 20]
    assert inputs.most == 2 and inputs.numbers[positions].tolist() == [0, 0, 1]
    named = inputs.store.rows(inputs.store.ids[inputs.first(["b"])])
    assert torch.equal(inputs.store.gather(named)["rows"], torch.tensor([[float(ord("b"))]]))


def test_a_row_can_be_read_where_every_part_can(pictures: Pictures):
    inputs = JoinedInputs({"img": pictures, "rows": table()})
    assert inputs.readable(["a", "b", "c", "d"]).tolist() == [True, True, True, False]


def test_a_picture_without_a_line_is_refused_by_name(pictures: Pictures):
    inputs = JoinedInputs({"img": pictures, "rows": table()})
    with pytest.raises(
        ValueError, match=r"expected inputs of rows that rows has too, received 1 others .*z5"
    ):
        inputs.store.gather(inputs.of(["a", "z"])[0])


def test_two_tables_are_joined_by_id_too_and_each_saves_its_schema(tmp_path: Path):
    other = TableRows(np.array([[1.0], [2.0]], dtype=np.float32), ["e", "d"], SCHEMA)
    inputs = JoinedInputs({"one": other, "two": table()})
    batch = inputs.store.gather(inputs.first(["d", "e"]))
    assert batch["one"].tolist() == [[2.0], [1.0]] and batch["two"].tolist() == [[ord("d")], [ord("e")]]
    assert inputs.takes == {"one": SCHEMA.columns, "two": SCHEMA.columns}
    inputs.save(tmp_path)
    assert all((tmp_path / file).is_file() for file in inputs.schema_files) and len(inputs.schema_files) == 4


def test_a_store_can_be_read_through_another(pictures: Pictures):
    inputs = JoinedInputs({"img": pictures, "rows": table()})

    class Doubled:
        def __init__(self, store):
            self.store = store

        def gather(self, rows):
            return self.store.gather(rows) * 2

    rows = inputs.first(["c", "a"])
    plain, read = inputs.store.gather(rows), inputs.store.read_through(Doubled).gather(rows)
    assert all(torch.equal(read[name], 2 * plain[name]) for name in plain)
