"""Probing: the labelled rows that a run tests its frozen features on, and the scores of a backbone on them."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from ..configs.schema import Probe
from ..datasets.folds import FoldPlan
from ..datasets.inputs import Inputs
from ..datasets.targets import Target
from ..training.device import Machine
from ..training.modality import seen
from ..training.randomness import generator
from .probes import MEASURES, Kind, column_features, pixel_features, probe

BATCH = 64
Scores = dict[str, float]


@dataclass(frozen=True)
class ProbeRows:
    """The N labelled rows of a probe.

    Attributes:
        ids: (N,) rows with a readable input; each is represented by its first one.
        folds: (N,) the fold that scores a row; -1 for one that is only learned from.
        groups: (N,) rows of one group are never parted.
        targets: task -> what it is and its values (N, K), NaN where unlabelled.
        neighbours: k.
        scored: the one fold to score, whose rows an inductive pretext has not seen; None: all.
    """

    ids: np.ndarray
    folds: np.ndarray
    groups: np.ndarray
    targets: Mapping[str, tuple[Kind, np.ndarray]]
    neighbours: int
    scored: int | None = None

    def scores(self, features: Tensor) -> Scores:
        """Score features (N, D): `era.knn.r2`, `era.ridge.r2` and so on for each task."""
        scored = None if self.scored is None else [self.scored]
        return {
            f"{task}.{name}": value
            for task, (kind, values) in self.targets.items()
            for name, value in probe(
                features, values, kind, self.folds, groups=self.groups, scored=scored, k=self.neighbours
            )
        }

    def inner(self) -> "ProbeRows | None":
        """The same without the scored rows: what an inductive pretext may choose by.

        None if too little is left. Without a scored fold all rows are left, so that the choice has seen every label.
        """
        if self.scored is None:
            return self
        kept = self.folds != self.scored
        return _sufficient(
            ProbeRows(
                self.ids[kept],
                self.folds[kept],
                self.groups[kept],
                {task: (kind, values[kept]) for task, (kind, values) in self.targets.items()},
                self.neighbours,
            )
        )


def probe_rows(
    targets: Mapping[str, Target],
    frame: pd.DataFrame,
    plan: FoldPlan,
    inputs: Inputs,
    options: Probe,
    seed: int,
    fold: int | None = None,
) -> ProbeRows | None:
    """Gather the labelled rows of a run.

    Args:
        targets: of all tasks.
        frame: the train rows, indexed by id.
        plan: the run's fold plan.
        inputs: the pictures or the table of the rows.
        options: at most `options.rows` rows are kept, drawn once for all.
        seed: of that draw.
        fold: the fold whose rows the pretext has not seen; None: it has seen those of all, and all are scored.

    Returns:
        The rows, or None where no task has rows to learn from and rows to score.
    """
    ids = plan.ids
    if fold is not None:
        ids = np.sort(np.concatenate([plan.train_ids(fold), plan.valid_ids(fold)])) if fold >= 0 else ids[:0]
    ids = ids[inputs.readable(ids)]
    truths: dict[str, np.ndarray] = {}
    for task, target in targets.items():
        values = target.truth(frame.loc[ids])
        alike = (other for other in truths if _kind(targets[other]) == _kind(target))
        # Several heads of one target, as in an ablation, say the same.
        if not any(np.array_equal(values, truths[other], equal_nan=True) for other in alike):
            truths[task] = values
    labelled = np.zeros(len(ids), dtype=bool)
    for values in truths.values():
        labelled |= np.isfinite(values).all(axis=1)
    kept = np.flatnonzero(labelled)
    if len(kept) > options.rows:
        order = torch.randperm(len(kept), generator=generator(seed, "probe", "rows")).numpy()
        kept = np.sort(kept[order[: options.rows]])
    ids = ids[kept]
    folds = plan.fold_of(ids)
    return _sufficient(
        ProbeRows(
            ids,
            folds,
            np.asarray(plan.group_of(ids)),
            {task: (_kind(targets[task]), values[kept]) for task, values in truths.items()},
            options.neighbours,
            fold,
        )
    )


def summary(scores: Scores) -> float:
    """One number to choose by: the mean over the tasks of the ridge's r2, accuracy, cosine or correlation."""
    found = [
        value
        for name, value in scores.items()
        if ".ridge." in name and not name.endswith(".rmse") and np.isfinite(value)
    ]
    return float(np.mean(found)) if found else float("-inf")


def embed_first(backbone: Any, inputs: Inputs, ids: np.ndarray, machine: Machine) -> Tensor:
    """Features of the first input of each row, a picture resized plainly to the size the backbone was built for.

    Args:
        backbone: on the machine's device; afterwards in the mode in which it came.
        inputs: pictures or a table.
        ids: N rows with a readable input.
        machine: device and precision.

    Returns:
        (N, D) float32 on the CPU.
    """
    training = backbone.training
    backbone.eval()
    try:
        with torch.inference_mode():
            parts = [
                _features(backbone, batch.to(machine.device), machine) for batch in first_inputs(inputs, ids)
            ]
    finally:
        backbone.train(training)
    return torch.cat(parts).clone()


def first_inputs(inputs: Inputs, ids: np.ndarray) -> Iterator[Tensor]:
    """Batches (B, ...) of the first readable input of each row."""
    positions = inputs.first(ids)
    for start in range(0, len(positions), BATCH):
        yield inputs.store.gather(positions[start : start + BATCH])


def baselines(
    rows: ProbeRows, inputs: Inputs, machine: Machine, backbones: Mapping[str, Callable[[], Any]]
) -> dict[str, Scores]:
    """Score raw pixels, or the raw columns of a table, and several backbones on the same rows.

    Args:
        rows: what they are tested on.
        inputs: pictures or a table.
        machine: where the backbones run.
        backbones: name -> how to build it; one is held at a time.

    Returns:
        name -> scores, the raw inputs first.
    """
    table = {raw_name(inputs): rows.scores(raw_features(inputs, rows.ids))}
    for name, build in backbones.items():
        backbone = build()
        machine.lay_out(backbone)
        table[name] = rows.scores(embed_first(backbone, inputs, rows.ids, machine))
    return table


def raw_name(inputs: Inputs) -> str:
    """What the inputs without a network are called."""
    return "raw columns" if inputs.schema_files else "raw pixels"


def raw_features(inputs: Inputs, ids: np.ndarray) -> Tensor:
    """Features (N, K) without a network: principal axes of shrunken pictures, or of the columns of a table."""
    batches = first_inputs(inputs, ids)
    return column_features(batches, inputs.takes) if inputs.schema_files else pixel_features(batches)


def _features(backbone: Any, batch: Tensor, machine: Machine) -> Tensor:
    shown = seen(backbone, batch, ["identity"])
    with machine.autocast():
        features = backbone(shown)
    return features.float().cpu()


def _kind(target: Target) -> Kind:
    """By the first measure; a target may have others that a probe does not report."""
    first = next(iter(target.measures))
    kinds: dict[str, Kind] = {measures[0]: kind for kind, measures in MEASURES.items()}
    if first not in kinds:
        raise ValueError(
            f"task {target.name}: expected one of {list(kinds)} as first measure, received {first}"
        )
    return kinds[first]


def _sufficient(rows: ProbeRows) -> ProbeRows | None:
    """The same with only those tasks that have a fold to score and two labelled rows outside of it."""
    wanted = np.unique(rows.folds[rows.folds >= 0]) if rows.scored is None else [rows.scored]
    targets = {}
    for task, (kind, values) in rows.targets.items():
        present = np.isfinite(values).all(axis=1)
        if any(
            (present & (rows.folds == fold)).any() and (present & (rows.folds != fold)).sum() > 1
            for fold in wanted
        ):
            targets[task] = (kind, values)
    if not targets:
        return None
    return ProbeRows(rows.ids, rows.folds, rows.groups, targets, rows.neighbours, rows.scored)
