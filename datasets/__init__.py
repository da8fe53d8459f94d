"""Tables, the store of decoded images, fold plans, targets, predictions, sample data.

The public names are imported when they are first asked for: a fold plan needs no torch.
"""

import importlib
from typing import Any

_PUBLIC = {
    "DataReport": ".inspect",
    "Finding": ".findings",
    "FoldPlan": ".folds",
    "ImageStore": ".images",
    "PictureFiles": ".pictures",
    "Pictures": ".pictures",
    "Predictions": ".predictions",
    "SAMPLES": ".samples",
    "Table": ".tables",
    "build_store": ".images",
    "decode_image": ".images",
    "glob_images": ".images",
    "inspect_data": ".inspect",
    "locate_images": ".images",
    "locate_pictures": ".pictures",
    "make_plan": ".folds",
    "read_table": ".tables",
    "report_data": ".inspect",
    "suggest_window": ".windows",
    "unlabelled_images": ".images",
}

__all__ = sorted(_PUBLIC)  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(importlib.import_module(_PUBLIC[name], __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
