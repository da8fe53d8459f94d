from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from jigstack.datasets.findings import Finding, did_you_mean, name_some
from jigstack.datasets.tables import Table, check_tables, read_table


def _csv(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_ids_are_text_and_other_columns_have_their_types(tmp_path: Path):
    table = read_table([_csv(tmp_path / "a.csv", "id,x,s\n007,1,u\nNA,2.5,v\n1e5,3,w\n")], "id")
    assert table.ids.tolist() == ["007", "NA", "1e5"]
    assert table.column("x").to_dict() == {"007": 1.0, "NA": 2.5, "1e5": 3.0}
    assert table.column("id").tolist() == ["007", "NA", "1e5"]
    assert len(table) == 3 and table.frame.index.name == "id"


def test_integer_ids_of_parquet_become_plain_digits_even_as_a_named_index(tmp_path: Path):
    frame = pd.DataFrame({"id": [7, 10], "x": [1, 2]})
    frame.to_parquet(tmp_path / "a.parquet")
    frame.set_index("id").to_parquet(tmp_path / "b.parquet")
    frame.astype({"id": "float64"}).to_parquet(tmp_path / "c.parquet")
    for name in "abc":
        assert read_table([tmp_path / f"{name}.parquet"], "id").ids.tolist() == ["7", "10"]


def test_files_join_on_the_id_and_keep_the_order_of_the_first(tmp_path: Path):
    first = _csv(tmp_path / "a.csv", "id,x\n2,b\n1,a\n")
    pd.DataFrame({"id": [1, 2], "y": [10, 20]}).to_parquet(tmp_path / "b.parquet")
    table = read_table([first, tmp_path / "b.parquet"], "id")
    assert table.ids.tolist() == ["2", "1"] and table.column("y").tolist() == [20, 10]


def test_a_byte_order_mark_tabs_and_gzip_are_read(tmp_path: Path):
    (tmp_path / "a.tsv").write_bytes("\ufeffid\tx\n1\t2\n".encode())
    assert read_table([tmp_path / "a.tsv"], "id").column("x").tolist() == [2]
    pd.DataFrame({"id": ["01"], "x": [1]}).to_csv(tmp_path / "a.csv.gz", index=False)
    assert read_table([tmp_path / "a.csv.gz"], "id").ids.tolist() == ["01"]


@pytest.mark.filterwarnings("ignore::pandas.errors.ParserWarning")
def test_a_comma_too_many_does_not_shift_the_columns(tmp_path: Path):
    table = read_table([_csv(tmp_path / "a.csv", "id,x\n01,2,\n03,4,\n")], "id")
    assert table.ids.tolist() == ["01", "03"] and table.column("x").tolist() == [2, 4]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("object_id,x\n1,2\n", r"expected the id column 'objectid'.*Did you mean 'object_id'\?"),
        ("objectid,x\n1,2\n1,3\n2,4\n", r"expected one row per 'objectid', received 1 ids in 2 rows \('1'\)"),
        ("objectid,x\n1,2\n,3\n", r"received 1 empty ones, the first in data row 2"),
        ("", "expected a readable table"),
    ],
)
def test_a_bad_table_says_what_is_wrong(tmp_path: Path, text: str, message: str):
    with pytest.raises(ValueError, match=message):
        read_table([_csv(tmp_path / "a.csv", text)], "objectid")


def test_a_bad_path_says_what_is_wrong(tmp_path: Path):
    _csv(tmp_path / "train.csv", "id\n1\n")
    with pytest.raises(ValueError, match=r"where none is\. Did you mean 'train\.csv'\?"):
        read_table([tmp_path / "trian.csv"], "id")
    with pytest.raises(ValueError, match=r"expected a file named \.csv"):
        read_table([tmp_path / "train.xlsx"], "id")
    with pytest.raises(ValueError, match="at least one file"):
        read_table([], "id")
    (tmp_path / "latin.csv").write_bytes("id,x\n1,\xe9\n".encode("latin-1"))
    with pytest.raises(ValueError, match="expected UTF-8 text"):
        read_table([tmp_path / "latin.csv"], "id")
    pd.DataFrame({"id": [1.5]}).to_parquet(tmp_path / "f.parquet")
    with pytest.raises(ValueError, match=r"expected text or integers in 'id', received 1\.5"):
        read_table([tmp_path / "f.parquet"], "id")


def test_files_that_do_not_join_name_both_sides_and_the_lost_zeros(tmp_path: Path):
    first, second = (
        _csv(tmp_path / "a.csv", "id,x\n007,1\nb,2\n"),
        _csv(tmp_path / "b.csv", "id,y\n7,1\nb,2\n"),
    )
    with pytest.raises(ValueError, match=r"lack 1 \('007'\) and add 1 \('7'\).*leading zeros"):
        read_table([first, second], "id")


def test_a_column_in_two_files_is_refused(tmp_path: Path):
    first, second = _csv(tmp_path / "a.csv", "id,x\n1,1\n"), _csv(tmp_path / "b.csv", "id,x\n1,1\n")
    with pytest.raises(ValueError, match="received 'x' again"):
        read_table([first, second], "id")


def test_an_unknown_column_is_named_with_the_nearest(tmp_path: Path):
    table = read_table([_csv(tmp_path / "a.csv", "id,target\n1,1\n")], "id")
    with pytest.raises(ValueError, match=r"received 'traget'\. Did you mean 'target'\?"):
        table.column("traget")


def test_lists_hold_several_rows_an_id_as_text(tmp_path: Path):
    train = _csv(tmp_path / "a.csv", "id,x\n01,1\n2,1\n")
    tags = _csv(tmp_path / "tags.csv", "id,name\n01,NA\n01,3\n9,oil\n2,\n")
    table = read_table([train], "id", {"tags": tags})
    assert table.lists["tags"].values.tolist() == [["01", "NA"], ["01", "3"], ["9", "oil"], ["2", ""]]
    findings = {f.code: f for f in check_tables(table)}
    assert findings["list-ids-unknown"].ids == ("9",)
    assert findings["list-names-empty"].ids == ("2",)
    with pytest.raises(ValueError, match=r"and 'name', received.*Did you mean 'names'"):
        read_table([train], "id", {"tags": _csv(tmp_path / "t.csv", "id,names\n01,a\n")})


def test_test_ids_in_train_are_a_named_warning(tmp_path: Path):
    train = read_table([_csv(tmp_path / "a.csv", "id,x\n1,1\n2,1\n")], "id")
    test = read_table([_csv(tmp_path / "b.csv", "id\n2\n3\n")], "id")
    (finding,) = check_tables(train, test)
    assert finding.code == "test-ids-in-train" and finding.severity == "warning" and finding.ids == ("2",)
    assert "1 of 2 test ids stand in train too ('2')" in str(finding)
    assert check_tables(train) == []


def test_the_digest_depends_on_content_and_not_on_order():
    frame = pd.DataFrame({"x": [1, 2], "s": ["a", None]}, index=pd.Index(["1", "2"], name="id"))
    tags = pd.DataFrame({"id": ["1", "2"], "name": ["a", "b"]})
    table = Table(frame, "id", {"tags": tags})
    turned = Table(frame.iloc[::-1][["s", "x"]], "id", {"tags": tags.iloc[::-1]})
    assert table.digest == turned.digest
    changed = frame.copy()
    changed.loc["2", "x"] = 3
    assert Table(changed, "id", {"tags": tags}).digest != table.digest
    assert Table(frame, "id", {"tags": tags.iloc[:1]}).digest != table.digest
    assert Table(frame, "id").digest != table.digest


def test_names_are_listed_briefly():
    assert name_some(np.array(["a", "b"], dtype=object)) == "'a', 'b'"
    assert name_some("abcdef", 2) == "'a', 'b' and 4 more"
    assert did_you_mean("zzz", ["a"]) == ""
    assert str(Finding("a-b", "note", "text")) == "note: text [a-b]"
