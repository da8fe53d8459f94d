"""jigstack: pretrain once without labels, fine-tune under one fold plan, stack, and believe the score.

The public names are imported lazily, so that ``import jigstack`` costs neither torch nor pandas.
"""

import importlib
from typing import TYPE_CHECKING, Any

from ._version import __version__

if TYPE_CHECKING:
    from .configs import load_config
    from .pipeline import ablate, check, features, finetune, init, pretrain, run, sample, stack

_PUBLIC = {
    "load_config": ".configs",
    "ablate": ".pipeline",
    "check": ".pipeline",
    "finetune": ".pipeline",
    "features": ".pipeline",
    "init": ".pipeline",
    "pretrain": ".pipeline",
    "run": ".pipeline",
    "sample": ".pipeline",
    "stack": ".pipeline",
}

__all__ = [
    "__version__",
    "ablate",
    "check",
    "features",
    "finetune",
    "init",
    "load_config",
    "pretrain",
    "run",
    "sample",
    "stack",
]


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(importlib.import_module(_PUBLIC[name], __name__), name)
    raise AttributeError(f"module 'jigstack' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
