"""`jigstack check`: look at data, folds and cost before anything is trained."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..configs import Config, load_config
from ..datasets.inspect import DataReport, class_balance, report_data
from .console import Console, duration
from .estimate import Estimate, estimate
from .ladders import aligned
from .preflight import preflight
from .stages import Stages
from .workspace import Workspace

SHOWN_IDS = 5  # as many as a finding's message names


@dataclass(frozen=True)
class CheckReport:
    """What was found.

    Attributes:
        data: counts, balance of the folds, and findings: errors, warnings and notes.
        cost: time, memory and disk of a run from nothing.
    """

    data: DataReport
    cost: Estimate


def check(
    config: str | Path | dict[str, Any] | Config,
    overrides: Sequence[str] = (),
    *,
    quiet: bool = False,
    allow_plugins: bool = False,
) -> CheckReport:
    """Report broken, missing and duplicate images, the balance of the folds, and what a run costs.

    Args:
        config, overrides: as for `run`.
        quiet: print nothing.

    Raises:
        UserError: the config or the tables cannot be used at all.
    """
    console = Console(quiet)
    workspace = Workspace(load_config(config, overrides, allow_plugins=allow_plugins))
    preflight(workspace)
    console.say(f"{workspace.config.name}: {workspace.summary}")
    store = workspace.store(lambda done, total: console.counting("decode images", done, total))
    data = report_data(workspace.train, workspace.test, store, workspace.plan, workspace.extra.tolist())
    console.say(", ".join(f"{count:,} {name}" for name, count in data.counts.items()))
    for finding in data.findings:
        console.say(f"{finding.severity}: {finding.message}")
        if len(finding.ids) > SHOWN_IDS:
            console.say(f"  all {len(finding.ids)}: {', '.join(finding.ids)}")
    columns = {column for task in workspace.config.tasks.values() for column in task.columns}
    for column, shares in class_balance(workspace.train, sorted(columns)).items():
        console.say(f"{column}: " + ", ".join(f"{value} {share:.3g}" for value, share in shares.items()))
    console.say(f"\n{workspace.config.folds.scheme} folds, plan {workspace.plan.hash[:8]}:")
    balance = workspace.plan.balance()
    parts = [[column, *map(_cell, balance[column])] for column in balance]
    for line in aligned(list(zip(*parts, strict=True))):
        console.say(line)
    stages = Stages(workspace)
    cost = estimate(stages, list(stages))
    console.say("\ncost of a whole run on this machine:")
    for name, seconds in cost.seconds.items():
        console.say(f"  {name}: {duration(seconds)}")
    console.say(
        f"  in all {duration(cost.total)}, memory about {cost.memory / 1e9:.1f} GB, disk about {cost.disk / 1e9:.2f} GB"
    )
    console.say(
        "\nerrors: mend them first" if data.failed else "\nno errors; next: jigstack run, same arguments"
    )
    return CheckReport(data, cost)


def _cell(value: Any) -> str:
    return f"{value:.3f}" if isinstance(value, float) else str(value)
