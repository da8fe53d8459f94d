"""Which names a word2vec head recovers: those of the training rows whose vectors lie nearest to its predictions."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from sklearn.neighbors import NearestNeighbors

from ..datasets.folds import FoldPlan
from ..datasets.predictions import Predictions
from ..datasets.tags import Word2vecTarget
from ..scoring.retrieval import Recall
from .scores import validated_rows

MOST = 5000
"""Most out-of-fold rows to look up, and a fourth of the most training rows to look among."""


@dataclass(frozen=True)
class Example:
    """The names of one out-of-fold row, those found for it, and those whose own vectors are nearest to it."""

    id: str
    names: tuple[str, ...]
    found: tuple[str, ...]
    nearest: tuple[str, ...]


@dataclass(frozen=True)
class Recovery:
    """How many of the rows' names stand among k names found for them.

    Attributes:
        task: the head.
        k: how many names are taken.
        rows: out-of-fold rows with a name of the vocabulary that were looked up.
        predicted: the names that the training rows nearest to the prediction carry most often.
        nearest: the names whose own vectors are nearest to the prediction. A row's vector is the mean of its names',
            and rare names, which have hardly moved from where they started, lie nearer to such means than frequent
            ones.
        frequent: the most frequent names of the same training rows: what no picture is needed for.
        ceiling: as `predicted`, for a head that is always right.
        examples: a few rows.
    """

    task: str
    k: int
    rows: int
    predicted: Recall
    nearest: Recall
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
    neighbours: int = 20,
    shown: int = 8,
) -> Recovery | None:
    """Look up names for each out-of-fold prediction, among the training rows of the fold model that made it.

    Args:
        predictions: of the head, of any folds of `plan`.
        target: its coding.
        frame: the labelled rows, indexed by id.
        plan: the run's fold plan.
        generator: chooses the examples, and the rows where there are more than `MOST`.
        k: names a row.
        neighbours: training rows that vote.
        shown: most examples.

    Returns:
        What was found; None where no row with names was predicted.

    Raises:
        ValueError: rows that contradict the plan.
    """
    truth, guesses = validated_rows(predictions, target, frame, plan)
    if not len(guesses):
        return None
    guesses = guesses.iloc[_some(len(guesses), MOST, generator)]
    names = pd.Series(target.lists(frame.loc[truth.index]), index=truth.index, dtype=object)
    ids, folds = guesses.index, plan.fold_of(guesses.index)
    predicted, frequent, ceiling = ({} for _ in range(3))
    for fold in np.unique(folds):
        known = truth.loc[truth.index.intersection(pd.Index(plan.train_ids(int(fold))))]
        known = known.iloc[_some(len(known), 4 * MOST, generator)]
        voters = _Voters(known.to_numpy(), names.loc[known.index].tolist(), neighbours)
        here = ids[folds == fold]
        predicted |= zip(here, voters.elect(guesses.loc[here].to_numpy(), k), strict=True)
        ceiling |= zip(here, voters.elect(truth.loc[here].to_numpy(), k), strict=True)
        frequent |= dict.fromkeys(here, voters.usual[:k])
    own = names.loc[ids].tolist()
    nearest = dict(zip(ids, target.nearest(guesses.to_numpy(), k), strict=True))
    recalls = [
        Recall.of([found[name] for name in ids], own) for found in (predicted, nearest, frequent, ceiling)
    ]
    chosen = ids[_some(len(ids), shown, generator)]
    examples = (
        Example(str(name), tuple(names[name]), tuple(predicted[name]), tuple(nearest[name]))
        for name in chosen
    )
    return Recovery(predictions.task, k, len(ids), *recalls, examples=tuple(examples))


class _Voters:
    """Rows whose vectors (n, D) and names are known; those nearest to a vector elect names for it."""

    def __init__(self, vectors: np.ndarray, names: Sequence[Sequence[str]], neighbours: int) -> None:
        self.names = names
        counts = Counter(name for row in names for name in set(row))
        self.usual = sorted(counts, key=lambda name: (-counts[name], name))
        self.place = {name: place for place, name in enumerate(self.usual)}
        self.search = NearestNeighbors(
            n_neighbors=min(neighbours, len(vectors)), metric="cosine", algorithm="brute"
        ).fit(vectors)

    def elect(self, vectors: np.ndarray, k: int) -> list[list[str]]:
        """The k names with the most votes; among equals, and where there are too few, the more frequent."""
        elected = []
        for row in self.search.kneighbors(vectors, return_distance=False):  # (neighbours,)
            votes = Counter(name for place in row for name in set(self.names[place]))
            candidates = {*votes, *self.usual[:k]}
            elected.append(sorted(candidates, key=lambda name: (-votes[name], self.place[name]))[:k])
        return elected


def _some(count: int, most: int, generator: np.random.Generator) -> np.ndarray:
    """Places of at most `most` rows out of `count`, in order."""
    return np.sort(generator.choice(count, min(count, most), replace=False))
