"""Targets that are classes."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from ..configs.heads import OnehotOptions


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
        cls, name: str, columns: Sequence[str], options: OnehotOptions, frame: pd.DataFrame, seed: int = 0
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

    def truth(self, frame: pd.DataFrame) -> np.ndarray:
        return dataclasses.replace(self, smoothing=0.0).encode(frame).astype(np.float64)

    def decode(self, outputs: np.ndarray) -> np.ndarray:
        shifted = outputs.astype(np.float64) - outputs.max(axis=1, keepdims=True)
        probabilities = np.exp(shifted)
        probabilities /= probabilities.sum(axis=1, keepdims=True)
        if self.ordinal:
            probabilities = np.column_stack([probabilities, probabilities @ np.asarray(self.values)])
        return probabilities.astype(np.float32)

    @property
    def measures(self) -> dict[str, str]:
        return {"accuracy": ""}

    @property
    def start(self) -> np.ndarray:
        return np.zeros(self.width, dtype=np.float32)

    @property
    def notes(self) -> list[str]:
        return []

    def state(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


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
