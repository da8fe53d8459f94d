"""Curves drawn in the terminal."""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from ..configs.schema import Pretext, Task
from ..training.fit import FitOptions
from ..transfer.network import frozen_stages, thawed_stages
from .preflight import untrained
from .stages import Stages
from .workspace import Workspace

BLOCKS, PLAIN = " ▁▂▃▄▅▆▇█", " .:-=+*#%"
WIDTH, HEIGHT = 60, 5


def draw(
    values: Sequence[float], width: int = WIDTH, height: int = HEIGHT, *, plain: bool = False
) -> list[str]:
    """A curve as filled columns, each the mean of its share of the values.

    Args:
        values: at least one finite number; the lowest line begins at the smaller of 0 and their minimum.
        width, height: characters; fewer values than `width` give a narrower picture.
        plain: ASCII only.

    Returns:
        `height` lines from top to bottom.

    Raises:
        ValueError: no values.

    Example:
        >>> draw([0, 1, 2, 4], height=2)
        ['   █', ' ▄██']
    """
    if not values:
        raise ValueError("values: expected at least one, received none")
    means = [sum(values[a:b]) / (b - a) for a, b in pairwise(_edges(len(values), width))]
    low, high = min(0.0, *means), max(0.0, *means)
    signs = PLAIN if plain else BLOCKS
    steps = len(signs) - 1
    filled = [round((mean - low) / ((high - low) or 1.0) * height * steps) for mean in means]
    return [
        "".join(signs[min(steps, max(0, count - line * steps))] for count in filled)
        for line in reversed(range(height))
    ]


def marks(points: Iterable[int], count: int, width: int = WIDTH) -> str:
    """The line below a drawing of `count` values: `^` under every column that holds one of the points, 0 to count - 1.

    Example:
        >>> marks([0, 3], 4)
        '^  ^'
    """
    edges = _edges(count, width)
    columns = {bisect_right(edges, point) - 1 for point in points}
    return "".join("^" if column in columns else " " for column in range(max(columns, default=-1) + 1))


def _edges(count: int, width: int) -> list[int]:
    """Where the share of each column of a drawing begins, and the end of the last."""
    columns = min(width, count)
    return [round(column * count / columns) for column in range(columns + 1)]


Thaw = tuple[int, tuple[str, ...]]
"""An epoch, counted from 0, and the stages that begin to learn with it."""


@dataclass(frozen=True)
class Curve:
    """The learning rates of one kind of training.

    Attributes:
        heading: whose they are, and their shape in words.
        rates: one an update.
        marked: the updates with which stages thaw.
        note: what thaws there; empty without `unfreeze`.
    """

    heading: str
    rates: list[float]
    marked: list[int]
    note: str


def _inputs(workspace: Workspace, options: Pretext) -> int:
    if not workspace.config.backbones[options.backbone].of_tables:
        return len(workspace.files)
    rows = [workspace.train.ids, workspace.test.ids, workspace.extra_of(options.backbone)]
    return sum(map(len, rows))


def schedules(stages: Stages) -> Iterator[Curve]:
    """The learning rate of every update of every kind of training, those of equal curves under one heading."""
    workspace = stages.workspace
    trainings: list[tuple[str, Pretext | Task, int, tuple[Thaw, ...]]] = [
        *((f"pretrain/{each.name}", each, _inputs(workspace, each), ()) for each in workspace.config.pretext),
        *(
            (
                f"finetune/{each.name}",
                each.shared,
                len(workspace.plan.train_ids(0)),
                thaws(workspace, each.shared),
            )
            for each in stages.networks
        ),
    ]
    headings: dict[tuple[FitOptions, int, tuple[Thaw, ...]], list[str]] = {}
    for name, shared, count, thawing in trainings:
        options = FitOptions.of(shared)
        batches = max(1, count // options.batch)
        updates = options.epochs * -(-batches // options.accumulate)
        headings.setdefault((options, updates, thawing), []).append(name)
    for (options, updates, thawing), names in headings.items():
        schedule = options.schedule
        restarts = f", {schedule.restarts} restarts" if schedule.restarts else ""
        heading = (
            f"{', '.join(names)}: {schedule.shape}{restarts}, peak {schedule.peak:g}, about {updates:,} updates in "
            f"{options.epochs} epochs"
        )
        rates = [schedule.rate(step, updates) for step in range(updates)]
        marked = [epoch * updates // options.epochs for epoch, _ in thawing]
        yield Curve(heading, rates, marked, _note(thawing))


def thaws(workspace: Workspace, task: Task) -> tuple[Thaw, ...]:
    """When the stages of a task's backbone begin to learn; empty if they learn from the first step."""
    if task.unfreeze is None:
        return ()
    backbone = untrained(workspace, task)
    frozen = frozen_stages(backbone, task.freeze)
    stages = [stage for stage in backbone.stages() if stage not in frozen]
    found: list[Thaw] = []
    still = len(stages)  # below this one they do not learn yet
    for epoch in range(task.epochs):
        now = len(stages) - thawed_stages(epoch, len(stages), task.unfreeze)
        if now < still:
            found.append((epoch, tuple(stages[now:still])))
        still = now
    return tuple(found)


def _note(thawing: Sequence[Thaw]) -> str:
    if not thawing:
        return ""
    first = thawing[0][0]
    alone = "epoch 1" if first == 1 else f"epochs 1 to {first}"
    later = "; ".join(f"from epoch {epoch + 1} also {' '.join(stages)}" for epoch, stages in thawing)
    return f"^ the heads alone in {alone}; {later}"
