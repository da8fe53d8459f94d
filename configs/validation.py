"""Plain values against a model: the checked model, or every mistake with what was expected."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from . import expectation
from .errors import KeyPath, Problem, closest, shown


def validate(
    model: type[BaseModel], data: Any, prefix: KeyPath = ()
) -> tuple[BaseModel | None, list[Problem]]:
    """Build a model from plain values.

    Args:
        model: A pydantic model that forbids unknown keys.
        data: Mappings, lists and scalars.
        prefix: Where `data` stands in the whole config.

    Returns:
        The model or None, and the mistakes in the order of the model's keys.
    """
    try:
        return model.model_validate(data), []
    except ValidationError as error:
        schema = model.model_json_schema()
        found: dict[KeyPath, Problem] = {}
        in_union: set[KeyPath] = set()
        for detail in error.errors():
            path, skipped = _key_path(detail, data)
            if path in found and detail["type"] != "value_error":
                continue  # of several members of a union, one that says in words what it minds tells more
            found[path] = _problem(detail, path, schema, data, prefix)
            if skipped:
                in_union.add(path)
    # Of `x: auto | list`, a wrong item of the list is the better explanation than "x is not auto".
    shadowed = {path for path in in_union if any(_is_below(other, path) for other in found)}
    return None, [problem for path, problem in found.items() if path not in shadowed]


def lookup(data: Any, path: KeyPath) -> Any:
    """The value at a key path; KeyError if there is none."""
    for part in path:
        if not _holds(data, part):
            raise KeyError(part)
        data = data[part]
    return data


def _holds(data: Any, part: str | int) -> bool:
    if isinstance(data, list):
        return isinstance(part, int) and part < len(data)
    return isinstance(data, Mapping) and part in data


def _is_below(path: KeyPath, parent: KeyPath) -> bool:
    return len(path) > len(parent) and path[: len(parent)] == parent


def _key_path(detail: ErrorDetails, data: Any) -> tuple[KeyPath, bool]:
    """The key that pydantic's location means, and whether names of union members were left out of it."""
    path: list[str | int] = []
    skipped = False
    for part in detail["loc"]:
        if _holds(data, part):
            data = data[part]
            path.append(part)
        elif isinstance(data, Mapping) and detail["type"] == "missing":
            path.append(part)
            break
        elif not isinstance(part, int) and part != "[key]":
            skipped = True
    return tuple(path), skipped


def _problem(
    detail: ErrorDetails, path: KeyPath, schema: dict[str, Any], data: Any, prefix: KeyPath
) -> Problem:
    whole = (*prefix, *path)
    if detail["type"] in ("union_tag_invalid", "union_tag_not_found"):
        return _unnamed(path, schema, data, prefix)
    received = lookup(data, path) if detail["type"] != "missing" or _present(data, path) else None
    if detail["type"] == "extra_forbidden":
        known, key = expectation.keys(schema, path[:-1], data), str(path[-1])
        near = closest(key, known)
        owner = "of " + ".".join(map(str, whole[:-1])) if whole[:-1] else "at the top"
        listed = "" if near else f": {', '.join(known)}" if known else "; it has none"
        return Problem(whole, f"a key {owner}{listed}", key, near)
    if detail["type"] == "missing" and not _present(data, path):
        return Problem(whole, expectation.words(schema, path, data), "nothing")
    if detail["loc"][-1:] == ("[key]",):
        return Problem(
            whole,
            expectation.words({"pattern": detail.get("ctx", {}).get("pattern", ""), "type": "string"}, ()),
            str(path[-1]),
        )
    if detail["type"] == "value_error":
        return Problem(whole, str(detail.get("ctx", {}).get("error", detail["msg"])), shown(received))
    expected = expectation.words(schema, path, data)
    near = closest(received, expectation.choices(schema, path, data)) if isinstance(received, str) else None
    hint = None
    if detail["type"] == "string_type" and isinstance(received, int | float):
        hint = f'put it in quotes: "{received}"'
    return Problem(whole, expected, shown(received), near, hint)


def _unnamed(path: KeyPath, schema: dict[str, Any], data: Any, prefix: KeyPath) -> Problem:
    """Of models that a key tells apart, one whose key is absent or names none of them."""
    received = lookup(data, path)
    if not isinstance(received, Mapping):
        return Problem((*prefix, *path), expectation.words(schema, path, data), shown(received))
    apart = (expectation.find(schema, path) or {})["discriminator"]
    key, known = apart["propertyName"], list(apart["mapping"])
    given = received.get(key)
    near = closest(given, known) if isinstance(given, str) else None
    told = shown(given) if key in received else "nothing"
    return Problem((*prefix, *path, key), f"one of {', '.join(known)}", told, near)


def _present(data: Any, path: KeyPath) -> bool:
    try:
        lookup(data, path)
    except KeyError:
        return False
    return True
