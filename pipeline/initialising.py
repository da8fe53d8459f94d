"""`jigstack init`: look at data that nobody has described, and write a commented config that runs."""

import os
from pathlib import Path
from typing import get_args

from ..configs import load_config
from ..configs.errors import UserError, closest
from ..datasets.files import atomic
from ..datasets.roles import plain, read_roles
from ..datasets.survey import read_whole, survey
from .console import Console
from .draft import Draft, PresetName
from .preflight import preflight
from .workspace import Workspace


def init(
    data: str | Path, destination: str | Path | None = None, *, preset: str = "good", quiet: bool = False
) -> Path:
    """Write a config for a folder of tables and pictures, or for one table; say what was guessed and why.

    The config is then loaded and checked against the data as `run` does, so that it runs as it is written.

    Args:
        data: a folder with a train table, perhaps a test table, lists and pictures; or the train table itself.
        destination: the file to write; by default `<folder>.yaml` in the working directory.
        preset: `quick`, `good` or `best`: network, size, epochs and folds.
        quiet: print only the path.

    Returns:
        The file.

    Raises:
        ValueError: nothing that could be a train table, an id, a target or an input.
        UserError: an unknown preset, a file that exists, or data that no config of ours could run; the config is
            written all the same, to be changed.
    """
    if preset not in get_args(PresetName):
        near = closest(preset, get_args(PresetName))
        raise UserError(
            f"preset: expected one of {', '.join(get_args(PresetName))}, received {preset!r}"
            + (f"; did you mean {near!r}?" if near else "")
        )
    console = Console(quiet)
    found = survey(data)
    name = plain(found.root.resolve().name)
    path = Path(f"{name}.yaml" if destination is None else destination)
    if path.is_dir():
        path = path / f"{name}.yaml"
    if path.exists():
        raise UserError(f"destination: expected a new file, received the existing {path}; name another")
    asked = [str(column) for column in read_whole(found.root / found.sample).columns] if found.sample else []
    paths = [] if found.pictures is None else [c for c in found.frame if f"{{{c}}}" in found.pictures.pattern]
    roles = read_roles(found.frame, found.test_frame, found.id, asked, [c for c in paths if c != found.id])
    draft = Draft(name, _relative(found.root), found, roles, preset)  # pyright: ignore[reportArgumentType]
    text = draft.text()
    for what, why in draft.guesses:
        console.say(f"{what}\n    {why}")
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    try:
        preflight(Workspace(load_config(path)))
    except ValueError as error:
        raise UserError(f"wrote {path}, which needs a change before it runs:\n{error}") from error
    console.say(f"\nwrote {path}\nnext: jigstack check {path}, then jigstack run {path} --smoke", always=True)
    return path


def _relative(folder: Path) -> str:
    """The folder as seen from the working directory, or in full where it lies elsewhere."""
    whole = Path(os.path.abspath(folder))  # noqa: PTH100 (links are kept as the user wrote them)
    here = Path.cwd()
    return whole.relative_to(here).as_posix() if whole.is_relative_to(here) else whole.as_posix()
