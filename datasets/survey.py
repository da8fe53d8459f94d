"""A first look at a folder nobody has described: which file is which, the id column, where the pictures are."""

import os
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image, UnidentifiedImageError

from .findings import name_some
from .images import SUFFIXES
from .windows import is_array, read_array, suggest_window

TABLES = (".csv", ".csv.gz", ".csv.zst", ".tsv", ".tsv.gz", ".parquet", ".pq")
ENOUGH = 0.5
"""Share of the rows that must have a picture for a pattern to be believed."""
_LOOKED_AT = 48  # pictures opened for size, channels and window
_ANSWERS = ("solution", "truth", "answer")
_ID_NAMES = ("_id", "id", "_key", "_name", "file", "filename", "image", "image_id", "name", "key")


@dataclass(frozen=True)
class Pictures:
    """The pictures of a folder and what a few of them are like.

    Attributes:
        pattern: what `data.images` says.
        height, width: medians, pixels.
        channels: 1 where all that were opened are grey, else 3.
        window: values that should become 0 and 255, for pictures of other than 8 bits.
        spare: a glob under which pictures of no row lie too, or None.
        arrays: whether they are NumPy arrays rather than photographs or drawings.
        count: pictures of rows and spare ones.
        reasons: what was seen, a sentence each.
    """

    pattern: str
    height: int
    width: int
    channels: int
    window: tuple[float, float] | None
    spare: str | None
    arrays: bool
    count: int
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class Survey:
    """What a folder holds.

    Attributes:
        root: the folder.
        id: the column that names a row.
        train, test: table files by their names in the folder.
        lists: list name -> file of several (id, name) rows an id.
        sample: the sample submission, or None.
        frame, test_frame: the joined tables, the id a column.
        pictures: or None.
        reasons: key of the config -> why.
        unused: file -> why it is left out.
    """

    root: Path
    id: str
    train: list[str]
    test: list[str]
    lists: dict[str, str]
    sample: str | None
    frame: pd.DataFrame
    test_frame: pd.DataFrame
    pictures: Pictures | None
    reasons: dict[str, str] = field(default_factory=dict)
    unused: dict[str, str] = field(default_factory=dict)


def survey(data: str | os.PathLike[str]) -> Survey:
    """Look at a folder with tables, or at a table and the folder it lies in.

    Args:
        data: the folder, or its train table (.csv, .tsv, gzipped too, .parquet).

    Returns:
        What was found and why it was taken for that.

    Raises:
        ValueError: no such path, no table, none that can be the train table, or no column that can be the id.
    """
    path = Path(data)
    if not path.exists():
        raise ValueError(f"DATA: expected a folder or a table, received {str(path)!r}, which does not exist")
    root = path if path.is_dir() else path.parent
    files = sorted(each.name for each in root.iterdir() if each.name.lower().endswith(TABLES))
    if path.is_file() and path.name not in files:
        raise ValueError(
            f"DATA: expected a folder or a file named {', '.join(TABLES)}, received {str(path)!r}"
        )
    if not files:
        raise ValueError(
            f"DATA: expected a table ({', '.join(TABLES)}) in {root}, received none; pictures alone need one too: a "
            "CSV with a row a picture (an id, what is known of it, perhaps a group)"
        )
    found = _Files(root, files, path.name if path.is_file() else None)
    if found.views is not None:
        pictures = _listed(root, found.id, found.frame, *found.views)
    else:
        pictures = _pictures(root, found.id, found.frame, found.test_frame)
    return Survey(
        root,
        found.id,
        found.train,
        found.test,
        found.lists,
        found.sample,
        found.frame,
        found.test_frame,
        pictures,
        found.reasons,
        found.unused,
    )


class _Files:
    """Which table file is which."""

    def __init__(self, root: Path, files: list[str], train: str | None) -> None:
        self.root = root
        self.reasons: dict[str, str] = {}
        self.unused: dict[str, str] = {}
        self.sample = next((name for name in files if _says(name, "sample") and _says(name, "sub")), None)
        rest = [name for name in files if name != self.sample]
        for name in list(rest):
            if any(_says(name, word) for word in _ANSWERS) and name != train:
                self.unused[name] = "its name says that it holds the answers to the test rows"
                rest.remove(name)
            elif _says(name, "unlabel"):
                self.unused[name] = "a table without labels has no use; pictures that belong to no row have"
                rest.remove(name)
        self.train = [train] if train else [name for name in rest if _says(name, "train")]
        self.test = [name for name in rest if _says(name, "test") and name not in self.train]
        others = [name for name in rest if name not in (*self.train, *self.test)]
        if not self.train and len(others) == 1:
            self.train, others = others, []
        if not self.train:
            raise ValueError(
                f"DATA: expected a train table, one with 'train' in its name or a single one, received "
                f"{name_some(files, 10)} in {root}; give the file itself: jigstack init FOLDER/FILE"
            )
        tables = {name: read_whole(root / name) for name in (*self.train, *self.test, *others)}
        self.id = self._id([tables[name] for name in self.train], [tables[name] for name in self.test])
        known = set(tables[self.train[0]][self.id].map(str))
        self.lists: dict[str, str] = {}
        self.views: tuple[str, pd.DataFrame] | None = None
        for name in others:
            self._other(name, tables[name], known)
        self.frame = _joined([tables[name] for name in self.train], self.id)
        self.test_frame = (
            _joined([tables[name] for name in self.test], self.id) if self.test else self.frame.iloc[:0]
        )

    def _id(self, train: list[pd.DataFrame], test: list[pd.DataFrame]) -> str:
        shared = [c for c in train[0].columns if all(c in table.columns for table in (*train, *test))]
        names = [
            column
            for column in shared
            if all(
                table[column].notna().all()
                and table[column].is_unique
                and not pd.api.types.is_float_dtype(table[column])
                for table in (*train, *test)
            )
        ]
        if not names:
            raise ValueError(
                f"DATA: expected a column that names each row of {name_some([*self.train, *self.test])} by a value of "
                f"its own, received {name_some(shared, 8) if shared else 'no column that all of them have'}; add an "
                "id column to each file"
            )
        likely = [
            column for column in names if str(column).casefold() in _ID_NAMES or _ends_like_an_id(column)
        ]
        chosen = (likely or names)[0]
        files = "all tables" if len(train) + len(test) > 1 else "the table"
        self.reasons["id"] = f"differs in every row of {files}"
        return str(chosen)

    def _other(self, name: str, table: pd.DataFrame, known: set[str]) -> None:
        """A list of names, one more file of the train table, or nothing that is of use."""
        if self.id not in table.columns:
            self.unused[name] = f"has no column {self.id}"
        elif not known & set(table[self.id].map(str)):
            self.unused[name] = "has no id of the train table"
        elif "path" in table.columns:
            self.views = (name, table)
        elif "name" in table.columns:
            stem = name.split(".")[0]
            self.lists[stem] = name
            each = len(table) / max(1, table[self.id].nunique())
            self.reasons[f"lists.{stem}"] = (
                f"{table['name'].nunique():,} names, {each:.1f} for each of {table[self.id].nunique():,} ids"
            )
        elif table[self.id].is_unique and set(table[self.id].map(str)) == known:
            self.train.append(name)
        else:
            self.unused[name] = (
                "has several rows an id and no column `name`; rename the column that holds the words to use it as a "
                "list"
            )


def read_whole(path: Path) -> pd.DataFrame:
    """All rows and columns of a table, read as pandas likes; whole numbers with zeros before them stay text.

    Raises:
        ValueError: it cannot be read.
    """
    lower = path.name.lower()
    try:
        if lower.endswith((".parquet", ".pq")):
            frame = pd.read_parquet(path).reset_index(drop=True)
        else:
            options: dict[str, Any] = {"sep": "\t" if ".tsv" in lower else ",", "encoding": "utf-8-sig"}
            frame = pd.read_csv(path, low_memory=False, **options)
            whole = [name for name in frame.columns if pd.api.types.is_integer_dtype(frame[name])]
            raw = pd.read_csv(path, usecols=whole, dtype=str, **options) if whole else frame
            for name in whole:
                if any(len(text) > 1 and text[0] == "0" for text in raw[name]):
                    frame[name] = raw[name]
    except (ValueError, OSError) as error:
        raise ValueError(f"{path}: expected a readable table, received: {error}") from error
    frame.columns = [str(name) for name in frame.columns]
    return frame


def _says(name: str, word: str) -> bool:
    return word in name.split(".")[0].casefold()


def _ends_like_an_id(column: object) -> bool:
    name = str(column)
    return name.casefold().endswith(("_id", " id", "-id")) or name.endswith(("Id", "ID"))


def _joined(tables: list[pd.DataFrame], id: str) -> pd.DataFrame:
    """Tables of the same ids side by side; whether the ids are the same is for the run to find out."""
    first = tables[0]
    for table in tables[1:]:
        new = [column for column in table.columns if column == id or column not in first.columns]
        first = first.merge(table[new], on=id, how="left")
    return first


def _pictures(root: Path, id: str, frame: pd.DataFrame, test: pd.DataFrame) -> Pictures | None:
    """The pictures that most rows have, named by the id or by a column."""
    folders: dict[tuple[str, str], set[str]] = {}
    visited: set[str] = set()
    for place, below, names in os.walk(root, followlinks=True):
        below[:] = [name for name in sorted(below) if not name.startswith(".")]
        real = os.path.realpath(place)
        if real in visited:  # a link to a folder above or beside it
            below.clear()
            continue
        visited.add(real)
        here = Path(place).relative_to(root).as_posix()
        for name in names:
            stem, suffix = os.path.splitext(name)  # noqa: PTH122 (a hundred thousand names)
            if suffix.lower() in SUFFIXES:
                folders.setdefault((here, suffix), set()).add(stem)
    if not folders:
        return None
    columns = [id, *(c for c in frame.columns if c != id and (c in test.columns or not len(test)))]
    best: tuple[float, str, tuple[str, str], str, bool] | None = None
    for column in columns:
        values = np.array([str(value) for value in frame[column].dropna()], dtype=object)
        if len(set(values)) < ENOUGH * len(frame):
            continue
        for place, suffix in folders:
            stems = folders[place, suffix]
            front = "" if place == "." else f"{place}/"
            for known, pattern in (
                (stems, f"{front}{{{column}}}{suffix}"),
                ({f"{stem}{suffix}" for stem in stems}, f"{front}{{{column}}}"),
                ({f"{front}{stem}{suffix}" for stem in stems}, f"{{{column}}}"),
            ):
                share = sum(value in known for value in values) / len(frame)
                if share >= ENOUGH and (best is None or share > best[0]):
                    best = (share, pattern, (place, suffix), column, known is stems)
    if best is None:
        return None
    share, pattern, place, column, bare = best
    _check_test(test, column, folders, place, bare, pattern)
    rows = [str(value) for value in frame[column].dropna()]
    paths = [root / pattern.replace("{" + column + "}", value) for value in rows]
    spare = len(folders[place] - {Path(name).stem for name in (*rows, *_texts(test, column))})
    why = f"{share:.0%} of the train rows have such a file"
    found = _describe(paths, pattern, why, len(paths) + len(test) + spare)
    if not spare or not bare:
        return found
    glob = f"{'' if place[0] == '.' else place[0] + '/'}*{place[1]}"
    return replace(found, spare=glob, reasons=(*found.reasons, f"{spare:,} more lie in the folder"))


def _listed(root: Path, id: str, frame: pd.DataFrame, name: str, table: pd.DataFrame) -> Pictures:
    """The pictures of a list file, several a row."""
    own = table[table[id].map(str).isin([str(value) for value in frame[id]])]
    each = f"{len(own) / max(1, len(frame)):.1f} pictures a train row, by the paths in {name}"
    return _describe([root / str(path) for path in own["path"]], name, each, len(table))


def _check_test(
    test: pd.DataFrame,
    column: str,
    folders: dict[tuple[str, str], set[str]],
    place: tuple[str, str],
    bare: bool,
    pattern: str,
) -> None:
    """Refuse test pictures that lie in another folder, which no pattern names."""
    wanted = _texts(test, column)
    if not wanted or not bare or len(wanted & folders[place]) >= ENOUGH * len(wanted):
        return
    other = max(folders, key=lambda each: len(wanted & folders[each]))
    if len(wanted & folders[other]) >= ENOUGH * len(wanted):
        raise ValueError(
            f"DATA: expected the pictures of train and test under one pattern, received train's as {pattern!r} and "
            f"test's in the folder {other[0]!r} (*{other[1]}); put links to both into one folder"
        )


def _describe(paths: list[Path], pattern: str, why: str, count: int) -> Pictures:
    """What a few of the pictures are like."""
    there = [path for path in paths if path.is_file()]
    drawn = [there[k] for k in np.linspace(0, len(there) - 1, min(_LOOKED_AT, len(there))).astype(int)]
    sizes, modes = [], Counter()
    for path in drawn:
        try:
            if is_array(path):
                values = read_array(path)
                sizes.append(values.shape[:2])
                modes["grey" if values.ndim == 2 else "colour"] += 1
            else:
                with Image.open(path) as image:
                    sizes.append((image.height, image.width))
                    modes["grey" if image.mode in ("1", "L") or image.mode[0] in "IF" else "colour"] += 1
        except (ValueError, OSError, UnidentifiedImageError):
            modes["unreadable"] += 1  # `check` lists them
    if not sizes:
        raise ValueError(
            f"DATA: expected readable pictures as {pattern!r} says, received none among {len(drawn)}"
        )
    height, width = (int(value) for value in np.median(sizes, axis=0))
    try:
        window = suggest_window([str(path) for path in drawn])
    except ValueError:
        window = None  # all of 8 bits
    reasons = [f"{why}; about {width} x {height} pixels"]
    if not modes["colour"]:
        reasons.append("all that were opened are grey")
    if window is not None:
        reasons.append("the window holds 99.8 % of the values of those opened")
    channels = 3 if modes["colour"] else 1
    arrays = is_array(drawn[0])
    return Pictures(pattern, height, width, channels, window, None, arrays, count, tuple(reasons))


def _texts(table: pd.DataFrame, column: str) -> set[str]:
    return set(table[column].dropna().map(str)) if len(table) and column in table.columns else set()
