"""Ways to train a backbone without labels.

The public name is imported lazily, so that importing a part of the package does not cost all of it.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .estimator import MaskedTablePretrainer

__all__ = ["MaskedTablePretrainer"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        return getattr(importlib.import_module(".estimator", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
