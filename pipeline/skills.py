"""How well a pretraining of a table predicts each column from the others: in a few lines, and as bars."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..datasets.files import read_json
from ..pretext.pretrain import COLUMNS
from .jobs import Work
from .manifest import Stage

NAMED = 5
"""Columns on either end that the terminal names."""
SHOWN = 30
"""Columns on either end that the report shows."""
_MEANING = "R² of a number, explained share of a category's entropy, on held-out rows; 0 is chance"


@dataclass(frozen=True)
class Skills:
    """Column -> skill, the best first; of a pretext with one checkpoint a fold the mean over the folds."""

    pretext: str
    values: Mapping[str, float]
    folds: int = 1

    @property
    def summary(self) -> str:
        """How many columns there are, their median, and how many are predicted no better than by chance."""
        skills = list(self.values.values())
        chance = sum(skill <= 0 for skill in skills)
        mean = f", mean over {self.folds} folds" if self.folds > 1 else ""
        return (
            f"Median {np.median(skills):.2f}, {chance:,} of {len(skills):,} at 0 or below ({_MEANING}{mean})"
        )

    def ends(self, count: int) -> tuple[dict[str, float], dict[str, float]]:
        """The `count` best and as many worst, each the best first; all of them as the best if they are that few."""
        names = list(self.values)
        if len(names) <= 2 * count:
            return dict(self.values), {}
        return (
            {name: self.values[name] for name in names[:count]},
            {name: self.values[name] for name in names[-count:]},
        )


def say_skills(work: Work) -> None:
    """Tell how well each pretraining of a table predicts its columns."""
    for skills in read_skills(work.run, work.stages.pretrain):
        for line in lines_of(skills):
            work.console.say(line)


def read_skills(run: Path, stages: Sequence[Stage]) -> list[Skills]:
    """What pretrainings found so far, in the order of the config; none of a pretext that predicts no cells.

    Args:
        run: the run's directory.
        stages: its pretrainings.
    """
    found: dict[str, list[Mapping[str, float]]] = {}
    for stage in stages:
        path = run / stage.folder / COLUMNS
        if COLUMNS in stage.outputs and path.exists() and (skills := read_json(path)):
            found.setdefault(stage.job.name, []).append(skills)
    return [Skills(name, average(parts), len(parts)) for name, parts in found.items()]


def average(parts: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The mean of each column over the folds that have it, the best first, equals by name."""
    names = {name for part in parts for name in part}
    means = {name: float(np.mean([part[name] for part in parts if name in part])) for name in names}
    return dict(sorted(means.items(), key=lambda each: (-each[1], each[0])))


def lines_of(skills: Skills) -> list[str]:
    """What the terminal is told of a pretraining."""
    best, worst = skills.ends(NAMED)
    lines = [f"columns of {skills.pretext}, each predicted from the others. {skills.summary}"]
    if not worst:
        return [*lines, f"  {_named(best)}"]
    return [*lines, f"  best: {_named(best)}", f"  worst: {_named(worst)}"]


def bars(skills: Skills) -> list[dict[str, object]]:
    """What the report shows: name, value and width in percent, with a line that counts what is left out."""
    best, worst = skills.ends(SHOWN)
    rows: list[dict[str, object]] = [_bar(*each) for each in best.items()]
    if worst:
        rest = list(skills.values.values())[SHOWN:-SHOWN]
        span = f"{rest[-1]:.3f} to {rest[0]:.3f}" if rest else ""
        rows += [{"rest": len(rest), "span": span}] if rest else []
        rows += [_bar(*each) for each in worst.items()]
    return rows


def _bar(name: str, skill: float) -> dict[str, object]:
    return {"name": name, "skill": skill, "width": round(100 * min(1.0, max(0.0, skill)), 1)}


def _named(skills: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {skill:.2f}" for name, skill in skills.items())
