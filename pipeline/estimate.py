"""What a run will cost: a few timed steps of the real networks, scaled to the work that is left."""

import resource
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from ..backbones import build_backbone
from ..configs.schema import Pretext
from ..configs.section import several
from ..pretext.pretrain import build_pretext
from ..training.fit import FitOptions, Training, fit
from ..training.modality import seen
from ..training.optimiser import parameter_groups
from ..training.predicting import prepare
from ..training.schedule import Schedule
from ..transfer.importance import SHUFFLED
from ..transfer.network import HeadNetwork
from .embeddings import embeddings
from .manifest import Stage
from .networks import ATTENTION
from .preflight import untrained
from .stages import Stages, pretrain_ids
from .workspace import Workspace

TIMED_STEPS = 3
COMPILING_PAYS = 600.0
"""Seconds of an eager training from which compiling a TabNet is worth it: that takes about a minute and saves a fifth
to two fifths of a step (`benchmarks/tabnet.py`)."""
EMBEDDED = 64  # images in a timed step of a frozen backbone
COMPARED = 8192  # rows of a timed search for near ones


@dataclass(frozen=True)
class Estimate:
    """What a run takes.

    Attributes:
        seconds: of each stage.
        memory: peak of this process after a trial step, on the host, in bytes.
        disk: what the run will take, in bytes.
    """

    seconds: dict[str, float]
    memory: int
    disk: int

    @property
    def total(self) -> float:
        """Seconds of all stages."""
        return sum(self.seconds.values())


class Noise:
    """Random pictures of the store's shape, or lines of the table, with random targets, to time a step."""

    def __init__(
        self, workspace: Workspace, backbone: str | Sequence[str], targets: dict[str, int] | None = None
    ) -> None:
        self.size, self.channels = workspace.store_size, workspace.config.data.decode.channels
        self.targets, self.is_joined = targets, not isinstance(backbone, str)
        self.stores = {
            name: workspace.inputs(name, workspace.rows_to_read(name, None)).store
            if workspace.config.backbones[name].of_tables
            else None
            for name in several(backbone)
        }

    def __len__(self) -> int:
        return 1_000_000

    def batch(self, rows: torch.Tensor, draws: torch.Generator | None = None) -> Any:
        """(B, C, H, W) uint8 or (B, D), of joined ones name -> such, with {task: (B, D)} if there are targets."""
        shape = (len(rows), self.channels, self.size, self.size)
        parts = {
            name: torch.randint(0, 256, shape, dtype=torch.uint8)
            if lines is None
            else lines.gather(rows.numpy() % len(lines))
            for name, lines in self.stores.items()
        }
        inputs: Any = parts if self.is_joined else next(iter(parts.values()))
        if self.targets is None:
            return inputs
        return {
            "inputs": inputs,
            "targets": {name: torch.rand(len(rows), width) for name, width in self.targets.items()},
        }


def estimate(stages: Stages, wanted: Iterable[Stage]) -> Estimate:
    """Time a few steps of every kind of training among the wanted stages.

    Prediction costs about a third of a training step an image and view; what is fitted on frozen features and at level
    2 is not counted.
    """
    workspace = stages.workspace
    speeds: dict[str, tuple[float, int]] = {}
    seconds: dict[str, float] = {}
    disk = 0
    if workspace.has_images:
        disk = len(workspace.files) * workspace.config.data.decode.channels * workspace.store_size**2
    for stage in wanted:
        name = stage.job.name
        if stage.job.stage == "pretrain" and stage.training:
            options = next(each for each in workspace.config.pretext if each.name == name)
            if name not in speeds:
                speeds[name] = time_pretext(stages, name)
            count = workspace.count_of(options.backbone, pretrain_ids(workspace, options, stage.job.fold))
            seconds[stage.name] = count * options.epochs / speeds[name][0] + time_before(stages, name, count)
            disk += speeds[name][1] * 4
        elif stage.job.stage in ("finetune", "predict"):
            network = next(each for each in stages.networks if each.name == name)
            task = network.shared
            key = f"head {name}"
            if key not in speeds:
                speeds[key] = time_network(stages, name)
            fold = stage.job.fold if stage.job.fold is not None and stage.job.fold >= 0 else None
            if stage.job.stage == "finetune":
                rows = len(workspace.train) if fold is None else len(workspace.plan.train_ids(fold))
                seconds[stage.name] = workspace.config.transfer.seeds * rows * task.epochs / speeds[key][0]
                disk += speeds[key][1] * 4 * workspace.config.transfer.seeds
            else:
                validated = workspace.test.ids[:0] if fold is None else workspace.plan.valid_ids(fold)
                count = workspace.count_of(task.backbone, np.concatenate([workspace.test.ids, validated]))
                views = len(workspace.views_of(task.backbone))
                seconds[stage.name] = workspace.config.transfer.seeds * count * views / (3 * speeds[key][0])
        elif stage.job.stage == "importance" and any(name != ATTENTION for name in stage.outputs):
            network = next(each for each in stages.networks if each.name == name)
            key = f"head {name}"
            if key not in speeds:
                speeds[key] = time_network(stages, name)
            folds = [fold for fold in network.folds if f"fold {fold}" in stage.inputs]
            rows = sum(min(SHUFFLED, len(workspace.plan.valid_ids(fold))) for fold in folds)
            count = rows * len(_takes(stages, str(network.shared.backbone)))
            seconds[stage.name] = workspace.config.transfer.seeds * count / (3 * speeds[key][0])
        elif stage.job.stage == "embed":
            if name not in speeds:
                speeds[name] = time_embedding(stages, name)
            rows = np.concatenate([workspace.train.ids, workspace.test.ids])
            backbone = embeddings(workspace.config)[name].backbone
            views = len(workspace.views_of(backbone))
            seconds[stage.name] = workspace.count_of(backbone, rows) * views / speeds[name][0]
            disk += len(rows) * speeds[name][1]
    scale = 1 if sys.platform == "darwin" else 1024  # ru_maxrss is bytes on macOS, KiB on Linux
    return Estimate(seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale, disk)


def worth_compiling(stages: Stages, cost: Estimate) -> list[str]:
    """The trainings of TabNets that `compile: true` would make shorter, by what was measured of others.

    Args:
        stages: of the run.
        cost: of the same stages.

    Returns:
        The names of stages, none if the steps are compiled already.
    """
    found = []
    for stage in stages:
        name, seconds = stage.job.name, cost.seconds.get(stage.name, 0.0)
        if stage.job.stage not in ("pretrain", "finetune") or seconds < COMPILING_PAYS:
            continue
        if stage.job.stage == "pretrain":
            backbone = next(each for each in stages.config.pretext if each.name == name).backbone
        else:
            backbone = next(each for each in stages.networks if each.name == name).shared.backbone
        kinds = {stages.config.backbones[each].kind for each in several(backbone)}
        if "tabnet" in kinds and not stages.workspace.machine_of(backbone).compile:
            found.append(stage.name)
    return found


def time_pretext(stages: Stages, name: str) -> tuple[float, int]:
    """Images a second of one pretraining, and its number of parameters."""
    options, method = _pretext(stages, name)
    return _time(stages, method, options.backbone, options.batch, None)


def time_before(stages: Stages, name: str, count: int) -> float:
    """Seconds that a pretext spends on `count` rows before its first step, such as looking for near ones."""
    options, method = _pretext(stages, name)
    if not hasattr(method, "seconds_before"):
        return 0.0
    machine = stages.workspace.machine_of(options.backbone)
    machine.apply_threads()
    rows = Noise(stages.workspace, options.backbone).batch(torch.arange(COMPARED))
    return method.seconds_before(rows.to(machine.device), count)


def _pretext(stages: Stages, name: str) -> tuple[Pretext, Any]:
    workspace = stages.workspace
    options = next(each for each in workspace.config.pretext if each.name == name)
    backbone = workspace.config.backbones[options.backbone].model_copy(update={"weights": None})
    return options, build_pretext(options, backbone, _takes(stages, options.backbone))


def time_network(stages: Stages, name: str) -> tuple[float, int]:
    """Images a second of one network's fine-tuning, and its number of parameters."""
    workspace = stages.workspace
    network = next(each for each in stages.networks if each.name == name)
    task = network.shared
    targets = {each: workspace.targets[each].fit(workspace.frame) for each in network.tasks}
    weights = {each: options.weight for each, options in network.tasks.items()}
    method = HeadNetwork(
        untrained(workspace, task),
        targets,
        size=task.size,
        augment=task.augment,
        weights=weights,
        frozen=task.freeze,
    )
    widths = {each: target.width for each, target in targets.items()}
    return _time(stages, method, task.backbone, task.batch, widths)


def time_embedding(stages: Stages, name: str) -> tuple[float, int]:
    """Images a second through a frozen backbone, and the bytes of one row's features."""
    embedding = embeddings(stages.config)[name]
    machine = stages.workspace.machine_of(embedding.backbone)
    machine.apply_threads()
    backbone = _backbone(stages, embedding.backbone, embedding.size)
    ready: Any = prepare(backbone, machine)
    noise = Noise(stages.workspace, embedding.backbone)
    marks: list[float] = []
    for _ in range(TIMED_STEPS + 1):  # the first step warms up
        batch = noise.batch(torch.arange(EMBEDDED))
        with torch.inference_mode(), machine.autocast():
            ready(seen(ready, batch.to(machine.device), ["identity"], embedding.size))
        if machine.kind == "cuda":
            torch.cuda.synchronize()
        marks.append(time.perf_counter())
    return EMBEDDED * TIMED_STEPS / (marks[-1] - marks[0]), backbone.dim * 4


def _backbone(stages: Stages, name: str, size: int) -> Any:
    options = stages.config.backbones[name].model_copy(update={"weights": None})
    return build_backbone(options, _takes(stages, name), size)


def _takes(stages: Stages, backbone: str) -> Any:
    """The channels of the pictures, or the columns of the table, that a backbone reads."""
    workspace = stages.workspace
    if not workspace.config.backbones[backbone].of_tables:
        return workspace.config.data.decode.channels
    return workspace.inputs(backbone, workspace.rows_to_read(backbone, None)).takes


def _time(
    stages: Stages, method: Any, backbone: str | Sequence[str], batch: int, targets: dict[str, int] | None
) -> tuple[float, int]:
    workspace = stages.workspace
    workspace.machine.apply_threads()
    source = Noise(workspace, backbone, targets)
    groups = parameter_groups(method.backbone.stages(), _heads(method), weight_decay=0.0)
    training = Training(
        method,
        groups,
        FitOptions(1, batch, Schedule(0.0)),
        replace(
            workspace.machine_of(backbone), compile=False
        ),  # compiling would take longer than what it tells
        0,
        ("estimate",),
    )
    marks: list[float] = []

    def stop() -> bool:
        if workspace.machine.kind == "cuda":
            torch.cuda.synchronize()
        marks.append(time.perf_counter())
        return len(marks) > TIMED_STEPS

    for _ in fit(training, source, stop):
        pass
    rate = batch * TIMED_STEPS / (marks[-1] - marks[0])  # the first step warms up
    return rate, sum(parameter.numel() * 4 for parameter in method.parameters())


def _heads(method: Any) -> list[torch.nn.Parameter]:
    own = {id(parameter) for parameter in method.backbone.parameters()}
    return [parameter for parameter in method.parameters() if id(parameter) not in own]
