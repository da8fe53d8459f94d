"""`report.html`: ladder, heads, folds, trainings and what the pretexts learned on one self-contained page."""

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader

from .._version import __version__
from ..configs.registry import implementation
from ..datasets.files import atomic, read_json
from ..stacking import Ladder, Rung
from .console import duration
from .heads import HeadFindings, named, recall_rows
from .importance import bars as importance_bars
from .importance import read_importance
from .jobs import Work
from .ladders import scope_notes
from .skills import bars, read_skills

_PACKAGE = __name__.rsplit(".", 1)[0]


def write_report(work: Work, ladders: Sequence[Ladder], findings: HeadFindings) -> Path:
    """Write the page of a finished run.

    Args:
        work: the run.
        ladders: one for each stack.
        findings: what each head is worth by itself.

    Returns:
        The path of the page.
    """
    page = Environment(loader=PackageLoader(_PACKAGE, "."), autoescape=True).get_template("report.html.j2")
    config = work.workspace.config
    text = page.render(
        name=config.name,
        version=__version__,
        rows=work.workspace.summary,
        plan=f"{work.workspace.plan.n} folds, {config.folds.scheme}, plan {work.workspace.plan.hash[:8]}",
        ladders=[{"chart": rung_chart(ladder.rungs), "of": ladder} for ladder in ladders],
        scope_notes=scope_notes(work),
        heads=[(named(score), score) for score in findings.scores],
        recoveries=[(list(recall_rows(recovery)), recovery) for recovery in findings.recoveries],
        notes=work.workspace.notes,
        balance=work.workspace.plan.balance().to_html(index=False, border=0, float_format="%.3f"),
        previews=[
            (stage.name, _shows(work, stage.job.name), _embedded(path))
            for stage in work.stages.pretrain
            if (path := work.folder(stage) / "preview.png").exists()
        ],
        trainings=[
            _training(work, stage.name, work.folder(stage) / "history.json")
            for stage in [*work.stages.pretrain, *work.stages.finetune]
        ],
        skills=[(bars(skills), skills) for skills in read_skills(work.run, work.stages.pretrain)],
        importances=[
            (importance_bars(found), found) for found in read_importance(work.run, work.stages.importance)
        ],
        config=(work.run / "config.yaml").read_text(encoding="utf-8"),
    )
    path = work.run / "report.html"
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return path


def rung_chart(rungs: Sequence[Rung]) -> list[dict[str, float]]:
    """Where each rung's score and interval lie between the smallest and the largest number, in percent."""
    numbers = np.array([[rung.nested, rung.low, rung.high] for rung in rungs])
    low, width = np.nanmin(numbers), np.nanmax(numbers) - np.nanmin(numbers)
    places = np.nan_to_num(100 * (numbers - low) / (width or 1.0))
    return [{"at": at, "low": left, "high": right} for at, left, right in places.round(2).tolist()]


def _shows(work: Work, name: str) -> str:
    """What a pretext draws in its preview; a plug-in need not say so."""
    kind = next(options.kind for options in work.workspace.config.pretext if options.name == name)
    return getattr(implementation(kind), "shows", "Held-out rows, as the plug-in draws them.")


def _training(work: Work, name: str, path: Path) -> dict[str, Any]:
    """The last epoch of one training, and its loss as the points of a small line."""
    stored = read_json(path) if path.exists() else []
    history = (
        stored if isinstance(stored, list) else [entry for entries in stored.values() for entry in entries]
    )
    losses = [entry["scalars"]["loss"] for entry in history]
    last = history[-1] if history else {"scalars": {}, "seconds": 0.0}
    return {
        "name": name,
        "epochs": len(history),
        "time": duration(last["seconds"]),
        "scalars": {key: f"{value:.4g}" for key, value in last["scalars"].items()},
        "line": _polyline(losses),
    }


def _polyline(values: Sequence[float], width: int = 160, height: int = 32) -> str:
    if len(values) < 2:
        return ""
    low, high = min(values), max(values)
    step = width / (len(values) - 1)
    return " ".join(
        f"{i * step:.1f},{height - 2 - (height - 4) * (value - low) / ((high - low) or 1):.1f}"
        for i, value in enumerate(values)
    )


def _embedded(path: Path) -> str:
    return "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode()
