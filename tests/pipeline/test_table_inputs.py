"""The table of a run as networks read it: whose rows teach it, what it refuses, and what its digests name."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from jigstack.configs.data import Data
from jigstack.configs.errors import UserError
from jigstack.configs.schema import Backbone
from jigstack.datasets.table_rows import TableRows
from jigstack.datasets.tables import Table
from jigstack.pipeline.table_inputs import TableInputs, read_unlabelled

COLUMNS = ["heat", "load", "site"]


def table(first: int, count: int) -> Table:
    ids = [f"r{number}" for number in range(first, first + count)]
    numbers = np.arange(first, first + count, dtype=float)
    sites = [["north", "south"][number % 2] for number in range(count)]
    frame = pd.DataFrame({"heat": numbers, "load": numbers**2, "site": sites}, index=pd.Index(ids, name="id"))
    return Table(frame, "id")


def inputs_of(*tables: Table, columns: list[str] = COLUMNS, **data: object) -> TableInputs:
    section = Data.model_validate({"id": "id", "train": ["train.csv"], **data})
    return TableInputs(tables, columns, section, {}, seed=0)


def network(**options: object) -> Backbone:
    return Backbone.model_validate({"kind": "mlp", **options})


def test_all_rows_are_encoded_by_what_the_given_rows_teach():
    lines = inputs_of(table(0, 20), table(20, 5))
    taught = np.array([f"r{number}" for number in range(10)], dtype=object)
    rows = lines.inputs(network(), taught)
    assert isinstance(rows, TableRows) and len(rows) == 25
    heat = rows.store.values[:, 0].numpy()
    np.testing.assert_allclose(heat[:10].mean(), 0, atol=1e-6)
    np.testing.assert_allclose(heat, (np.arange(25) - 4.5) / np.arange(10).std(), rtol=1e-5)


def test_the_order_of_the_ids_does_not_matter_but_the_ids_do():
    lines, ids = inputs_of(table(0, 20)), np.array([f"r{number}" for number in range(20)], dtype=object)
    schema = lines.schema(network(), ids)
    assert lines.schema(network(), ids[::-1]) is schema
    assert lines.schema(network(), ids[:10]).digest != schema.digest
    assert (
        lines.digest(network(), ids) == lines.digest(network(), ids[::-1]) != lines.digest(network(), ids[1:])
    )


@pytest.mark.parametrize("columns", [["*"], ["site", "heat"]])
def test_the_digest_of_some_rows_is_that_of_their_own_table(columns: list[str]):
    """However many rows stand beside them: their numbers are found once for all rows."""
    ids = np.array([f"r{number}" for number in range(3, 9)], dtype=object)
    reading = network(columns=columns)
    among = inputs_of(table(0, 20), table(20, 5))
    some = table(0, 20).frame.loc[ids]
    assert among.digest(reading, ids) == inputs_of(Table(some, "id")).digest(reading, ids)
    some.loc["r5", "heat"] = 99.0
    assert among.digest(reading, ids) != inputs_of(Table(some, "id")).digest(reading, ids)
    assert among.digest(reading, ids) != among.digest(reading, ids[1:])


def test_a_checkpoint_brings_its_own_schema_whatever_rows_are_named(tmp_path: Path):
    lines, ids = inputs_of(table(0, 20)), np.array([f"r{number}" for number in range(20)], dtype=object)
    lines.schema(network(), ids[:7]).save(tmp_path)
    (tmp_path / "backbone.safetensors").touch()
    for checkpoint in (tmp_path, tmp_path / "backbone.safetensors"):
        rows = lines.inputs(network(), ids, checkpoint)
        assert rows.schema == lines.schema(network(), ids[:7])


@pytest.mark.parametrize("how", ["another column", "the group"])
def test_a_checkpoint_that_reads_what_the_backbone_must_not_is_refused(tmp_path: Path, how: str):
    """Its schema would bring a target, or the group of the folds, among the inputs."""
    lines, ids = inputs_of(table(0, 20)), np.array([f"r{number}" for number in range(20)], dtype=object)
    lines.schema(network(), ids).save(tmp_path)
    reading = network(columns=["heat", "load"]) if how == "another column" else network()
    if how == "the group":
        lines.excluded["site"] = "is the group of the folds"
    with pytest.raises(
        UserError, match="also reads 'site'" + (", which is the group" if how == "the group" else "")
    ):
        lines.inputs(reading, ids, tmp_path)


def all_ids(count: int) -> np.ndarray:
    return np.array([f"r{number}" for number in range(count)], dtype=object)


@pytest.fixture
def narrow(tmp_path: Path) -> Path:
    """A checkpoint of heat and site alone, with a step."""
    reading = network(columns=["heat", "site"], steps=[{"kind": "quantile", "quantiles": 8}])
    inputs_of(table(0, 20)).schema(reading, all_ids(12)).save(tmp_path)
    return tmp_path


SAME = [{"kind": "quantile", "quantiles": 8}]


@pytest.mark.parametrize(
    ("asked", "kinds", "message"),
    [
        (
            {"columns": ["heat", "load", "site"]},
            {},
            r"columns: expected a checkpoint that reads .* that does not know 'load'; leave them out of the backbone's",
        ),
        ({"columns": ["heat", "s*", "l*"]}, {}, r"columns: .*does not know 'load'"),
        (
            {},
            {"heat": "category"},
            r"data.kinds: expected a checkpoint that takes 'heat' for a category, .*for a number; leave it out",
        ),
        (
            {"steps": [{"kind": "quantile", "quantiles": 9}]},
            {},
            r"steps: .*\[{kind: quantile, quantiles: 9}\], received .* with \[{kind: quantile, quantiles: 8}\]; leave",
        ),
        (
            {"steps": [*SAME, {"kind": "standard"}]},
            {},
            r"steps: .*quantiles: 8}, {kind: standard}\], received",
        ),
    ],
)
def test_a_checkpoint_that_does_not_read_as_the_config_says_is_refused(
    narrow: Path, asked: dict, kinds: dict, message: str
):
    with pytest.raises(UserError, match=message):
        inputs_of(table(0, 20), kinds=kinds).inputs(network(**asked), all_ids(20), narrow)


@pytest.mark.parametrize(
    ("asked", "kinds", "own"),
    [
        ({"columns": ["heat", "site"], "steps": SAME}, {"heat": "number", "site": "category"}, ""),
        ({"columns": ["*"], "steps": SAME}, {"load": "category"}, "it does not read 'load'"),
        (
            {},
            {},
            "its own steps, [{kind: quantile, quantiles: 8}], hold; it does not read 'load'",
        ),
    ],
)
def test_what_the_config_leaves_open_the_checkpoint_decides_and_it_is_said(
    narrow: Path, asked: dict, kinds: dict, own: str
):
    lines = inputs_of(table(0, 20), kinds=kinds)
    schema = lines.brought(network(**asked), narrow)
    assert schema.names == ("heat", "site")
    assert lines.left_to(network(**asked), schema) == own


def test_other_rows_may_have_taught_a_checkpoint_and_what_told_nothing_there_may_be_named(tmp_path: Path):
    """Statistics, levels and constant columns are those of the rows that it was pretrained on."""
    other = table(100, 20)
    other.frame["load"], other.frame["site"] = 1.0, ["west", "east"] * 10
    named = network(columns=["heat", "load", "site"])
    inputs_of(other).schema(named, other.ids[:12]).save(tmp_path)
    lines = inputs_of(table(0, 20))
    schema = lines.brought(named, tmp_path)
    assert schema.names == ("heat", "site") and lines.left_to(named, schema) == ""


def test_the_last_encoding_is_kept_and_shared_by_networks_that_read_alike():
    lines, ids = inputs_of(table(0, 20)), np.array([f"r{number}" for number in range(20)], dtype=object)
    first = lines.inputs(network(), ids)
    assert lines.inputs(Backbone.model_validate({"kind": "tabnet"}), ids) is first
    assert lines.inputs(network(columns=["load", "site"]), ids) is not first


def test_a_backbone_reads_the_columns_of_its_patterns_each_once_in_their_order():
    lines = inputs_of(table(0, 8))
    assert lines.read_by(network(columns=["l*", "*a*"])) == ["load", "heat"]
    with pytest.raises(UserError, match=r"columns: .*received 'laod'; did you mean 'load'\?"):
        lines.read_by(network(columns=["laod"]))


def test_the_digest_names_values_kinds_and_columns():
    ids = [f"r{number}" for number in range(8)]
    plain = inputs_of(table(0, 8)).digest(network(), ids)
    changed = table(0, 8)
    changed.frame.loc["r3", "heat"] = -1.0
    assert inputs_of(table(0, 8)).digest(network(), ids) == plain
    assert inputs_of(changed).digest(network(), ids) != plain
    assert inputs_of(table(0, 8), kinds={"heat": "category"}).digest(network(), ids) != plain
    assert inputs_of(table(0, 8)).digest(network(columns=["heat", "load"]), ids) != plain


def test_a_kind_of_a_column_that_no_network_reads_is_refused():
    with pytest.raises(UserError, match=r"data.kinds: .*received 'sight'; did you mean 'site'\?"):
        inputs_of(table(0, 8), kinds={"sight": "category"})


def test_an_unlabelled_table_without_a_column_of_the_others_is_refused():
    poor = Table(table(20, 4).frame.drop(columns="load"), "id")
    with pytest.raises(UserError, match=r"data.unlabelled: .*received one without load; leave them out"):
        inputs_of(table(0, 8), poor)


def test_a_table_without_rows_counts_for_nothing():
    empty = Table(table(0, 8).frame[["heat"]].iloc[:0], "id")
    assert len(inputs_of(table(0, 8), empty).frame) == 8


def test_unlabelled_tables_are_read_and_an_id_of_another_table_is_refused(tmp_path: Path):
    table(0, 4).frame.to_csv(tmp_path / "a.csv")
    table(4, 3).frame.to_csv(tmp_path / "b.csv")
    read = read_unlabelled(tmp_path, ["a.csv", "b.csv"], "id", {"r9"})
    assert [len(each) for each in read] == [4, 3]
    with pytest.raises(UserError, match=r"data.unlabelled: .*received 1 in b.csv that do \(r5\)"):
        read_unlabelled(tmp_path, ["a.csv", "b.csv"], "id", {"r5"})
    with pytest.raises(UserError, match=r"received 4 in a.csv"):
        read_unlabelled(tmp_path, ["a.csv", "a.csv"], "id", set())


def spoiled_table() -> Table:
    """25 rows: `heat` with one word, `serial` that counts up, `same` and `gone` that tell nothing."""
    frame = table(0, 25).frame
    heat = [*map(str, frame["load"][:24]), "oops"]
    return Table(frame.assign(heat=heat, serial=range(25), same=1.5, gone=np.nan, city="Rome"), "id")


def test_notes_name_what_is_left_out_by_its_reason_and_texts_that_should_be_numbers():
    columns, ids = ["heat", "load", "site", "serial", "same", "gone", "city"], spoiled_table().ids
    dropped, spoiled = inputs_of(spoiled_table(), columns=columns).notes("rows", network(), ids)
    assert dropped == (
        "backbones.rows leaves out 'heat' (is an id: every row has another text); 'gone' (has no value); 'city', "
        "'same' (has one value only); 'serial' (is an id: whole numbers that count up, another in every row)"
    )
    assert spoiled.startswith(
        "warning: 'heat' is read as text for the sake of 'oops', while its other values"
    )
    assert spoiled.endswith("write data.kinds: {heat: category}")


def test_notes_name_numbers_of_another_custom():
    rows = Table(spoiled_table().frame.assign(heat=[f"0,{number}" for number in range(100, 125)]), "id")
    _, note = inputs_of(rows, columns=["heat", "load"]).notes(
        "rows", network(columns=["heat", "load"]), rows.ids
    )
    assert note.startswith(
        "warning: 'heat' is read as text, but looks like numbers with a decimal comma; write 0.125"
    )


def test_notes_say_nothing_of_rows_that_teach_nothing_of_columns_not_read_and_of_kinds_that_are_known():
    rows = spoiled_table()
    known = inputs_of(rows, columns=["heat", "load"], kinds={"heat": "category"})
    assert known.notes("rows", network(), rows.ids) == []
    lines = inputs_of(rows, columns=["heat", "load", "serial"])
    assert lines.notes("rows", network(columns=["load"]), rows.ids) == []
    assert lines.notes("rows", network(columns=["heat", "load"]), rows.ids[:24]) == []
