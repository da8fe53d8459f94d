"""Stages wired into a run: the functions behind the commands, imported when used."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .ablating import Ablation, ablate
    from .checking import CheckReport, check
    from .commands import RunResult, features, finetune, pretrain, run, stack
    from .initialising import init
    from .sampling import sample

__all__ = [
    "Ablation",
    "CheckReport",
    "RunResult",
    "ablate",
    "check",
    "features",
    "finetune",
    "init",
    "pretrain",
    "run",
    "sample",
    "stack",
]

_FILES = {
    "Ablation": "ablating",
    "CheckReport": "checking",
    "ablate": "ablating",
    "check": "checking",
    "init": "initialising",
    "sample": "sampling",
}


def __getattr__(name: str) -> Any:
    if name in __all__:
        return getattr(importlib.import_module(f".{_FILES.get(name, 'commands')}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
