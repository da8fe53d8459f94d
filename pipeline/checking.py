"""`jigstack check`: look at data, folds and cost before anything is trained."""

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from ..configs import Config, load_config
from ..datasets.dates import fractional_years
from ..datasets.findings import name_some
from ..datasets.inspect import DataReport, class_balance, report_data
from ..datasets.metadata import Kind
from ..datasets.tables import Table
from .console import Console, duration
from .curves import draw, marks, schedules
from .estimate import Estimate, estimate, worth_compiling
from .finder import find_rates
from .ladders import aligned
from .preflight import preflight
from .reuse import check_files
from .shortcuts import Shortcuts, chosen_jigsaw, look_for_shortcuts
from .stages import Stages
from .workspace import Workspace

SHOWN_IDS = 5  # as many as a finding's message names


@dataclass(frozen=True)
class CheckReport:
    """What was found.

    Attributes:
        data: counts, balance of the folds, and findings: errors, warnings and notes.
        cost: time, memory and disk of a run from nothing.
        rates: the learning rate that the finder suggests for each config key, if it was asked.
        shortcuts: what short jigsaws with and without gap and jitter learned, if they were asked for.
    """

    data: DataReport
    cost: Estimate
    rates: dict[str, float] = field(default_factory=dict)
    shortcuts: Shortcuts | None = None


def check(
    config: str | Path | dict[str, Any] | Config,
    overrides: Sequence[str] = (),
    *,
    find_lr: bool = False,
    shortcuts: int | None = None,
    quiet: bool = False,
    allow_plugins: bool = False,
) -> CheckReport:
    """Report broken, missing and duplicate images, the balance of the folds, the learning rates, and what a run costs.

    Args:
        config, overrides: as for `run`.
        find_lr: also try rising learning rates on the real data: a hundred steps of every training.
        shortcuts: also train the jigsaw for so many epochs without gap and jitter, with the gap alone, and as
            configured, to see whether it matches borders.
        quiet: print nothing but what the jigsaws say.

    Raises:
        UserError: the config, the tables or a checkpoint it starts from cannot be used at all, or `shortcuts` without a
            jigsaw.
    """
    console = Console(quiet)
    loaded = load_config(config, overrides, allow_plugins=allow_plugins)
    if shortcuts is not None:
        chosen_jigsaw(loaded)  # before minutes of looking at data
    workspace = Workspace(loaded)
    preflight(workspace)
    starts = check_files(workspace)
    console.say(f"{workspace.config.name}: {workspace.summary}")
    pictures = None
    if workspace.has_images:
        pictures = workspace.pictures(lambda done, total: console.counting("decode images", done, total))
    data = report_data(
        _with_years(workspace),
        workspace.test,
        pictures,
        workspace.plan,
        workspace.extra.tolist(),
        _targets(workspace),
        lambda done, total: console.counting("compare images", done, total),
    )
    console.say(", ".join(f"{count:,} {name}" for name, count in data.counts.items()))
    most = math.inf if pictures is None else len(pictures.store)
    for finding in data.findings:
        console.say(f"{finding.severity}: {finding.message}")
        if SHOWN_IDS < len(finding.ids) < most:  # a list of every image would only hide the message
            console.say(f"  all {len(finding.ids)}: {', '.join(finding.ids)}")
    columns = {column for task in workspace.config.tasks.values() for column in task.columns}
    for column, shares in class_balance(workspace.train, sorted(columns)).items():
        console.say(f"{column}: " + ", ".join(f"{value} {share:.4g}" for value, share in shares.items()))
    for note in [*workspace.notes, *starts]:
        console.say(note)
    console.say(f"\n{workspace.config.folds.scheme} folds, plan {workspace.plan.hash[:8]}:")
    balance = workspace.plan.balance()
    parts = [[column, *map(_cell, balance[column])] for column in balance]
    for line in aligned(list(zip(*parts, strict=True))):
        console.say(line)
    stages = Stages(workspace)
    cost = estimate(stages, list(stages))
    for curve in schedules(stages):
        console.say(f"\nlearning rate of {curve.heading}")
        _curve(console, curve.rates)
        if curve.note:
            console.say(f"   {marks(curve.marked, len(curve.rates))}\n  {curve.note}")
    console.say("\ncost of a whole run on this machine:")
    for name, seconds in cost.seconds.items():
        console.say(f"  {name}: {duration(seconds)}")
    console.say(
        f"  in all {duration(cost.total)}, memory about {cost.memory / 1e9:.1f} GB, disk about {cost.disk / 1e9:.2f} GB"
    )
    if long := worth_compiling(stages, cost):
        console.say(
            f"  compile: true would shorten {name_some(long)}: each step of a TabNet by a fifth or more, for a minute "
            "before the first"
        )
    rates = _find_rates(console, stages) if find_lr and not data.failed else {}
    found = None
    if shortcuts is not None and not data.failed:
        found = look_for_shortcuts(loaded, epochs=shortcuts, quiet=quiet)
    console.say(
        "\nerrors: mend them first" if data.failed else "\nno errors; next: jigstack run, same arguments"
    )
    return CheckReport(data, cost, rates, found)


def _targets(workspace: Workspace) -> dict[str, Kind]:
    """The columns that heads and stacks learn; a column of classes and numbers counts as numbers."""
    kinds: dict[str, Kind] = {}
    for task in workspace.config.tasks.values():
        if task.kind in ("regression", "onehot", "date"):
            for column in task.columns:
                number = task.kind == "date" or pd.api.types.is_numeric_dtype(workspace.train.column(column))
                kinds[column] = "number" if number else "class"
    for stack in workspace.config.stack.values():
        for column in stack.columns:
            kinds[column] = "class" if stack.metric in ("accuracy", "logloss", "auc", "f1") else "number"
    return {column: kind for column, kind in kinds.items() if kind == "number" or _few(workspace, column)}


def _with_years(workspace: Workspace) -> Table:
    """The train table with dates as fractional years, as heads learn them; what is no date is missing."""
    years = {
        column: fractional_years(workspace.train.column(column), dayfirst=bool(task.options.get("dayfirst")))
        for task in workspace.config.tasks.values()
        if task.kind == "date"
        for column in task.columns
    }
    return dataclasses.replace(workspace.train, frame=workspace.train.frame.assign(**years))


def _few(workspace: Workspace, column: str) -> bool:
    """Whether a column has classes rather than texts."""
    return workspace.train.column(column).nunique() <= 50


def _curve(console: Console, values: Sequence[float]) -> None:
    encoding = getattr(console.stream, "encoding", None) or "ascii"
    for line in draw(values, plain=not encoding.lower().startswith("utf")):
        console.say(f"  |{line}")


def _find_rates(console: Console, stages: Stages) -> dict[str, float]:
    rates: dict[str, float] = {}
    for name, keys, now, test in find_rates(stages):
        console.say(f"\nloss of {name} over rates from {test.rates[0]:.0e} to {test.rates[-1]:.0e}")
        _curve(console, test.losses)
        if test.suggestion is None:
            console.say(
                f"  no suggestion: the loss of {len(test.losses)} steps did not fall clearly; the config has {now:.1e}"
            )
            continue
        rates |= dict.fromkeys(keys, test.suggestion)
        settings = " ".join(f"{key}={test.suggestion:.1e}" for key in keys)
        console.say(
            f"  suggested: {settings}, a tenth of the rate with the smallest loss; the config has {now:.1e}"
        )
    return rates


def _cell(value: Any) -> str:
    return f"{value:.3f}" if isinstance(value, float) else str(value)
