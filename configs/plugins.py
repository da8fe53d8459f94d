"""Files of the user that register their own methods."""

import hashlib
import importlib.util
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

from .errors import Problem


def load_plugins(paths: Sequence[str]) -> list[Problem]:
    """Import each file by its path, so that it can call `jigstack.configs.registry.register_pretext`.

    A file that has not changed since it was imported is not imported again.

    Args:
        paths: Python files, relative to the working directory.

    Returns:
        What went wrong: a missing file, or an exception inside one.
    """
    problems: list[Problem] = []
    for index, text in enumerate(paths):
        path = Path(text)
        if path.suffix != ".py" or not path.is_file():
            problems.append(
                Problem(
                    ("plugins", index),
                    "an existing Python file, relative to the working directory",
                    text,
                    hint=f"the working directory is {Path.cwd()}",
                )
            )
            continue
        problem = _load(path, index)
        if problem is not None:
            problems.append(problem)
    return problems


def _load(path: Path, index: int) -> Problem | None:
    place = hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:8]
    name = f"jigstack_plugin_{place}_{path.stem}"
    content = hashlib.sha256(path.read_bytes()).hexdigest()
    if getattr(sys.modules.get(name), "__jigstack_content__", None) == content:
        return None
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        return Problem(("plugins", index), "a file that Python can import", str(path))
    module = importlib.util.module_from_spec(spec)
    # Pickles of the plug-in's classes look the module up by its name.
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # noqa: BLE001  # a plug-in is the user's code: whatever it raises is theirs to read
        del sys.modules[name]
        frames = traceback.extract_tb(error.__traceback__)
        lines = [frame.lineno for frame in frames if Path(frame.filename).resolve() == path.resolve()]
        place = f" ({path}:{lines[-1]})" if lines else ""
        return Problem(("plugins", index), "a file that imports", f"{type(error).__name__}: {error}{place}")
    module.__dict__["__jigstack_content__"] = content
    return None
