"""`jigstack check`: look at data, folds and cost before anything is trained."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..configs import Config, load_config
from ..datasets.findings import Finding
from ..datasets.folds import FoldPlan
from ..datasets.inspect import inspect_data
from .console import Console, duration
from .estimate import Estimate, estimate
from .ladders import aligned
from .stages import Stages
from .workspace import Workspace


@dataclass(frozen=True)
class CheckReport:
    """What was found.

    Attributes:
        findings: errors, warnings and notes about the data.
        plan: the fold plan that a run would use.
        cost: time, memory and disk of a run from nothing.
    """

    findings: list[Finding]
    plan: FoldPlan
    cost: Estimate

    @property
    def ok(self) -> bool:
        """Whether nothing would stop or silently shrink a run."""
        return not any(finding.severity == "error" for finding in self.findings)


def check(
    config: str | Path | dict[str, Any] | Config,
    overrides: Sequence[str] = (),
    *,
    quiet: bool = False,
    allow_plugins: bool = True,
) -> CheckReport:
    """Report broken, missing and duplicate images, the balance of the folds, and what a run costs.

    Args:
        config, overrides: as for `run`.
        quiet: print nothing.

    Raises:
        UserError: the config or the tables cannot be used at all.
    """
    console = Console(quiet)
    loaded = (
        config
        if isinstance(config, Config) and not overrides
        else load_config(config, overrides, allow_plugins=allow_plugins)
    )
    workspace = Workspace(loaded)
    console.say(f"{workspace.config.name}: {workspace.summary}")
    store = workspace.store(lambda done, total: console.counting("decode images", done, total))
    findings = inspect_data(
        workspace.train, workspace.test, workspace.paths, workspace.contents, store, workspace.plan
    )
    for severity in ("error", "warning", "note"):
        for finding in findings:
            if finding.severity == severity:
                console.say(f"{severity}: {finding.message}")
    plan = workspace.plan
    console.say(f"\nfolds: {plan.n}, {workspace.config.folds.scheme}, plan {plan.hash[:8]}")
    balance = plan.balance()
    for line in aligned(
        [list(map(str, balance.columns)), *([_cell(value) for value in row] for row in balance.to_numpy())]
    ):
        console.say(line)
    stages = Stages(workspace)
    cost = estimate(stages, list(stages))
    console.say("\ncost of a whole run on this machine:")
    for name, seconds in cost.seconds.items():
        console.say(f"  {name}: {duration(seconds)}")
    console.say(
        f"  in all {duration(cost.total)}, memory about {cost.memory / 1e9:.1f} GB, disk about {cost.disk / 1e9:.2f} GB"
    )
    report = CheckReport(findings, plan, cost)
    console.say(
        "\nno errors found; next: jigstack run with the same arguments"
        if report.ok
        else "\nerrors found: mend them first"
    )
    return report


def _cell(value: Any) -> str:
    return f"{value:.3f}" if isinstance(value, float) else str(value)
