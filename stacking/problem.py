"""Problem: what level 2 predicts, in the form its models and metric want."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..configs.schema import Stack
from ..datasets.findings import did_you_mean, name_some
from ..datasets.onehot import class_label
from ..scoring.metrics import Array, Metric, get_metric


@dataclass(frozen=True)
class Problem:
    """The labelled rows of one stack.

    Args:
        target: the K target columns.
        metric: how predictions are scored.
        outputs: names of the O predicted columns: the target columns, or the C class labels.
        ids: the ids (N,).
        truth: (N, K) values, or (N,) class codes.
        range: smallest and largest allowed prediction, or None.
        levels: the known classes as numbers, for metrics that round to them, or None.
    """

    target: tuple[str, ...]
    metric: Metric
    outputs: tuple[str, ...]
    ids: NDArray
    truth: Array
    range: tuple[float, float] | None
    levels: Array | None

    @classmethod
    def build(cls, options: Stack, truth: pd.DataFrame) -> "Problem":
        """Read the target columns of the labelled table.

        Args:
            options: the stack's section of the config.
            truth: the labelled rows, indexed by id (text); rows with a missing target are left out.

        Raises:
            ValueError: a column that does not exist or does not suit the metric, or no labelled row at all.
        """
        target = tuple(options.columns)
        for column in target:
            if column not in truth.columns:
                raise ValueError(
                    f"`stack.target`: expected a column of the train table, received {column!r}."
                    f"{did_you_mean(column, truth.columns)}"
                )
        if not truth.index.is_unique:
            raise ValueError("`truth` must have one row an id; received duplicate ids.")
        metric = get_metric(options.metric)
        if metric.name == "pearson" and len(target) < 2:
            raise ValueError(
                f"`stack.metric` pearson correlates within a row: expected two or more target columns, received "
                f"{list(target)}. Use pearson_columns for one."
            )
        known = truth[list(target)].dropna()
        if known.empty:
            raise ValueError(f"`stack.target` {list(target)}: expected labelled rows, received none.")
        ids = known.index.to_numpy(dtype=object).astype(str)
        if metric.kind == "probability":
            if len(target) != 1 or options.range is not None:
                raise ValueError(
                    f"`stack.metric` {metric.name} scores the classes of one column, without a range; "
                    "received "
                    f"target {list(target)}, range {options.range}. Write one stack for each column."
                )
            labels = [class_label(value) for value in known[target[0]]]
            classes = tuple(sorted(set(labels), key=_class_order))
            if len(classes) < 2:
                raise ValueError(
                    f"`stack.target` {target[0]!r}: expected two or more classes, received {list(classes)}."
                )
            code = {label: c for c, label in enumerate(classes)}
            codes = np.array([code[label] for label in labels], dtype=np.float64)
            return cls(target, metric, classes, ids, codes, None, None)
        values = known.apply(pd.to_numeric, errors="coerce").to_numpy(dtype=np.float64)  # (N, K)
        bad = ~np.isfinite(values).all(axis=1)
        if bad.any():
            raise ValueError(
                f"`stack.target` {list(target)}: metric {metric.name} needs numbers; received other values "
                "for the ids "
                f"{name_some(ids[bad])}. Use accuracy, logloss, auc or f1 for classes."
            )
        levels = None
        if metric.name == "qwk":
            levels = np.unique(values)
            if (levels != np.round(levels)).any():
                raise ValueError(
                    f"`stack.target` {list(target)}: qwk needs classes that are whole numbers; "
                    f"received {levels[levels != np.round(levels)][:5].tolist()}. Use rmse or mae."
                )
        return cls(target, metric, target, ids, values, options.range, levels)

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, ids: Sequence[str] | NDArray) -> "Problem":
        """The same problem on these ids, in this order.

        Raises:
            ValueError: an id without truth.
        """
        rows = pd.Index(self.ids).get_indexer(pd.Index(ids))
        if (rows < 0).any():
            raise ValueError(
                f"`ids` must have truth; received some without: {name_some(np.asarray(ids)[rows < 0])}."
            )
        return replace(self, ids=self.ids[rows], truth=self.truth[rows])

    @property
    def is_classes(self) -> bool:
        """Whether the outputs are class probabilities."""
        return self.metric.kind == "probability"

    @property
    def encoded(self) -> Array:
        """The truth as level 2 learns it (N, O): values, or one-hot rows."""
        return np.eye(len(self.outputs))[self.truth.astype(np.int64)] if self.is_classes else self.truth

    def clip(self, prediction: Array) -> Array:
        """Predictions (..., O) inside the allowed range."""
        return prediction if self.range is None else np.clip(prediction, *self.range)

    def decide(self, prediction: Array) -> Array:
        """Predictions (..., O) as they are scored and submitted: in range, and rounded to known classes for
        qwk.

        Args:
            prediction: values or probabilities; NaN stays NaN.
        """
        prediction = self.clip(prediction)
        if self.levels is None:
            return prediction
        cuts = (self.levels[1:] + self.levels[:-1]) / 2
        nearest = self.levels[np.searchsorted(cuts, prediction, side="right")]
        return np.where(np.isnan(prediction), np.nan, nearest)

    def score(self, prediction: Array, rows: NDArray | None = None) -> float:
        """Score predictions (n, O) of all rows, or of the rows with these positions."""
        truth = self.truth if rows is None else self.truth[rows]
        return self.metric.function(truth, self.decide(prediction))

    def constant(self, ids: Sequence[str] | NDArray) -> Array:
        """The best constant (O,) for these training ids: median for mae, class shares, else the mean.

        Shares are smoothed by one row a class, so that logloss does not punish a class that is absent from a fold.
        A fold's training shares run against its own labels: pooled over folds, their ranking would score below
        chance, so for auc and the correlation within columns the constant is that of all rows.
        """
        rows = pd.Index(self.ids).get_indexer(pd.Index(ids))
        known = self.encoded[rows[rows >= 0]]
        if not len(known):
            raise ValueError("`ids` must hold labelled training rows; received none with a known target.")
        if self.metric.name in ("auc", "pearson_columns"):
            known = self.encoded
        if self.is_classes:
            return (known.sum(axis=0) + 1) / (len(known) + known.shape[1])
        return np.median(known, axis=0) if self.metric.name == "mae" else known.mean(axis=0)


def _class_order(label: str) -> tuple[bool, float, str]:
    try:
        return (False, float(label), label)
    except ValueError:
        return (True, 0.0, label)
