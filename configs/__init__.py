"""The config of a run: its schema, how it is read, and the shipped recipes; names are imported when used."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .editor_schema import json_schema
    from .errors import ConfigError, UserError
    from .heads import Options
    from .load import load_config, to_yaml
    from .recipes import copy_recipe, list_recipes
    from .registry import register_pretext
    from .schema import Config

__all__ = [
    "Config",
    "ConfigError",
    "Options",
    "UserError",
    "copy_recipe",
    "json_schema",
    "list_recipes",
    "load_config",
    "register_pretext",
    "to_yaml",
]

_FILES = {
    "Config": "schema",
    "ConfigError": "errors",
    "Options": "heads",
    "UserError": "errors",
    "copy_recipe": "recipes",
    "json_schema": "editor_schema",
    "list_recipes": "recipes",
    "load_config": "load",
    "register_pretext": "registry",
    "to_yaml": "load",
}


def __getattr__(name: str) -> Any:
    if name in _FILES:
        return getattr(importlib.import_module(f".{_FILES[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
