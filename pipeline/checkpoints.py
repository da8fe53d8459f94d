"""Where the checkpoints are that trainings start from."""

from pathlib import Path

from ..configs.schema import Pretext
from ..datasets.files import content_digests
from .manifest import fold_folder
from .workspace import Workspace


def checkpoint_of(workspace: Workspace, run: Path, init: str | None, fold: int | None) -> Path | None:
    """The checkpoint folder or file that a stage starts from; None for the backbone's own weights."""
    if init is None or init == "scratch":
        return None
    by_name = {stage.name: stage for stage in workspace.config.pretext}
    if init not in by_name:
        return checkpoint_file(init)
    options = by_name[init]
    folder = run / "pretext" / init
    return (
        folder / fold_folder(fold)
        if options.scope == "inductive" and options.reuse is None and fold is not None
        else folder
    )


def is_trained(checkpoint: Path | None) -> bool:
    """Whether there are weights: a file, or a folder with a finished `backbone.safetensors`."""
    return checkpoint is not None and (
        checkpoint.is_file() or (checkpoint / "backbone.safetensors").is_file()
    )


def checkpoint_file(path: str) -> Path:
    """The weights that a path means: a file, the folder of a `backbone.safetensors`, or a run with one pretext."""
    return Path(path) if Path(path).is_file() else checkpoint_folder(path, None) / "backbone.safetensors"


def reused_folder(options: Pretext) -> Path:
    """The folder of the finished checkpoint that `reuse` names: a file in it, the folder, or a run that holds one."""
    path = Path(str(options.reuse))
    return path.parent if path.is_file() else checkpoint_folder(str(path), options.name)


def checkpoint_folder(path: str, name: str | None) -> Path:
    """The folder itself, or that of the run's pretext `name`, or of its only pretext.

    Raises:
        ValueError: there is no such checkpoint, or the run has several and none of this name.
    """
    folder = Path(path)
    if (folder / "backbone.safetensors").is_file():
        return folder
    found = sorted(file.parent for file in folder.glob("pretext/*/backbone.safetensors"))
    named = [each for each in found if each.name == name] or found
    if len(named) != 1:
        raise ValueError(
            f"expected a backbone.safetensors, its folder, or a run with one finished pretext, received {path!r} "
            f"with {[each.name for each in found] or 'none'}; name the folder itself"
        )
    return named[0]


def file_digest(path: Path) -> str:
    """The digest of a file that the config names.

    Raises:
        ValueError: there is no such file.
    """
    if not path.is_file():
        raise ValueError(f"expected a file, received {str(path)!r}, which does not exist")
    return content_digests([path])[0]
