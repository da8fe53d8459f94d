"""Which tasks share one network."""

from collections.abc import Mapping
from dataclasses import dataclass

from ..configs.schema import Config, Task
from ..datasets.files import digest

# Options that belong to one head; a network shares all the others.
HEAD_OPTIONS = {"kind", "columns", "options", "weight"}
LONGEST_NAME = 120


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
        folds = self.shared.folds
        if folds == "auto":
            raise ValueError("folds: expected a resolved config, received 'auto'; make a Workspace first")
        return list(folds)


def networks(config: Config) -> list[Network]:
    """The networks of a resolved config, in the order of their first tasks.

    With `transfer.joint`, tasks that agree in everything but their head share one network; otherwise each has its own.
    """
    shared: dict[str, dict[str, Task]] = {}
    for name, task in config.tasks.items():
        trunk = task.model_dump_json(exclude=HEAD_OPTIONS) if config.transfer.joint else name
        shared.setdefault(trunk, {})[name] = task
    return [Network(_name(list(tasks)), tasks) for tasks in shared.values()]


def _name(tasks: list[str]) -> str:
    """The tasks' names joined; file systems allow no longer names than 255 bytes."""
    joined = "+".join(tasks)
    return joined if len(joined) <= LONGEST_NAME else f"{tasks[0]}+{len(tasks) - 1}-{digest(tasks)}"
