"""Targets: what a head learns, from table columns to tensors and back.

A target has two parts. Its *coding* (the class list, the columns) is fixed once from all labelled rows, so that every
fold has the same outputs. Its *statistics* (mean, scale) are fitted on the training rows of one fold and undone on
export.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
import pandas as pd

from ..configs.schema import Task
from .dates import DateTarget
from .onehot import OnehotTarget
from .regression import RegressionTarget
from .tags import Word2vecTarget


class Target(Protocol):
    """One task's target."""

    @property
    def name(self) -> str:
        """The task's name."""
        ...

    @property
    def loss(self) -> str:
        """A name in `scoring.losses.LOSSES` or `BATCH_LOSSES`."""
        ...

    @property
    def space(self) -> str:
        """What a decoded column holds: `value`, `probability`, `embedding`, or the name of the one metric that such
        values are good for: all that it does not see of them is arbitrary."""
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

    @property
    def start(self) -> np.ndarray:
        """(D,) float32 raw outputs that predict what is usual: where a head starts from."""
        ...

    @property
    def notes(self) -> list[str]:
        """What a user should know of the coding, a sentence each."""
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

    def truth(self, frame: pd.DataFrame) -> np.ndarray:
        """(N, K) float64: the first K decoded columns as a head that is always right would have them; NaN where
        unlabelled. Needs no statistics."""
        ...

    @property
    def measures(self) -> dict[str, str]:
        """How such a head is scored against `truth`: {name in `scoring.metrics.METRICS`: unit}."""
        ...

    def absent(self, frame: pd.DataFrame) -> list[str]:
        """Classes that these rows lack; their columns stay."""
        ...

    def state(self) -> dict[str, Any]:
        """Everything as plain JSON values."""
        ...


KINDS: Mapping[str, Any] = {
    "regression": RegressionTarget,
    "onehot": OnehotTarget,
    "date": DateTarget,
    "word2vec": Word2vecTarget,
}


def code_target(name: str, task: Task, frame: pd.DataFrame, seed: int = 0) -> Target:
    """The target of a task, its coding fixed from all labelled rows of `frame`.

    Args:
        name: the task's name.
        task: its part of the config.
        frame: all labelled rows, indexed by id; a list of names is a column of tuples.
        seed: of what a coding draws.

    Raises:
        ValueError: the values do not suit the kind of head.
    """
    return KINDS[task.kind].code(name, task.columns, task.head_options(), frame, seed)


def restore_target(state: Mapping[str, Any]) -> Target:
    """The target that `Target.state` described."""
    kind = KINDS[state["kind"]]
    given = {part.name for part in dataclasses.fields(kind) if part.init}
    return kind(**{key: _plain(value) for key, value in state.items() if key in given})


def _plain(value: Any) -> Any:
    """Tuples, as they were before JSON made lists of them."""
    return tuple(map(_plain, value)) if isinstance(value, list) else value
