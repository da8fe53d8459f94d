"""Which names a word2vec head recovers: those whose vectors lie nearest to its predictions."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ..datasets.folds import FoldPlan
from ..datasets.predictions import Predictions
from ..datasets.tags import Word2vecTarget
from ..scoring.retrieval import Recall
from .scores import validated_rows


@dataclass(frozen=True)
class Example:
    """The names of one out-of-fold row and those nearest to its prediction, the nearest first."""

    id: str
    names: tuple[str, ...]
    nearest: tuple[str, ...]


@dataclass(frozen=True)
class Recovery:
    """How many of the rows' names stand among the k nearest.

    Attributes:
        task: the head.
        k: how many names are taken.
        rows: out-of-fold rows with a name of the vocabulary.
        predicted: the k names nearest to the prediction.
        frequent: the k most frequent names of the same folds' training rows: what no picture is needed for.
        ceiling: the k names nearest to the row's own vector: what a head that is always right would recover.
        examples: a few rows.
    """

    task: str
    k: int
    rows: int
    predicted: Recall
    frequent: Recall
    ceiling: Recall
    examples: tuple[Example, ...]


def recover_names(
    predictions: Predictions,
    target: Word2vecTarget,
    frame: pd.DataFrame,
    plan: FoldPlan,
    generator: np.random.Generator,
    k: int = 5,
    shown: int = 8,
) -> Recovery | None:
    """Look up the names nearest to each out-of-fold prediction.

    Args:
        predictions: of the head, of any folds of `plan`.
        target: its coding.
        frame: the labelled rows, indexed by id.
        plan: the run's fold plan.
        generator: chooses the examples.
        k: names a row.
        shown: most examples.

    Returns:
        What was found; None where no row with names was predicted.

    Raises:
        ValueError: rows that contradict the plan.
    """
    truth, guesses = validated_rows(predictions, target, frame, plan)
    if not len(guesses):
        return None
    ids = guesses.index
    names = target.lists(frame.loc[ids])
    nearest = target.nearest(guesses.to_numpy(), k)
    chosen = np.sort(generator.choice(len(ids), min(shown, len(ids)), replace=False))
    return Recovery(
        predictions.task,
        k,
        len(ids),
        predicted=Recall.of(nearest, names),
        frequent=Recall.of(_frequent(target, frame.loc[truth.index], plan, ids, k), names),
        ceiling=Recall.of(target.nearest(truth.loc[ids].to_numpy(), k), names),
        examples=tuple(Example(str(ids[row]), tuple(names[row]), tuple(nearest[row])) for row in chosen),
    )


def _frequent(
    target: Word2vecTarget, frame: pd.DataFrame, plan: FoldPlan, ids: pd.Index, k: int
) -> Sequence[list[str]]:
    """For each id the k names that the most training rows of its fold have; the first of the alphabet among equals."""
    by_fold = {}
    for fold in np.unique(folds := plan.fold_of(ids)):
        rows = target.lists(frame.loc[frame.index.intersection(pd.Index(plan.train_ids(int(fold))))])
        counts = Counter(name for row in rows for name in set(row))
        by_fold[fold] = sorted(counts, key=lambda name: (-counts[name], name))[:k]
    return [by_fold[fold] for fold in folds]
