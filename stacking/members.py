"""Members: a task's predictions as level 2 sees them: features, and the target where it decodes to it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..datasets.findings import did_you_mean
from ..datasets.folds import FoldPlan
from ..datasets.predictions import Predictions, same_plan
from ..scoring.metrics import METRICS, Array
from ..transfer.features import Features, aggregate
from .problem import Problem


@dataclass(frozen=True)
class Member:
    """One task.

    Args:
        task: its name.
        features: statistics over the views of each fold model.
        space: what it predicts: values, probabilities, ...
        folds: the folds whose validation rows it predicted.
        oof: id → (O,) predictions in the units of the problem; None if the task does not decode to it.
        test: fold model → the same for test ids; None likewise.
        insample: the same for in-sample rows, with their column ``fold``; None if there are none.
    """

    task: str
    features: Features
    space: str
    folds: frozenset[int]
    oof: pd.DataFrame | None
    test: dict[int, pd.DataFrame] | None
    insample: pd.DataFrame | None

    def values(self, ids: NDArray) -> Array:
        """The decoded out-of-fold predictions (N, O) of these ids.

        Raises:
            ValueError: the task does not decode to the target.
        """
        if self.oof is None:
            raise ValueError(
                f"task {self.task!r} does not decode to the target; put it through a ridge first."
            )
        return self.oof.loc[ids].to_numpy(dtype=np.float64)


def read_member(predictions: Predictions, problem: Problem, plan: FoldPlan, stats: Sequence[str]) -> Member:
    """Aggregate and decode one task.

    Args:
        predictions: the task's rows; checked against the plan.
        problem: what is predicted.
        plan: the run's fold plan.
        stats: statistics over the views.

    Raises:
        ValueError: rows that contradict the plan, or classes that differ from the target's.
    """
    predictions.verify(plan)
    features = aggregate(predictions, stats)
    folds = frozenset(int(fold) for fold in predictions.oof()["fold"].unique())
    matrix = _decoding(predictions, problem)
    if matrix is None:
        return Member(predictions.task, features, predictions.space, folds, None, None, None)

    def decode(rows: pd.DataFrame) -> pd.DataFrame:
        by_model = rows.drop(columns=["role", "view"]).groupby(["id", "fold"], sort=False)
        means = cast(pd.DataFrame, by_model.mean())
        values = means.to_numpy(dtype=np.float64) @ matrix
        return pd.DataFrame(values, index=means.index, columns=list(problem.outputs)).reset_index("fold")

    outputs = list(problem.outputs)
    oof, test, insample = (
        decode(predictions.oof()),
        decode(predictions.test()),
        decode(predictions.insample()),
    )
    return Member(
        predictions.task,
        features,
        predictions.space,
        folds,
        oof.loc[:, outputs],
        {fold: test.loc[test["fold"] == fold, outputs] for fold in features.test_folds},
        insample if len(insample) else None,
    )


def select_members(
    names: Sequence[str], predictions: Mapping[str, Predictions], plan: FoldPlan, *, needed: bool = True
) -> tuple[list[str], list[str]]:
    """Divide the tasks into those that are stacked and those that are only compared.

    A task trained on some folds only cannot be stacked: it lacks out-of-fold values for the rest of the rows.

    Args:
        names: the config's `members`; empty: every task with all folds.
        predictions: task → its predictions.
        plan: the run's fold plan.
        needed: whether there must be one.

    Returns:
        The stacked tasks and the others, both in the order of `predictions` (or of `names`).

    Raises:
        ValueError: an unknown or partial task named as a member, no member, or tasks of different plans.
    """
    same_plan([plan.hash, *(part.plan for part in predictions.values())], "`predictions`")
    validated = set(validated_folds(plan))
    folds = {task: {int(fold) for fold in part.oof()["fold"].unique()} for task, part in predictions.items()}
    for name in names:
        if name not in predictions:
            raise ValueError(
                f"`stack.members`: expected tasks of {list(predictions)}, received {name!r}."
                f"{did_you_mean(name, predictions)}"
            )
        if folds[name] != validated:
            raise ValueError(
                f"`stack.members`: task {name!r} has out-of-fold rows of the folds {sorted(folds[name])} "
                "only; "
                f"a member needs all of {sorted(validated)}. Train the missing folds or leave it out: "
                "it is then compared, not stacked."
            )
    members = list(dict.fromkeys(names)) or [task for task in predictions if folds[task] == validated]
    if needed and not members:
        raise ValueError(
            f"`stack.members`: no task has out-of-fold rows of all folds {sorted(validated)}; "
            f"received { ({task: sorted(found) for task, found in folds.items()}) }. Train one task on all "
            "folds."
        )
    return members, [task for task in predictions if task not in members]


def validated_folds(plan: FoldPlan) -> list[int]:
    """The folds that validate any row, in order."""
    return sorted({int(fold) for fold in plan.fold_of(plan.ids)} - {-1})


def _decoding(predictions: Predictions, problem: Problem) -> Array | None:
    """The matrix (D, O) from prediction columns to the problem's outputs; None if the task has none."""
    if predictions.space in METRICS and predictions.space != problem.metric.name:
        return None
    position = {column: j for j, column in enumerate(predictions.columns)}
    matrix = np.zeros((len(position), len(problem.outputs)))
    if problem.is_classes:
        classes = predictions.classes.get(problem.target[0])
        if not classes:
            return None
        if set(classes) != set(problem.outputs):
            raise ValueError(
                f"task {predictions.task!r}: expected probabilities of the classes {list(problem.outputs)} "
                "of "
                f"{problem.target[0]!r}, received {list(classes)}. Train the task on the same labelled rows."
            )
        for o, label in enumerate(problem.outputs):
            matrix[position[classes[label]], o] = 1.0
        return matrix
    if not all(column in predictions.decodes for column in problem.target):
        return None
    for o, column in enumerate(problem.target):
        for name, factor in predictions.decodes[column].items():
            matrix[position[name], o] = factor
    return matrix
