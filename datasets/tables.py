"""Tables of rows named by a text id, and the list files that stand beside them."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from pandas.util import hash_pandas_object

from .files import digest
from .findings import Finding, did_you_mean, name_some

_CSV = (".csv", ".csv.gz", ".csv.zst", ".tsv", ".tsv.gz")
_PARQUET = (".parquet", ".pq")
TABLE_SUFFIXES = (*_CSV, *_PARQUET)
"""How the files are called that are read as tables."""


@dataclass(frozen=True, eq=False)
class Table:
    """N rows with a unique text id, and any number of lists with several rows an id."""

    frame: pd.DataFrame
    """N rows, indexed by the id as text."""
    id: str
    """The name of the id column."""
    lists: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    """List name -> rows (id, name), both text, in the order of the file."""

    def __len__(self) -> int:
        return len(self.frame)

    @property
    def ids(self) -> np.ndarray:
        """The N ids, an object array of text, in the order of the rows."""
        return self.frame.index.to_numpy(dtype=object)

    def column(self, name: str, key: str = "column") -> pd.Series:
        """One column as a series indexed by id; the id itself under its own name.

        Args:
            name: the column.
            key: what asked for it, for the message.

        Raises:
            ValueError: there is no such column.
        """
        if name == self.id:
            return pd.Series(self.ids, index=self.frame.index, name=name)
        if name not in self.frame.columns:
            raise ValueError(
                f"{key}: expected one of {name_some([self.id, *self.frame.columns], 12)}, received {name!r}."
                f"{did_you_mean(name, [self.id, *self.frame.columns])}"
            )
        return self.frame.loc[:, name]

    def names(self, list_name: str) -> pd.Series:
        """The names that a list gives each row: tuples of text, indexed by id; None for a row without any."""
        rows = self.lists[list_name]
        rows = rows[rows["name"].fillna("").str.strip() != ""]
        by_id = rows.groupby("id", sort=False)["name"].agg(tuple)
        values = [by_id.get(name) for name in self.ids]
        return pd.Series(values, index=self.frame.index, name=list_name, dtype=object)

    @cached_property
    def digest(self) -> str:
        """A name for the content; the order of rows and of columns does not matter."""
        frame = self.frame.sort_index()
        columns = {str(name): [str(frame[name].dtype), _hash(frame.loc[:, name])] for name in frame.columns}
        lists = {
            name: digest(sorted(rows.itertuples(index=False, name=None))) for name, rows in self.lists.items()
        }
        return digest(self.id, _hash(pd.Series(frame.index, dtype=object)), columns, lists)


def read_table(
    paths: Sequence[str | os.PathLike[str]],
    id: str,
    lists: Mapping[str, str | os.PathLike[str]] | None = None,
) -> Table:
    """Read CSV and parquet files and join them 1:1 on an id that is compared as text.

    `007` stays `007`, `NA` stays `NA`, and an integer id of a parquet file becomes its plain digits. All
    other columns get pandas' usual types. The order of rows is that of the first file.

    Args:
        paths: one or more files (.csv, .tsv, gzipped too; .parquet) with the same ids.
        id: the column that names a row, in every file.
        lists: list name -> file of rows (id, name), several or no rows an id.

    Returns:
        The table.

    Raises:
        ValueError: a file is absent or of another kind; no id column; empty or repeated ids; ids that stand
            in one file only; a column that stands in two files.
    """
    if not paths:
        raise ValueError("paths: expected at least one file, received none")
    first, *others = paths
    frame = _read_rows(first, id)
    for path in others:
        frame = _join(frame, _read_rows(path, id), Path(first), Path(path))
    return Table(frame, id, {name: read_list(path, id) for name, path in (lists or {}).items()})


def read_list(
    path: str | os.PathLike[str], id: str, column: str = "name", optional: Sequence[str] = ()
) -> pd.DataFrame:
    """Read a list file: rows (id, name), several an id, both as text.

    Args:
        path: the file.
        id: the column of the ids.
        column: the column of what is listed; of anything but names every row needs one.
        optional: further columns, empty text where the file has none.

    Raises:
        ValueError: no id or name column, or an empty id.
    """
    frame = _read_file(path, id, text=(column, *optional))
    if column not in frame.columns:
        raise ValueError(
            f"{path}: expected the columns {id!r} and {column!r}, received {name_some(frame.columns, 12)}."
            f"{did_you_mean(column, frame.columns)} Rename the column that holds the "
            f"{'words' if column == 'name' else 'values'} to {column!r}."
        )
    for needed in (id,) if column == "name" else (id, column):
        _refuse_empty(frame.loc[:, needed], needed, path)
    more = {name: frame[name] if name in frame.columns else "" for name in optional}
    return pd.DataFrame({"id": frame[id], column: frame[column], **more})


def check_tables(train: Table, test: Table | None = None) -> list[Finding]:
    """Look for rows that stand where they should not.

    Args:
        train: the labelled rows with their lists.
        test: the rows to predict.

    Returns:
        Findings `test-ids-in-train`, `list-ids-unknown`, `list-names-empty`, `list-empty`.
    """
    findings: list[Finding] = []
    known = set(train.ids)
    if test is not None:
        both = tuple(name for name in test.ids if name in known)
        if both:
            findings.append(
                Finding(
                    "test-ids-in-train",
                    "warning",
                    f"{len(both)} of {len(test)} test ids stand in train too ({name_some(both)}): their "
                    "predictions come from models that trained on them. Remove them from one of the files.",
                    both,
                )
            )
        known |= set(test.ids)
    for name, rows in {**(test.lists if test is not None else {}), **train.lists}.items():
        unknown = tuple(dict.fromkeys(name for name in rows["id"] if name not in known))
        if unknown:
            findings.append(
                Finding(
                    "list-ids-unknown",
                    "warning",
                    f"list {name!r}: {len(unknown)} ids stand in no row of train or test "
                    f"({name_some(unknown)}); they are not used.{zeros_hint(unknown, known)}",
                    unknown,
                )
            )
        empty = tuple(rows["id"][rows["name"].str.strip() == ""])
        if empty:
            findings.append(
                Finding(
                    "list-names-empty",
                    "warning",
                    f"list {name!r}: {len(empty)} rows have no name ({name_some(empty)}). Fill them in.",
                    empty,
                )
            )
        if rows.empty:
            findings.append(Finding("list-empty", "warning", f"list {name!r} holds no rows."))
    return findings


def _read_rows(path: str | os.PathLike[str], id: str) -> pd.DataFrame:
    frame = _read_file(path, id)
    _refuse_empty(frame.loc[:, id], id, path)
    repeated = frame[id].duplicated(keep=False)
    if repeated.any():
        names = list(dict.fromkeys(frame[id][repeated]))
        raise ValueError(
            f"{path}: expected one row per {id!r}, received {len(names)} ids in {int(repeated.sum())} rows "
            f"({name_some(names)}). Remove the repeated rows, or give several rows an id as a list file."
        )
    return frame.set_index(id)


def _read_file(path: str | os.PathLike[str], id: str, text: tuple[str, ...] = ()) -> pd.DataFrame:
    path = Path(path)
    lower = path.name.lower()
    if not lower.endswith(TABLE_SUFFIXES):
        raise ValueError(f"{path}: expected a file named {', '.join(TABLE_SUFFIXES)}, received {path.name!r}")
    if not path.is_file():
        neighbours = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
        raise ValueError(
            f"{path}: expected a file, received a path where none is.{did_you_mean(path.name, neighbours)}"
        )
    separator = "\t" if ".tsv" in lower else ","
    try:
        if lower.endswith(_PARQUET):
            frame = pq.read_table(path, pre_buffer=False).to_pandas()
            # Arrow keeps what it needed meanwhile: of 30,000 rows of 2,000 numbers, 0.22 GiB, another 0.5 GiB.
            pa.default_memory_pool().release_unused()
            # pandas writes a named index as a column, or as a range in the metadata: a column it is.
            frame = frame.reset_index(drop=all(name is None for name in frame.index.names))
        else:
            # Without index_col=False a comma too many would turn the ids into an unnamed index.
            frame = pd.read_csv(path, sep=separator, encoding="utf-8-sig", low_memory=False, index_col=False)
            # A second pass reads the text columns raw: neither 007 nor NA may be interpreted.
            raw = [name for name in (id, *text) if name in frame.columns]
            frame[raw] = pd.read_csv(
                path,
                sep=separator,
                encoding="utf-8-sig",
                index_col=False,
                usecols=raw,
                dtype=str,
                na_filter=False,
            )[raw]
    except pd.errors.ParserError as error:
        raise ValueError(
            f"{path}: expected a CSV separated by {separator!r}, received lines of different lengths ({error}); "
            "separated by ';'? Save it with commas, or with tabs as .tsv."
        ) from error
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path}: expected UTF-8 text, received other bytes ({error}). Re-save it as UTF-8."
        ) from error
    except (pd.errors.EmptyDataError, OSError) as error:
        raise ValueError(f"{path}: expected a readable table, received: {error}") from error
    frame.columns = [str(name) for name in frame.columns]
    if id not in frame.columns:
        raise ValueError(
            f"{path}: expected the id column {id!r}, received the columns {name_some(frame.columns, 12)}."
            f"{did_you_mean(id, frame.columns)}"
        )
    for name in (id, *text):
        if name in frame.columns:
            frame[name] = _as_text(frame.loc[:, name], name, path)
    return frame


def _as_text(values: pd.Series, name: str, path: Path) -> pd.Series:
    """Plain text of each value; a missing one becomes the empty text."""
    missing = values.isna()
    if pd.api.types.is_float_dtype(values.dtype):
        # Integers with a gap arrive as floats; 7.0 names the same row as 7.
        whole = values[~missing]
        broken = whole[whole != np.floor(whole)]
        if len(broken):
            raise ValueError(
                f"{path}: expected text or integers in {name!r}, received {next(iter(broken))}. Write text."
            )
        values = values.astype("Int64")
    text = values.astype(object).map(str)
    return text.where(~missing, "")


def _refuse_empty(ids: pd.Series, id: str, path: str | os.PathLike[str]) -> None:
    empty = np.flatnonzero((ids.str.strip() == "").to_numpy(dtype=bool))
    if len(empty):
        raise ValueError(
            f"{path}: expected a value of {id!r} in every row, received {len(empty)} empty ones, "
            f"the first in data row {int(empty[0]) + 1}. Fill or remove them."
        )


def _join(frame: pd.DataFrame, part: pd.DataFrame, first: Path, path: Path) -> pd.DataFrame:
    only_first, only_here = frame.index.difference(part.index), part.index.difference(frame.index)
    if len(only_first) or len(only_here):
        raise ValueError(
            f"{path}: expected the ids of {first}, received {len(part)} rows that lack {len(only_first)}"
            f"{_listed(only_first)} and add {len(only_here)}{_listed(only_here)}. Files of one table join "
            "1:1: complete them, or give several rows an id as a list file."
            f"{zeros_hint(only_here, set(only_first))}"
        )
    shared = frame.columns.intersection(part.columns)
    if len(shared):
        raise ValueError(
            f"{path}: expected columns that no other file of the table has, received {name_some(shared)} "
            "again. Remove or rename them in one file."
        )
    return frame.join(part)


def _listed(names: pd.Index) -> str:
    return f" ({name_some(names)})" if len(names) else ""


def zeros_hint(names: Sequence[str] | pd.Index, others: set[str]) -> str:
    """A sentence for ids that differ by leading zeros only, the most common way to lose a join."""
    stripped = {other.lstrip("0") for other in others} - {""}
    if any(str(name).lstrip("0") in stripped for name in names):
        return " Some would match without their leading zeros: a program read them as numbers."
    return ""


def _hash(values: pd.Series) -> str:
    # pandas types this function as a plain object.
    hashes = hash_pandas_object(values.astype(object), index=False)  # pyright: ignore[reportCallIssue]
    return digest(hashes.to_numpy().tobytes().hex())
