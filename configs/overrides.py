"""`key.path=value` from the command line, laid over what the file says."""

from collections.abc import Sequence
from typing import Any, cast

from .document import parse_value
from .errors import KeyPath, Problem, closest, shown

_NAMED = ("tasks", "stack")
"""Mappings from the user's own names: a flag may change an entry, not begin one piece by piece."""


def apply_overrides(
    data: dict[str, Any], overrides: Sequence[str]
) -> tuple[dict[KeyPath, str], list[Problem]]:
    """Set each override in the plain values of a config, in place.

    Args:
        data: The whole config as plain values.
        overrides: Texts `key.path=value`; the value is YAML; a list's item is named by its index, a pretext
            also by its name.

    Returns:
        The flag that set each key path, and the flags that could not be applied.
    """
    flags: dict[KeyPath, str] = {}
    problems: list[Problem] = []
    for text in overrides:
        where = f"flag {text}"
        dotted, equals, value_text = text.partition("=")
        if not equals or not dotted or "" in dotted.split("."):
            problems.append(Problem((), "key.path=value", text, where=where))
            continue
        try:
            value = parse_value(value_text)
        except ValueError as error:
            problems.append(Problem(tuple(dotted.split(".")), "a value in YAML", str(error), where=where))
            continue
        placed = _place(data, dotted.split("."), value)
        if isinstance(placed, Problem):
            problems.append(
                Problem(placed.path, placed.expected, placed.received, placed.suggestion, where=where)
            )
            continue
        flags = {path: flag for path, flag in flags.items() if path[: len(placed)] != placed}
        flags[placed] = where
    return flags, problems


def _place(data: dict[str, Any], parts: list[str], value: Any) -> KeyPath | Problem:
    """Set one value; the key path it went to, or why it could not."""
    here: Any = data
    path: list[str | int] = []
    for depth, part in enumerate(parts):
        is_last = depth == len(parts) - 1
        above = ".".join(parts[:depth])
        if isinstance(here, list):
            index = _index(here, part)
            if index is None:
                known = [str(_name(item) or number) for number, item in enumerate(here)]
                expected = f"an item of {above}: {', '.join(known) or 'it has none'}"
                return Problem(tuple(parts), expected, part, closest(part, known))
            path.append(index)
        elif isinstance(here, dict):
            if above in _NAMED and not is_last and part not in here:
                expected = f"an entry of {above}: {', '.join(here) or 'it has none'}"
                return Problem(tuple(parts), expected, part, closest(part, here))
            path.append(part)
            if not is_last and here.get(part) is None:
                here[part] = {"img": {}} if path == ["backbones"] else {}
        else:
            return Problem(tuple(parts), f"{above} to be a mapping or a list", shown(here))
        owner = cast(Any, here)
        if is_last:
            owner[path[-1]] = value
        else:
            here = owner[path[-1]]
    return tuple(path)


def _index(items: list[Any], part: str) -> int | None:
    if part.isdigit() and int(part) < len(items):
        return int(part)
    return next((index for index, item in enumerate(items) if _name(item) == part), None)


def _name(item: Any) -> str | None:
    return item["name"] if isinstance(item, dict) and isinstance(item.get("name"), str) else None
