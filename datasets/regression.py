"""Targets that are numbers."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from ..configs.heads import RegressionOptions
from ..scoring.pearson import SHORT


@dataclass(frozen=True)
class RegressionTarget:
    """One or several numeric columns, standardised; the scale floor keeps a constant column finite.

    The correlation within a row sees how the columns lie to each other, so that with it all of them share one mean and
    one scale, the mean deviation within a row: the loss is then the metric `pearson` of the table's own numbers. It
    leaves level and spread of a row open; `decode` gives every row the same, so that averages over views and fold
    models weigh all alike. With the correlation within a column, each column has its own mean and scale; level and
    spread of the outputs, open in training, are those of the truth after `transfer.calibration`.

    Attributes:
        inputs: the K table columns.
        range: smallest and largest decoded value, or None.
        mean, scale: (K,) of the fold's training rows.
        loss: `squared_error`, `row_correlation` or `column_correlation`.
        usual: (K,) encoded means of the columns; empty where these are 0.
    """

    name: str
    inputs: tuple[str, ...]
    range: tuple[float, float] | None = None
    mean: tuple[float, ...] = ()
    scale: tuple[float, ...] = ()
    loss: str = "squared_error"
    usual: tuple[float, ...] = ()
    kind: str = field(default="regression", init=False)

    @classmethod
    def code(
        cls, name: str, columns: Sequence[str], options: RegressionOptions, frame: pd.DataFrame, seed: int = 0
    ) -> "RegressionTarget":
        """Check that the columns of all labelled rows are numbers.

        Raises:
            ValueError: a value is not a number or infinite (it names the task, column and rows), or one column alone
                is to be correlated within rows.
        """
        for column in columns:
            _numbers(name, frame[column])
        loss = f"{options.correlates}_correlation" if options.correlates else "squared_error"
        if loss == "row_correlation" and len(columns) < 2:
            raise ValueError(
                f"task {name}: expected two or more columns with loss: pearson, which correlates within a row, "
                f"received {list(columns)}; use centre: column or loss: squared"
            )
        return cls(name, tuple(columns), options.range, loss=loss)

    @property
    def space(self) -> str:
        return "pearson" if self.loss == "row_correlation" else "value"

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
        if self.loss == "row_correlation":
            return self._fit_rows(values, mean)
        scale = np.where(scale > 1e-8 * np.maximum(1.0, np.abs(mean)), scale, 1.0)
        return dataclasses.replace(self, mean=tuple(map(float, mean)), scale=tuple(map(float, scale)))

    def _fit_rows(self, values: np.ndarray, usual: np.ndarray) -> "RegressionTarget":
        rows = values[np.isfinite(values).sum(axis=1) > 1]
        spread = float(np.nanstd(rows, axis=1).mean()) if len(rows) else 0.0
        if not spread > 1e-8 * np.nanmax(np.abs(values)):
            raise ValueError(
                f"task {self.name}: expected training rows with different values in {list(self.inputs)}, received none "
                "in this fold; nothing correlates with a constant row"
            )
        mean = float(np.nanmean(values))
        return dataclasses.replace(
            self,
            mean=(mean,) * self.width,
            scale=(spread,) * self.width,
            usual=tuple(map(float, (usual - mean) / spread)),
        )

    def encode(self, frame: pd.DataFrame) -> np.ndarray:
        # Standardised in float64: years near 2000 lose digits in float32 before the mean is taken off.
        return ((self._values(frame) - self.mean) / self.scale).astype(np.float32)

    def decode(self, outputs: np.ndarray) -> np.ndarray:
        values = outputs.astype(np.float64)
        if self.loss == "row_correlation":
            values = values - values.mean(axis=1, keepdims=True)
            values /= np.maximum(values.std(axis=1, keepdims=True), SHORT)
        values = values * self.scale + self.mean
        return (values if self.range is None else np.clip(values, *self.range)).astype(np.float32)

    def truth(self, frame: pd.DataFrame) -> np.ndarray:
        return self._values(frame)

    def absent(self, frame: pd.DataFrame) -> list[str]:
        return []

    @property
    def measures(self) -> dict[str, str]:
        if self.loss == "row_correlation":
            return {"pearson": ""}
        return {
            **({"pearson_columns": ""} if self.loss == "column_correlation" else {}),
            "rmse": "",
            "r2": "",
        }

    @property
    def start(self) -> np.ndarray:
        return np.array(self.usual or np.zeros(self.width), dtype=np.float32)

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
