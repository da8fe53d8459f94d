"""Cells of a table as numbers: what kind a column is of, and its values some rows at a time."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from .findings import did_you_mean, name_some
from .table_blocks import Blocks, Floats

Kind = Literal["number", "boolean", "date", "category"]
KINDS = ("number", "boolean", "date", "category")
MISSING_TEXTS = frozenset({"", "?", "NA", "N/A", "NaN", "nan", "null", "NULL"})
"""Texts that stand for no value; spaces around them do not count."""
LARGEST = 1e100  # squares of larger numbers leave the range of float64
_BLOCK = 2**25  # bytes of a block
_AMONG = 10  # different texts of which one may be a slip
_DATE = re.compile(r"\d{4}[-/]\d{2}(?:[-/]\d{2}(?:[T ]\d{2}(?::\d{2}(?::\d{2}(?:\.\d+)?)?)?)?)?")
_ZONE = re.compile(r"(?<=:\d\d)(\.\d+)?(?:Z|[+-]\d{2}(?::?\d{2})?)$")
_PADDED = re.compile(r"[+-]?0\d")  # 007 names something, and counts nothing
_FOREIGN = (  # how each value looks, what one at least holds, and what to say
    (
        # Of 1,234 the thousands are likelier than three decimals, but none begin with 0.
        re.compile(r"[+-]?(?:[1-9]\d{0,2}(?:,\d{3})+|\d{1,3})(?:\.\d+)?"),
        ",",
        "numbers with commas between thousands; write 1234.5 for 1,234.5",
    ),
    (
        re.compile(r"[+-]?(?:\d+|\d{1,3}(?:[. ]\d{3})+)(?:,\d+)?"),
        ",",
        "numbers with a decimal comma; write 0.125 for 0,125",
    ),
    (
        re.compile(r"[+-]?(?:[$€£¥] ?[+-]?\d[\d.,]*|\d[\d.,]* ?[%$€£¥])"),
        "",
        "numbers with a sign of percent or money; write 12.5 for 12.5% or $12.5",
    ),
    (
        re.compile(r"\d{1,2}(?:[./-]\d{1,2}[./-]\d{4}|/\d{1,2}/\d{2})(?: .*)?"),
        "",
        "dates whose year comes last; write 2020-05-13 for 13.05.2020",
    ),
)
_TRUTHS = {"true": 1.0, "false": 0.0, "1": 1.0, "0": 0.0}


class ColumnsError(ValueError):
    """What the columns of a table do not allow.

    Args:
        said: what was expected and received, and the way out.
        name: what a config, or the caller, calls the columns.
    """

    def __init__(self, said: str, name: str = "data.columns") -> None:
        self.said, self.name = said, name
        super().__init__(f"{name}: {said}")

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.said, self.name)


@dataclass(frozen=True)
class Source:
    """A column of a frame and how its cells are read."""

    name: str
    kind: Kind


def texts_of(column: pd.Series) -> tuple[NDArray[np.int64], list[str]]:
    """The different values of a column as text, stripped; whole floats without their point, so that 7.0 is 7.

    Args:
        column: N values.

    Returns:
        codes: (N,) the place of each row's text, -1 where it is missing or one of `MISSING_TEXTS`.
        texts: in the order in which they appear first.

    Raises:
        ValueError: cells that hold lists or the like.
    """
    if isinstance(column.dtype, pd.CategoricalDtype):
        outer, values = column.cat.codes.to_numpy(), list(column.cat.categories)
    else:
        try:
            outer, found = pd.factorize(column)
        except TypeError as error:
            raise ColumnsError(
                f"expected numbers, texts or dates in {column.name!r}, received cells that hold more "
                f"({error}); leave the column out"
            ) from error
        values = list(found)
    texts = [_text(value) for value in values]
    present = np.array([text not in MISSING_TEXTS for text in texts], dtype=bool)
    inner, names = pd.factorize(np.array(texts, dtype=object)[present])
    places = np.full(len(texts) + 1, -1, dtype=np.int64)  # the last one is that of -1
    places[:-1][present] = inner
    return places[outer], [str(name) for name in names]


def kind_of(column: pd.Series) -> Kind | None:
    """What a column holds; None where it has no value.

    Text is `number` where all of it is, but for padded zeros, which make a code; `date` where all is ISO
    (1911-05, 1911-05-03, with a time of day too); `boolean` where all is true or false. A pandas category is one.

    Args:
        column: N values.
    """
    if not column.notna().any():
        return None
    if pd.api.types.is_bool_dtype(column):
        return "boolean"
    if _is_plain(column) or pd.api.types.is_timedelta64_dtype(column):
        return "number"
    if pd.api.types.is_datetime64_any_dtype(column):
        return "date"
    texts = texts_of(column)[1]
    if not texts:
        return None
    if isinstance(column.dtype, pd.CategoricalDtype):
        return "category"
    if all(text.lower() in ("true", "false") for text in texts):
        return "boolean"
    if not any(map(_PADDED.match, texts)) and not np.isnan(_numbers(texts)).any():
        return "number"
    return "category" if np.isnan(_days(texts)).any() else "date"


def spoiled(column: pd.Series) -> tuple[Kind, list[str]] | None:
    """What a column of text would hold but for a few of its values.

    Args:
        column: N values.

    Returns:
        `number` or `date`, which nine tenths of the different texts are, and the others; None where none or more of
        them are others, and for a pandas category, whose owner knows what it is.
    """
    if isinstance(column.dtype, pd.CategoricalDtype) or kind_of(column) != "category":
        return None
    texts = texts_of(column)[1]
    readers: list[tuple[Kind, Floats]] = [("date", _days(texts))]
    if not any(map(_PADDED.match, texts)):
        readers.insert(0, ("number", _numbers(texts)))
    for kind, values in readers:
        strange = [text for text, value in zip(texts, values, strict=True) if np.isnan(value)]
        if 0 < len(strange) * _AMONG <= len(texts):
            return kind, strange
    return None


def foreign(column: pd.Series) -> str | None:
    """What the values of a column of text look like that is no number and no date only for the way it is written.

    Args:
        column: N values.

    Returns:
        What they look like and how it has to be written; None for every other column, and for a pandas category.
    """
    if isinstance(column.dtype, pd.CategoricalDtype) or kind_of(column) != "category":
        return None
    texts = texts_of(column)[1]
    for form, mark, said in _FOREIGN:
        if all(map(form.fullmatch, texts)) and any(mark in text for text in texts):
            return said
    return None


class Cells:
    """N rows of a frame, read as a schema wants them.

    Args:
        frame: holds at least the columns of `sources`.
        sources: K columns of numbers, booleans or dates.

    Raises:
        ValueError: a column is absent or stands twice, or has cells of another kind than its source says.
    """

    def __init__(self, frame: pd.DataFrame, sources: Sequence[Source]) -> None:
        check_columns(frame, [source.name for source in sources])
        self.frame, self.sources = frame, tuple(sources)
        places = frame.columns.get_indexer(pd.Index([source.name for source in sources], dtype=object))
        plain = [j for j, source in enumerate(sources) if _is_plain(frame.iloc[:, int(places[j])])]
        self._parsed = {
            j: _parse(frame.iloc[:, int(places[j])], source)
            for j, source in enumerate(sources)
            if j not in set(plain) or source.kind == "date"
        }
        self._plain = np.array([j for j in plain if j not in self._parsed], dtype=np.int64)
        wanted = places[self._plain]
        self._extended = any(
            pd.api.types.is_extension_array_dtype(kind) for kind in frame.dtypes.iloc[wanted]
        )
        # A range of columns is read without copying them together first.
        in_row = len(wanted) > 0 and bool((np.diff(wanted) == 1).all())
        self._places = slice(int(wanted[0]), int(wanted[-1]) + 1) if in_row else wanted

    def numbers(self, start: int, stop: int) -> Floats:
        """(B, K) a copy of some rows; NaN where a value is missing, dates as days since 1970-01-01, booleans 0 or 1.

        Raises:
            ValueError: infinite numbers, or larger ones than `LARGEST`.
        """
        return self._read(slice(start, stop))

    def _read(self, rows: slice | NDArray[np.int64]) -> Floats:
        # Without types of pandas' own nothing but NaN is missing, and looking for more takes longer than the copy.
        absent = {"na_value": np.nan} if self._extended else {}
        part = self.frame.iloc[rows, self._places].to_numpy(dtype=np.float64, copy=True, **absent)
        if not self._parsed:
            block = part
        else:
            block = np.empty((len(part), len(self.sources)))
            block[:, self._plain] = part
            for j, values in self._parsed.items():
                block[:, j] = values[rows]
        wrong = np.abs(block) > LARGEST
        if wrong.any():
            found, columns = np.nonzero(wrong)
            names = [self.sources[j].name for j in np.unique(columns)]
            raise ColumnsError(
                f"expected finite numbers, received infinite ones, or beyond {LARGEST:g}, in "
                f"{name_some(names)} (rows {name_some(dict.fromkeys(self.frame.index[rows][found]))}); leave such "
                "cells empty"
            )
        return block

    @property
    def ranges(self) -> list[tuple[int, int]]:
        """First row and end of pieces that take little memory."""
        size = max(256, _BLOCK // (8 * max(1, len(self.sources))))
        return [(at, min(at + size, len(self.frame))) for at in range(0, len(self.frame), size)]

    @property
    def blocks(self) -> Blocks:
        """All rows, piece by piece."""
        return Blocks(
            len(self.frame),
            lambda: (self.numbers(start, stop) for start, stop in self.ranges),
            self._read,
        )


def check_columns(frame: pd.DataFrame, names: Sequence[str]) -> None:
    """Refuse a frame that lacks a column or has it twice.

    Raises:
        ValueError: it does; the message names them.
    """
    known = set(frame.columns)
    absent = [name for name in names if name not in known]
    if absent:
        raise ColumnsError(
            f"expected the columns that the table was fitted on, received one without {name_some(absent)}."
            f"{did_you_mean(absent[0], map(str, frame.columns))} Add them; empty cells are accepted.",
            "frame",
        )
    if not frame.columns.is_unique:
        twice = set(frame.columns[frame.columns.duplicated()]) & set(names)
        if twice:
            raise ColumnsError(
                f"expected each column once, received {name_some(sorted(twice))} twice; rename one", "frame"
            )


def _is_plain(column: pd.Series) -> bool:
    dtype = column.dtype
    return pd.api.types.is_bool_dtype(column) or (
        pd.api.types.is_numeric_dtype(dtype) and not pd.api.types.is_complex_dtype(dtype)
    )


def _parse(column: pd.Series, source: Source) -> Floats:
    """(N,) numbers of a column whose cells are none yet."""
    if pd.api.types.is_datetime64_any_dtype(column):
        if source.kind == "date":
            if isinstance(column.dtype, pd.DatetimeTZDtype):
                column = column.dt.tz_localize(None)
            return _since_1970(column.to_numpy(dtype="datetime64[us]"))
    elif pd.api.types.is_timedelta64_dtype(column) and source.kind == "number":
        return (column / pd.Timedelta(days=1)).to_numpy(dtype=np.float64)
    codes, texts = texts_of(column)
    if source.kind == "boolean":
        values = np.array([_TRUTHS.get(text.lower(), np.nan) for text in texts])
    else:
        values = _days(texts) if source.kind == "date" else _numbers(texts)
    strange = [text for text, value in zip(texts, values, strict=True) if np.isnan(value)]
    if strange:
        words = {"number": "numbers", "boolean": "true and false", "date": "ISO dates"}
        raise ColumnsError(
            f"expected {words[source.kind]} in {source.name!r}, received {len(strange)} other values "
            f"({name_some(strange)}); mend them, leave them empty, or fit the column as kind category"
        )
    return np.append(values, np.nan)[codes]


def _text(value: object) -> str:
    if isinstance(value, float | np.floating) and float(value).is_integer():
        return str(int(value))
    return str(value).strip()


def _numbers(texts: Sequence[str]) -> Floats:
    """NaN for what is no number."""
    found: Any = pd.to_numeric(pd.Series(texts, dtype=object), errors="coerce")
    return found.to_numpy(dtype=np.float64)


def _days(texts: Sequence[str]) -> Floats:
    """Days since 1970-01-01 of ISO dates, a time zone left aside; NaN for what is none."""
    bare = [_ZONE.sub(lambda match: match[1] or "", text) for text in texts]
    shaped = [text.replace("/", "-") if _DATE.fullmatch(text) else "NaT" for text in bare]
    try:
        return _since_1970(np.array(shaped, dtype="datetime64[us]"))
    except ValueError:  # a thirteenth month
        return np.concatenate([_day(text) for text in shaped])


def _day(text: str) -> Floats:
    try:
        return _since_1970(np.array([text], dtype="datetime64[us]"))
    except ValueError:
        return np.array([np.nan])


def _since_1970(moments: NDArray[np.datetime64]) -> Floats:
    days = (moments - np.datetime64("1970-01-01", "us")) / np.timedelta64(1, "D")
    return np.asarray(days, dtype=np.float64)
