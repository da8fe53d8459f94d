"""A first look at folders that nobody has described."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from jigstack.datasets.survey import survey
from PIL import Image

IDS = [f"{number:03d}" for number in range(20)]
TESTS = [f"{number:03d}" for number in range(20, 26)]


def tables(root: Path, **columns: list) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    pd.DataFrame({"id": IDS, "target": range(20), **columns}).to_csv(root / "train.csv", index=False)
    pd.DataFrame({"id": TESTS}).to_csv(root / "test.csv", index=False)
    return root


def photos(folder: Path, names: list[str], suffix: str = ".png", mode: str = "RGB") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        Image.new(mode, (30, 20)).save(folder / f"{name}{suffix}")


def test_pictures_named_by_the_id_and_spare_ones_are_found(tmp_path: Path):
    photos(tables(tmp_path) / "photos", [*IDS[1:], *TESTS, "more0", "more1"])
    found = survey(tmp_path)
    assert (found.id, found.train, found.test) == ("id", ["train.csv"], ["test.csv"])
    assert found.pictures is not None
    assert found.pictures.pattern == "photos/{id}.png" and found.pictures.spare == "photos/*.png"
    assert (found.pictures.width, found.pictures.height, found.pictures.channels) == (30, 20, 3)
    assert found.pictures.reasons[0].startswith("95% of the train rows have such a file, 1 have none")


@pytest.mark.parametrize(
    ("value", "pattern"),
    [("shot{}", "in/deep/{file}.jpg"), ("shot{}.jpg", "in/deep/{file}"), ("in/deep/shot{}.jpg", "{file}")],
)
def test_pictures_named_by_a_column_are_found_with_and_without_suffix_and_folder(
    tmp_path: Path, value: str, pattern: str
):
    tables(tmp_path, file=[value.format(name) for name in IDS])
    pd.DataFrame({"id": TESTS, "file": [value.format(name) for name in TESTS]}).to_csv(
        tmp_path / "test.csv", index=False
    )
    photos(tmp_path / "in" / "deep", [f"shot{name}" for name in (*IDS, *TESTS)], ".jpg")
    pictures = survey(tmp_path).pictures
    assert pictures is not None and pictures.pattern == pattern


def test_grey_arrays_get_channels_and_a_window(tmp_path: Path):
    folder = tables(tmp_path) / "specs"
    folder.mkdir()
    for name in (*IDS, *TESTS):
        np.save(folder / f"{name}.npy", np.linspace(-80, 0, 200, dtype=np.float32).reshape(10, 20))
    pictures = survey(tmp_path).pictures
    assert pictures is not None and pictures.arrays and pictures.channels == 1
    assert pictures.window is not None
    np.testing.assert_allclose(pictures.window, (-80, 0), atol=1)


def test_a_list_of_several_pictures_a_row_is_found(tmp_path: Path):
    photos(
        tables(tmp_path) / "views", [f"{name}-{view}" for name in (*IDS, *TESTS) for view in (0, 1)], mode="L"
    )
    lines = [(name, f"views/{name}-{view}.png") for name in (*IDS, *TESTS) for view in (0, 1)]
    pd.DataFrame(lines, columns=pd.Index(["id", "path"])).to_csv(tmp_path / "views.csv", index=False)
    pictures = survey(tmp_path).pictures
    assert pictures is not None and pictures.pattern == "views.csv" and pictures.channels == 1
    assert "2.0 pictures a train row" in pictures.reasons[0]


def test_each_file_is_taken_for_what_it_is_and_the_rest_is_named(tmp_path: Path):
    root = tables(tmp_path)
    pd.DataFrame({"id": IDS, "weight": range(20)}).to_csv(root / "train_more.csv", index=False)
    pd.DataFrame({"id": [*IDS, *IDS], "name": ["red", "blue"] * 20}).to_csv(root / "tags.csv", index=False)
    pd.DataFrame({"id": [*IDS, *IDS], "word": ["red", "blue"] * 20}).to_csv(root / "words.csv", index=False)
    pd.DataFrame({"id": IDS, "age": range(20)}).to_csv(root / "ages.csv", index=False)
    pd.DataFrame({"id": TESTS, "target": 0}).to_csv(root / "sample_submission.csv", index=False)
    pd.DataFrame({"id": TESTS, "target": 1}).to_csv(root / "solution.csv", index=False)
    pd.DataFrame({"code": [1], "meaning": ["x"]}).to_csv(root / "codes.csv", index=False)
    found = survey(root)
    assert found.train == ["train.csv", "train_more.csv", "ages.csv"] and found.test == ["test.csv"]
    assert {"target", "weight", "age"} <= set(found.frame.columns)
    assert found.lists == {"tags": "tags.csv"} and found.sample == "sample_submission.csv"
    assert found.reasons["lists.tags"] == "2 names, 2.0 for each of 20 ids"
    assert set(found.unused) == {"solution.csv", "words.csv", "codes.csv"}
    assert "rename the column" in found.unused["words.csv"]


def test_one_table_of_any_name_is_the_train_table(tmp_path: Path):
    frame = pd.DataFrame({"fruit": ["fig", "kiwi"] * 5, "tree_id": range(10), "size": np.linspace(0, 1, 10)})
    frame.to_parquet(tmp_path / "harvest.parquet")
    for data in (tmp_path, tmp_path / "harvest.parquet"):
        found = survey(data)
        assert (found.train, found.test, found.id, len(found.test_frame)) == (
            ["harvest.parquet"],
            [],
            "tree_id",
            0,
        )


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda root: root / "gone", "expected a folder or a table, received '.*gone', which does not exist"),
        (lambda root: root, "expected a table .* received none; pictures alone need one too"),
        (lambda root: _written(root, "photo.png").joinpath("photo.png"), "a folder or a file named .csv"),
        (
            lambda root: _written(root, "a.csv", "b.csv"),
            "received 'a.csv', 'b.csv' in .* jigstack init FOLDER/FILE",
        ),
        (
            lambda root: _written(root, "train.csv"),
            r"names each row of 'train.csv' by a value of its own, received 'x'",
        ),
    ],
)
def test_what_cannot_be_used_is_told_with_the_way_out(tmp_path: Path, make, told: str):
    with pytest.raises(ValueError, match=told):
        survey(make(tmp_path))


def _written(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).write_text("x\n1\n1\n")
    return root


@pytest.mark.parametrize("suffix", ["", ".png"])
def test_test_pictures_in_another_folder_are_told(tmp_path: Path, suffix: str):
    photos(tables(tmp_path) / "train_images", IDS)
    photos(tmp_path / "test_images", TESTS)
    for file in ("train.csv", "test.csv"):
        frame = pd.read_csv(tmp_path / file, dtype=str)
        frame.assign(id=frame["id"] + suffix).to_csv(tmp_path / file, index=False)
    with pytest.raises(
        ValueError, match=r"train's as 'train_images/\{id\}(.png)?', where test's are not .*020.png"
    ):
        survey(tmp_path)


def test_a_column_of_paths_into_several_folders_is_found(tmp_path: Path):
    paths = [f"in/{'ab'[number % 2]}/{name}.png" for number, name in enumerate(IDS)]
    tables(tmp_path, path=paths)
    pd.DataFrame({"id": TESTS, "path": [f"in/c/{name}.png" for name in TESTS]}).to_csv(
        tmp_path / "test.csv", index=False
    )
    for folder, names in (("a", IDS[::2]), ("b", IDS[1::2]), ("c", TESTS)):
        photos(tmp_path / "in" / folder, names)
    pictures = survey(tmp_path).pictures
    assert pictures is not None and pictures.pattern == "{path}" and pictures.spare is None


def test_rows_without_a_picture_are_counted_and_blanks_named(tmp_path: Path):
    root = tables(tmp_path)
    frame = pd.read_csv(root / "train.csv", dtype=str)
    frame.loc[[3, 4], "id"] = [" 003", "004 "]
    frame.to_csv(root / "train.csv", index=False)
    photos(root / "photos", [*IDS, *TESTS])
    pictures = survey(tmp_path).pictures
    assert pictures is not None and "2 have none ('photos/ 003.png'" in pictures.reasons[0]
    assert "blanks around them are other ids" in pictures.reasons[0]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"id;target\n1;2\n3;4\n", "one column 'id;target', divided by ';'; save it with commas"),
        ("id,target\n1,ä\n".encode("utf-16"), "expected UTF-8 text, received other bytes"),
        (b"", "a table with a line of column names, received: No columns"),
        (b"id,target\n", "expected rows, received none below the column names"),
        (
            b"id,target\n1,2\n2,3\n2,4\n5,3\n",
            r"in 'id' for each row of train.csv, received 0 empty .* 1 repeated .'2'",
        ),
        (b"id,target\n1,2\n,3\n2,4\n5,3\n", "received 1 empty ones and 0 repeated"),
    ],
)
def test_a_table_that_cannot_be_read_is_told_with_the_way_out(tmp_path: Path, content: bytes, told: str):
    (tmp_path / "train.csv").write_bytes(content)
    with pytest.raises(ValueError, match=told):
        survey(tmp_path)


def test_tables_of_rows_without_labels_are_kept_apart_unless_they_cannot_stand_beside_the_others(
    tmp_path: Path,
):
    tables(tmp_path, heat=[*range(20)])
    rows = {
        "unlabeled_x.csv": {"id": ["u0", "u1"], "heat": [1, 2]},
        "unlabelled_again.csv": {"id": ["u1"], "heat": [2]},
        "unlabelled_known.csv": {"id": [TESTS[0]], "heat": [2]},
        "unlabelled_names.csv": {"name": ["u7"]},
        "unlabelled_twice.csv": {"id": ["u8", "u8"]},
    }
    for name, columns in rows.items():
        pd.DataFrame(columns).to_csv(tmp_path / name, index=False)
    found = survey(tmp_path)
    assert list(found.extra) == ["unlabeled_x.csv"] and len(found.extra["unlabeled_x.csv"]) == 2
    assert found.unused == {
        "unlabelled_again.csv": "has ids that stand in another table too",
        "unlabelled_known.csv": "has ids that stand in another table too",
        "unlabelled_names.csv": "has no column id",
        "unlabelled_twice.csv": "has several rows an id",
    }
    assert (found.train, found.test) == (["train.csv"], ["test.csv"])
