"""Targets: what a head learns, from table columns to tensors and back.

A target has two parts. Its *coding* (the class list, the columns) is fixed once from all labelled rows, so that every
fold has the same outputs. Its *statistics* (mean, scale) are fitted on the training rows of one fold and undone on
export.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import pandas as pd

from ..configs.heads import OnehotOptions, RegressionOptions
from ..configs.schema import Task


class Target(Protocol):
    """One task's target."""

    @property
    def name(self) -> str:
        """The task's name."""
        ...

    @property
    def loss(self) -> str:
        """A name in `scoring.losses.LOSSES`."""
        ...

    @property
    def space(self) -> str:
        """What a decoded column holds: `value` or `probability`."""
        ...

    @property
    def width(self) -> int:
        """D, the number of outputs of the network."""
        ...

    @property
    def columns(self) -> list[str]:
        """Names of the decoded columns."""
        ...

    @property
    def decodes(self) -> dict[str, dict[str, float]]:
        """How decoded columns add up to a table column: {table column: {decoded column: factor}}."""
        ...

    @property
    def classes(self) -> dict[str, dict[str, str]]:
        """Which decoded column is the probability of which class: {table column: {class: decoded column}}."""
        ...

    def fit(self, frame: pd.DataFrame) -> "Target":
        """The target with statistics from these N training rows."""
        ...

    def encode(self, frame: pd.DataFrame) -> np.ndarray:
        """(N, D) float32 in the space of the loss; a row without label is NaN."""
        ...

    def decode(self, outputs: np.ndarray) -> np.ndarray:
        """(N, D) raw outputs to (N, len(columns)) float32 in the units of the table."""
        ...

    def absent(self, frame: pd.DataFrame) -> list[str]:
        """Classes that these rows lack; their columns stay."""
        ...

    def state(self) -> dict[str, Any]:
        """Everything as plain JSON values."""
        ...


@dataclass(frozen=True)
class RegressionTarget:
    """One or several numeric columns, standardised; the scale floor keeps a constant column finite.

    Attributes:
        inputs: the K table columns.
        range: smallest and largest decoded value, or None.
        mean, scale: (K,) of the fold's training rows.
    """

    name: str
    inputs: tuple[str, ...]
    range: tuple[float, float] | None = None
    mean: tuple[float, ...] = ()
    scale: tuple[float, ...] = ()
    kind: str = field(default="regression", init=False)
    loss: str = field(default="squared_error", init=False)
    space: str = field(default="value", init=False)

    @classmethod
    def code(
        cls, name: str, columns: Sequence[str], options: RegressionOptions, frame: pd.DataFrame
    ) -> "RegressionTarget":
        """Check that the columns of all labelled rows are numbers.

        Raises:
            ValueError: a value is not a number or infinite; it names the task, column and rows.
        """
        for column in columns:
            _numbers(name, frame[column])
        return cls(name, tuple(columns), options.range)

    @property
    def width(self) -> int:
        return len(self.inputs)

    @property
    def columns(self) -> list[str]:
        return [self.name] if self.width == 1 else [f"{self.name}.{column}" for column in self.inputs]

    @property
    def decodes(self) -> dict[str, dict[str, float]]:
        return {column: {name: 1.0} for column, name in zip(self.inputs, self.columns, strict=True)}

    @property
    def classes(self) -> dict[str, dict[str, str]]:
        return {}

    def fit(self, frame: pd.DataFrame) -> "RegressionTarget":
        values = self._values(frame)
        if (np.isfinite(values).sum(axis=0) == 0).any():
            raise ValueError(
                f"task {self.name}: expected labelled training rows in {list(self.inputs)}, received none in this fold"
            )
        mean, scale = np.nanmean(values, axis=0), np.nanstd(values, axis=0)
        scale = np.where(scale > 1e-8 * np.maximum(1.0, np.abs(mean)), scale, 1.0)
        return dataclasses.replace(self, mean=tuple(map(float, mean)), scale=tuple(map(float, scale)))

    def encode(self, frame: pd.DataFrame) -> np.ndarray:
        # Standardised in float64: years near 2000 lose digits in float32 before the mean is taken off.
        return ((self._values(frame) - self.mean) / self.scale).astype(np.float32)

    def decode(self, outputs: np.ndarray) -> np.ndarray:
        values = outputs.astype(np.float64) * self.scale + self.mean
        return (values if self.range is None else np.clip(values, *self.range)).astype(np.float32)

    def absent(self, frame: pd.DataFrame) -> list[str]:
        return []

    def state(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    def _values(self, frame: pd.DataFrame) -> np.ndarray:
        return np.column_stack([_numbers(self.name, frame[column]) for column in self.inputs])


@dataclass(frozen=True)
class OnehotTarget:
    """The classes of one column, as probabilities; ordinal classes export their expectation too.

    Attributes:
        inputs: the one table column.
        labels: the C class names as text, numbers in numeric order, else alphabetical.
        values: the classes as numbers if all are, else None.
        smoothing: share of probability that the loss spreads over all classes.
    """

    name: str
    inputs: tuple[str, ...]
    labels: tuple[str, ...]
    values: tuple[float, ...] | None
    ordinal: bool
    smoothing: float = 0.0
    kind: str = field(default="onehot", init=False)
    loss: str = field(default="cross_entropy", init=False)
    space: str = field(default="probability", init=False)

    @classmethod
    def code(
        cls, name: str, columns: Sequence[str], options: OnehotOptions, frame: pd.DataFrame
    ) -> "OnehotTarget":
        """List the classes of all labelled rows.

        Raises:
            ValueError: not exactly one column, fewer than two classes, or `ordinal` asked of classes that are no
            numbers.
        """
        if len(columns) != 1:
            raise ValueError(
                f"task {name}: expected one column for a onehot head, received {list(columns)}; write one task a column"
            )
        present = frame[columns[0]].dropna()
        labels = sorted(
            {class_label(value) for value in present},
            key=lambda text: (_number(text) is None, _number(text) or 0.0, text),
        )
        if len(labels) < 2:
            raise ValueError(
                f"task {name}: expected at least two classes in column {columns[0]!r}, received {labels}"
            )
        if len(labels) > max(50, len(present) // 2):
            raise ValueError(
                f"task {name}: expected classes in column {columns[0]!r}, received {len(labels)} different values in "
                f"{len(present)} rows; use kind: regression, or name another column"
            )
        numbers = [_number(label) for label in labels]
        numeric = all(number is not None for number in numbers)
        if options.ordinal and not numeric:
            bad = [label for label, number in zip(labels, numbers, strict=True) if number is None][:5]
            raise ValueError(
                f"task {name}: ordinal needs classes that are numbers, received {bad}; leave ordinal out"
            )
        values = tuple(float(number) for number in numbers if number is not None) if numeric else None
        return cls(
            name,
            tuple(columns),
            tuple(labels),
            values,
            numeric if options.ordinal is None else options.ordinal,
            options.smoothing,
        )

    @property
    def width(self) -> int:
        return len(self.labels)

    @property
    def columns(self) -> list[str]:
        names = [f"{self.name}.p{index}" for index in range(self.width)]
        return [*names, f"{self.name}.expect"] if self.ordinal else names

    @property
    def decodes(self) -> dict[str, dict[str, float]]:
        return {self.inputs[0]: {f"{self.name}.expect": 1.0}} if self.ordinal else {}

    @property
    def classes(self) -> dict[str, dict[str, str]]:
        return {self.inputs[0]: {label: f"{self.name}.p{index}" for index, label in enumerate(self.labels)}}

    def fit(self, frame: pd.DataFrame) -> "OnehotTarget":
        if len(frame[self.inputs[0]].dropna()) == 0:
            raise ValueError(
                f"task {self.name}: expected labelled training rows in {self.inputs[0]!r}, received none in this fold"
            )
        return self

    def absent(self, frame: pd.DataFrame) -> list[str]:
        present = {class_label(value) for value in frame[self.inputs[0]].dropna()}
        return [label for label in self.labels if label not in present]

    def encode(self, frame: pd.DataFrame) -> np.ndarray:
        position = {label: index for index, label in enumerate(self.labels)}
        column = frame[self.inputs[0]]
        encoded = np.full((len(frame), self.width), self.smoothing / self.width, dtype=np.float32)
        for row, (value, missing) in enumerate(zip(column, column.isna(), strict=True)):
            if missing:
                encoded[row] = np.nan
            else:
                encoded[row, position[class_label(value)]] += 1.0 - self.smoothing
        return encoded

    def decode(self, outputs: np.ndarray) -> np.ndarray:
        shifted = outputs.astype(np.float64) - outputs.max(axis=1, keepdims=True)
        probabilities = np.exp(shifted)
        probabilities /= probabilities.sum(axis=1, keepdims=True)
        if self.ordinal:
            probabilities = np.column_stack([probabilities, probabilities @ np.asarray(self.values)])
        return probabilities.astype(np.float32)

    def state(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


KINDS: Mapping[str, Any] = {"regression": RegressionTarget, "onehot": OnehotTarget}


def code_target(name: str, task: Task, frame: pd.DataFrame) -> Target:
    """The target of a task, its coding fixed from all labelled rows of `frame`.

    Raises:
        ValueError: the values do not suit the kind of head.
    """
    return KINDS[task.kind].code(name, task.columns, task.head_options(), frame)


def restore_target(state: Mapping[str, Any]) -> Target:
    """The target that `Target.state` described."""
    fixed = ("kind", "loss", "space")
    values = {
        key: tuple(value) if isinstance(value, list) else value
        for key, value in state.items()
        if key not in fixed
    }
    return KINDS[state["kind"]](**values)


def class_label(value: object) -> str:
    """The text of a class: whole numbers without a decimal point, so that 3, 3.0 and '3' are one class."""
    if isinstance(value, float | np.floating) and float(value).is_integer():
        return str(int(value))
    return str(value)


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _numbers(task: str, column: Any) -> np.ndarray:
    numbers = np.asarray(pd.to_numeric(column, errors="coerce"), dtype=np.float64)
    bad = column.notna().to_numpy() & ~np.isfinite(numbers)
    if bad.any():
        wrong = column[bad][:5]
        examples = ", ".join(f"{index}: {value!r}" for index, value in wrong.items())
        raise ValueError(
            f"task {task}: expected numbers in column {column.name!r}, received {int(bad.sum())} other values "
            f"({examples}); clean them, leave them empty (unlabelled), or use kind: onehot"
        )
    return numbers
