"""Scores of single heads, also when only some folds are trained: a first look before there is a ladder."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ..configs.schema import Stack
from ..datasets.folds import FoldPlan
from ..datasets.predictions import Predictions
from ..scoring.intervals import bootstrap_interval
from .members import read_member
from .problem import Problem


@dataclass(frozen=True)
class HeadScore:
    """One head on the rows that its trained folds validate.

    Attributes:
        task: the head, or `constant` for the training mean (class shares) of the same folds.
        rows: how many rows are scored.
        score, low, high: out-of-fold score and its group-bootstrap interval.
    """

    task: str
    rows: int
    score: float
    low: float
    high: float


def score_heads(
    options: Stack,
    predictions: Mapping[str, Predictions],
    truth: pd.DataFrame,
    plan: FoldPlan,
    stats: Sequence[str],
    generator: np.random.Generator,
) -> list[HeadScore]:
    """Score every head that decodes to the target, each after the constant of its rows.

    Args:
        options: the stack whose target and metric count.
        predictions: task -> its predictions, of any folds of `plan`.
        truth: the labelled rows, indexed by id.
        plan: the run's fold plan.
        stats: statistics over the views.
        generator: draws the resamples.
    """
    labelled = Problem.build(options, truth)
    scores = []
    for task, part in predictions.items():
        member = read_member(part, labelled, plan, stats)
        if member.oof is None:
            continue
        scored = labelled.take(labelled.ids[pd.Index(labelled.ids).isin(member.oof.index)])
        folds = np.asarray(plan.fold_of(scored.ids))
        constant = np.zeros((len(scored), len(scored.outputs)))
        for fold in np.unique(folds):
            known = pd.Index(plan.train_ids(int(fold))).isin(labelled.ids)
            constant[folds == fold] = labelled.constant(plan.train_ids(int(fold))[known])
        groups = np.asarray(plan.group_of(scored.ids)).astype(str)
        for name, values in (("constant", constant), (task, member.values(scored.ids))):
            decided = scored.decide(values)
            interval = bootstrap_interval(scored.metric, scored.truth, decided, groups, generator)
            scores.append(HeadScore(name, len(scored), scored.score(values), interval.low, interval.high))
    return scores
