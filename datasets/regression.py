"""Targets that are numbers."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from ..configs.heads import RegressionOptions


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
        cls, name: str, columns: Sequence[str], options: RegressionOptions, frame: pd.DataFrame, seed: int = 0
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

    def truth(self, frame: pd.DataFrame) -> np.ndarray:
        return self._values(frame)

    def absent(self, frame: pd.DataFrame) -> list[str]:
        return []

    @property
    def measures(self) -> dict[str, str]:
        return {"rmse": "", "r2": ""}

    @property
    def start(self) -> np.ndarray:
        return np.zeros(self.width, dtype=np.float32)

    @property
    def notes(self) -> list[str]:
        return []

    def state(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    def _values(self, frame: pd.DataFrame) -> np.ndarray:
        return np.column_stack([_numbers(self.name, frame[column]) for column in self.inputs])


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
