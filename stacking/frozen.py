"""Frozen members: ridge, kNN and LightGBM on the features of a frozen backbone, fold by fold, like any head."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from ..datasets.folds import FoldPlan
from ..datasets.onehot import OnehotTarget
from ..datasets.predictions import REFIT, Predictions
from ..datasets.targets import Target
from ..scoring.metrics import Array
from ..scoring.neighbours import neighbours
from ..training.randomness import seed_of
from ..transfer.embedding import Embeddings, JoinedEmbeddings
from ..transfer.outofsample import choose_insample
from .boosting import Boosting
from .columns import TableColumns
from .level2 import INNER_REPEATS, INNER_SHARE, Learner, Model
from .ridge import FLOOR, Ridge, Split

VIEW = "mean"
"""The one view of a frozen member: its features are means over the images and views of a row."""


@dataclass(frozen=True)
class FrozenWork:
    """Everything one frozen member reads for one fold.

    Attributes:
        task: its name.
        learner: `ridge`, `knn` or `lightgbm`.
        target: its coding, without statistics.
        fold: the fold whose validation rows stay unseen, or `REFIT`: all labelled rows are learned from.
        frame: the labelled rows, indexed by id.
        embeddings: of train and test rows; where each fold has its own backbone, those of this fold's.
        table: columns of the table that join the features, or None.
        test_ids: the rows to predict.
        threads: threads of LightGBM.
    """

    task: str
    learner: str
    target: Target
    fold: int
    frame: pd.DataFrame
    plan: FoldPlan
    embeddings: Embeddings | JoinedEmbeddings
    table: TableColumns | None
    test_ids: np.ndarray
    seed: int
    threads: int

    def training_ids(self) -> np.ndarray:
        """The fold's training rows (all rows for a refit) that have features and carry any label.

        Raises:
            ValueError: fewer than two.
        """
        ids = self.frame.index.to_numpy() if self.fold == REFIT else self.plan.train_ids(self.fold)
        ids = ids[self.embeddings.known(ids)]
        ids = np.sort(ids[np.isfinite(self.target.truth(self.frame.loc[ids])).any(axis=1)])
        if len(ids) < 2:
            raise ValueError(
                f"task {self.task}, fold {self.fold}: expected at least two labelled, readable training rows, "
                f"received {len(ids)}"
            )
        return ids

    def inputs(self, ids: np.ndarray) -> Array:
        """Features (N, D): the embedding, then the table's columns, in which a missing value is NaN."""
        embedded = self.embeddings.of(ids).astype(np.float64)
        if self.table is None:
            return embedded
        columns = pd.concat([self.table.train, self.table.test]).loc[ids].to_numpy(dtype=np.float64)
        return np.concatenate([embedded, columns], axis=1)

    def names(self) -> list[str]:
        """The D features' names."""
        embedded = [f"embedding.d{j}" for j in range(sum(self.embeddings.widths))]
        return embedded if self.table is None else embedded + list(self.table.names)


def predict_frozen(work: FrozenWork) -> tuple[Predictions, dict[str, Any]]:
    """Fit one fold's member and predict its validation rows, the test rows and a few training rows.

    Settings (penalty, rounds) come from splits of the training rows by the other folds, or from repeated grouped ones
    where there are none; the scored fold has no part in them. Statistics of the target are those of the training rows,
    as for heads.

    Returns:
        The predictions of this fold model in one view, the mean; rows without features have none. And a card of plain
        values: settings, rows, classes that no training row has.
    """
    ids = work.training_ids()
    rows = work.frame.loc[ids]
    target = work.target.fit(rows)
    fitted, settings = _fit(work, target, ids)
    roles = {"test": work.test_ids}
    if work.fold != REFIT:
        shown = choose_insample(ids, work.fold, work.plan.n, work.seed)
        roles = {"oof": work.plan.valid_ids(work.fold), **roles, "insample": shown}
    parts = []
    for role, asked in roles.items():
        known = asked[work.embeddings.known(asked)]
        outputs = np.zeros((0, target.width))
        if len(known):
            x = work.inputs(known)
            outputs = np.empty((len(known), target.width))
            for columns, model in fitted:
                outputs[:, columns] = model.predict(x)
        part = pd.DataFrame(_decode(target, outputs), columns=pd.Index(target.columns))
        part.insert(0, "id", known)
        part.insert(1, "role", role)
        part.insert(2, "fold", work.fold)
        part.insert(3, "view", 0)
        parts.append(part)
    predictions = Predictions(
        frame=pd.concat(parts, ignore_index=True),
        task=work.task,
        columns=tuple(target.columns),
        space=target.space,
        plan=work.plan.hash,
        views=(VIEW,),
        decodes=target.decodes,
        classes=target.classes,
    )
    card = {
        "learner": work.learner,
        "rows": len(ids),
        "features": len(work.names()),
        "settings": settings,
        "target": target.state(),
        "absent_classes": target.absent(rows),
    }
    return predictions, card


def _fit(
    work: FrozenWork, target: Target, ids: np.ndarray
) -> tuple[list[tuple[list[int], Model]], list[dict[str, Any]]]:
    """One model for each set of outputs that are labelled in the same rows."""
    # Smoothing is put on the probabilities afterwards: trees learn classes, not shares of them.
    plain = dataclasses.replace(target, smoothing=0.0) if isinstance(target, OnehotTarget) else target
    y = plain.encode(work.frame.loc[ids]).astype(np.float64)  # (N, D)
    x, names = work.inputs(ids), work.names()
    learner = _learner(work, target)
    labelled = np.isfinite(y)
    alike: dict[bytes, list[int]] = {}
    for column in range(y.shape[1]):
        alike.setdefault(labelled[:, column].tobytes(), []).append(column)
    fitted: list[tuple[list[int], Model]] = []
    settings = []
    for columns in alike.values():
        here = labelled[:, columns[0]]
        known, wanted = x[here], y[here][:, columns]
        seed = seed_of(work.seed, "frozen", work.task, work.fold) % 2**31
        setting = learner.tune(known, wanted, names, inner_splits(work.plan, ids[here], seed))
        fitted.append((columns, learner.fit(known, wanted, names, setting)))
        settings.append({"outputs": columns, **setting})
    return fitted, settings


def inner_splits(plan: FoldPlan, ids: np.ndarray, seed: int) -> list[Split]:
    """Splits of one fold model's N training rows, by which it chooses its settings; no group is parted.

    Args:
        plan: the run's fold plan.
        ids: the rows, sorted.
        seed: of the repeated splits.

    Returns:
        Positions (fit, held) of each: every other fold held out in turn, while rows that no fold validates are always
        fitted on; `INNER_REPEATS` grouped splits where fewer than two other folds are left.
    """
    folds = plan.fold_of(ids)
    others = np.unique(folds[folds >= 0])
    if len(others) > 1:
        return [(np.flatnonzero(folds != k), np.flatnonzero(folds == k)) for k in others]
    splits = []
    for repeat in range(INNER_REPEATS):
        fit, held = plan.inner_split(ids, INNER_SHARE, seed + repeat)
        splits.append((np.searchsorted(ids, fit), np.searchsorted(ids, held)))
    return splits


def _learner(work: FrozenWork, target: Target) -> Learner:
    classes = isinstance(target, OnehotTarget)
    seed = seed_of(work.seed, "frozen", work.task, work.fold, "lightgbm") % 2**31
    learners: dict[str, Learner] = {
        "ridge": Ridge(classes),
        "knn": Nearest(classes, work.embeddings.widths),
        "lightgbm": Boosting(classes, False, work.threads, seed),
    }
    return learners[work.learner]


def _decode(target: Target, outputs: Array) -> np.ndarray:
    """Outputs (N, D) in the units of the table; probabilities pass a target's softmax as logarithms."""
    if isinstance(target, OnehotTarget):
        smooth = (1 - target.smoothing) * outputs + target.smoothing / target.width
        outputs = np.log(np.maximum(smooth, np.finfo(np.float64).tiny))
    return target.decode(outputs)


@dataclass(frozen=True)
class NearestModel:
    """Rows whose neighbours are asked.

    Args:
        bank: (N, D) features, scaled.
        y: (N, O) their outputs.
        embedded: how many of the D features are the embedding, or each of several; the others are columns of the table.
        mean, scale: of the columns among the N rows.
        probabilities: whether the outputs are class probabilities, which then are at least about `FLOOR`.
    """

    bank: Array
    y: Array
    embedded: tuple[int, ...]
    mean: Array
    scale: Array
    probabilities: bool

    def predict(self, x: Array) -> Array:
        """Outputs (M, O) of features (M, D)."""
        outputs = neighbours(self.bank, self.y, _blocks(x, self.embedded, self.mean, self.scale))
        if not self.probabilities:
            return outputs
        outputs = np.clip(outputs, FLOOR, 1.0)  # a class that no neighbour has is not impossible
        return outputs / outputs.sum(axis=1, keepdims=True)

    def state(self) -> dict[str, Any]:
        """What to write down about it, as plain JSON values."""
        return {"rows": len(self.bank)}


@dataclass(frozen=True)
class Nearest:
    """Weighted nearest neighbours by cosine; there is nothing to choose.

    Columns of a table are standardised over the training rows, a missing one is their mean; each embedding and
    the columns then have length 1, so that the similarity is the mean of the blocks' and none drowns another.

    Args:
        probabilities: whether the outputs are class probabilities or values.
        embedded: how many of the features, from the first, are the embedding, or each of several.
    """

    probabilities: bool
    embedded: tuple[int, ...]

    def tune(self, x: Array, y: Array, names: Sequence[str], splits: Sequence[Split]) -> dict[str, Any]:
        """No settings."""
        return {}

    def fit(self, x: Array, y: Array, names: Sequence[str], setting: dict[str, Any]) -> NearestModel:
        """Keep the rows (N, D) and their outputs (N, O)."""
        columns = x[:, sum(self.embedded) :]
        known = np.isfinite(columns)
        count = np.maximum(known.sum(axis=0), 1)
        mean = np.where(known, columns, 0.0).sum(axis=0) / count
        scale = np.sqrt(np.where(known, (columns - mean) ** 2, 0.0).sum(axis=0) / count)
        scale = np.where(scale > 0, scale, 1.0)
        bank = _blocks(x, self.embedded, mean, scale)
        return NearestModel(bank, y, self.embedded, mean, scale, self.probabilities)


def _blocks(x: Array, embedded: tuple[int, ...], mean: Array, scale: Array) -> Array:
    """(N, D) features whose embeddings and table columns have length 1 each."""
    ends = np.cumsum(embedded)
    columns = np.nan_to_num((x[:, ends[-1] :] - mean) / scale)
    blocks = [x[:, end - width : end] for end, width in zip(ends, embedded, strict=True)]
    return np.concatenate([_unit(block) for block in (*blocks, columns)], axis=1)


def _unit(x: Array) -> Array:
    return x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)
