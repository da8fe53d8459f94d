"""Scores of single heads in the units of their own columns, whether or not a stack can use them."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from ..datasets.folds import FoldPlan
from ..datasets.predictions import Predictions
from ..datasets.targets import Target
from ..scoring.intervals import bootstrap_interval
from ..scoring.metrics import METRICS


@dataclass(frozen=True)
class TaskScore:
    """One measure of one head on the rows that its trained folds validate.

    Attributes:
        task: the head.
        measure: a name in `scoring.metrics.METRICS`.
        unit: of the score; empty if there is none.
        rows: how many rows are scored.
        score, low, high: out-of-fold score and its group-bootstrap interval.
        constant: score of the mean (of classes: the shares, of vectors: the mean vector) of the same folds' training
            rows.
    """

    task: str
    measure: str
    unit: str
    rows: int
    score: float
    low: float
    high: float
    constant: float

    @property
    def better(self) -> bool:
        """Whether the whole interval is better than the constant."""
        return all(METRICS[self.measure].better(end, self.constant) for end in (self.low, self.high))


def score_task(
    predictions: Predictions,
    target: Target,
    frame: pd.DataFrame,
    plan: FoldPlan,
    generator: np.random.Generator,
    resamples: int = 1000,
) -> list[TaskScore]:
    """Score a head by the measures of its target, on rows that its fold models never saw.

    Args:
        predictions: of the head, of any folds of `plan`.
        target: its coding.
        frame: the labelled rows, indexed by id.
        plan: the run's fold plan.
        generator: draws the resamples.
        resamples: how many.

    Returns:
        One score a measure; none where no labelled row was predicted.

    Raises:
        ValueError: rows that contradict the plan.
    """
    truth, guesses = validated_rows(predictions, target, frame, plan)
    if not len(guesses):
        return []
    folds = plan.fold_of(guesses.index)
    constant = np.empty_like(guesses.to_numpy())
    for fold in np.unique(folds):
        known = truth.index.intersection(pd.Index(plan.train_ids(int(fold))))
        constant[folds == fold] = truth.loc[known].mean().to_numpy()
    groups = plan.group_of(guesses.index).astype(str)
    scores = []
    for name, unit in target.measures.items():
        metric = METRICS[name]
        wanted = truth.loc[guesses.index].to_numpy()
        if metric.kind == "probability":
            wanted = wanted.argmax(axis=1)
        interval = bootstrap_interval(metric, wanted, guesses.to_numpy(), groups, generator, resamples)
        score = metric.function(wanted, guesses.to_numpy())
        # The means of folds run against their own rows; with one constant for all a column has the correlation 0.
        usual = metric.function(wanted, 0 * constant if name == "pearson_columns" else constant)
        scores.append(
            TaskScore(predictions.task, name, unit, len(guesses), score, interval.low, interval.high, usual)
        )
    return scores


def validated_rows(
    predictions: Predictions, target: Target, frame: pd.DataFrame, plan: FoldPlan
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """What is true, and what a head said of rows that it never saw.

    Returns:
        The truth (N, K) of all completely labelled rows, and the out-of-fold predictions (n, K) of those that were
        predicted, the mean over the views; both in float64 and indexed by id.

    Raises:
        ValueError: rows that contradict the plan.
    """
    predictions.verify(plan)
    values = target.truth(frame)
    columns = list(predictions.columns[: values.shape[1]])
    truth = pd.DataFrame(values, index=frame.index, columns=pd.Index(columns)).dropna()
    means = pd.DataFrame(predictions.oof().groupby("id")[columns].mean()).astype(np.float64)
    return truth, means.loc[truth.index.intersection(means.index)]
