"""The shipped configs. Imports nothing heavy."""

from pathlib import Path

from .errors import UserError, closest

_FOLDER = Path(__file__).parent


def list_recipes() -> dict[str, str]:
    """Each shipped recipe's name and the first line of its comment block."""
    return {path.stem: _headline(path) for path in sorted(_FOLDER.glob("*.yaml"))}


def copy_recipe(name: str, destination: str | Path | None = None) -> Path:
    """Copy a shipped recipe, to be changed and run.

    Args:
        name: One of `list_recipes()`.
        destination: A new file, or an existing folder; by default `<name>.yaml` in the working directory.

    Returns:
        The file written.

    Raises:
        UserError: if there is no such recipe, or the file exists.
    """
    known = list_recipes()
    if name not in known:
        near = closest(name, known)
        raise UserError(
            f"name: expected a recipe ({', '.join(known)}), received {name!r}"
            + (f"; did you mean {near!r}?" if near else "")
        )
    path = Path(f"{name}.yaml" if destination is None else destination)
    if path.is_dir():
        path = path / f"{name}.yaml"
    text = (_FOLDER / f"{name}.yaml").read_text(encoding="utf-8")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError as error:
        raise UserError(
            f"destination: expected a new file, received the existing {path}; name another"
        ) from error
    return path


def _headline(path: Path) -> str:
    with path.open(encoding="utf-8") as file:
        return file.readline().removeprefix("#").strip()
