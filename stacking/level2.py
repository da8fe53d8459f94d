"""Level 2: models trained on out-of-fold features, fold by fold, with what they chose nested inside.

For fold k the model learns from the out-of-fold features of all rows validated in other folds and predicts
fold k's rows. Its settings (ridge penalty, number of boosting rounds) come from inner splits:

- *nested*: chosen without fold k, by leaving out each other fold in turn. Nothing of fold k touched the
model: this is the
  score to believe, and these are the models that predict the test rows.
- *out-of-fold*: chosen on all folds, so fold k helped to choose the settings that predict it: slightly
optimistic.

Two validated folds leave one to learn from; its settings then come from repeated grouped splits of its rows.
One validated fold (hold-out) is cut into grouped parts that take the place of folds; its rows were all
predicted by one fold model, so the parts carry no trace of each other's labels.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..datasets.files import digest
from ..datasets.folds import FoldPlan
from ..scoring.metrics import Array
from ..transfer.features import Features
from .design import Design, build_design
from .problem import Problem
from .ridge import Split

PARTS = 5
INNER_SHARE = 0.25
INNER_REPEATS = 4


class Model(Protocol):
    """A fitted level-2 model."""

    def predict(self, x: Array) -> Array:
        """Outputs (N, O) of features (N, D)."""
        ...

    def state(self) -> dict[str, Any]:
        """What to write down about it, as plain JSON values."""
        ...


class Learner(Protocol):
    """A way to fit level-2 models."""

    def tune(self, x: Array, y: Array, names: Sequence[str], splits: Sequence[Split]) -> dict[str, Any]:
        """The settings that do best on the held-out rows of the splits."""
        ...

    def fit(self, x: Array, y: Array, names: Sequence[str], setting: dict[str, Any]) -> Model:
        """A model with these settings."""
        ...


@dataclass(frozen=True)
class Stacked:
    """What one learner gave.

    Args:
        nested: (N, O) predictions with settings chosen without the row's fold.
        out_of_fold: (N, O) predictions with settings chosen on all folds.
        in_sample: score of the models on their own training rows, averaged over models.
        test: (P x F, M, O): every level-2 model on every fold model's test features; their mean is the
            prediction.
        models: part → the model that was trained without it.
        settings: part → its nested settings.
        setting: the settings chosen on all folds.
        design: the matrices.
    """

    nested: Array
    out_of_fold: Array
    in_sample: float
    test: Array
    models: dict[int, Model]
    settings: dict[int, dict[str, Any]]
    setting: dict[str, Any]
    design: Design


def seeded(seed: int, *names: str) -> np.random.Generator:
    """A generator that depends on nothing but its arguments."""
    return np.random.default_rng(int(digest(seed, "stack", *names), 16))


@dataclass(frozen=True)
class Parts:
    """The outer parts of level 2, one for each row: the plan's folds, or grouped parts of a single one.

    Args:
        plan: the run's fold plan.
        ids: the N scored ids.
        part: the part (N,) of each.
        seed: seed of the inner splits of two parts.
    """

    plan: FoldPlan
    ids: NDArray
    part: NDArray[np.int64]
    seed: int

    @classmethod
    def build(cls, plan: FoldPlan, ids: NDArray, generator: np.random.Generator) -> "Parts":
        """Take the plan's folds, or cut a single validated fold into grouped parts.

        Args:
            plan: the run's fold plan.
            ids: the N scored ids; each is validated in some fold.
            generator: source of the draws.

        Raises:
            ValueError: an id that no fold validates, or a single fold with a single group.
        """
        folds = np.asarray(plan.fold_of(ids), dtype=np.int64)
        if (folds < 0).any():
            raise ValueError("`ids` must be validated by some fold; received ids that never are.")
        seed = int(generator.integers(2**31))
        if len(np.unique(folds)) > 1:
            return cls(plan, ids, folds, seed)
        _, codes, sizes = np.unique(
            np.asarray(plan.group_of(ids)).astype(str), return_inverse=True, return_counts=True
        )
        if len(sizes) < 2:
            raise ValueError(
                "level 2 needs validated rows of two groups or more to be trained and scored; received one "
                "group. "
                "Use more folds, or leave the group out."
            )
        # Shuffled groups, each to the part with the fewest rows so far.
        filled = np.zeros(min(PARTS, len(sizes)), dtype=np.int64)
        part_of_group = np.empty(len(sizes), dtype=np.int64)
        shuffled = generator.permutation(len(sizes))
        for group in shuffled[np.argsort(-sizes[shuffled], kind="stable")]:
            part_of_group[group] = filled.argmin()
            filled[filled.argmin()] += sizes[group]
        return cls(plan, ids, part_of_group[codes], seed)

    @property
    def names(self) -> list[int]:
        """The parts in order."""
        return sorted(int(k) for k in np.unique(self.part))

    def inner(self, without: int | None) -> list[Split]:
        """Splits to choose settings by, none of which holds a row of part `without`.

        Args:
            without: the part that will be predicted; None: use all rows (the optimistic choice).

        Returns:
            Positions (fit, held) of each split.
        """
        others = [j for j in self.names if j != without]
        rows = np.flatnonzero(self.part != (-1 if without is None else without))
        if len(others) > 1:
            return [(rows[self.part[rows] != j], rows[self.part[rows] == j]) for j in others]
        position = {name: row for row, name in enumerate(self.ids)}
        splits = []
        for repeat in range(INNER_REPEATS):
            fit, held = self.plan.inner_split(self.ids[rows], INNER_SHARE, self.seed + repeat)
            splits.append((np.array([position[i] for i in fit]), np.array([position[i] for i in held])))
        return splits


def stack_features(
    learner: Learner,
    features: Sequence[Features],
    problem: Problem,
    parts: Parts,
    test_ids: NDArray,
    progress: Callable[[int, int], None] | None = None,
) -> Stacked:
    """Train, score and apply one kind of level-2 model.

    Args:
        learner: how to fit.
        features: one `Features` for each task; out-of-fold rows by their type.
        problem: the N scored rows.
        parts: the outer parts of the same rows.
        test_ids: M test ids that every fold model predicted.
        progress: told (done, all) before the first and after each choice of settings, which takes nearly all the time.

    Returns:
        Predictions, models and settings.

    Raises:
        TypeError: `features` that are not `Features`.
        ValueError: features that do not come from the plan's out-of-fold rows.
    """
    design = build_design(features, parts.plan, problem.ids, test_ids)
    x, y, names = design.x, problem.encoded, design.names
    total = 1 + len(parts.names)
    tell = progress or (lambda *_: None)
    tell(0, total)
    setting = learner.tune(x, y, names, parts.inner(None))
    nested, naive = np.empty_like(y), np.empty_like(y)
    models: dict[int, Model] = {}
    settings: dict[int, dict[str, Any]] = {}
    in_sample = []
    for done, k in enumerate(parts.names, 1):
        tell(done, total)
        rows, held = np.flatnonzero(parts.part != k), np.flatnonzero(parts.part == k)
        settings[k] = learner.tune(x[rows], y[rows], names, _within(parts.inner(k), rows))
        models[k] = learner.fit(x[rows], y[rows], names, settings[k])
        same = settings[k] == setting
        naive_model = models[k] if same else learner.fit(x[rows], y[rows], names, setting)
        nested[held], naive[held] = models[k].predict(x[held]), naive_model.predict(x[held])
        in_sample.append(problem.score(models[k].predict(x[rows]), rows))
    tell(total, total)
    test = np.empty((0, 0, y.shape[1]))
    if design.test:
        test = np.stack(
            [model.predict(values) for model in models.values() for values in design.test.values()]
        )
    return Stacked(nested, naive, float(np.mean(in_sample)), test, models, settings, setting, design)


def _within(splits: Sequence[Split], rows: NDArray[np.int64]) -> list[Split]:
    """The same splits as positions inside `rows`, which is sorted."""
    return [(np.searchsorted(rows, fit), np.searchsorted(rows, held)) for fit, held in splits]
