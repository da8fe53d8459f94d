"""Frozen features of every start of an ablation, probed with few and with all labels."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..backbones import build_backbone, starting_from
from ..datasets.files import digest, read_json, write_json
from ..datasets.inputs import Inputs
from ..pretext.probes import probe
from ..pretext.probing import ProbeRows, embed_first, probe_rows, raw_features
from ..training.randomness import reseed_global
from .checkpoints import checkpoint_file, checkpoint_of, file_digest
from .console import Console
from .stages import Stages
from .variants import Plan
from .workspace import Workspace

RAW = "raw inputs"
"""The start without a network: pixels, or the columns of a table."""
LABELS: tuple[int | None, ...] = (100, 500, None)
"""Rows to learn from; None: all."""
DRAWS = 5
"""Draws of so few rows, whose scores are averaged."""
PROBES = "ablation.probes.json"
ProbeTable = Mapping[str, dict[str, float]]


def probe_starts(
    workspace: Workspace, head: str, plan: Plan, path: Path, console: Console, *, raw: bool = False
) -> ProbeTable:
    """Probe the backbone behind every start, as it is before fine-tuning.

    A ridge with 100, 500 and all labelled rows, and the nearest neighbours with all, out of fold on the plan of the
    run. Of an inductive pretext fold k is scored with the checkpoint that has not seen it, and the scores are averaged.

    Args:
        workspace: of the plan's config.
        head: the user's name of the head.
        plan: its rows.
        path: a file of finished scores, of any number of plans; those are read from it.
        console: told how far it is.
        raw: probe the raw inputs too.

    Returns:
        start -> {`ridge.100`, `ridge.500`, `ridge.all`, `knn.all`: score}; higher is better.
    """
    stages, known = Stages(workspace), _known(path, console)
    first = plan.variants[0].task
    starts = [RAW] if raw else []
    starts += dict.fromkeys(variant.init for variant in plan.variants)
    table: dict[str, dict[str, float]] = {}
    for number, start in enumerate(starts):
        key = _key(workspace, stages, start, first)
        if key not in known:
            console.counting("probes of the starts", number, len(starts))
            known[key] = _probe(workspace, head, start, first)
            write_json(path, known)
        table[start] = known[key]
    console.counting("probes of the starts", len(starts), len(starts))
    return {start: scores for start, scores in table.items() if scores}


def _known(path: Path, console: Console) -> dict[str, dict[str, float]]:
    """The scores that an earlier command has found; a damaged file is told of and found again."""
    if not path.exists():
        return {}
    try:
        return {
            str(key): {str(name): float(value) for name, value in scores.items()}
            for key, scores in read_json(path).items()
        }
    except (ValueError, TypeError, AttributeError) as error:
        console.say(f"warning: {path} is damaged ({error}); the starts are probed again")
        return {}


def _key(workspace: Workspace, stages: Stages, start: str, task: str) -> str:
    """Names what the scores of a start depend on."""
    behind = [stage.key for stage in stages.pretrain if stage.job.name == start]
    options = workspace.config.tasks[task]
    file = file_digest(checkpoint_file(start)) if not behind and Path(start).exists() else ""
    [backbone] = options.starts  # a variant joins nothing
    pictures = workspace.inputs_digest(backbone, workspace.train.ids)
    section = workspace.config.backbones[backbone].model_dump(mode="json")
    labels = workspace.labels_digest(options.columns)
    coding = options.model_dump(mode="json", include={"kind", "columns", "options"})
    probing = workspace.config.probe.model_dump(mode="json")
    machine = [workspace.config.seed, workspace.machine_of(backbone).precision]
    parts = [start, behind, file, section, options.size, pictures, labels, workspace.plan.hash, *machine]
    return digest([*parts, coding, probing, LABELS, DRAWS])


def _probe(workspace: Workspace, head: str, start: str, task: str) -> dict[str, float]:
    """The scores of one start; of several checkpoints their mean."""
    by_name = {pretext.name: pretext for pretext in workspace.config.pretext}
    pretext = by_name.get(start)
    separate = pretext is not None and pretext.scope == "inductive" and pretext.reuse is None
    wanted = workspace.config.tasks[task].folds
    folds: list[int | None] = [None]
    if separate and not isinstance(wanted, str):
        folds = list(wanted)
    found: list[dict[str, float]] = []
    for fold in folds:
        [name] = workspace.config.tasks[task].starts
        checkpoint = None if start == RAW else checkpoint_of(workspace, workspace.run_path, start, fold)
        inputs = workspace.inputs(name, workspace.rows_to_read(name, fold), checkpoint)
        rows = probe_rows(
            {head: workspace.targets[task]},
            workspace.frame,
            workspace.plan,
            inputs,
            workspace.config.probe,
            workspace.config.seed,
            fold,
        )
        if rows is None:
            continue
        features = _features(workspace, inputs, rows, start, task, checkpoint)
        found.append(_scores(rows, head, features, workspace.config.seed))
    names = list(dict.fromkeys(name for scores in found for name in scores))
    return {name: float(np.mean([scores[name] for scores in found if name in scores])) for name in names}


def _scores(rows: ProbeRows, head: str, features: torch.Tensor, seed: int) -> dict[str, float]:
    kind, values = rows.targets[head]
    scored = None if rows.scored is None else [rows.scored]

    def score(**few: Any) -> dict[str, float]:
        shared: dict[str, Any] = {"groups": rows.groups, "scored": scored, "k": rows.neighbours}
        return dict(probe(features, values, kind, rows.folds, **shared, **few))

    found: dict[str, float] = {}
    for labels in LABELS:
        if labels is None:
            best = {name: value for name, value in score().items() if not name.endswith(".rmse")}
            found |= {f"{name.split('.')[0]}.all": value for name, value in best.items()}
        elif labels < len(rows.ids) // 2:
            draws = [
                score(labels=labels, draws=np.random.default_rng([seed, number])) for number in range(DRAWS)
            ]
            found[f"ridge.{labels}"] = float(np.mean([_ridge(one) for one in draws]))
    return found


def _ridge(scores: Mapping[str, float]) -> float:
    return next(
        value for name, value in scores.items() if name.startswith("ridge.") and not name.endswith(".rmse")
    )


def _features(
    workspace: Workspace, inputs: Inputs, rows: ProbeRows, start: str, task: str, checkpoint: Path | None
) -> torch.Tensor:
    """(N, D) features of the rows' first inputs."""
    if start == RAW:
        return raw_features(inputs, rows.ids)
    options = workspace.config.tasks[task]
    reseed_global(workspace.config.seed, "probe", "scratch")
    [name] = options.starts
    section = starting_from(workspace.config.backbones[name], checkpoint)
    backbone, machine = (
        build_backbone(section, inputs.takes, options.size),
        workspace.machine_of(name),
    )
    machine.lay_out(backbone)
    return embed_first(backbone, inputs, rows.ids, machine)
