"""Pictures: which images a row owns, where their files lie, and where they stand in the store."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from .findings import Finding, name_some
from .images import ImageStore, locate_images
from .tables import TABLE_SUFFIXES, Table, read_list, zeros_hint


@dataclass(frozen=True, eq=False)
class PictureFiles:
    """M image files and the rows that own them; a row has one or several, side by side and in order.

    Attributes:
        names: M unique names, under which the images stand in the store. Where every row has one image, the row's id.
        owners: M ids of rows. A row without any image has one entry all the same, whose path is empty.
        paths: M absolute paths; "" where a row names none.
        strangers: ids of a list file that stand in no table.
    """

    names: np.ndarray
    owners: np.ndarray
    paths: np.ndarray
    strangers: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.names)

    @property
    def one_each(self) -> bool:
        """Whether every row has one image, which bears the row's id."""
        return self.names is self.owners or bool((self.names == self.owners).all())

    @property
    def taken(self) -> dict[str, str]:
        """Name -> path of every image, and id -> "" of the rows: what images of no row may not be called."""
        return {**dict.fromkeys(self.owners, ""), **dict(zip(self.names, self.paths, strict=True))}

    def joined(self, ids: Sequence[str], paths: Sequence[str]) -> "PictureFiles":
        """The same with images of no row, each its own owner."""
        extra, more = np.asarray(ids, dtype=object), np.asarray(paths, dtype=object)
        names = np.concatenate([self.names, extra])
        owners = names if self.names is self.owners else np.concatenate([self.owners, extra])
        return PictureFiles(names, owners, np.concatenate([self.paths, more]), self.strangers)

    def of(self, ids: Sequence[str] | np.ndarray) -> np.ndarray:
        """Names of all images of some rows, row after row."""
        return self.names[self._ranges.of(ids)[0]]

    def findings(self) -> list[Finding]:
        """A warning `image-ids-unknown` where a list file names rows that stand in no table."""
        if not self.strangers:
            return []
        return [
            Finding(
                "image-ids-unknown",
                "warning",
                f"data.images: {len(self.strangers)} ids of the list stand in no row of train or test "
                f"({name_some(self.strangers)}); their images are not used."
                f"{zeros_hint(self.strangers, set(self.owners))}",
                self.strangers,
            )
        ]

    @cached_property
    def _ranges(self) -> "_Ranges":
        return _Ranges(self.owners, np.arange(len(self)))


def locate_pictures(tables: Sequence[Table], images: str, root: str | os.PathLike[str]) -> PictureFiles:
    """Name the image files of each row; whether they exist is for the store to find out.

    Args:
        tables: whose rows; no id stands in two of them.
        images: a pattern with `{column}` fields, a column that holds paths, or the name of a list file: rows
            (id, path, view), several an id, `view` a word or left out.
        root: the folder that relative paths start from, and the list file.

    Returns:
        The files in the order of the rows, those of a row in the order of the list. Their names are then
        `<id>/<view>`, or `<id>/<number>` from 0.

    Raises:
        ValueError: a field or column does not exist; the list file is absent, lacks a column or a value, or
            names a file twice for one row.
    """
    if not _is_list(images, tables[0]):
        located = pd.concat([locate_images(table, images, root) for table in tables])
        ids = located.index.to_numpy(dtype=object)
        return PictureFiles(ids, ids, located.to_numpy(dtype=object))
    file = Path(root) / images
    listed = read_list(file, tables[0].id, "path", ("view",))
    base = os.path.abspath(root)  # noqa: PTH100 (links are kept as the user wrote them)
    listed["path"] = [os.path.normpath(os.path.join(base, path)) for path in listed["path"]]  # noqa: PTH118
    twice = listed.duplicated(["id", "path"])
    if twice.any():
        first = listed.loc[twice].iloc[0]
        raise ValueError(
            f"{file}: expected each path once for a row, received {int(twice.sum())} again, the first "
            f"{os.path.relpath(first['path'], base)} of {first['id']!r}. Remove the repeated lines."
        )
    ids = np.concatenate([table.ids for table in tables])
    listed["row"] = pd.Index(ids).get_indexer(pd.Index(listed["id"]))
    strangers = tuple(dict.fromkeys(listed["id"][listed["row"] < 0]))
    bare = np.setdiff1d(np.arange(len(ids)), listed["row"])
    nothing = pd.DataFrame({"id": ids[bare], "path": "", "view": "", "row": bare})
    frame = pd.DataFrame(pd.concat([listed[listed["row"] >= 0], nothing])).sort_values(
        by="row", kind="stable"
    )
    owners = frame["id"].to_numpy(dtype=object)
    return PictureFiles(_names(frame, set(ids)), owners, frame["path"].to_numpy(dtype=object), strangers)


class Pictures:
    """An image store whose images belong to rows: one or several a row, of which any may be unreadable.

    Positions are those of `store.gather`. Where every row has one image, all of this is the identity.
    """

    def __init__(self, store: ImageStore, files: PictureFiles | None = None) -> None:
        """Say which row owns each image of a store.

        Args:
            store: M decoded images.
            files: the M files that it was built from; None: each image is a row of its own.

        Raises:
            ValueError: the store holds other images than the files name.
        """
        self.store = store
        self.files = files or PictureFiles(store.ids, store.ids, store.paths)
        if not np.array_equal(self.files.names, store.ids):
            raise ValueError(
                f"files: expected the {len(store)} images of the store in their order, received {len(self.files)} "
                "others. Build the store from files.names and files.paths."
            )
        self.owners: np.ndarray = self.files.owners
        """M ids: the row of each image."""
        self.numbers: np.ndarray = pd.Series(self.owners).groupby(self.owners).cumcount().to_numpy()
        """M numbers from 0: the place of each image among those of its row, readable or not."""
        self.most: int = int(self.numbers.max(initial=0)) + 1
        """The largest number of images that a row owns."""
        self._readable = _Ranges(self.owners, np.flatnonzero(store.readable))

    def __len__(self) -> int:
        return len(self.store)

    def __reduce__(self) -> tuple[type["Pictures"], tuple[ImageStore, PictureFiles]]:
        return Pictures, (self.store, self.files)

    @property
    def channels(self) -> int:
        """C of the images."""
        return self.store.channels

    schema_files: tuple[str, ...] = ()
    """What a checkpoint needs beside it to read pictures: nothing."""

    def save(self, folder: Path) -> None:
        """Write `schema_files` into a folder."""

    @property
    def takes(self) -> int:
        """What a backbone is built for: the channels."""
        return self.channels

    @property
    def one_each(self) -> bool:
        """Whether every row has one image, which bears the row's id."""
        return self.files.one_each

    def readable(self, ids: Sequence[str] | np.ndarray) -> np.ndarray:
        """(N,) bool: which rows have an image that can be read.

        Raises:
            ValueError: an id that owns no entry.
        """
        return self._readable.counts[self._readable.rows(ids)] > 0

    def of(self, ids: Sequence[str] | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """All readable images of N rows.

        Returns:
            positions: of the images, row after row.
            counts: (N,) how many each row has, 1 or more.

        Raises:
            ValueError: a row without a readable image, or one that owns no entry.
        """
        positions, counts = self._readable.of(ids)
        if not counts.all():
            names = np.asarray(ids, dtype=object)[counts == 0]
            raise ValueError(
                f"ids: expected rows with a readable image, received {len(names)} without ({name_some(names)}). "
                "Keep to those for which readable() is true."
            )
        return positions, counts

    def first(self, ids: Sequence[str] | np.ndarray) -> np.ndarray:
        """(N,) positions: the first readable image of each row."""
        positions, counts = self.of(ids)
        return positions[np.cumsum(counts) - counts]


class _Ranges:
    """For each row the places of those of its images that are kept, one range a row; `counts` says how many."""

    def __init__(self, owners: np.ndarray, kept: np.ndarray) -> None:
        codes, rows = pd.factorize(owners)
        self.counts = np.bincount(codes[kept], minlength=len(rows))
        self._index = pd.Index(rows)
        self._starts = np.cumsum(self.counts) - self.counts
        self._kept = kept[np.argsort(codes[kept], kind="stable")]

    def rows(self, ids: Sequence[str] | np.ndarray) -> np.ndarray:
        """The number of each row's range."""
        names = np.asarray(ids, dtype=object)
        found = self._index.get_indexer(pd.Index(names))
        if (found < 0).any():
            unknown = names[found < 0]
            raise ValueError(
                f"ids: expected ids of the {len(self._index)} rows with images, received {len(unknown)} others "
                f"({name_some(unknown)})."
            )
        return found

    def of(self, ids: Sequence[str] | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The kept places of some rows one after the other, and how many each has."""
        rows = self.rows(ids)
        counts = self.counts[rows]
        before = np.cumsum(counts) - counts
        within = np.arange(counts.sum()) - np.repeat(before, counts)
        return self._kept[np.repeat(self._starts[rows], counts) + within], counts


def _is_list(images: str, table: Table) -> bool:
    return "{" not in images and images.lower().endswith(TABLE_SUFFIXES) and images not in table.frame.columns


def _names(frame: pd.DataFrame, ids: set[str]) -> np.ndarray:
    """`<id>/<view or number>` for each line, the bare id for a row without image; told apart where they would meet."""
    numbers = frame.groupby("row").cumcount()
    names: list[str] = []
    taken = set(ids)
    for owner, path, view, number in zip(frame["id"], frame["path"], frame["view"], numbers, strict=True):
        name = owner
        if path:
            name = f"{owner}/{view.strip() or number}"
            while name in taken:
                name = f"{name}#{number}"
        taken.add(name)
        names.append(name)
    return np.array(names, dtype=object)
