"""Rows of an ablation, trained and read: what each head said of rows that it never saw."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from ..configs import Config
from ..datasets.files import digest
from ..datasets.predictions import Predictions
from ..scoring.intervals import Interval, paired_interval
from ..scoring.metrics import METRICS, Metric
from ..transfer.scores import validated_rows
from .manifest import Manifest
from .stages import Stages
from .variants import Plan, Variant
from .workspace import Workspace


@dataclass(frozen=True, eq=False)
class Judged:
    """One row: out-of-fold predictions beside the truth, both indexed by id.

    Attributes:
        variant: which row.
        truth, guesses: (N, K) and (n, K).
        measure, unit: the first measure of the head's target.
        minutes: of pretraining behind it.
        path: the run directory.
    """

    variant: Variant
    truth: pd.DataFrame
    guesses: pd.DataFrame
    measure: str
    unit: str
    minutes: float
    path: Path

    @property
    def metric(self) -> Metric:
        """The measure."""
        return METRICS[self.measure]

    @property
    def score(self) -> float:
        """The score of all rows that were predicted."""
        return self.metric.function(*self.arrays(self.guesses.index))

    def arrays(self, ids: pd.Index) -> tuple[np.ndarray, np.ndarray]:
        """Truth and predictions of some rows as the metric wants them."""
        truth = self.truth.loc[ids].to_numpy()
        return (truth.argmax(axis=1) if self.metric.kind == "probability" else truth), self.guesses.loc[
            ids
        ].to_numpy()


@dataclass(frozen=True)
class Gain:
    """How much better one row is than another, on the rows that both predicted, in units of the metric."""

    value: float
    interval: Interval
    folds: dict[int, float]


def judge(plan: Plan, path: Path, smoke: bool = False) -> Iterator[Judged]:
    """Read the rows of a run that is finished up to its features."""
    workspace = Workspace(plan.config, smoke=smoke)
    stages, manifest = Stages(workspace), Manifest(path)
    for variant in plan.variants:
        target = workspace.targets[variant.task]
        predictions = Predictions.read(path / "predictions" / f"{variant.task}.parquet")
        truth, guesses = validated_rows(predictions, target, workspace.frame, workspace.plan)
        measure, unit = next(iter(target.measures.items()))
        behind = _behind(plan.config, variant.init)
        seconds = sum(
            manifest.entries[stage.name].seconds
            for stage in stages.pretrain
            if stage.job.name in behind and stage.name in manifest.entries
        )
        yield Judged(variant, truth, guesses, measure, unit, seconds / 60, path)


def scored_by(workspace: Workspace, task: str) -> str:
    """Names what a head is scored by: truth, measure, folds and seed. Scores of equal names can be compared."""
    target = workspace.targets[task]
    frame = workspace.frame.sort_index()
    truth = np.ascontiguousarray(target.truth(frame))
    content = hashlib.sha256(truth.tobytes()).hexdigest()
    measures = list(target.measures.items())
    return digest(
        [frame.index.tolist(), truth.shape, content, measures, workspace.plan.hash, workspace.config.seed]
    )


def paired_gain(
    judged: Judged, reference: Judged, workspace: Workspace, generator: np.random.Generator
) -> Gain:
    """Compare two rows, with a paired group-bootstrap interval.

    Raises:
        ValueError: no row was predicted by both.
    """
    metric = judged.metric
    ids = judged.guesses.index.intersection(reference.guesses.index)
    if not len(ids):
        raise ValueError(
            f"{judged.variant.label}: expected rows that {reference.variant.label} predicted too, received none"
        )
    sign = 1.0 if metric.greater_is_better else -1.0
    truth, guesses = judged.arrays(ids)
    _, others = reference.arrays(ids)
    groups = np.asarray(workspace.plan.group_of(ids)).astype(str)
    gap = paired_interval(metric, truth, guesses, others, groups, generator)
    low, high = sorted((sign * gap.low, sign * gap.high))
    of = workspace.plan.fold_of(ids)

    def gain(rows: np.ndarray) -> float:
        return sign * (
            metric.function(truth[rows], guesses[rows]) - metric.function(truth[rows], others[rows])
        )

    folds = {int(fold): gain(of == fold) for fold in np.unique(of)}
    return Gain(gain(np.ones(len(ids), dtype=bool)), Interval(low, high, gap.level, gap.undefined), folds)


def _behind(config: Config, init: str) -> set[str]:
    """The pretexts that a start rests on."""
    by_name = {pretext.name: pretext for pretext in config.pretext}
    names: set[str] = set()
    while init in by_name:
        names.add(init)
        init = str(by_name[init].init)
    return names
