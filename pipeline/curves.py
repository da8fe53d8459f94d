"""Curves drawn in the terminal."""

from collections.abc import Iterator, Sequence
from itertools import pairwise

from ..training.fit import FitOptions
from .stages import Stages

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
    columns = min(width, len(values))
    edges = [round(column * len(values) / columns) for column in range(columns + 1)]
    means = [sum(values[a:b]) / (b - a) for a, b in pairwise(edges)]
    low, high = min(0.0, *means), max(0.0, *means)
    signs = PLAIN if plain else BLOCKS
    steps = len(signs) - 1
    filled = [round((mean - low) / ((high - low) or 1.0) * height * steps) for mean in means]
    return [
        "".join(signs[min(steps, max(0, count - line * steps))] for count in filled)
        for line in reversed(range(height))
    ]


def schedules(stages: Stages) -> Iterator[tuple[str, list[float]]]:
    """The learning rate of every update of every kind of training, those of equal curves under one heading."""
    workspace = stages.workspace
    rows = {network.name: len(workspace.plan.train_ids(0)) for network in stages.networks}
    trainings = [(f"pretrain/{each.name}", each, len(workspace.paths)) for each in workspace.config.pretext]
    trainings += [(f"finetune/{each.name}", each.shared, rows[each.name]) for each in stages.networks]
    headings: dict[tuple[FitOptions, int], list[str]] = {}
    for name, shared, count in trainings:
        options = FitOptions.of(shared)
        batches = max(1, count // options.batch)
        updates = options.epochs * -(-batches // options.accumulate)
        headings.setdefault((options, updates), []).append(name)
    for (options, updates), names in headings.items():
        schedule = options.schedule
        restarts = f", {schedule.restarts} restarts" if schedule.restarts else ""
        heading = (
            f"{', '.join(names)}: {schedule.shape}{restarts}, peak {schedule.peak:g}, about {updates:,} updates in "
            f"{options.epochs} epochs"
        )
        yield heading, [schedule.rate(step, updates) for step in range(updates)]
