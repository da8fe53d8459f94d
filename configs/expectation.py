"""What a key of the config expects, in words, read off the JSON schema of its model."""

from collections.abc import Mapping
from typing import Any

from .errors import KeyPath

Schema = dict[str, Any]

_PATTERNS = {
    r"^[A-Za-z0-9][A-Za-z0-9_-]*$": "a name of letters, digits, _ and -, starting with a letter or digit",
    r"^(auto|cpu|cuda|cuda:\d+|mps)$": "auto, cpu, cuda, cuda:N or mps",
}


def find(schema: Schema, path: KeyPath, data: Any = None) -> Schema | None:
    """The part of a schema that describes a key, or None where the schema knows no such key.

    Of models that a key tells apart, such as the steps of a table by their `kind`, `data` says which one is meant.
    """
    node: Schema | None = _resolved(schema, schema)
    for part in path:
        node = _step(schema, node, part)
        if node is None:
            return None
        data = _value(data, part)
        node = _meant(schema, node, data)
    return node


def keys(schema: Schema, path: KeyPath, data: Any = None) -> list[str]:
    """The keys that a mapping may have, in the order of the model."""
    node = find(schema, path, data)
    for option in _options(schema, node or {}):
        if "properties" in option:
            return list(option["properties"])
    return []


def choices(schema: Schema, path: KeyPath, data: Any = None) -> list[str]:
    """The words a key may be set to, as far as it has a closed list of them."""
    node = find(schema, path, data)
    return [str(value) for option in _options(schema, node or {}) for value in _enumerated(option)]


def words(schema: Schema, path: KeyPath, data: Any = None) -> str:
    """What a key expects, e.g. "a whole number from 2 to 50"."""
    node = find(schema, path, data)
    return "a value" if node is None else _words(schema, node)


def _value(data: Any, part: str | int) -> Any:
    if isinstance(data, Mapping):
        return data.get(part)
    return data[part] if isinstance(data, list) and isinstance(part, int) and part < len(data) else None


def _meant(schema: Schema, node: Schema, data: Any) -> Schema:
    """The one of several models whose name stands in the key that tells them apart."""
    apart = node.get("discriminator")
    name = _value(data, apart["propertyName"]) if apart and isinstance(data, Mapping) else None
    known = apart["mapping"] if apart else {}
    return _resolved(schema, {"$ref": known[name]}) if isinstance(name, str) and name in known else node


def _resolved(schema: Schema, node: Schema) -> Schema:
    while "$ref" in node:
        node = schema["$defs"][node["$ref"].rsplit("/", 1)[1]]
    return node


def _options(schema: Schema, node: Schema) -> list[Schema]:
    node = _resolved(schema, node)
    several = node.get("anyOf") or node.get("oneOf") or [node]
    return [found for option in several for found in [_resolved(schema, option)]]


def _step(schema: Schema, node: Schema | None, part: str | int) -> Schema | None:
    for option in _options(schema, node or {}):
        found: Any = None
        if isinstance(part, int):
            prefix = option.get("prefixItems", [])
            found = prefix[part] if part < len(prefix) else option.get("items")
        elif part in option.get("properties", {}):
            found = option["properties"][part]
        else:
            named = option.get("patternProperties", {})
            found = next(iter(named.values()), option.get("additionalProperties"))
        if isinstance(found, dict):
            return _resolved(schema, found)
    return None


def _enumerated(node: Schema) -> list[Any]:
    return [node["const"]] if "const" in node else node.get("enum", [])


def _words(schema: Schema, node: Schema) -> str:
    options = _options(schema, node)
    listed = [value for option in options for value in _enumerated(option)]
    parts = [_plain(schema, option) for option in options if not _enumerated(option)]
    if len(listed) == 1:
        parts.insert(0, str(listed[0]))
    elif listed:
        parts.insert(0, "one of " + ", ".join(map(str, listed)))
    return " or ".join(dict.fromkeys(parts))


def _plain(schema: Schema, node: Schema) -> str:
    match node.get("type"):
        case "null":
            return "null"
        case "boolean":
            return "true or false"
        case "integer":
            times = f", a multiple of {node['multipleOf']}" if "multipleOf" in node else ""
            return "a whole number" + _bounds(node) + times
        case "number":
            return "a number" + _bounds(node)
        case "string" if "pattern" in node:
            return _PATTERNS.get(node["pattern"], f"text of the form {node['pattern']}")
        case "string":
            return "text"
        case "array":
            return _array(schema, node)
        case "object":
            return "a mapping" + (" of at least one entry" if node.get("minProperties") else "")
        case _:
            return "a value"


def _array(schema: Schema, node: Schema) -> str:
    if "prefixItems" in node:
        each = [_words(schema, item) for item in node["prefixItems"]]
        return (
            f"a list of {len(each)}, each {each[0]}" if len(set(each)) == 1 else f"a list: {', '.join(each)}"
        )
    each = _words(schema, node.get("items", {}))
    return ("a list of at least one, each " if node.get("minItems") else "a list, each ") + each


def _bounds(node: Schema) -> str:
    low, above = node.get("minimum"), node.get("exclusiveMinimum")
    high, below = node.get("maximum"), node.get("exclusiveMaximum")
    if low is not None and high is not None:
        return f" from {low:g} to {high:g}"
    lower = f"of at least {low:g}" if low is not None else f"above {above:g}" if above is not None else ""
    upper = f"of at most {high:g}" if high is not None else f"below {below:g}" if below is not None else ""
    both = " and ".join(part for part in (lower, upper) if part)
    return f" {both}" if both else ""
