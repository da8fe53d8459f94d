"""The commands as functions: `jigstack.run(config)` and its parts."""

import shutil
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

from ..configs import Config, load_config, to_yaml
from ..configs.errors import UserError
from ..datasets.files import atomic
from ..datasets.tables import check_tables
from ..stacking import Ladder
from ..training.interrupt import Interrupted, stop_signal
from ..training.launch import InProcess, Launcher, Processes
from .console import Console, duration
from .estimate import estimate
from .heads import judge_heads, say_heads
from .importance import say_importance
from .jobs import Context, Work, run_job, with_threads
from .ladders import read_ladders, say_ladder, say_scores, write_run_submissions
from .manifest import Stage
from .preflight import preflight
from .probes import say_probes
from .report import write_report
from .reuse import check_files
from .run_directory import RunDirectory
from .skills import say_skills
from .stages import Stages
from .workspace import Workspace

GROUPS = ("pretrain", "finetune", "features", "stack")
WROTE = {
    "pretrain": "checkpoints in {path}/pretext; next: jigstack finetune with the same arguments",
    "finetune": "heads in {path}/transfer; next: jigstack features with the same arguments",
    "features": "predictions and features in {path}; next: jigstack stack with the same arguments",
}


@dataclass(frozen=True)
class RunResult:
    """What a command did and where it is.

    Attributes:
        path: the run directory.
        computed, linked, kept: names of the stages that were computed now, taken from another run, or already finished.
        ladders: stack name -> its ladder.
        submission: the submission file, if one was written.
    """

    path: Path
    computed: list[str]
    linked: list[str]
    kept: list[str]
    ladders: dict[str, Ladder] = field(default_factory=dict)
    submission: Path | None = None


def run(
    config: str | Path | dict[str, Any] | Config,
    overrides: Sequence[str] = (),
    *,
    smoke: bool = False,
    folds: Iterable[int] | None = None,
    replace: bool = False,
    quiet: bool = False,
    allow_plugins: bool = False,
    until: str = "stack",
    report: bool = True,
) -> RunResult:
    """Pretrain, fine-tune, export features, stack and write the submission; finished stages are not done again.

    Args:
        config: a YAML file, a mapping, or a loaded config.
        overrides: `key.path=value` texts.
        smoke: a trial on a few rows with one epoch, in a run directory of its own.
        folds: train only these folds; level 2 then waits for the others.
        replace: allow finished trainings to be replaced by ones with other values.
        quiet: print only what was asked for.
        allow_plugins: load the plug-ins that the config of a run directory names: only one that you trust.
        until: the last group of stages to do: pretrain, finetune, features or stack.
        report: with `until="features"`, print what each head is worth by itself.

    Raises:
        UserError: the config, the data or the run directory are not as they must be.
        Interrupted: asked to stop; the same command goes on from the checkpoint.
    """
    console = Console(quiet)
    began = time.perf_counter()
    workspace = Workspace(load_config(config, overrides, allow_plugins=allow_plugins), smoke=smoke)
    preflight(workspace)
    directory = RunDirectory(workspace.run_path)
    with ExitStack() as stack:
        stack.enter_context(directory.locked())
        stop = stack.enter_context(stop_signal())
        chosen = None if folds is None else sorted(set(folds))
        if chosen is not None and any(not 0 <= fold < workspace.plan.n for fold in chosen):
            raise UserError(f"--folds: expected numbers from 0 to {workspace.plan.n - 1}, received {chosen}")
        stages = Stages(workspace, chosen)
        wanted = list(_wanted(stages, until))
        kept = [stage for stage in wanted if directory.manifest.done(stage)]
        missing = [stage for stage in wanted if stage not in kept]
        elsewhere = {
            stage.name: found for stage in missing if (found := directory.find_elsewhere(stage)) is not None
        }
        todo = [stage for stage in missing if stage.name not in elsewhere]
        starts = check_files(workspace)  # before anything is written or linked
        _guard(directory, missing, replace)
        _describe(console, workspace, directory, kept, list(elsewhere), todo)
        with atomic(directory.path / "config.yaml") as temporary:
            temporary.write_text(to_yaml(workspace.config), encoding="utf-8")
        workspace.plan.write(directory.path / "folds.parquet")
        for stage in missing:
            if stage.name in elsewhere:
                directory.link(stage, *elsewhere[stage.name])
        for line in starts:
            console.say(line)
        work = Work(workspace, stages, directory.path, console, stop.__bool__)
        try:
            _compute(work, directory, todo)
        except KeyboardInterrupt:
            directory.log("interrupted", command=until)
            raise
        result = RunResult(
            directory.path,
            computed=[stage.name for stage in todo],
            linked=list(elsewhere),
            kept=[stage.name for stage in kept],
        )
        if until == "stack":
            result = _finish(work, directory, result)
        else:
            if until == "features" and report:
                say_heads(work, judge_heads(work))
            console.say(WROTE[until].format(path=directory.path))
        directory.log("finished", command=until, seconds=round(time.perf_counter() - began, 1))
        return result


def pretrain(
    config: str | Path | dict[str, Any] | Config, overrides: Sequence[str] = (), **options: Any
) -> RunResult:
    """`run` up to the pretrained backbones."""
    return run(config, overrides, until="pretrain", **options)


def finetune(
    config: str | Path | dict[str, Any] | Config, overrides: Sequence[str] = (), **options: Any
) -> RunResult:
    """`run` up to the fine-tuned heads."""
    return run(config, overrides, until="finetune", **options)


def features(
    config: str | Path | dict[str, Any] | Config, overrides: Sequence[str] = (), **options: Any
) -> RunResult:
    """`run` up to predictions, features and pickles."""
    return run(config, overrides, until="features", **options)


def stack(
    config: str | Path | dict[str, Any] | Config, overrides: Sequence[str] = (), **options: Any
) -> RunResult:
    """`run` to the end: a missing earlier stage is made first."""
    return run(config, overrides, until="stack", **options)


def _wanted(stages: Stages, until: str) -> Iterable[Stage]:
    if until not in GROUPS:
        raise UserError(f"until: expected one of {', '.join(GROUPS)}, received {until!r}")
    parts = {
        "pretrain": [*stages.pretrain, *stages.probe],
        "finetune": stages.finetune,
        "features": [*stages.predict, *stages.importance, *stages.embed, *stages.frozen, *stages.features],
        "stack": stages.stack,
    }
    for group in GROUPS[: GROUPS.index(until) + 1]:
        yield from parts[group]


def _guard(directory: RunDirectory, missing: Sequence[Stage], replace: bool) -> None:
    """Refuse to overwrite hours of training unasked."""
    losses = {
        stage.name: directory.manifest.changes(stage) for stage in missing if directory.manifest.loses(stage)
    }
    damaged = [name for name, changes in losses.items() if not changes]
    lost = {name: changes for name, changes in losses.items() if changes}
    if lost and not replace:
        details = "\n".join(f"  {name}: {'; '.join(changes[:4])}" for name, changes in list(lost.items())[:8])
        raise UserError(
            f"{directory.path}: expected the values with which its trainings were finished, received "
            f"others:\n{details}\n"
            "Add --replace to do these again, or give the run another name (name=...): what did not change is then "
            "linked."
        )
    for name in damaged:
        directory.log("damaged", stage=name)


def _describe(
    console: Console,
    workspace: Workspace,
    directory: RunDirectory,
    kept: Sequence[Stage],
    linked: Sequence[str],
    todo: Sequence[Stage],
) -> None:
    """What was found, and what will be done."""
    config, machine = workspace.config, workspace.machine
    console.say(
        f"{directory.path}: {workspace.summary}; {workspace.plan.n} folds ({config.folds.scheme}, plan "
        f"{workspace.plan.hash[:8]})"
    )
    beside = f", {config.processes} fold models side by side" if config.processes > 1 else ""
    compiled = ", steps compiled" if machine.compile else ""
    precision = "fp32" if workspace.has_lines and not workspace.has_images else machine.precision
    console.say(f"{machine.device}, {precision}, {machine.threads} threads{compiled}{beside}")
    for name, task in config.tasks.items():
        if not task.frozen and (unseen := unseen_of(workspace, task)):
            console.say(
                f"warning: features.views contains {', '.join(unseen)}, which the training of {name} never shows "
                f"(augment.dihedral: "
                f"{str(task.augment.dihedral).lower()}); such views usually predict worse"
            )
    strangers = [] if workspace.smoke else workspace.files.findings()  # a trial keeps few rows
    for finding in [*check_tables(workspace.train, workspace.test), *strangers]:
        console.say(f"{finding.severity}: {finding.message}")
    for note in workspace.notes:
        console.say(note)
    for stage in config.pretext:
        if stage.scope == "asymmetric":
            console.say(
                f"warning: pretext {stage.name} saw validation rows but no test rows (scope: asymmetric): every score "
                f"below may flatter"
            )
        if stage.scope == "inductive" and stage.reuse is None:
            console.say(
                f"pretext {stage.name} is inductive: {workspace.plan.n} pretrainings, one a fold without its "
                f"validation groups"
            )
    if kept:
        console.say(f"finished before: {len(kept)} stages")
    if linked:
        console.say(f"taken from other runs: {', '.join(linked)}")
    for stage in todo:
        changes = directory.manifest.changes(stage)
        if changes:
            console.say(f"again: {stage.name} ({'; '.join(changes[:3])})")
    trainings = [stage.name for stage in todo if stage.training]
    if trainings:
        console.say(f"to train: {', '.join(trainings)}")


def unseen_of(workspace: Workspace, task: Any) -> list[str]:
    """Views to predict that the task's training augmentation never shows."""
    from ..training.views import unseen_views

    return list(unseen_views(workspace.views_of(task.backbone), task.augment))


def _compute(work: Work, directory: RunDirectory, todo: Sequence[Stage]) -> None:
    """Run the jobs in order, noting each as soon as it is finished."""
    console, workspace = work.console, work.workspace
    if any(stage.job.stage in ("features", "stack") for stage in todo):
        # What was submitted before no longer belongs to what will lie beside it.
        shutil.rmtree(directory.path / "submissions", ignore_errors=True)
        (directory.path / "submission.csv").unlink(missing_ok=True)
    reads = {"pretrain", "probe", "finetune", "predict", "importance", "embed"}
    if workspace.has_images and any(stage.job.stage in reads for stage in todo):
        store = workspace.store(lambda done, total: console.counting("decode images", done, total))
        unreadable = store.problems
        if unreadable:
            some = ", ".join(f"{name} ({reason})" for name, reason in list(unreadable.items())[:5])
            console.say(
                f"warning: {len(unreadable)} images are not readable and are skipped: {some}; `jigstack check` lists "
                f"them"
            )
            directory.log("unreadable images", count=len(unreadable), ids=sorted(unreadable))
    if any(stage.training or stage.job.stage == "embed" for stage in todo) and not workspace.smoke:
        expected = estimate(work.stages, todo)
        console.say(f"about {duration(expected.total)} on this machine, {expected.disk / 1e9:.1f} GB on disk")

    def begun(stages: Iterable[Stage]) -> Iterator[Stage]:
        for stage in stages:
            if work.stop():
                raise Interrupted
            directory.log("started", stage=stage.name, key=stage.key)
            directory.manifest.forget(stage)
            yield stage

    def tell(what: str, *words: Any, **options: Any) -> None:
        getattr(console, what)(*words, **options)

    context = Context(workspace, work.stages, directory.path)
    count = workspace.config.processes
    share = max(1, workspace.machine.threads // count)
    here = InProcess(run_job, context, tell, work.stop)
    with Processes(count, share, run_job, with_threads(context, share), tell, work.stop) as beside:
        # One kind of stage after the other: a prediction needs its network, and a head its pretext.
        for kind, stages in groupby(todo, lambda stage: stage.job.stage):
            launcher: Launcher = beside if kind in ("finetune", "predict") and count > 1 else here
            for stage, seconds in launcher.map(begun(stages)):
                directory.merge_log(stage)
                directory.manifest.record(stage, seconds, workspace.machine.device)
                directory.log("done", stage=stage.name, seconds=round(seconds, 3))
            if kind == "pretrain":
                say_skills(work)
            if kind == "probe":
                say_probes(work)
            if kind == "importance":
                say_importance(work)


def _finish(work: Work, directory: RunDirectory, result: RunResult) -> RunResult:
    """Print the ladder, write submissions and report, and say where things are."""
    console = work.console
    findings = judge_heads(work)
    if work.stages.only is not None:
        say_heads(work, findings)
        say_scores(work)
        console.say(
            f"next: the same command without --folds trains the other folds and stacks; everything is in "
            f"{directory.path}"
        )
        return result
    say_heads(work, findings)
    ladders = read_ladders(work)
    for ladder in ladders:
        say_ladder(work, ladder)
    submission = write_run_submissions(work, ladders)
    report = write_report(work, ladders, findings)
    where = [f"report {report}"]
    if work.stages.features:
        where.insert(0, f"features {directory.path / 'features'}")
    if submission is not None:
        where.insert(0, f"submission {submission}")
    console.say(" · ".join(where), always=True)
    return RunResult(
        result.path,
        result.computed,
        result.linked,
        result.kept,
        {ladder.name: ladder for ladder in ladders},
        submission,
    )
