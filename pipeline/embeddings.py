"""Which frozen tasks share which embeddings."""

import re
from dataclasses import dataclass

from ..configs.schema import Config, Task
from ..datasets.files import digest


@dataclass(frozen=True)
class Embedding:
    """One backbone's features of all rows at one input size, from one start."""

    init: str
    backbone: str
    size: int
    of_tables: bool = False
    """Whether lines of the table are embedded, which have no size."""

    @property
    def name(self) -> str:
        """Its folder below `embeddings/`; parts of a config's names hold no dot."""
        init = self.init
        if not re.fullmatch(r"[\w-]+", init):
            init = f"file-{digest(init)[:8]}"
        return f"{init}.{self.backbone}" + ("" if self.of_tables else f".{self.size}")

    @classmethod
    def all_of(cls, task: Task, config: Config) -> list["Embedding"]:
        """What a frozen task of a resolved config reads: one, or one of each joined backbone."""
        return [
            cls(init, backbone, task.size, config.backbones[backbone].of_tables)
            for backbone, init in task.starts.items()
        ]


def frozen_tasks(config: Config) -> dict[str, Task]:
    """The tasks that learn from frozen features."""
    return {name: task for name, task in config.tasks.items() if task.frozen}


def embeddings(config: Config) -> dict[str, Embedding]:
    """Every embedding that is read, by its name, in the order of the tasks."""
    read = [each for task in frozen_tasks(config).values() for each in Embedding.all_of(task, config)]
    return {embedding.name: embedding for embedding in read}
