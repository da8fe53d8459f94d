"""What the columns of a table are for: group, fold, label of some kind, or feature."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
import pandas as pd

from ..configs.references import TAKEN
from .dates import fractional_years

Kind = Literal["number", "level", "class", "date", "names"]
"""`level`: a few whole numbers in order, which may be learned as numbers or as classes."""

MOST_CLASSES = 50
_MOST_LEVELS = 20
_FAMILY = 3  # columns that share the beginning or the end of their names
_ENOUGH = 0.99  # share of the values that must be dates
_MAIN = ("target", "label", "labels", "y", "class", "outcome", "response", "score")
_FOLDS = re.compile(r"^k?folds?(_?id)?$", re.I)
_DATES = re.compile(r"(^|[^a-z])(date|year|month|day|time|born|built|created|published)($|[^a-z])|_at$", re.I)
_GROUPS = re.compile(
    r"group|series|patient|subject|author|artist|user|site|clip|session|batch|concept|speaker|plate|donor|family|"
    r"household|customer|document|scene|video|[ _-]id$",
    re.I,
)
_TEXT_GROUPS = re.compile(r"group|series|concept|patient|subject", re.I)


@dataclass(frozen=True)
class Label:
    """One thing to learn.

    Attributes:
        name: a plain name for heads and stacks.
        columns: table columns; several for a family of numbers.
        kind: what the values are.
        values: how many different ones there are.
        range: smallest and largest value of numbers in levels, else None.
        separator: what divides the names of a text; None: white space.
        main: whether it is to be predicted for the test rows; the others help as heads of their own.
        reason: why it was taken for that.
    """

    name: str
    columns: tuple[str, ...]
    kind: Kind
    values: int
    range: tuple[float, float] | None
    separator: str | None
    main: bool
    reason: str


@dataclass(frozen=True)
class Roles:
    """What was made of all columns.

    Attributes:
        labels: what can be learned, the main ones first.
        group: the column whose equal values must stay together, or None.
        fold: a column of the user's own folds, or None.
        features: columns that train and test share; without test rows, those that are not to be predicted.
        reasons: key of the config -> why.
        unused: column -> why nothing is made of it.
    """

    labels: tuple[Label, ...]
    group: str | None
    fold: str | None
    features: tuple[str, ...]
    reasons: dict[str, str] = field(default_factory=dict)
    unused: dict[str, str] = field(default_factory=dict)


def read_roles(
    train: pd.DataFrame, test: pd.DataFrame, id: str, asked: Sequence[str] = (), paths: Sequence[str] = ()
) -> Roles:
    """Guess what each column is for; a guess, with its reason, for the user to mend.

    Args:
        train: the labelled rows, the id a column.
        test: the rows to predict; empty where there are none.
        id: the id column.
        asked: the columns of a sample submission, which are what is to be predicted.
        paths: columns that name image files.

    Returns:
        The roles; columns that suit none are named under `unused`.
    """
    return _Reader(train, test, id, asked, paths).roles()


class _Reader:
    def __init__(
        self, train: pd.DataFrame, test: pd.DataFrame, id: str, asked: Sequence[str], paths: Sequence[str]
    ) -> None:
        self.train, self.test, self.asked = train, test, [name for name in asked if name != id]
        self.reasons: dict[str, str] = {}
        self.unused: dict[str, str] = {}
        others = [str(name) for name in train.columns if name not in (id, *paths)]
        self.has_test = len(test) > 0
        self.shared = [name for name in others if self.has_test and name in test.columns]
        # Without test rows nothing tells labels from features but their names.
        self.own = [name for name in others if name not in self.shared]

    def column(self, name: str) -> pd.Series:
        return self.train.loc[:, name]

    def roles(self) -> Roles:
        group, fold = self._group(), self._fold()
        if fold is not None and group is not None and self._straddles(group, fold):
            self.unused[fold] = (
                f"its folds divide equal values of {group}; folds of our own keep them together"
            )
            fold = None
        rest = [name for name in self.own if name not in (group, fold, *self.unused)]
        labels = _named_apart(self._mains(list(self._labels(rest))))
        mains = {column for label in labels if label.main for column in label.columns}
        features = [
            name
            for name in (self.shared if self.has_test else self.own)
            if name not in (group, fold) and name not in mains
        ]
        return Roles(tuple(labels), group, fold, tuple(features), self.reasons, self.unused)

    def _fold(self) -> str | None:
        for name in self.own:
            values = self.column(name)
            if _FOLDS.match(name) and 2 <= values.nunique() <= 20 and pd.api.types.is_integer_dtype(values):
                self.reasons["fold"] = f"{values.nunique()} folds of your own, by its name"
                return name
        return None

    def _group(self) -> str | None:
        """The column that most likely says which rows belong together."""
        found: dict[str, tuple[bool, int]] = {}
        for name in [*self.own, *self.shared]:
            values = self.column(name).dropna()
            count = values.nunique()
            if not _GROUPS.search(name) or name in self.asked or pd.api.types.is_float_dtype(values):
                continue
            if count < 3 or count > 0.95 * len(values) or self._is_names(name) is not None:
                continue
            if name in self.shared and set(values) & set(self.test[name].dropna()):
                continue  # a feature: new rows have the same values
            if values.value_counts().iloc[0] > 0.5 * len(values):
                continue
            if lacking := int(self.column(name).isna().sum()):
                self.unused[name] = (
                    f"looks like a group, but {lacking} rows have none; fill them in to use it"
                )
                continue
            found[name] = (_TEXT_GROUPS.search(name) is not None, -count)
        if not found:
            return None
        best = max(found, key=lambda name: found[name])
        count = self.column(best).nunique()
        others = [name for name in found if name != best]
        why = f"{count:,} values in {len(self.train):,} rows"
        if best in self.shared:
            why += ", and the test rows have others"
        if others:
            why += f"; {', '.join(others)} could be it too"
        self.reasons["group"] = why
        for name in others:
            if name in self.own:
                self.unused[name] = "looks like a group as well"
        return best

    def _straddles(self, group: str, fold: str) -> bool:
        known = self.train[[group, fold]].dropna()
        return bool((known.groupby(group)[fold].nunique() > 1).any())

    def _labels(self, names: list[str]) -> Iterator[Label]:
        families = self._families(names)
        members = {column for columns in families.values() for column in columns}
        for name, columns in families.items():
            yield Label(
                name,
                tuple(columns),
                "number",
                len(columns),
                None,
                None,
                False,
                f"{len(columns)} columns of numbers that share a part of their names",
            )
        for name in names:
            if name in members:
                continue
            total = self._sum_of(name, families)
            if total is not None:
                self.unused[name] = f"is the sum of the {len(families[total])} columns of {total}"
            elif (label := self._label(name)) is not None:
                yield label

    def _label(self, name: str) -> Label | None:
        values = self.column(name).dropna()
        count = values.nunique()

        def made(
            kind: Kind, reason: str, range: tuple[float, float] | None = None, separator: str | None = None
        ):
            return Label(plain(name), (name,), kind, count, range, separator, False, reason)

        if count < 2:
            self.unused[name] = "has one value only"
            return None
        numeric = pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values)
        if self._is_date(name, numeric):
            years = fractional_years(values)
            return made("date", f"dates from {int(np.nanmin(years))} to {int(np.nanmax(years))}")
        if numeric:
            whole = bool((values == np.floor(values)).all())
            low, high = float(values.min()), float(values.max())
            if whole and count == 2:
                return made("class", f"two values, {low:g} and {high:g}")
            if whole and count <= _MOST_LEVELS and high - low < 2 * _MOST_LEVELS:
                return made("level", f"{count} whole numbers from {low:g} to {high:g}", (low, high))
            return made("number", f"numbers from {low:.4g} to {high:.4g}")
        if count <= MOST_CLASSES:
            return made("class", f"{count} classes")
        separator = self._is_names(name)
        if separator is not None:
            each = [len(_split(value, separator)) for value in values]
            known = {word for value in values.unique() for word in _split(value, separator)}
            divided = "white space" if separator == " " else repr(separator)
            return made(
                "names",
                f"{len(known):,} names divided by {divided}, {np.mean(each):.1f} a row",
                None,
                None if separator == " " else separator,
            )
        self.unused[name] = f"{count:,} different texts, too many for classes"
        return None

    def _is_date(self, name: str, numeric: bool) -> bool:
        values = self.column(name).dropna()
        if values.nunique() < 5 or pd.api.types.is_bool_dtype(values):
            return False
        if numeric and not _DATES.search(name):
            return False
        if not numeric and not values.map(str).str.contains(r"\d{4}").all():
            return False
        years = fractional_years(values)
        return bool(((years >= 1000) & (years <= 2200)).mean() >= _ENOUGH)

    def _is_names(self, name: str) -> str | None:
        """What divides a column of several names a row; None for any other column."""
        values = self.column(name).dropna()
        if pd.api.types.is_numeric_dtype(values) or values.nunique() <= MOST_CLASSES:
            return None
        texts = [str(value) for value in values]
        for separator, uses in (("|", 2), (";", 2), (",", 2), (" ", 10)):
            words = [word for text in texts for word in _split(text, separator)]
            several = len(words) >= 1.3 * len(texts)
            if several and len(words) >= uses * len(set(words)) and len(set(words)) < values.nunique():
                return separator
        return None

    def _families(self, names: list[str]) -> dict[str, list[str]]:
        """Columns of numbers that share what stands before the first or after the last underscore."""
        numbers = [
            name
            for name in names
            if pd.api.types.is_numeric_dtype(self.column(name))
            and "_" in name
            and not self._is_date(name, True)
        ]
        families: dict[str, list[str]] = {}
        for part in (lambda name: name.split("_")[0], lambda name: name.rsplit("_", 1)[1]):
            taken = {column for columns in families.values() for column in columns}
            found: dict[str, list[str]] = {}
            for name in numbers:
                if name not in taken:
                    found.setdefault(plain(part(name)), []).append(name)
            families |= {name: columns for name, columns in found.items() if len(columns) >= _FAMILY}
        return families

    def _sum_of(self, name: str, families: dict[str, list[str]]) -> str | None:
        values = self.column(name)
        if not pd.api.types.is_numeric_dtype(values):
            return None
        for family, columns in families.items():
            if np.allclose(self.train[columns].sum(axis=1), values):
                return family
        return None

    def _mains(self, labels: list[Label]) -> list[Label]:
        """The labels with those first that are to be predicted: asked for, named so, or all that can be scored."""
        scored = [label for label in labels if label.kind in ("number", "level", "class")]
        by_name = [label for label in scored if label.columns[0].casefold() in _MAIN]
        families = [label for label in scored if len(label.columns) > 1]
        if self.asked:
            # A sample submission has the targets' columns, or a column for each class of one of them.
            mains = [label for label in scored if set(label.columns) & set(self.asked)]
            mains += [
                label
                for label in scored
                if label not in mains and label.kind == "class" and self._classes(label) & set(self.asked)
            ]
            why = "the sample submission asks for it"
        elif by_name:
            mains, why = [*by_name, *(label for label in families if label not in by_name)], "by its name"
        elif self.has_test or len(scored) == 1:
            mains, why = scored, "test rows lack it"
        else:
            mains, why = scored[-1:], "the last column, as nothing tells what is to be predicted"
        self.reasons["target"] = why
        chosen = [replace(label, main=label in mains) for label in labels]
        return sorted(chosen, key=lambda label: not label.main)

    def _classes(self, label: Label) -> set[str]:
        return {str(value) for value in self.column(label.columns[0]).dropna().unique()}


def _named_apart(labels: list[Label]) -> list[Label]:
    """The labels with names that differ from each other and from words that level 2 uses itself."""
    taken: set[str] = set(TAKEN)
    named = []
    for label in labels:
        name = label.name
        while name in taken:
            name += "_"
        taken.add(name)
        named.append(replace(label, name=name))
    return named


def plain(name: str) -> str:
    """A name for a head or stack: letters, digits, `-` and `_`."""
    text = re.sub(r"[^A-Za-z0-9_-]+", "_", name).strip("_-")[:60]
    return text or "target"


def _split(value: object, separator: str) -> list[str]:
    text = str(value)
    return (
        text.split() if separator == " " else [part.strip() for part in text.split(separator) if part.strip()]
    )
