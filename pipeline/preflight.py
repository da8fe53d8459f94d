"""What config and data together can tell before the first step is taken: mistakes that would cost hours otherwise."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pandas as pd
import torch

from ..backbones import JoinedBackbone, build_backbone
from ..configs.errors import UserError, closest
from ..configs.readers import backbones_of
from ..configs.registry import implementation, options_class
from ..configs.schema import Stack, Task
from ..stacking.columns import TABLE
from ..stacking.problem import Problem
from ..stacking.sample import Sample
from ..transfer.network import frozen_stages, thawed_stages
from .workspace import Workspace


def preflight(workspace: Workspace) -> None:
    """Check stacks, the sample submission, and the order of pretexts against the data.

    Raises:
        UserError: all mistakes at once.
    """
    mistakes = [
        *_stacks(workspace),
        *_sample(workspace),
        *_chains(workspace),
        *_repeats(workspace),
        *_freezing(workspace),
        *_tables(workspace),
        *_lines(workspace),
        *_starts(workspace),
        *_sizes(workspace),
    ]
    if mistakes:
        raise UserError("\n".join(mistakes))


def rungs(workspace: Workspace, options: Stack) -> list[str]:
    """The names that the ladder of a stack will have."""
    tasks = options.members or [
        name for name, task in workspace.config.tasks.items() if len(task.folds) == workspace.plan.n
    ]
    targets = workspace.targets
    classes = options.metric in ("accuracy", "logloss", "auc", "f1")
    decoding = [
        task
        for task in tasks
        if set(options.columns) <= set(targets[task].classes if classes else targets[task].decodes)
    ]
    mean = ["mean"] if len(decoding) > 1 else []
    members = [*tasks, TABLE] if options.table and tasks else tasks
    return [
        "constant",
        *(member if member in decoding else f"{member}~ridge" for member in members),
        *mean,
        *options.models,
    ]


def _stacks(workspace: Workspace) -> Iterator[str]:
    columns = Counter(column for stack in workspace.config.stack.values() for column in stack.columns)
    for column, count in columns.items():
        if count > 1:
            yield (
                f"stack: expected each column in one stack, received {column!r} in {count}: their submissions would "
                f"hold "
                "it twice; write a second config with another name, which shares all training"
            )
    for name, options in workspace.config.stack.items():
        try:
            Problem.build(options, workspace.frame)
            if options.table:
                _ = workspace.table
        except ValueError as error:
            yield f"stack.{name}: {error}"
        known = ["best", *rungs(workspace, options)]
        if options.submit not in known:
            near = closest(options.submit, known)
            yield f"stack.{name}.submit: expected one of {', '.join(known)}, received {options.submit!r}" + (
                f"; did you mean {near!r}?" if near else ""
            )


def _sample(workspace: Workspace) -> Iterator[str]:
    name = workspace.config.data.sample_submission
    if name is None:
        return
    path = workspace.root / name
    if not path.is_file():
        yield f"data.sample_submission: expected a CSV, received {str(path)!r}, which does not exist"
        return
    try:
        Sample.read(path, workspace.config.data.id).check_ids(pd.Index(workspace.test.ids))
    except ValueError as error:
        yield f"data.sample_submission: {error}"


def _chains(workspace: Workspace) -> Iterator[str]:
    scopes = {stage.name: stage.scope for stage in workspace.config.pretext}
    for stage in workspace.config.pretext:
        if stage.init in scopes and scopes[stage.init] == "inductive" != stage.scope:
            yield (
                f"pretext.{stage.name}.scope: expected inductive, like {stage.init}, from which it starts (one "
                f"checkpoint "
                f"a fold), received {stage.scope}"
            )


def _repeats(workspace: Workspace) -> Iterator[str]:
    lists = {f"tasks.{name}.columns": task.columns for name, task in workspace.config.tasks.items()}
    lists |= {f"stack.{name}.target": stack.columns for name, stack in workspace.config.stack.items()}
    lists["features.stats"] = list(workspace.config.features.stats)
    for key, values in lists.items():
        if twice := [value for value, count in Counter(values).items() if count > 1]:
            yield f"{key}: expected each name once, received {', '.join(twice)} more often"


def untrained(workspace: Workspace, task: Task) -> Any:
    """The backbone of a task, or its joined ones, with random weights, to ask for stages and what it can take."""
    parts = {name: _untrained(workspace, name, task.size) for name in task.starts}
    return JoinedBackbone(parts) if task.joined else next(iter(parts.values()))


def _untrained(workspace: Workspace, name: str, size: int) -> Any:
    backbone = workspace.config.backbones[name].model_copy(update={"weights": None})
    takes: Any = workspace.config.data.decode.channels
    if backbone.of_tables:
        takes = workspace.inputs(name, workspace.rows_to_read(name, None)).takes
    return build_backbone(backbone, takes, size)


def _freezing(workspace: Workspace) -> Iterator[str]:
    """Stages that the backbone does not have, and stages that would thaw after the last epoch."""
    for name, task in workspace.config.tasks.items():
        if isinstance(task.freeze, str) and task.unfreeze is None:
            continue
        built = untrained(workspace, task)
        try:
            frozen = frozen_stages(built, task.freeze)
        except ValueError as error:
            yield f"tasks.{name}.{error}"
            continue
        left = len(built.stages()) - len(frozen)
        if (
            workspace.smoke
            or task.unfreeze is None
            or thawed_stages(task.epochs - 1, left, task.unfreeze) == left
        ):
            continue
        needed = task.unfreeze.after + (left - 1) * task.unfreeze.every + 1
        yield (
            f"tasks.{name}.unfreeze: expected all {left} stages of the backbone to thaw within the {task.epochs} "
            f"epochs, received {task.unfreeze.model_dump()}, which takes {needed}; raise epochs, lower after or every, "
            "or name the lowest stages under freeze"
        )


def _tables(workspace: Workspace) -> Iterator[str]:
    """Columns of the table that a frozen task would learn from and has to predict."""
    reading = {name: task for name, task in workspace.config.tasks.items() if task.table}
    for name, task in reading.items():
        if known := [column for column in task.columns if column in workspace.config.data.columns]:
            yield (
                f"tasks.{name}.table: expected data.columns without what the task learns, received "
                f"{', '.join(known)}; leave it out of data.columns, or write table: false"
            )
    if reading and not any(
        stack.table for stack in workspace.config.stack.values()
    ):  # whose check says it too
        try:
            _ = workspace.table
        except ValueError as error:
            yield f"tasks.{next(iter(reading))}: {error}"


def _lines(workspace: Workspace) -> Iterator[str]:
    """Columns that networks of tables do not find or cannot read, or have to predict."""
    if not workspace.has_lines:
        return
    try:
        lines = workspace.lines
    except UserError as error:
        yield str(error)
        return
    for name in dict.fromkeys(name for names in backbones_of(workspace.config).values() for name in names):
        section = workspace.config.backbones[name]
        if not section.of_tables:
            continue
        try:
            read = lines.read_by(section)
            lines.schema(section, workspace.rows_to_read(name, None))
        except ValueError as error:
            yield f"backbones.{name}: {error}"
            continue
        for learner, task in workspace.config.tasks.items():
            if name in task.starts and (known := [column for column in task.columns if column in read]):
                yield (
                    f"tasks.{learner}.columns: expected columns that its backbone {name} does not read, received "
                    f"{', '.join(known)}; leave it out of data.columns, or out of backbones.{name}.columns"
                )


def _starts(workspace: Workspace) -> Iterator[str]:
    """Inputs that a backbone cannot take, built for the size that its first pretext shows it."""
    config, channels = workspace.config, workspace.config.data.decode.channels
    first_shown: dict[str, int] = {}
    wanted: list[tuple[str, str, int, int]] = []
    for stage in config.pretext:
        if stage.reuse is not None or config.backbones[stage.backbone].of_tables:
            continue
        kind, options = implementation(stage.kind), options_class(stage.kind)(**stage.options)
        shown = kind.input_size(options, stage.size) if hasattr(kind, "input_size") else stage.size
        first_shown[stage.name] = first_shown.get(stage.init or "", shown)
        wanted.append((f"pretext.{stage.name}", stage.backbone, first_shown[stage.name], shown))
    for name, task in config.tasks.items():
        for backbone, init in task.starts.items():
            if init in first_shown:
                wanted.append((f"tasks.{name}", backbone, first_shown[init], task.size))
    for name, backbone, first, size in dict.fromkeys(wanted):
        options = config.backbones[backbone].model_copy(update={"weights": None})
        try:
            built = build_backbone(options, channels, first)
            if size != first:
                built.probe(size)
        except ValueError as error:
            built_for = (
                f", built for the {first} pixels that its first pretext shows it" if size != first else ""
            )
            way_out = (
                "use one size for both, or a backbone that takes any"
                if size != first
                else "choose another size"
            )
            yield (
                f"{name}.size: expected inputs that {options.name} takes{built_for}, received {size} pixels ({error}); "
                f"{way_out}"
            )


def _sizes(workspace: Workspace) -> Iterator[str]:
    """A prediction size that a backbone, built for the size of its training, cannot take."""
    size = workspace.config.features.size
    channels = workspace.config.data.decode.channels
    alike: dict[tuple[str, int], list[str]] = {}  # a backbone of one size is asked, and told of, once
    for name, task in workspace.config.tasks.items():
        if task.frozen:  # it learns and predicts from features of its own size
            continue
        for backbone in task.starts:
            if not workspace.config.backbones[backbone].of_tables:
                alike.setdefault((backbone, task.size), []).append(name)
    for (backbone, trained), names in alike.items():
        if size in (None, trained):
            continue
        built = _untrained(workspace, backbone, trained).eval()
        try:
            with torch.inference_mode():
                built(torch.zeros(1, channels, size, size))
        except (RuntimeError, AssertionError, ValueError) as error:
            whose = f"task {names[0]}" if len(names) == 1 else f"tasks {', '.join(names)}"
            yield (
                f"features.size: expected a size that {built.name} of {whose} takes, which is built for "
                f"{trained} pixels, received {size} ({error}); leave it null, or train at that size"
            )
