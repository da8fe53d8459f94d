"""Which images a row owns: list files, and rows of several, one or no image that can be read."""

import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jigstack.configs.data import Decode
from jigstack.datasets.files import content_digests, digest
from jigstack.datasets.images import build_store, locate_images, unlabelled_images
from jigstack.datasets.pictures import PictureFiles, Pictures, locate_pictures
from jigstack.datasets.tables import Table
from PIL import Image

DECODE = Decode()


def table(*ids: str, **columns: list[str]) -> Table:
    return Table(pd.DataFrame(columns, index=pd.Index(list(ids), name="id")), "id")


TRAIN, TEST = table("007", "a", "a/front"), table("t")


def photo(path: Path, grey: int = 0) -> str:
    path.parent.mkdir(exist_ok=True)
    Image.new("RGB", (8, 8), (grey, grey, grey)).save(path)
    return str(path)


def listed(root: Path, *lines: tuple[str, ...], columns: tuple[str, ...] = ("id", "path", "view")) -> str:
    pd.DataFrame(lines, columns=pd.Index(columns)).to_csv(root / "views.csv", index=False)
    return "views.csv"


def test_one_image_a_row_is_the_identity(tmp_path: Path):
    """What a pattern gave before there were rows of several images, down to the key of the store."""
    ids = ["007", "a", "b"]
    for number, name in enumerate(ids[:2]):
        photo(tmp_path / "photos" / f"{name}.png", number)
    train = table(*ids)
    files = locate_pictures([train], "photos/{id}.png", tmp_path)
    plain = locate_images(train, "photos/{id}.png", tmp_path)
    assert files.names.tolist() == files.owners.tolist() == ids and files.paths.tolist() == plain.tolist()
    assert files.one_each and not files.findings() and files.of(["b", "007"]).tolist() == ["b", "007"]
    store = build_store(files.names, files.paths, tmp_path / "store", 16, DECODE)
    assert store.key == digest("images", 2, ids, [*content_digests(plain[:2].tolist()), ""], 16, DECODE)
    for pictures in (Pictures(store, files), Pictures(store)):
        assert pictures.readable(ids).tolist() == store.readable.tolist() == [True, True, False]
        positions, counts = pictures.of(["a", "007"])
        assert positions.tolist() == store.rows(["a", "007"]).tolist() and counts.tolist() == [1, 1]
        assert pictures.first(["a", "007"]).tolist() == positions.tolist()
        assert pictures.owners.tolist() == ids and pictures.numbers.tolist() == [0, 0, 0]
        assert pictures.most == 1 and pictures.one_each


WRITERS: dict[str, Callable[[pd.DataFrame, Path], object]] = {
    "v.csv": lambda frame, path: frame.to_csv(path, index=False),
    "v.CSV.gz": lambda frame, path: frame.to_csv(path, index=False, compression="gzip"),
    "deep/v.tsv": lambda frame, path: frame.to_csv(path, index=False, sep="\t"),
    "v.parquet": lambda frame, path: frame.to_parquet(path, index=False),
    "v.pq": lambda frame, path: frame.to_parquet(path, index=False),
}


@pytest.mark.parametrize("name", WRITERS)
def test_a_list_file_gives_rows_their_images_in_its_order(name: str, tmp_path: Path):
    (tmp_path / "deep").mkdir()
    lines = [
        ("t", "p/9.png", ""),
        ("a", "p/2.png", "back"),
        ("007", "p/1.png", ""),
        ("a", "p/./1.png", "front"),
    ]
    frame = pd.DataFrame(
        [*lines, ("007", "/elsewhere/0.png", None)], columns=pd.Index(["id", "path", "view"])
    )
    WRITERS[name](frame, tmp_path / name)
    files = locate_pictures([table("007", "a"), TEST], name, tmp_path)
    assert files.names.tolist() == ["007/0", "007/1", "a/back", "a/front", "t/0"]
    assert files.owners.tolist() == ["007", "007", "a", "a", "t"]
    wanted = ["/p/1.png", "/elsewhere/0.png", "/p/2.png", "/p/1.png", "/p/9.png"]
    assert [path.removeprefix(str(tmp_path)) for path in files.paths] == wanted
    assert files.of(["t", "a"]).tolist() == ["t/0", "a/back", "a/front"] and not files.one_each


def test_a_column_of_views_may_be_absent_and_a_column_of_paths_may_be_called_like_a_file(tmp_path: Path):
    name = listed(tmp_path, ("a", "1.png"), ("a", "2.png"), columns=("id", "path"))
    assert locate_pictures([table("a")], name, tmp_path).names.tolist() == ["a/0", "a/1"]
    column = table("a", **{"views.csv": ["3.png"]})
    assert locate_pictures([column], name, tmp_path).paths.tolist() == [str(tmp_path / "3.png")]


def test_names_of_images_meet_neither_each_other_nor_rows_nor_images_of_no_row(tmp_path: Path):
    name = listed(
        tmp_path, ("a", "1.png", "front"), ("a", "2.png", "front"), ("a", "3.png", "1"), ("007", "4.png", "")
    )
    photo(tmp_path / "a" / "front.png")
    files = locate_pictures([table("007", "a", "a/front", "a/front.png")], name, tmp_path)
    assert len(set(files.names)) == len(files) == 6
    assert files.names.tolist()[:4] == ["007/0", "a/front#0", "a/front#1", "a/1"]
    extra, paths = unlabelled_images(["a/*.png"], tmp_path, files.taken)
    assert extra == ["./a/front.png"]
    whole = files.joined(extra, paths)
    assert whole.of(["./a/front.png", "007"]).tolist() == ["./a/front.png", "007/0"]
    photo(tmp_path / "4.png")
    with pytest.raises(ValueError, match="names none"):
        unlabelled_images(["5.png"], tmp_path, files.taken)
    assert unlabelled_images(["4.png"], tmp_path, files.taken) == ([], [])  # a row's


def test_a_row_that_the_list_leaves_out_names_no_image_and_ids_without_a_row_are_told(tmp_path: Path):
    path = photo(tmp_path / "1.png")
    name = listed(tmp_path, ("7", path, ""), ("zoo", path, ""), ("a", path, ""), ("7", path + "x", ""))
    files = locate_pictures([TRAIN, TEST], name, tmp_path)
    assert files.owners.tolist() == ["007", "a", "a/front", "t"] and files.paths.tolist() == [
        "",
        path,
        "",
        "",
    ]
    (finding,) = files.findings()
    assert (finding.code, finding.severity, finding.ids) == ("image-ids-unknown", "warning", ("7", "zoo"))
    assert "2 ids of the list stand in no row" in finding.message and "leading zeros" in finding.message
    pictures = Pictures(build_store(files.names, files.paths, tmp_path / "store", 16, DECODE), files)
    assert pictures.readable(["007", "a", "t"]).tolist() == [False, True, False]
    assert pictures.store.problems["t"] == "missing: the row names no file"


@pytest.mark.parametrize(
    ("lines", "columns", "message"),
    [
        ([("a", "1.png")], ("ID", "path"), r"views.csv: expected the id column 'id', .*Did you mean 'ID'\?"),
        (
            [("a", "1.png")],
            ("id", "paths"),
            r"columns 'id' and 'path', .* Did you mean 'path[s]'\? .* values to 'path'",
        ),
        (
            [("a", "1.png"), ("a", "")],
            ("id", "path"),
            "value of 'path' in every row, received 1 empty .* data row 2",
        ),
        ([("", "1.png")], ("id", "path"), "value of 'id' in every row, received 1 empty"),
        (
            [("a", "p/1.png"), ("t", "p/1.png"), ("a", "./p/1.png")],
            ("id", "path"),
            "each path once for a row, received 1 again, the first p/1.png of 'a'",
        ),
    ],
)
def test_mistakes_of_a_list_file_are_named(lines: list, columns: tuple, message: str, tmp_path: Path):
    name = listed(tmp_path, *lines, columns=columns)
    with pytest.raises(ValueError, match=message):
        locate_pictures([TRAIN, TEST], name, tmp_path)


def test_a_list_file_that_is_not_there_is_named_with_the_nearest(tmp_path: Path):
    listed(tmp_path, ("a", "1.png", ""))
    with pytest.raises(ValueError, match=r"view.csv: expected a file, .*Did you mean 'views.csv'\?"):
        locate_pictures([TRAIN], "view.csv", tmp_path)


def made(root: Path, rows: dict[str, str]) -> Pictures:
    """Rows and their images, a letter each: `r` can be read, `b` is broken, `n` says that the row names none."""
    owners = [owner for owner, kinds in rows.items() for _ in kinds]
    names = [f"{owner}/{number}" for owner, kinds in rows.items() for number in range(len(kinds))]
    paths = []
    for place, kind in enumerate("".join(rows.values())):
        path = root / f"{place}.png"
        if kind == "b":
            path.write_bytes(b"broken")
        paths.append("" if kind == "n" else photo(path, place) if kind == "r" else str(path))
    files = PictureFiles(
        np.array(names, dtype=object), np.array(owners, dtype=object), np.array(paths, dtype=object)
    )
    return Pictures(build_store(names, paths, root / "store", 16, DECODE), files)


ROWS = {"a": "r", "b": "rrb", "c": "bb", "d": "n", "e": "brrrr"}


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Pictures:
    return made(tmp_path_factory.mktemp("ragged"), ROWS)


def test_an_unreadable_image_is_passed_over_while_its_row_has_another(pictures: Pictures):
    assert pictures.readable(list("abcde")).tolist() == [True, True, False, False, True]
    positions, counts = pictures.of(list("eab"))
    assert pictures.store.ids[positions].tolist() == ["e/1", "e/2", "e/3", "e/4", "a/0", "b/0", "b/1"]
    assert counts.tolist() == [4, 1, 2] and pictures.numbers[positions].tolist() == [1, 2, 3, 4, 0, 0, 1]
    assert pictures.store.ids[pictures.first(list("eb"))].tolist() == ["e/1", "b/0"]
    assert pictures.most == 5 and not pictures.one_each and len(pictures) == 12


@given(st.lists(st.sampled_from("abe"), max_size=9))
def test_images_of_any_rows_are_those_that_a_loop_finds(pictures: Pictures, ids: list[str]):
    store = pictures.store
    expected = [
        [place for place, owner in enumerate(pictures.owners) if owner == name and store.readable[place]]
        for name in ids
    ]
    positions, counts = pictures.of(ids)
    assert positions.tolist() == [place for places in expected for place in places]
    assert counts.tolist() == [len(places) for places in expected]


def test_rows_without_a_readable_image_and_unknown_rows_are_refused(pictures: Pictures):
    with pytest.raises(ValueError, match=r"rows with a readable image, received 2 without \('d', 'c'\)"):
        pictures.of(["a", "d", "c"])
    with pytest.raises(ValueError, match=r"ids of the 5 rows with images, received 1 others \('z'\)"):
        pictures.readable(["a", "z"])


def test_other_images_than_those_of_the_store_are_refused(pictures: Pictures):
    files = pictures.files
    fewer = PictureFiles(files.names[1:], files.owners[1:], files.paths[1:])
    with pytest.raises(
        ValueError, match="expected the 12 images of the store in their order, received 11 others"
    ):
        Pictures(pictures.store, fewer)


def test_they_travel_to_another_process_as_files_and_folder(pictures: Pictures):
    packed = pickle.dumps(pictures)
    assert len(packed) < 10_000  # no pixels
    again = pickle.loads(packed)
    assert again.of(["e"])[0].tolist() == pictures.of(["e"])[0].tolist()
    assert np.array_equal(
        again.store.gather(again.first(["b"])), pictures.store.gather(pictures.first(["b"]))
    )
