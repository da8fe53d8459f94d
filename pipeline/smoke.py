"""A short trial of a whole run: fewer rows, one epoch, a name of its own."""

import dataclasses
import hashlib
from collections.abc import Mapping
from typing import Any

import pandas as pd

from ..configs.schema import Config
from ..datasets.tables import Table

SMOKE_ROWS = {"train": 200, "test": 60, "unlabelled": 60}
FEWEST_GROUPS = 3  # of a short trial, one for each of its folds


def smoke_config(config: Config) -> Config:
    """The same run with one epoch, at most 3 folds and a name of its own."""
    plan = config.folds.model_copy(update={"n": min(config.folds.n, 3)})
    tasks = {}
    for name, task in config.tasks.items():
        folds = task.folds if task.folds == "auto" else [fold for fold in task.folds if fold < plan.n] or [0]
        tasks[name] = task.model_copy(update={"folds": folds} | ({} if task.frozen else {"epochs": 1}))
    return config.model_copy(
        update={
            "name": f"{config.name}-smoke",
            "folds": plan,
            "pretext": [stage.model_copy(update={"epochs": 1}) for stage in config.pretext],
            "tasks": tasks,
            "transfer": config.transfer.model_copy(update={"seeds": 1}),
            "data": config.data.model_copy(update={"sample_submission": None}),
        }
    )


def some_rows(table: Table, group: str | None, count: int) -> Table:
    """About `count` rows, whole groups unless they are large, the same on every machine."""
    if len(table) <= count:
        return table
    groups = (
        pd.Series(table.ids, index=table.frame.index) if group is None else table.column(group).astype(str)
    )
    order = sorted(groups.unique(), key=lambda name: hashlib.sha256(str(name).encode()).digest())
    sizes: Mapping[Any, int] = groups.value_counts().to_dict()
    kept, total = set(), 0
    for name in order:
        if total >= count:
            break
        kept.add(name)
        total += sizes[name]
    if len(kept) < min(FEWEST_GROUPS, len(order)):  # large groups: some rows of each
        rank = groups.groupby(groups).cumcount()
        return dataclasses.replace(table, frame=table.frame[(rank < -(-count // len(order))).to_numpy()])
    return dataclasses.replace(table, frame=table.frame[groups.isin(kept).to_numpy()])


def unlisted(table: Table, ids: set[str]) -> Table:
    """Lists without the rows of some ids; those of ids that no table ever had stay, for `check_tables` to name."""
    return dataclasses.replace(
        table, lists={name: rows[~rows["id"].isin(list(ids))] for name, rows in table.lists.items()}
    )
