"""Jobs: each is a function of the resolved config, the stage, the name and the fold, and writes only its own folder."""

import copy
import dataclasses
import json
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..backbones import build_backbone, load_backbone, starting_from
from ..configs.schema import Backbone, Pretext, Task
from ..datasets.files import read_json, write_json
from ..datasets.inputs import Inputs
from ..datasets.predictions import Predictions
from ..pretext.pretrain import PretrainWork, pretrain
from ..pretext.probing import ProbeRows, baselines, probe_rows
from ..stacking import stack_target
from ..stacking.frozen import FrozenWork, predict_frozen
from ..training.fit import Record
from ..training.interrupt import Interrupted
from ..training.randomness import reseed_global
from ..transfer.embedding import Embeddings, JoinedEmbeddings, embed_rows
from ..transfer.features import aggregate, write_feature_pickles
from ..transfer.finetune import REFIT, FoldWork, finetune_fold
from ..transfer.importance import (
    Columns,
    across_folds,
    fold_attention,
    fold_permutation,
    measure_of,
    write_table,
)
from ..transfer.outofsample import merge, predict_fold
from .checkpoints import checkpoint_of, is_trained, reused_folder
from .console import Console
from .embeddings import embeddings
from .manifest import Job, Stage, fold_folder
from .networks import ATTENTION, networks, permutation_file
from .reuse import check_reused
from .run_directory import link
from .stages import Stages, pretrain_ids
from .workspace import Workspace


@dataclass(frozen=True)
class Work:
    """What a job needs beside its stage: the data, the run's folder, and someone to tell."""

    workspace: Workspace
    stages: Stages
    run: Path
    console: Console
    stop: Callable[[], bool]

    def folder(self, stage: Stage) -> Path:
        """Where the stage writes."""
        return self.run / stage.folder

    def reporter(self, stage: Stage) -> Callable[[Record], None]:
        """Shows each record in the progress line and appends it to the job's own log."""

        def report(record: Record) -> None:
            self.console.epoch(stage.name, record, unit_of(stage))
            line = {
                "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
                "stage": stage.name,
                **asdict(record),
            }
            with (self.folder(stage) / "log.jsonl").open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")

        return report


def unit_of(stage: Stage) -> str:
    """What a network of the stage reads one after the other."""
    return "images" if "images" in stage.inputs else "rows"


@dataclass(frozen=True)
class Context:
    """What all jobs of a run share, in this process or in another one."""

    workspace: Workspace
    stages: Stages
    run: Path


def with_threads(context: Context, threads: int) -> Context:
    """The same for a process that may use only this many threads."""
    workspace = copy.copy(context.workspace)
    workspace.machine = dataclasses.replace(workspace.machine, threads=threads)
    return dataclasses.replace(context, workspace=workspace)


class Relay(Console):
    """A console whose words are said elsewhere: each call goes to `tell` with its name before its arguments."""

    def __init__(self, tell: Callable[..., None]) -> None:
        super().__init__()
        self.tell = tell

    def say(self, text: str = "", *, always: bool = False) -> None:
        self.tell("say", text, always=always)

    def epoch(self, stage: str, record: Record, unit: str = "images") -> None:
        self.tell("epoch", stage, record, unit)

    def counting(self, what: str, done: int, total: int) -> None:
        self.tell("counting", what, done, total)


def run_job(context: Context, stage: Stage, tell: Callable[..., None], stop: Callable[[], bool]) -> float:
    """Do one stage and return the seconds it took; what it has to say goes through `tell`."""
    started = time.perf_counter()
    execute(Work(context.workspace, context.stages, context.run, Relay(tell), stop), stage)
    return time.perf_counter() - started


def execute(work: Work, stage: Stage) -> None:
    """Do the work of one stage."""
    work.workspace.machine.apply_threads()
    {
        "pretrain": _pretrain,
        "probe": _probe,
        "finetune": _finetune,
        "predict": _predict,
        "importance": _importance,
        "embed": _embed,
        "frozen": _frozen,
        "features": _features,
        "stack": _stack,
    }[stage.job.stage](work, stage)


def _pretrain(work: Work, stage: Stage) -> None:
    workspace, job = work.workspace, stage.job
    options = next(each for each in workspace.config.pretext if each.name == job.name)
    folder = work.folder(stage)
    if options.reuse is not None:
        source = reused_folder(options)
        work.console.say(check_reused(workspace, options, source))
        folder.mkdir(parents=True, exist_ok=True)
        for name in stage.outputs:
            link(source / name, folder / name)
        return
    pretrain(
        pretrain_work(workspace, work.run, options, job.fold),
        folder,
        stage.key,
        work.reporter(stage),
        work.stop,
        lambda text: work.console.say(text, always=True),
    )


def pretrain_work(
    workspace: Workspace, run: Path, options: Pretext, fold: int | None, *, started: bool = True
) -> PretrainWork:
    """What a pretraining job reads; unless `started`, a checkpoint that is not trained yet is left out."""
    ids = pretrain_ids(workspace, options, fold)
    checkpoint = checkpoint_of(workspace, run, options.init, fold)
    checkpoint = checkpoint if started or is_trained(checkpoint) else None
    inputs = workspace.inputs(options.backbone, ids, checkpoint)
    return PretrainWork(
        options=options,
        ids=ids,
        inputs=inputs,
        backbone=workspace.config.backbones[options.backbone],
        checkpoint=checkpoint,
        fold=fold,
        machine=workspace.machine_of(options.backbone),
        seed=workspace.config.seed,
        probes=rows_to_probe(workspace, inputs, fold),
        probe_every=workspace.config.probe.every,
    )


def rows_to_probe(workspace: Workspace, inputs: Inputs, fold: int | None) -> ProbeRows | None:
    """The labelled rows on which a pretext of this fold, or of all, is tested."""
    return probe_rows(
        workspace.targets,
        workspace.frame,
        workspace.plan,
        inputs,
        workspace.config.probe,
        workspace.config.seed,
        fold,
    )


def _probe(work: Work, stage: Stage) -> None:
    """Test the finished backbone, the one it started from, random weights and raw pixels on the same labelled rows."""
    workspace, job, folder = work.workspace, stage.job, work.folder(stage)
    options = next(each for each in workspace.config.pretext if each.name == job.name)
    inputs = workspace.inputs(options.backbone, workspace.train.ids, folder)
    rows, seed = rows_to_probe(workspace, inputs, job.fold), workspace.config.seed
    section = workspace.config.backbones[options.backbone]
    size = read_json(folder / "backbone.json").get("size", 0)  # a table has none

    def build(section: Backbone) -> Any:
        reseed_global(seed, "probe", options.name, "init")
        return build_backbone(section, inputs.takes, size)

    start = starting_from(section, checkpoint_of(workspace, work.run, options.init, job.fold))
    backbones = {"random init": lambda: build(section.model_copy(update={"weights": None}))}
    if start.weights is not None:
        backbones["weights it started from"] = lambda: build(start)
    backbones[options.name] = lambda: load_backbone(folder)[0]
    table = {} if rows is None else baselines(rows, inputs, workspace.machine_of(options.backbone), backbones)
    counts = (
        {}
        if rows is None
        else {task: int(np.isfinite(values).all(axis=1).sum()) for task, (_, values) in rows.targets.items()}
    )
    write_json(folder / "probes.json", {"rows": counts, "fold": job.fold, "scores": table})


def fold_work(workspace: Workspace, run: Path, job: Job, *, started: bool = True) -> FoldWork:
    """What a fine-tuning or prediction job of one fold reads; `started` as in `pretrain_work`."""
    network = next(each for each in networks(workspace.config) if each.name == job.name)
    task = network.shared
    fold = job.fold if job.fold is not None else 0
    found = {name: checkpoint_of(workspace, run, init, fold) for name, init in task.starts.items()}
    checkpoints = {name: path if started or is_trained(path) else None for name, path in found.items()}
    sections = {name: starting_from(workspace.config.backbones[name], checkpoints[name]) for name in found}
    return FoldWork(
        network=network.name,
        tasks=network.tasks,
        targets={name: workspace.targets[name] for name in network.tasks},
        fold=fold,
        frame=workspace.frame,
        plan=workspace.plan,
        inputs=workspace.inputs_of(task, fold, checkpoints),
        backbone=sections if task.joined else next(iter(sections.values())),
        checkpoint=None if task.joined else next(iter(checkpoints.values())),
        transfer=workspace.config.transfer,
        machine=workspace.machine_of(task.backbone),
        seed=workspace.config.seed,
    )


def _finetune(work: Work, stage: Stage) -> None:
    job = fold_work(work.workspace, work.run, stage.job)
    finetune_fold(job, work.folder(stage), stage.key, work.reporter(stage), work.stop)
    for task, classes in read_json(work.folder(stage) / "head.json")["absent_classes"].items():
        work.console.say(f"warning: {stage.name}: no training row of {task} has class {', '.join(classes)}")


def _predict(work: Work, stage: Stage) -> None:
    job = fold_work(work.workspace, work.run, stage.job)
    network = next(each for each in work.stages.networks if each.name == stage.job.name)
    views = work.workspace.views_of(network.shared.backbone)

    def progress(done: int, total: int) -> None:
        seen = f"{len(views)} view{'s' if len(views) > 1 else ''} · " if unit_of(stage) == "images" else ""
        work.console.counting(f"{stage.name} · {seen}{unit_of(stage)}", done, total)

    def say(text: str) -> None:
        if stage.job.fold == work.stages.folds(network.folds)[0]:  # it is the same for every fold model
            work.console.say(f"{stage.name}: {text}")

    size = work.workspace.config.features.size
    for task, predictions in predict_fold(
        job, work.folder(stage), work.workspace.test.ids, views, size, progress, say
    ).items():
        predictions.write(work.folder(stage) / f"{task}.parquet")


def _importance(work: Work, stage: Stage) -> None:
    """Tell how much each column counts in the networks of all folds, on the rows that each did not learn from."""
    attention: dict[str, dict[str, Mapping[str, float]]] = {}
    permutation: dict[str, dict[str, Mapping[str, float]]] = {}
    for part in work.stages.finetune:
        if part.job.name != stage.job.name or part.job.fold in (None, REFIT):
            continue
        fold = fold_folder(part.job.fold)
        attended, shuffled = _of_fold(work, stage, part)
        for found, values in ((attention, attended), (permutation, shuffled)):
            for name, columns in values.items():
                found.setdefault(name, {})[fold] = columns
    if attention:
        tables = [across_folds("backbone", name, folds) for name, folds in attention.items()]
        write_table(pd.concat(tables), work.folder(stage) / ATTENTION)
    for task, folds in permutation.items():
        table = across_folds("measure", measure_of(work.workspace.targets[task]), folds)
        write_table(table, work.folder(stage) / permutation_file(task))


def _of_fold(work: Work, stage: Stage, part: Stage) -> tuple[Columns, Columns]:
    """The attention and the shuffled columns of one fold; its rows are let go before the next fold's are read."""
    job, folder = fold_work(work.workspace, work.run, part.job), work.folder(part)
    backbones = list(job.shared.starts)

    def progress(done: int, total: int) -> None:
        work.console.counting(f"{stage.name} · {fold_folder(job.fold)} · columns", done, total)
        if work.stop():
            raise Interrupted

    attended = fold_attention(job, folder, backbones) if ATTENTION in stage.outputs else {}
    asked = any(name != ATTENTION for name in stage.outputs)
    return attended, fold_permutation(job, folder, progress) if asked else {}


def _embed(work: Work, stage: Stage) -> None:
    """Take the features of a frozen backbone from all train and test rows with a readable image."""
    workspace, embedding = work.workspace, embeddings(work.workspace.config)[stage.job.name]
    checkpoint = checkpoint_of(workspace, work.run, embedding.init, stage.job.fold)
    name, fold = embedding.backbone, stage.job.fold
    inputs = workspace.inputs(name, workspace.rows_to_read(name, fold), checkpoint)
    options = starting_from(workspace.config.backbones[embedding.backbone], checkpoint)
    reseed_global(workspace.config.seed, "embed", embedding.backbone)  # of a backbone with random weights
    backbone = build_backbone(options, inputs.takes, embedding.size)
    views = workspace.views_of(name)
    ids = np.concatenate([workspace.train.ids, workspace.test.ids])
    ids = ids[inputs.readable(ids)]

    def progress(done: int, total: int) -> None:
        seen = f"{len(views)} view{'s' if len(views) > 1 else ''} · " if unit_of(stage) == "images" else ""
        work.console.counting(f"{stage.name} · {seen}{unit_of(stage)}", done, total)

    def say(text: str) -> None:
        work.console.say(f"{stage.name}: {text}")

    values = embed_rows(
        backbone,
        inputs,
        ids,
        views,
        embedding.size,
        workspace.machine_of(name),
        progress=progress,
        say=say,
    )
    Embeddings(ids, values).write(work.folder(stage))


def _frozen(work: Work, stage: Stage) -> None:
    """Fit one fold's learner on frozen features and predict."""
    workspace, name = work.workspace, stage.job.name
    task, fold = workspace.config.tasks[name], stage.job.fold if stage.job.fold is not None else 0
    work.console.counting(f"{stage.name} · {task.learner}", 0, 1)
    predictions, card = predict_frozen(
        FrozenWork(
            task=name,
            learner=task.learner,
            target=workspace.targets[name],
            fold=fold,
            frame=workspace.frame,
            plan=workspace.plan,
            embeddings=_embeddings(work, task, fold),
            table=workspace.table if task.table else None,
            test_ids=workspace.test.ids,
            seed=workspace.config.seed,
            threads=workspace.machine.threads,
        )
    )
    work.console.counting(f"{stage.name} · {task.learner}", 1, 1)
    if classes := card["absent_classes"]:
        work.console.say(f"warning: {stage.name}: no training row of {name} has class {', '.join(classes)}")
    predictions.write(work.folder(stage) / f"{name}.parquet")
    write_json(work.folder(stage) / "frozen.json", card)


def _embeddings(work: Work, task: Task, fold: int) -> Embeddings | JoinedEmbeddings:
    """The frozen features that one fold of a task reads, of joined backbones side by side."""
    parts = {
        backbone: Embeddings.read(work.folder(stage))
        for backbone, stage in zip(task.starts, work.stages.embedded(task, fold), strict=True)
    }
    return JoinedEmbeddings(parts) if task.joined else next(iter(parts.values()))


def _features(work: Work, stage: Stage) -> None:
    """Merge the fold models' predictions of one task; rows of test models that the config does not use are left out."""
    task = stage.job.name
    parts = [
        _used_rows(
            Predictions.read(work.folder(part) / f"{task}.parquet"),
            work.stages.uses_for_test(part.job.fold or 0),
        )
        for part in (*work.stages.predict, *work.stages.frozen)
        if f"{task}.parquet" in part.outputs
    ]
    predictions = merge(parts, work.workspace.plan)
    predictions.write(work.run / "predictions" / f"{task}.parquet")
    aggregate(predictions, list(work.workspace.config.features.stats)).write(
        work.run / "features" / f"{task}.parquet"
    )
    for stale in (work.run / "features").glob(f"{task}.test.*"):
        stale.unlink()
    write_feature_pickles(predictions, work.run / "features")


def _used_rows(part: Predictions, for_test: bool) -> Predictions:
    if for_test:
        return part
    return dataclasses.replace(part, frame=part.frame.query("role != 'test'"))


def _stack(work: Work, stage: Stage) -> None:
    """Score every rung for one target and fit its level-2 models."""
    shutil.rmtree(work.folder(stage), ignore_errors=True)
    workspace, name = work.workspace, stage.job.name
    predictions = {
        task: Predictions.read(work.run / "predictions" / f"{task}.parquet")
        for task in workspace.config.tasks
    }
    options = workspace.config.stack[name]
    stack_target(
        name,
        options,
        predictions,
        workspace.frame.filter(options.columns),
        workspace.plan,
        workspace.test.ids,
        stats=list(workspace.config.features.stats),
        seed=workspace.config.seed,
        threads=workspace.machine.threads,
        folder=work.folder(stage),
        table=workspace.table if options.table else None,
        progress=lambda model, done, total: work.console.counting(f"{stage.name} · {model}", done, total),
    )
