"""From a YAML file and flags to a checked config, or to every mistake in it at once."""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from .document import Document, read_document, write_document
from .errors import ConfigError, KeyPath, Problem, closest
from .overrides import apply_overrides
from .plugins import load_plugins
from .references import find_problems, of_pictures_only, with_full_options
from .schema import Config
from .validation import lookup, validate

_RUN_FILES = ("manifest.json", "log.jsonl", "folds.parquet")
"""Beside a config, any of these shows that it lies in a run directory."""

_PLACEHOLDERS: dict[str, Any] = {
    "name": "unnamed",
    "data": {"id": "id", "train": ["train.csv"], "images": "images"},
    "id": "id",
    "train": ["train.csv"],
    "images": "images",
    "columns": ["column"],
    "target": "target",
}
"""Stand-ins for required keys, so that the rest of a broken config can still be checked."""


def load_config(
    source: "str | Path | Mapping[str, Any] | Config",
    overrides: Sequence[str] = (),
    *,
    allow_plugins: bool = False,
) -> Config:
    """Read, override and check a whole config.

    Args:
        source: A YAML file, a run directory (its `config.yaml`), plain values, or a config to be overridden.
        overrides: Texts `key.path=value`, the value in YAML; `pretext.0.epochs=3` or `pretext.jig.epochs=3`.
        allow_plugins: Run the files under `plugins` even if the config lies in a run directory, which may be
            a stranger's. Any other config is taken for the user's own.

    Returns:
        The config, with the options of pretexts and heads written out in full.

    Raises:
        ConfigError: with all mistakes, each with its line or flag, what was expected and what was received.
    """
    name, document, in_run = _read(source)
    if document.problems:
        raise ConfigError(name, document.problems)
    data: Any = {} if document.data is None else document.data
    if not isinstance(data, dict):
        raise ConfigError(name, [Problem((), "a mapping of keys", type(data).__name__, where=f"{name}:1")])
    flags, problems = apply_overrides(data, overrides)
    model, invalid = validate(Config, data)
    config = model if isinstance(model, Config) else None
    broken: list[KeyPath] = []
    stand_in = config
    if config is None:
        stand_in, broken = _repaired(data, invalid)
    if stand_in is not None:
        if stand_in.plugins and in_run and not allow_plugins:
            listed = ", ".join(stand_in.plugins)
            invalid.append(
                Problem(
                    ("plugins",),
                    "none in the config of a run directory, which may be a stranger's",
                    listed,
                    hint="read these files; if you trust them, give --allow-plugins (allow_plugins=True)",
                )
            )
            broken.append(("plugins",))
        else:
            failed = load_plugins(stand_in.plugins)
            invalid += failed
            broken += [("plugins",)] if failed else []
        invalid += find_problems(stand_in, broken)
    locate = _locator(name, document.lines, flags)
    problems += sorted(
        (replace(problem, where=locate(problem.path)) for problem in invalid), key=lambda p: _order(p, name)
    )
    if problems or config is None:
        raise ConfigError(name, problems)
    return with_full_options(config)


def to_yaml(config: Config) -> str:
    """The whole config as YAML that `load_config` reads back to an equal config."""
    return write_document(_plain(config))


def _plain(config: Config) -> dict[str, Any]:
    """Its values but those that nothing reads: they are read back, and a config may not say them."""
    values = config.model_dump(mode="json")
    for *path, key in of_pictures_only(config):
        lookup(values, tuple(path)).pop(key, None)
    return values


def _read(source: "str | Path | Mapping[str, Any] | Config") -> tuple[str, Document, bool]:
    """Name for messages, content, and whether it lies in a run directory."""
    if isinstance(source, Config):
        return "config", Document(_plain(source)), False
    if isinstance(source, Mapping):
        return "config", Document(copy.deepcopy(dict(source))), False
    path = Path(source)
    directory = path.is_dir()
    if directory:
        path = path / "config.yaml"
    name = str(path)
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return (
            name,
            Document(problems=[Problem((), "a text file in UTF-8", "other bytes", where=name)]),
            False,
        )
    except OSError as error:
        return name, Document(problems=[_missing_file(path, error)]), False
    in_run = directory or any((path.parent / file).exists() for file in _RUN_FILES)
    return name, read_document(text, name), in_run


def _missing_file(path: Path, error: OSError) -> Problem:
    folder = path.parent
    near = sorted(file.name for file in folder.glob("*.y*ml")) if folder.is_dir() else []
    found = closest(path.name, near)
    return Problem(
        (),
        "an existing YAML file",
        error.strerror or type(error).__name__,
        suggestion=str(folder / found) if found else None,
        hint=None if found else "`jigstack recipes` lists configs to start from",
        where=str(path),
    )


def _repaired(data: dict[str, Any], invalid: Sequence[Problem]) -> tuple[Config | None, list[KeyPath]]:
    """The config without its mistakes, so that references can be checked, and the keys that were replaced."""
    data = copy.deepcopy(data)
    broken: list[KeyPath] = []
    for _ in range(4):
        for problem in invalid:
            path = problem.path
            while path and isinstance(path[-1], int):
                path = path[:-1]
            if not path:
                return None, broken
            broken.append(path)
            try:
                owner = lookup(data, path[:-1])
            except KeyError:
                continue
            if path[-1] in owner:
                del owner[path[-1]]
            elif path[-1] == "kind":
                owner["kind"] = "jigsaw" if path[0] == "pretext" else "regression"
            elif path[-1] in _PLACEHOLDERS:
                owner[path[-1]] = copy.deepcopy(_PLACEHOLDERS[str(path[-1])])
        model, invalid = validate(Config, data)
        if isinstance(model, Config):
            return model, broken
    return None, broken


def _locator(
    name: str, lines: Mapping[KeyPath, int], flags: Mapping[KeyPath, str]
) -> Callable[[KeyPath], str]:
    def locate(path: KeyPath) -> str:
        parents = [path[:length] for length in range(len(path), -1, -1)]
        flag = next((flags[parent] for parent in parents if parent in flags), None)
        line = next((lines[parent] for parent in parents if parent in lines), None)
        if flag is not None:
            return flag
        return name if line is None else f"{name}:{line}"

    return locate


def _order(problem: Problem, name: str) -> tuple[int, int]:
    """The file's mistakes by line, then the flags'."""
    head, _, line = problem.where.rpartition(":")
    return (0, int(line)) if head == name and line.isdigit() else (1, 0)
