import dataclasses
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from jigstack.configs.data import Decode, Folds
from jigstack.datasets.findings import Finding
from jigstack.datasets.folds import make_plan
from jigstack.datasets.images import build_store
from jigstack.datasets.inspect import check_folds, class_balance, inspect_data, report_data
from jigstack.datasets.pictures import PictureFiles, Pictures
from jigstack.datasets.tables import Table
from PIL import Image


def _table(ids: list[str], **columns: object) -> Table:
    return Table(pd.DataFrame(columns, index=pd.Index(ids, name="id")), "id")


def _pictures(tmp_path: Path, colours: dict[str, int | bytes | None]) -> Pictures:
    """A store of flat pictures, one a row: equal numbers are copies, None a row without file, bytes the file itself."""
    paths = []
    tmp_path.mkdir(exist_ok=True)
    for name, colour in colours.items():
        path = tmp_path / f"{name}.png"
        if isinstance(colour, bytes):
            path.write_bytes(colour)
        elif colour is not None:
            Image.new("RGB", (16, 16), (colour, 0, 0)).save(path)
        paths.append("" if colour is None else str(path))
    return Pictures(build_store(list(colours), paths, tmp_path / "store", 16, Decode()))


def _by_code(findings: list[Finding]) -> dict[str, Finding]:
    assert len({finding.code for finding in findings}) == len(findings)
    return {finding.code: finding for finding in findings}


def test_sound_data_give_no_finding(tmp_path: Path):
    train, test = _table(["a", "b", "c", "d"]), _table(["e"])
    pictures = _pictures(tmp_path, {name: i for i, name in enumerate("abcde")})
    plan = make_plan(train.ids, Folds(n=2), 0)
    assert inspect_data(train, test, pictures, plan) == []


def test_unreadable_images_are_named_by_id_and_kind(tmp_path: Path):
    colours = {"a": 1, "b": b"", "c": b"not an image", "d": None, "e": 2, "f": 3}
    store = _pictures(tmp_path, colours).store
    (tmp_path / "f.png").unlink()
    pictures = Pictures(build_store(store.ids, store.paths, tmp_path / "store", 16, Decode()))
    found = _by_code(inspect_data(_table(list("abcdfg")), _table(["e"]), pictures))
    assert found["images-empty"].ids == ("b",) and "b.png" in found["images-empty"].message
    assert found["images-broken"].ids == ("c",) and "not an image" in found["images-broken"].message
    assert found["images-missing"].ids == ("f",)
    assert found["rows-without-image"].ids == ("d", "g")


def test_rows_without_an_image_are_named(tmp_path: Path):
    found = _by_code(inspect_data(_table(list("ab")), None, _pictures(tmp_path, {"a": 1, "b": None})))
    assert found["rows-without-image"].ids == ("b",)
    absent = _by_code(inspect_data(_table(list("az")), None, _pictures(tmp_path, {"a": 1})))
    assert absent["rows-without-image"].ids == ("z",)


def _arrays(tmp_path: Path, n: int) -> tuple[list[str], list[str]]:
    """Spectrograms in decibels, each of its own range."""
    for i in range(n):
        np.save(tmp_path / f"{i}.npy", np.linspace(-80, i, 64, dtype=np.float16).reshape(8, 8))
    return [str(i) for i in range(n)], [str(tmp_path / f"{i}.npy") for i in range(n)]


def test_a_missing_window_is_told_with_the_line_to_write_and_that_line_works(tmp_path: Path):
    ids, paths = _arrays(tmp_path, 6)
    Image.new("RGB", (8, 8)).save(tmp_path / "x.png")
    ids, paths = [*ids, "x"], [*paths, str(tmp_path / "x.png")]
    found = _by_code(
        inspect_data(_table(ids), None, Pictures(build_store(ids, paths, tmp_path / "store", 8, Decode())))
    )
    assert set(found) == {"images-without-window"}
    finding = found["images-without-window"]
    assert finding.ids == tuple("012345") and finding.severity == "warning"
    assert "6 images hold other than 8-bit values" in finding.message and paths[0] in finding.message
    override = re.search(r"on the command line (data.decode.window=\S+)\.$", finding.message)
    assert override is not None and override[1].startswith("data.decode.window=[-80,")
    key, _, value = override[1].partition("=")
    decode = Decode.model_validate({key.rpartition(".")[2]: yaml.safe_load(value)})
    store = build_store(ids, paths, tmp_path / "store", 8, decode)
    assert inspect_data(_table(ids), None, Pictures(store)) == []


def test_where_every_image_lacks_a_window_the_error_says_so(tmp_path: Path):
    ids, paths = _arrays(tmp_path, 3)
    store = Pictures(build_store(ids, paths, tmp_path / "store", 8, Decode()))
    error, warning = inspect_data(_table(ids), None, store)
    assert error.code == "no-images" and error.message.endswith("can be read. Set data.decode.window.")
    assert warning.code == "images-without-window"
    for path in paths:
        Path(path).unlink()
    _, warning = inspect_data(_table(ids), None, store)
    assert warning.message.endswith("Write data.decode.window: [low, high].")


def test_no_readable_image_is_an_error_and_stands_first(tmp_path: Path):
    train = _table(["a"])
    findings = inspect_data(train, None, _pictures(tmp_path, {"a": b"", "extra": 1}), extra_ids=["extra"])
    assert findings[0].code == "no-images" and findings[0].severity == "error"
    assert report_data(train, None, _pictures(tmp_path, {"a": b""})).failed


def test_copies_are_found_inside_train_across_folds_and_against_test(tmp_path: Path):
    train, test = _table(list("abcdef")), _table(["t", "u"])
    pictures = _pictures(tmp_path, {"a": 1, "b": 1, "c": 2, "d": 2, "e": 3, "f": 4, "t": 3, "u": 5, "x": 4})
    column = pd.Series([0, 0, 0, 1, 1, 1], index=list("abcdef"))
    plan = make_plan(train.ids, Folds(scheme="column", column="fold"), 0, column=column)
    found = _by_code(inspect_data(train, test, pictures, plan, extra_ids=["x"]))
    assert found["duplicates-in-train"].ids == ("a", "b") and found["duplicates-in-train"].severity == "note"
    assert found["duplicates-across-folds"].ids == ("c", "d")
    assert found["duplicates-of-test"].ids == ("e", "t")
    without = _by_code(inspect_data(train, test, pictures))
    assert without["duplicates-in-train"].ids == ("a", "b", "c", "d")


def test_unequal_folds_absent_strata_and_rows_never_validated_are_shown():
    ids = [f"{i:02d}" for i in range(20)]
    column = pd.Series([0] * 12 + [1] * 5 + [-1] * 3, index=ids)
    strata = pd.Series(["x"] * 12 + ["x", "y", "x", "y", "x"] + ["x"] * 3, index=ids)
    plan = make_plan(ids, Folds(scheme="column", column="c"), 0, stratify=strata, column=column)
    found = _by_code(check_folds(plan))
    assert "validate 5 to 12 rows" in found["folds-unequal"].message
    assert "stratum 'y' is validated in fold 0" in found["stratum-absent"].message
    assert found["rows-never-validated"].ids == ("17", "18", "19")


def test_the_report_counts_what_is_there(tmp_path: Path):
    frame = pd.DataFrame({"y": [0, 1]}, index=pd.Index(["a", "b"], name="id"))
    train = Table(frame, "id", {"tags": pd.DataFrame({"id": ["a", "a", "b"], "name": ["u", "v", "u"]})})
    pictures = _pictures(tmp_path, {"a": 1, "b": 2, "t": 3, "x": b""})
    report = report_data(train, _table(["t"]), pictures, make_plan(train.ids, Folds(n=2), 0), extra_ids=["x"])
    assert report.counts == {
        "train rows": 2,
        "train columns": 1,
        "test rows": 1,
        "tags entries": 3,
        "tags names": 2,
        "images": 4,
        "unreadable images": 1,
        "unlabelled images": 1,
        "folds": 2,
    }
    assert report.balance is not None and report.balance["valid"].tolist() == [1, 1]
    assert [finding.code for finding in report.findings] == ["images-empty"] and not report.failed


def test_classes_are_shown_as_shares_and_numbers_as_quantiles():
    table = _table(
        [str(i) for i in range(40)],
        kind=["a"] * 20 + ["b"] * 10 + [None] * 10,
        many=[f"v{i}" for i in range(40)],
        year=np.arange(1900.0, 1940.0),
    )
    shown = class_balance(table, ["kind", "many", "year"])
    assert shown["kind"].to_dict() == pytest.approx({"a": 0.5, "b": 0.25, "(missing)": 0.25})
    many, year = shown["many"].to_dict(), shown["year"].to_dict()
    assert many["(others)"] == pytest.approx(28 / 40) and len(many) == 13
    assert year["median"] == 1919.5 and year["max"] == 1939
    tags = pd.DataFrame({"id": ["0", "0", "0", "1"], "name": ["oil", "oil", "ink", "oil"]})
    listed = class_balance(dataclasses.replace(table, lists={"tags": tags}), ["tags"])["tags"].to_dict()
    assert listed == {"oil": 2 / 40, "ink": 1 / 40, "(missing)": 38 / 40}
    with pytest.raises(ValueError, match="received 'knid'"):
        class_balance(table, ["knid"])


def _owned(
    tmp_path: Path, owners: dict[str, list[int | bytes | None]], strangers: tuple[str, ...] = ()
) -> Pictures:
    """Rows of several flat pictures, as in `_pictures`."""
    flat = {
        name if colours == [None] else f"{name}-{number}": (name, colour)
        for name, colours in owners.items()
        for number, colour in enumerate(colours)
    }
    store = _pictures(tmp_path, {name: colour for name, (_, colour) in flat.items()}).store
    rows = np.array([owner for owner, _ in flat.values()], dtype=object)
    return Pictures(store, PictureFiles(store.ids, rows, store.paths, strangers))


def test_rows_and_their_images_are_counted_apart(tmp_path: Path):
    pictures = _owned(tmp_path, {"a": [1, 2, b""], "b": [b"", b"x"], "c": [None], "t": [3], "x": [4]})
    report = report_data(_table(["a", "b", "c"]), _table(["t"]), pictures, extra_ids=["x"])
    assert report.counts == {
        "train rows": 3,
        "train columns": 0,
        "test rows": 1,
        "images": 7,
        "unreadable images": 3,
        "rows with several images": 2,
        "rows without a readable image": 2,
        "unlabelled images": 1,
    }


def test_broken_images_are_named_one_by_one_and_rows_that_have_no_other_too(tmp_path: Path):
    pictures = _owned(tmp_path, {"a": [1, b""], "b": [b"", b"x"], "c": [None], "d": [2]}, strangers=("zoo",))
    found = _by_code(inspect_data(_table(list("abcd")), None, pictures))
    assert set(found) == {
        "images-empty",
        "images-broken",
        "rows-without-image",
        "rows-unreadable",
        "image-ids-unknown",
    }
    assert found["images-empty"].ids == ("a-1", "b-0") and found["images-broken"].ids == ("b-1",)
    assert "skips these images; repair the files or the list" in found["images-empty"].message
    assert found["rows-unreadable"].ids == ("b",) and found["rows-without-image"].ids == ("c",)
    assert "Add them to the list" in found["rows-without-image"].message
    assert found["image-ids-unknown"].ids == ("zoo",)


def test_copies_are_looked_for_between_rows_and_not_inside_one(tmp_path: Path):
    train, test = _table(list("abcd")), _table(["t"])
    column = pd.Series([0, 0, 1, 1], index=list("abcd"))
    plan = make_plan(train.ids, Folds(scheme="column", column="fold"), 0, column=column)
    alone = _owned(tmp_path / "1", {"a": [1, 1], "b": [2], "c": [3, 4, 3], "d": [5], "t": [6, 6]})
    assert inspect_data(train, test, alone, plan) == []
    shared = _owned(tmp_path / "2", {"a": [1, 9], "b": [9, 2], "c": [3, 9], "d": [5], "t": [6, 2]})
    found = _by_code(inspect_data(train, test, shared, plan))
    assert found["duplicates-across-folds"].ids == ("a", "b", "c")
    assert found["duplicates-of-test"].ids == ("b", "t")
