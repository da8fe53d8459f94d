"""Whether a finished checkpoint may be taken as it is."""

from pathlib import Path

import numpy as np
import pandas as pd

from ..configs.errors import UserError
from ..configs.schema import Pretext
from ..datasets.files import read_json
from .workspace import Workspace


def check_reused(workspace: Workspace, options: Pretext, folder: Path) -> str:
    """Compare the card and the rows seen of a finished checkpoint with this run.

    Validation rows must have been treated like the rows to predict: a checkpoint that saw train rows but no test
    rows makes
    every out-of-fold score flatter than the truth.

    Returns:
        A line that says what is reused.

    Raises:
        UserError: another architecture or number of channels, or a one-sided scope that was not asked for by name.
    """
    card = read_json(folder / "backbone.json")
    wanted = workspace.config.backbones[options.backbone]
    mine = {"name": wanted.name, "channels": workspace.config.data.decode.channels}
    theirs = {key: card.get(key) for key in mine}
    if theirs != mine:
        raise UserError(
            f"pretext.{options.name}.reuse: expected a checkpoint of {mine}, received {theirs} in {folder}"
        )
    seen = pd.read_parquet(folder / "seen.parquet")["id"].astype(str).to_numpy()
    train, test = workspace.train.ids.astype(str), workspace.test.ids.astype(str)
    share_train = float(np.isin(train, seen).mean())
    share_test = float(np.isin(test, seen).mean()) if len(test) else 0.0
    if share_train > 0 and share_test == 0 and options.scope != "asymmetric":
        raise UserError(
            f"pretext.{options.name}.reuse: expected a checkpoint that saw train and test rows alike, received one "
            f"that saw {share_train:.0%} "
            f"of the train rows and none of the {len(test)} test rows: validation rows were seen, rows to predict "
            f"were not. "
            "Pretrain anew, or write scope: asymmetric to see that printed beside every score"
        )
    return f"reuse {folder}: saw {share_train:.0%} of the train rows, {share_test:.0%} of the test rows"
