"""YAML with line numbers: what a config file says, and on which line it says so.

Scalars follow YAML 1.2's core schema, not 1.1's: `1e-3` is a number, `no` and `2024-01-01` are text.
"""

import re
from dataclasses import dataclass, field
from typing import Any

import yaml

from .errors import KeyPath, Problem, shown

_MAX_DEPTH = 40
_MAX_NODES = 100_000

_COLLECTIONS = ("tag:yaml.org,2002:map", "tag:yaml.org,2002:seq")

_RESOLVERS = [
    ("tag:yaml.org,2002:bool", re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), "tTfF"),
    ("tag:yaml.org,2002:int", re.compile(r"^[-+]?[0-9]+$"), "-+0123456789"),
    (
        "tag:yaml.org,2002:float",
        re.compile(
            r"^(?:[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$"
        ),
        "-+0123456789.",
    ),
    ("tag:yaml.org,2002:null", re.compile(r"^(?:~|null|Null|NULL|)$"), ["~", "n", "N", ""]),
    ("tag:yaml.org,2002:merge", re.compile(r"^<<$"), "<"),
]


class _Loader(yaml.SafeLoader):
    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012  # replaces PyYAML's table of YAML 1.1


class _Dumper(yaml.SafeDumper):
    """Quotes whatever YAML 1.1 or 1.2 would take for something other than text."""


for _tag, _pattern, _first in _RESOLVERS:
    _Loader.add_implicit_resolver(_tag, _pattern, list(_first))
    _Dumper.add_implicit_resolver(_tag, _pattern, list(_first))


@dataclass
class Document:
    """Plain values of a YAML text, the line of each key, and what was wrong with the text itself."""

    data: Any = None
    lines: dict[KeyPath, int] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)


def read_document(text: str, name: str) -> Document:
    """Parse YAML and remember the line of every key.

    Args:
        text: One YAML document.
        name: What stands before the line number in messages.

    Returns:
        The document; a syntax error, a key given twice or an unknown tag stands in its `problems`.
    """
    document = Document()
    try:
        root = yaml.compose(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        document.problems.append(
            Problem((), "valid YAML", error.problem or "something else", where=f"{name}:{line}")
        )
        return document
    except yaml.YAMLError as error:
        document.problems.append(Problem((), "valid YAML", str(error).splitlines()[0], where=name))
        return document
    if root is not None:
        document.data = _Builder(document, name).value(root, (), 0)
    return document


def parse_value(text: str) -> Any:
    """The plain value of a short YAML text, as given to a flag.

    Raises:
        ValueError: if the text is not valid YAML.
    """
    document = read_document(text, "value")
    if document.problems:
        problem = document.problems[0]
        raise ValueError(problem.received)
    return document.data


def write_document(data: Any) -> str:
    """YAML text that `read_document` reads back to equal values."""
    return yaml.dump(
        data, Dumper=_Dumper, sort_keys=False, default_flow_style=None, allow_unicode=True, width=110
    )


class _Builder:
    """Turns YAML nodes into plain values and notes the lines."""

    def __init__(self, document: Document, name: str) -> None:
        self.document = document
        self.name = name
        self.built = 0
        self.is_stopped = False

    def value(self, node: yaml.Node, path: KeyPath, depth: int) -> Any:
        if self.is_stopped:
            return None
        self.built += 1
        # An alias may contain itself, or aliases of aliases multiply until the memory is full.
        if depth > _MAX_DEPTH:
            return self.stop(
                node, f"at most {_MAX_DEPTH} levels", "deeper nesting, or an alias inside itself"
            )
        if self.built > _MAX_NODES:
            return self.stop(node, f"at most {_MAX_NODES} values", "more, counting each use of an alias")
        self.document.lines.setdefault(path, node.start_mark.line + 1)
        if isinstance(node, yaml.CollectionNode) and node.tag not in _COLLECTIONS:
            self.problem(node, path, "a plain list or mapping", f"the tag {shown(node.tag)}")
            return None
        if isinstance(node, yaml.MappingNode):
            return self.mapping(node, path, depth)
        if isinstance(node, yaml.SequenceNode):
            return [self.value(child, (*path, index), depth + 1) for index, child in enumerate(node.value)]
        return self.scalar(node, path)

    def mapping(self, node: yaml.MappingNode, path: KeyPath, depth: int) -> dict[str, Any]:
        merged: dict[str, Any] = {}
        values: dict[str, Any] = {}
        first_line: dict[str, int] = {}
        for key_node, child in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                self.problem(key_node, path, "a key of plain text", "a list or mapping as key")
                continue
            key, line = str(key_node.value), key_node.start_mark.line + 1
            if key_node.tag == "tag:yaml.org,2002:merge":
                for source in child.value if isinstance(child, yaml.SequenceNode) else [child]:
                    inherited = self.value(source, path, depth + 1)
                    merged = {**(inherited if isinstance(inherited, dict) else {}), **merged}
                continue
            if key in first_line:
                self.problem(
                    key_node,
                    (*path, key),
                    "each key once",
                    f"the key twice, on lines {first_line[key]} and {line}",
                )
                continue
            first_line[key] = line
            self.document.lines[(*path, key)] = line
            values[key] = self.value(child, (*path, key), depth + 1)
        return {**merged, **values}

    def scalar(self, node: yaml.Node, path: KeyPath) -> Any:
        text = str(node.value)
        match node.tag.removeprefix("tag:yaml.org,2002:"):
            case "null":
                return None
            case "bool":
                return text.lower() == "true"
            case "int":
                return int(text)
            case "float":
                return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
            case "str":
                return text
            case tag:
                self.problem(node, path, "plain text, a number, true, false or null", f"the tag {shown(tag)}")
                return None

    def stop(self, node: yaml.Node, expected: str, received: str) -> None:
        self.is_stopped = True
        self.problem(node, (), expected, received)

    def problem(self, node: yaml.Node, path: KeyPath, expected: str, received: str) -> None:
        where = f"{self.name}:{node.start_mark.line + 1}"
        self.document.problems.append(Problem(path, expected, received, where=where))
