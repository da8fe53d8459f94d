"""How much each column counts in the networks of tables: read from a run, in a few lines, and as bars."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from .jobs import Work
from .manifest import Stage
from .networks import ATTENTION

NAMED = 5
"""Columns that the terminal names."""
SHOWN = 30
"""Columns that the report shows."""


@dataclass(frozen=True)
class Importance:
    """What was found of one TabNet, or of one head.

    Attributes:
        of: the network's name, or the head's.
        values: column -> its mean over the folds, the largest first; NaN where nothing is known.
        folds: how many fold models the mean is over, those in which it is known.
        backbone: whose attention it is; "" of shuffled columns.
        measure: in which a head is worse when a column is shuffled; "" of attention.
    """

    of: str
    values: Mapping[str, float]
    folds: int
    backbone: str = ""
    measure: str = ""

    @property
    def title(self) -> str:
        """What it is, in a few words."""
        if self.backbone:
            return f"attention of {self.of} ({self.backbone})"
        return f"columns of {self.of}, shuffled"

    @property
    def summary(self) -> str:
        """What the numbers are, and how many columns count."""
        if not self.folds:
            return "Not known, as no row that a fold holds out has a label"
        mean = f", mean over {self.folds} folds" if self.folds > 1 else ""
        if self.measure:
            helping = sum(value > 0 for value in self.values.values())
            return (
                f"{helping:,} of {len(self.values):,} help (how much worse the {self.measure} of held-out rows is "
                f"when a column is shuffled among them{mean})"
            )
        return (
            f"Half of it is on {half(list(self.values.values())):,} of {len(self.values):,} (share of TabNet's masks "
            f"on rows that the network did not learn from{mean})"
        )


def half(shares: Sequence[float]) -> int:
    """How many of the largest shares, which come first, are half of all.

    Example:
        >>> half([0.4, 0.2, 0.2, 0.2])
        2
    """
    count, total, whole = 0, 0.0, sum(shares)
    while count < len(shares) and total < whole / 2:
        total += shares[count]
        count += 1
    return count


def say_importance(work: Work) -> None:
    """Tell which columns the networks of tables look at, and which ones their heads need."""
    for found in read_importance(work.run, work.stages.importance):
        for line in lines_of(found):
            work.console.say(line)


def read_importance(run: Path, stages: Sequence[Stage]) -> list[Importance]:
    """What is known of the networks of a run, in the order of the config.

    Args:
        run: the run's directory.
        stages: those of the importance of columns.
    """
    found: list[Importance] = []
    for stage in stages:
        for name in stage.outputs:
            path = run / stage.folder / name
            if not path.exists():
                continue
            table = pd.read_csv(
                path, dtype={"column": str, "backbone": str}, keep_default_na=False, na_values=[""]
            )
            # Of a fold without labels there is nothing to take the mean of.
            folds = int(table.filter(regex="^fold").notna().any().sum())
            if name == ATTENTION:
                for backbone, part in table.groupby("backbone", sort=False):
                    found.append(Importance(stage.job.name, _values(part), folds, backbone=str(backbone)))
            else:
                task, measure = name.split(".")[1], str(table["measure"].iloc[0])
                found.append(Importance(task, _values(table), folds, measure=measure))
    return found


def _values(table: pd.DataFrame) -> dict[str, float]:
    return dict(zip(table["column"].tolist(), table["mean"].tolist(), strict=True))


def lines_of(found: Importance) -> list[str]:
    """What the terminal is told."""
    if not found.folds:
        return [f"{found.title}. {found.summary}"]
    named = ", ".join(f"{name} {value:.3g}" for name, value in list(found.values.items())[:NAMED])
    return [f"{found.title}. {found.summary}", f"  most: {named}"]


def bars(found: Importance) -> list[dict[str, object]]:
    """What the report shows: name, value and width in percent of the largest, and a line that counts the others."""
    columns = list(found.values.items())
    largest = max((value for _, value in columns if value > 0), default=1.0)
    rows: list[dict[str, object]] = [
        {
            "name": name,
            "value": value,
            "width": round(100 * max(0.0, value) / largest, 1) if value == value else 0,
        }
        for name, value in columns[:SHOWN]
    ]
    if rest := [value for _, value in columns[SHOWN:]]:
        rows.append({"rest": len(rest), "span": f"{rest[-1]:.3g} to {rest[0]:.3g}"})
    return rows
