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
from .tables import TABLE_SUFFIXES
from .windows import is_array, read_array, suggest_window

ENOUGH = 0.5
"""Share of the rows that must have a picture for a pattern to be believed."""
_LOOKED_AT = 48  # pictures opened for size, channels and window
_ANSWERS = ("solution", "truth", "answer")
_ID_NAMES = ("_id", "id", "_key", "_name", "file", "filename", "image", "image_id", "name", "key")


@dataclass(frozen=True)
class PictureSurvey:
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
        extra: table file of rows without labels, which stand in no other -> its rows.
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
    pictures: PictureSurvey | None
    extra: dict[str, pd.DataFrame] = field(default_factory=dict)
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
    files = sorted(each.name for each in root.iterdir() if each.name.lower().endswith(TABLE_SUFFIXES))
    if path.is_file() and path.name not in files:
        raise ValueError(
            f"DATA: expected a folder or a file named {', '.join(TABLE_SUFFIXES)}, received {str(path)!r}"
        )
    if not files:
        raise ValueError(
            f"DATA: expected a table ({', '.join(TABLE_SUFFIXES)}) in {root}, received none; pictures alone need one "
            "too: a CSV with a row a picture (an id, what is known of it, perhaps a group)"
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
        found.extra,
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
        rest, unlabelled = [name for name in files if name != self.sample], list[str]()
        for name in list(rest):
            if any(_says(name, word) for word in _ANSWERS) and name != train:
                self.unused[name] = "its name says that it holds the answers to the test rows"
                rest.remove(name)
            elif _says(name, "unlabel") and name != train:
                unlabelled.append(name)
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
        self.extra: dict[str, pd.DataFrame] = {}
        for name in unlabelled:
            self._extra(name, read_whole(root / name))

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
            self._refuse_repeated(shared, train + test)
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

    def _refuse_repeated(self, shared: list[str], tables: list[pd.DataFrame]) -> None:
        """Name the rows that keep a column with the name of an id from being one."""
        for column in (c for c in shared if str(c).casefold() in _ID_NAMES or _ends_like_an_id(c)):
            for file, table in zip((*self.train, *self.test), tables, strict=True):
                present = [str(value) for value in table[column].dropna()]
                empty = len(table) - len(present)
                twice = [name for name, count in Counter(present).items() if count > 1]
                repeated = len(present) - len(set(present))
                if empty + repeated > ENOUGH * len(table):
                    break  # a group, rather
                if empty + repeated:
                    raise ValueError(
                        f"DATA: expected a value of its own in {column!r} for each row of {file}, received {empty} "
                        f"empty ones and {repeated} repeated ({name_some(twice)}); remove or mend these rows"
                    )

    def _extra(self, name: str, table: pd.DataFrame) -> None:
        """Rows without labels, unless they cannot stand beside the others."""
        frames = (self.frame, self.test_frame, *self.extra.values())
        if self.id not in table.columns:
            self.unused[name] = f"has no column {self.id}"
        elif not table[self.id].is_unique:
            self.unused[name] = "has several rows an id"
        elif set(table[self.id].map(str)) & {str(value) for frame in frames for value in frame[self.id]}:
            self.unused[name] = "has ids that stand in another table too"
        else:
            self.extra[name] = table

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
    except UnicodeError as error:
        raise ValueError(
            f"{path}: expected UTF-8 text, received other bytes ({error}); save it as UTF-8"
        ) from error
    except (ValueError, OSError) as error:
        raise ValueError(
            f"{path}: expected a table with a line of column names, received: {error}"
        ) from error
    frame.columns = [str(name) for name in frame.columns]
    if len(frame.columns) == 1 and ";" in frame.columns[0]:
        raise ValueError(
            f"{path}: expected columns divided by commas, received one column {frame.columns[0]!r}, divided by ';'; "
            "save it with commas, or with tabs as .tsv"
        )
    if frame.empty:
        raise ValueError(f"{path}: expected rows, received none below the column names")
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


def _pictures(root: Path, id: str, frame: pd.DataFrame, test: pd.DataFrame) -> PictureSurvey | None:
    """The pictures that most rows have, named by the id or by a column."""
    every = _image_files(root)
    if not every:
        return None
    places = sorted({(path.rpartition("/")[0], os.path.splitext(path)[1]) for path in every})  # noqa: PTH122
    found: list[tuple[float, str, str, str]] = []
    for column in [id, *(c for c in frame.columns if c != id and (c in test.columns or not len(test)))]:
        values = _texts(frame, column)
        if len(set(values)) < ENOUGH * len(frame):
            continue
        patterns = ["{" + column + "}"]
        for place, suffix in places:
            front = f"{place}/{{{column}}}" if place else f"{{{column}}}"
            patterns += [front, front + suffix]
        for pattern in dict.fromkeys(patterns):
            share = sum(path in every for path in _paths(pattern, column, values)) / len(frame)
            if share >= ENOUGH:
                found.append((share, column, pattern, os.path.splitext(pattern)[1]))  # noqa: PTH122
    if not found:
        return None
    share, column, pattern, suffix = max(found, key=lambda each: each[0])
    own = _paths(pattern, column, _texts(frame, column))
    others = _paths(pattern, column, _texts(test, column) if len(test) else [])
    if sum(path in every for path in others) < ENOUGH * len(others):
        raise ValueError(
            f"DATA: expected the pictures of train and test under one pattern, received train's as {pattern!r}, where "
            f"test's are not (for example {others[0]!r}); put links to both into one folder, or write the path of each "
            "picture into a column of both tables"
        )
    folder = pattern.rpartition("/")[0]
    spare = {path for path in every if path.rpartition("/")[0] == folder and path.endswith(suffix or "")}
    spare -= {*own, *others}
    why = f"{share:.0%} of the train rows have such a file"
    if missing := [path for path in own if path not in every]:
        blanks = "; ids with blanks around them are other ids" if any(" " in path for path in missing) else ""
        why += f", {len(missing)} have none ({name_some(missing, 2)}{blanks})"
    pictures = _describe([root / path for path in own], pattern, why, len(own) + len(others) + len(spare))
    if not spare or "{" in folder or not suffix:
        return pictures
    glob = f"{folder}/*{suffix}" if folder else f"*{suffix}"
    return replace(
        pictures, spare=glob, reasons=(*pictures.reasons, f"{len(spare):,} more lie in the folder")
    )


def _image_files(root: Path) -> set[str]:
    """All pictures below a folder, by their paths in it; hidden folders are passed over."""
    every: set[str] = set()
    visited: set[str] = set()
    for place, below, names in os.walk(root, followlinks=True):
        below[:] = [name for name in sorted(below) if not name.startswith(".")]
        real = os.path.realpath(place)
        if real in visited:  # a link to a folder above or beside it
            below.clear()
            continue
        visited.add(real)
        front = Path(place).relative_to(root).as_posix() + "/"
        images = (name for name in names if os.path.splitext(name)[1].lower() in SUFFIXES)  # noqa: PTH122
        every |= {name if front == "./" else front + name for name in images}
    return every


def _paths(pattern: str, column: str, values: list[str]) -> list[str]:
    before, after = pattern.split("{" + column + "}")
    return [os.path.normpath(before + value + after) for value in values]


def _listed(root: Path, id: str, frame: pd.DataFrame, name: str, table: pd.DataFrame) -> PictureSurvey:
    """The pictures of a list file, several a row."""
    own = table[table[id].map(str).isin([str(value) for value in frame[id]])]
    each = f"{len(own) / max(1, len(frame)):.1f} pictures a train row, by the paths in {name}"
    return _describe([root / str(path) for path in own["path"]], name, each, len(table))


def _describe(paths: list[Path], pattern: str, why: str, count: int) -> PictureSurvey:
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
    return PictureSurvey(pattern, height, width, channels, window, None, arrays, count, tuple(reasons))


def _texts(table: pd.DataFrame, column: str) -> list[str]:
    return [str(value) for value in table[column].dropna()]
