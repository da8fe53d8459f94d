"""Which tasks share one network."""

from collections.abc import Mapping
from dataclasses import dataclass

from ..configs.schema import Config, Task
from ..datasets.files import digest

# Options that belong to one head; a network shares all the others.
HEAD_OPTIONS = {"kind", "columns", "options", "weight"}
LONGEST_NAME = 120
ATTENTION = "attention.csv"
"""Of a network: the share of attention of each column."""


@dataclass(frozen=True)
class Network:
    """One or several tasks on one trunk; its name is also its folder below `transfer/`."""

    name: str
    tasks: Mapping[str, Task]

    @property
    def shared(self) -> Task:
        """The options that all its tasks agree on."""
        return next(iter(self.tasks.values()))

    @property
    def folds(self) -> list[int]:
        """The folds to train."""
        return folds_of(self.shared)


def folds_of(task: Task) -> list[int]:
    """The folds of a task of a resolved config.

    Raises:
        ValueError: the config is not resolved.
    """
    if task.folds == "auto":
        raise ValueError("folds: expected a resolved config, received 'auto'; make a Workspace first")
    return list(task.folds)


def networks(config: Config) -> list[Network]:
    """The networks of a resolved config, in the order of their first tasks; frozen tasks train none.

    With `transfer.joint`, tasks that agree in everything but their head share one network; otherwise each has its own.
    """
    shared: dict[str, dict[str, Task]] = {}
    for name, task in config.tasks.items():
        if task.frozen:
            continue
        trunk = task.model_dump_json(exclude=HEAD_OPTIONS) if config.transfer.joint else name
        shared.setdefault(trunk, {})[name] = task
    return [Network(_name(list(tasks)), tasks) for tasks in shared.values()]


def importance_files(config: Config, network: Network) -> list[str]:
    """What is written of how much each column counts in a network: nothing of one that reads no table.

    Args:
        config: resolved.
        network: one of its networks.

    Returns:
        `attention.csv` if a TabNet is in it, `permutation.<task>.csv` if it reads one table alone; as far as
        `transfer.importance` asks for them.
    """
    sections = [config.backbones[name] for name in network.shared.starts]
    names = []
    if "attention" in config.transfer.importance and any(section.kind == "tabnet" for section in sections):
        names.append(ATTENTION)
    if "permutation" in config.transfer.importance and len(sections) == 1 and sections[0].of_tables:
        names += map(permutation_file, network.tasks)
    return names


def permutation_file(task: str) -> str:
    """The name of a head's table of shuffled columns."""
    return f"permutation.{task}.csv"


def _name(tasks: list[str]) -> str:
    """The tasks' names joined; file systems allow no longer names than 255 bytes."""
    joined = "+".join(tasks)
    return joined if len(joined) <= LONGEST_NAME else f"{tasks[0]}+{len(tasks) - 1}-{digest(tasks)}"
