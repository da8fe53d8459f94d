"""Heads: a backbone fine-tuned on labels.

The public names are imported lazily, so that importing a part of the package does not cost all of it.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .estimator import TabNetClassifier, TabNetRegressor

__all__ = ["TabNetClassifier", "TabNetRegressor"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        return getattr(importlib.import_module(".estimator", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
