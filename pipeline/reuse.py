"""Whether a finished checkpoint may be started from: what it is, and which rows it saw."""

from pathlib import Path

import numpy as np
from scipy.special import bdtr

from ..backbones import build_backbone, read_seen, starting_from
from ..configs.errors import UserError
from ..configs.schema import Pretext
from ..datasets.files import read_json
from ..datasets.table_schema import FILES as SCHEMA_FILES
from .checkpoints import checkpoint_file, reused_folder
from .workspace import Workspace

UNEQUAL = 0.1  # a pretext holds out a twentieth of its rows at random, so that shares differ a little
CHANCE = 0.05  # below it so few seen test rows are no accident


def check_reused(workspace: Workspace, options: Pretext, folder: Path) -> str:
    """Compare the card of a reused checkpoint with this run's backbone, and the rows it saw with this run's rows.

    Returns:
        A line that says what is reused.

    Raises:
        UserError: what this run's own stage wrote, which it would replace; another architecture or number of channels,
            a table that is read otherwise than the config says, rows seen that are not known, or a one-sided scope
            that was not asked for by name.
    """
    key = f"pretext.{options.name}.reuse"
    if folder.resolve().is_relative_to((workspace.run_path / "pretext" / options.name).resolve()):
        raise UserError(
            f"{key}: expected a checkpoint of another run, received the one that this pretext of this run wrote, in "
            f"{folder}; leave reuse out, what is finished is kept, or give the run another name (name=...)"
        )
    card = read_json(folder / "backbone.json")
    wanted = workspace.config.backbones[options.backbone]
    mine: dict[str, object] = {"kind": wanted.kind}
    if not wanted.of_tables:
        mine |= {"name": wanted.name, "channels": workspace.config.data.decode.channels}
    theirs = {key: card.get(key) for key in mine}
    if theirs != mine:
        raise UserError(f"{key}: expected a checkpoint of {mine}, received {theirs} in {folder}")
    if not (folder / "seen.parquet").is_file():
        raise UserError(
            f"{key}: expected a checkpoint that tells which rows it saw, received one "
            f"in {folder} without seen.parquet; copy the file too, or name the folder under a task's init, "
            "where a note says so"
        )
    file = folder / "backbone.safetensors"
    own = _check_reading(workspace, key, options.backbone, file)
    return check_seen(workspace, key, file, options.scope) + own


def check_files(workspace: Workspace) -> list[str]:
    """Check every checkpoint that the config names by path, before anything is trained.

    Returns:
        A line for each under `init` or `weights`; what is taken by `reuse` is told of where it is taken.

    Raises:
        UserError: one saw validation rows but not the rows to predict, or is of another network of tables or reads a
            table otherwise than the config says.
    """
    config = workspace.config
    for stage in config.pretext:
        if stage.reuse is not None:
            check_reused(workspace, stage, reused_folder(stage))
    names = {"scratch", *(stage.name for stage in config.pretext)}
    paths = {
        f"tasks.{name}.init" + (f".{place}" if task.joined else ""): (init, backbone)
        for name, task in config.tasks.items()
        for place, (backbone, init) in enumerate(task.starts.items())
        if init not in names
    }
    paths |= {
        f"pretext.{stage.name}.init": (stage.init, stage.backbone)
        for stage in config.pretext
        if stage.init not in (None, *names)
    }
    paths |= {
        f"backbones.{name}.weights": (backbone.weights, name)
        for name, backbone in config.backbones.items()
        if backbone.weights not in (None, "pretrained")
    }
    lines = []
    for key, (path, backbone) in paths.items():
        file = checkpoint_file(str(path))
        own = _check_reading(workspace, key, backbone, file)
        lines.append(check_seen(workspace, key, file, None) + own)
    return lines


def _check_reading(workspace: Workspace, key: str, backbone: str, file: Path) -> str:
    """A checkpoint of a table brings its schema, see `TableInputs.brought`, and must be of the backbone's network.

    Returns:
        What it decides because the config does not, as the end of a line.

    Raises:
        UserError: it reads what its backbone must not, as a target, or not what and how the config says; or it is of
            another kind or has other options.
    """
    section = workspace.config.backbones[backbone]
    if not section.of_tables or not file.with_name(SCHEMA_FILES[0]).is_file():
        return ""
    try:
        schema = workspace.lines.brought(section, file.parent)
        own = workspace.lines.left_to(section, schema)
        build_backbone(starting_from(section, file), schema.columns, 0)
    except ValueError as error:
        raise UserError(f"{key}: {error}") from error
    return f"; {own}" if own else ""


def check_seen(workspace: Workspace, key: str, file: Path, scope: str | None) -> str:
    """Compare which train and test rows a checkpoint saw.

    Validation rows must have been treated like the rows to predict: a checkpoint that saw train rows but no test
    rows makes every out-of-fold score flatter than the truth.

    Args:
        key: the config's key, for messages.
        file: the `backbone.safetensors`.
        scope: the scope that the config gives it, or None where it gives none.

    Raises:
        UserError: it saw more of the train rows than of the test rows, or any validation row under an inductive scope.
    """
    if not file.with_name("seen.parquet").exists():
        return (
            f"note: {key}: {file} has no seen.parquet: which rows it saw is not known, so scores may flatter"
        )
    seen = np.array(sorted(read_seen(file)))
    train, test = workspace.train.ids.astype(str), workspace.test.ids.astype(str)
    share_train = float(np.isin(train, seen).mean())
    share_test = float(np.isin(test, seen).mean()) if len(test) else 0.0
    shares = f"{share_train:.0%} of the train rows and " + (
        f"{share_test:.0%} of the test rows" if len(test) else "there are no test rows"
    )
    if scope == "inductive" and share_train > 0:
        raise UserError(
            f"{key}: expected a checkpoint that saw no validation row (scope: inductive), received one that saw "
            f"{shares}; pretrain anew, or use scope: transductive"
        )
    if scope != "asymmetric" and one_sided(share_train, round(share_test * len(test)), len(test)):
        way_out = (
            "write scope: asymmetric" if scope else "take it as a pretext, with reuse and scope: asymmetric,"
        )
        raise UserError(
            f"{key}: expected a checkpoint that saw train and test rows alike, received one that saw {shares}: "
            f"validation rows were seen, rows to predict were not. Pretrain anew, or {way_out} to see that printed "
            "beside every score"
        )
    return f"{key}: {file} saw {shares}"


def one_sided(share: float, seen: int, count: int) -> bool:
    """Whether a checkpoint saw clearly fewer of the test rows than of the train rows.

    Of five test rows one that was held out is a fifth, so that shares alone say nothing: the number must also be one
    that a draw with the train rows' share, less `UNEQUAL`, seldom gives (exact binomial, `CHANCE`). No test row at all
    is always too few, since that is what a one-sided pretraining sees.

    Args:
        share: of the train rows that were seen, 0 to 1.
        seen, count: how many of how many test rows were seen.

    Example:
        >>> one_sided(0.95, 4, 5), one_sided(0.95, 0, 1), one_sided(0.95, 600, 1000)
        (False, True, True)
    """
    expected = share - UNEQUAL
    if expected <= 0:
        return False
    return seen == 0 or (seen < expected * count and float(bdtr(seen, count, expected)) < CHANCE)
