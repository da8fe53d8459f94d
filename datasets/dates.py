"""Targets that are dates, of whatever precision the column holds."""

import calendar
import dataclasses
import datetime
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from ..configs.heads import DateOptions

_YEAR = re.compile(r"[-+]?\d{1,4}(\.\d+)?")
_ISO = re.compile(r"(-?\d{4})[-/](\d{1,2})(?:[-/](\d{1,2})(?:[T ](.+))?)?")
_COMPACT = re.compile(r"(\d{4})(\d{2})(\d{2})")
_MONTH_YEAR = re.compile(r"(\d{1,2})[-/.](\d{4})")
_DAY_MONTH_YEAR = re.compile(r"(\d{1,2})[-/.](\d{1,2})[-/.](\d{4})")
_NAMED = re.compile(r"(?:(\d{1,2})\.? )?([A-Za-z]{3,9})\.?(?: (\d{1,2}),?)? (\d{4})")
_MONTHS = {name.lower(): number for number, name in enumerate(calendar.month_name) if name} | {
    name.lower(): number for number, name in enumerate(calendar.month_abbr) if name
}
_IQR_OF_A_NORMAL = 1.349  # in standard deviations


@dataclass(frozen=True)
class DateTarget:
    """One column of dates as fractional years, scaled by median and interquartile range.

    The date of a day is its beginning, that of a month its middle. Where all values are numbers (1911, 2016.6), they
    are fractional years already and stay what they are, so that predictions have the column's own units; a bare year
    among months or days means its middle.

    Attributes:
        inputs: the one table column.
        bare: what is added to a bare year: 0 or .5.
        numeric: whether the table column holds numbers, which predictions then stand for.
        skipped, examples: how many values are left out under `invalid: missing`, and the first of them with their ids.
        centre, scale: of the fold's training rows, in years.
    """

    name: str
    inputs: tuple[str, ...]
    dayfirst: bool
    earliest: float
    latest: float
    bare: float
    numeric: bool
    skipped: int = 0
    examples: str = ""
    centre: float = 0.0
    scale: float = 1.0
    kind: str = field(default="date", init=False)
    loss: str = field(default="squared_error", init=False)
    space: str = field(default="value", init=False)

    @classmethod
    def code(
        cls, name: str, columns: Sequence[str], options: DateOptions, frame: pd.DataFrame, seed: int = 0
    ) -> "DateTarget":
        """Read the dates of all labelled rows once.

        Raises:
            ValueError: not exactly one column; values that are no dates, or not of the range, with
            `invalid: error`; no date at all.
        """
        if len(columns) != 1:
            raise ValueError(
                f"task {name}: expected one column for a date head, received {list(columns)}; write one task a column"
            )
        column = frame.loc[:, columns[0]]
        years = fractional_years(column, dayfirst=options.dayfirst)
        present = column.notna().to_numpy()
        good = np.isfinite(years) & (years >= options.earliest) & (years <= options.latest)
        bad = present & ~good
        examples = ", ".join(f"{index}: {value!r}" for index, value in column[bad][:5].items())
        if bad.any() and options.invalid == "error":
            raise ValueError(
                f"task {name}: expected dates of the years {options.earliest:g} to {options.latest:g} in column "
                f"{columns[0]!r}, received {int(bad.sum())} other values ({examples}); clean them, leave them empty "
                "(unlabelled), set options.earliest, latest or dayfirst, or options.invalid: missing to leave them out"
            )
        if not (present & good).any():
            raise ValueError(f"task {name}: expected dates in column {columns[0]!r}, received none")
        numbers = all(_YEAR.fullmatch(_text(value)) for value in column[present & good].unique())
        bare = 0.0 if numbers else 0.5
        numeric = numbers and pd.api.types.is_numeric_dtype(column)
        return cls(
            name,
            tuple(columns),
            options.dayfirst,
            options.earliest,
            options.latest,
            bare,
            numeric,
            int(bad.sum()),
            examples,
        )

    @property
    def width(self) -> int:
        return 1

    @property
    def columns(self) -> list[str]:
        return [self.name]

    @property
    def decodes(self) -> dict[str, dict[str, float]]:
        return {self.inputs[0]: {self.name: 1.0}} if self.numeric else {}

    @property
    def classes(self) -> dict[str, dict[str, str]]:
        return {}

    def fit(self, frame: pd.DataFrame) -> "DateTarget":
        years = self.years(frame)
        years = years[np.isfinite(years)]
        if not len(years):
            raise ValueError(
                f"task {self.name}: expected dated training rows in {self.inputs[0]!r}, received none in this fold"
            )
        low, centre, high = np.quantile(years, [0.25, 0.5, 0.75])
        scale = (high - low) / _IQR_OF_A_NORMAL or float(np.std(years)) or 1.0
        return dataclasses.replace(self, centre=float(centre), scale=float(scale))

    def years(self, frame: pd.DataFrame) -> np.ndarray:
        """(N,) float64 fractional years of the rows; NaN where there is no date, or none of the range."""
        years = fractional_years(frame.loc[:, self.inputs[0]], dayfirst=self.dayfirst, bare=self.bare)
        return np.where((years >= self.earliest) & (years <= self.latest), years, np.nan)

    def encode(self, frame: pd.DataFrame) -> np.ndarray:
        # In float64 until the centre is taken off: a year in float32 is exact to an hour only.
        return ((self.years(frame) - self.centre) / self.scale).astype(np.float32)[:, None]

    def decode(self, outputs: np.ndarray) -> np.ndarray:
        return (outputs.astype(np.float64) * self.scale + self.centre).astype(np.float32)

    def truth(self, frame: pd.DataFrame) -> np.ndarray:
        return self.years(frame)[:, None]

    def absent(self, frame: pd.DataFrame) -> list[str]:
        return []

    @property
    def measures(self) -> dict[str, str]:
        return {"rmse": "years", "r2": ""}

    @property
    def start(self) -> np.ndarray:
        return np.zeros(1, dtype=np.float32)

    @property
    def notes(self) -> list[str]:
        if not self.skipped:
            return []
        return [
            f"task {self.name}: left out of {self.inputs[0]!r}, since no dates of the years {self.earliest:g} to "
            f"{self.latest:g}: {self.skipped} values ({self.examples})"
        ]

    def state(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


def fractional_years(column: pd.Series, *, dayfirst: bool = False, bare: float = 0.0) -> np.ndarray:
    """Read dates as years with a fraction; every different value is read once.

    Read are years (1911, "1911", 1911.5), ISO dates and datetimes ("1911-05-03T12:00", "1911/5", "19110503"), month
    and year ("05/1911", "May 1911"), day and month in either order ("3/5/1911", "3 May 1911", "May 3, 1911"), and
    date objects.

    Args:
        column: N values.
        dayfirst: whether "3/5/1911" is the third of May.
        bare: what is added to a whole year that stands alone.

    Returns:
        (N,) float64; NaN for missing values and for what is no date.

    Example:
        >>> fractional_years(pd.Series(["1911", "1911-07-02 12:00", "May 1911", "soon"])).round(2).tolist()
        [1911.0, 1911.5, 1911.37, nan]
    """
    known = {value: _year(value, dayfirst, bare) for value in column.dropna().unique()}
    return np.array([known.get(value, np.nan) for value in column], dtype=np.float64)


def _text(value: object) -> str:
    """A value's text; 19110503.0 is what pandas makes of 19110503 in a column with gaps."""
    if isinstance(value, float | np.floating) and float(value).is_integer():
        return str(int(value))
    return " ".join(str(value).split())


def _year(value: Any, dayfirst: bool, bare: float) -> float:
    if isinstance(value, datetime.datetime):
        return _at(value.year, value.month, value.day, _share(value.time()))
    if isinstance(value, datetime.date):
        return _at(value.year, value.month, value.day)
    text = _text(value)
    if _YEAR.fullmatch(text):
        return float(text) + (bare if float(text).is_integer() else 0.0)
    if match := _ISO.fullmatch(text):
        year, month, day, clock = match.groups()
        share = _clock(clock)
        return _at(int(year), int(month), None if day is None else int(day), share)
    if match := _COMPACT.fullmatch(text):
        return _at(*map(int, match.groups()))
    if match := _MONTH_YEAR.fullmatch(text):
        return _at(int(match[2]), int(match[1]))
    if match := _DAY_MONTH_YEAR.fullmatch(text):
        first, second, year = map(int, match.groups())
        return _at(year, *((second, first) if dayfirst else (first, second)))
    if (match := _NAMED.fullmatch(text)) and match[2].lower() in _MONTHS and not (match[1] and match[3]):
        day = match[1] or match[3]
        return _at(int(match[4]), _MONTHS[match[2].lower()], None if day is None else int(day))
    return np.nan


def _at(year: int, month: int, day: int | None = None, share: float = 0.0) -> float:
    """The fractional year of a day's beginning plus `share` of a day, or of a month's middle; NaN if there is none."""
    if not (1 <= month <= 12 and np.isfinite(share)):
        return np.nan
    lengths = [31, 29 if calendar.isleap(year) else 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]
    if day is not None and not 1 <= day <= lengths[month - 1]:
        return np.nan
    within = lengths[month - 1] / 2 if day is None else day - 1 + share
    return year + (sum(lengths[: month - 1]) + within) / sum(lengths)


def _clock(text: str | None) -> float:
    """The share of the day that a time of day stands for; a time zone is left aside. NaN if it is none."""
    if text is None:
        return 0.0
    try:
        return _share(datetime.time.fromisoformat(text))
    except ValueError:
        return np.nan


def _share(clock: datetime.time) -> float:
    return (clock.hour * 3600 + clock.minute * 60 + clock.second + clock.microsecond / 1e6) / 86400
