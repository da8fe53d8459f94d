"""Design: the matrices that level 2 is trained on and applied to."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..datasets.findings import name_some
from ..datasets.folds import FoldPlan
from ..datasets.predictions import same_plan
from ..scoring.metrics import Array
from ..transfer.features import Features


@dataclass(frozen=True)
class Design:
    """Level-2 inputs of several tasks side by side.

    Args:
        names: plain names of the D features.
        readable: plain name → readable name.
        x: out-of-fold features (N, D) of the scored rows, in the order asked for.
        test: fold model → features (M, D) of the test rows as that model sees them.
    """

    names: tuple[str, ...]
    readable: dict[str, str]
    x: Array
    test: dict[int, Array]


def build_design(features: Sequence[Features], plan: FoldPlan, ids: NDArray, test_ids: NDArray) -> Design:
    """Join the tasks' features by id.

    Args:
        features: one `Features` a task; nothing else is admitted, because a plain table could hold in-sample
            rows.
        plan: the run's fold plan; every training row must come from the fold model that validates it.
        ids: the N labelled ids to train on.
        test_ids: the M test ids, predicted by every fold model of every task.

    Raises:
        TypeError: something that is not `Features`.
        ValueError: features of another plan, in-sample rows under the name of out-of-fold ones, missing rows,
            or tasks whose test rows come from different fold models.
    """
    for part in features:
        if not isinstance(part, Features):
            raise TypeError(
                "`features` must be Features (transfer.features.aggregate makes them), received "
                f"{type(part).__name__}: "
                "level 2 may be trained on out-of-fold rows only, and a plain table does not say what its "
                "rows are."
            )
    same_plan([plan.hash, *(part.plan for part in features)], "`features`")
    expected = plan.fold_of(ids)
    names = tuple(name for part in features for name in part.names)
    readable = {name: text for part in features for name, text in part.names.items()}
    blocks = []
    for part in features:
        rows = part.training()
        absent = ~pd.Index(ids).isin(rows.index)
        if absent.any():
            raise ValueError(
                f"features of task {part.task!r}: no out-of-fold row for ids {name_some(ids[absent])}; "
                "score and stack only the rows that all members predicted."
            )
        rows = rows.loc[ids]
        wrong = rows["fold"].to_numpy() != expected
        if wrong.any():
            raise ValueError(
                f"features of task {part.task!r}: ids {name_some(ids[wrong])} come from a fold model that "
                "does not "
                "validate them; those rows are in-sample and must not train level 2."
            )
        blocks.append(rows[list(part.names)].to_numpy(dtype=np.float64))
    models = {part.task: part.test_folds for part in features}
    if len({tuple(found) for found in models.values()}) > 1 and len(test_ids):
        raise ValueError(
            f"`features`: the tasks' test rows must come from the same fold models, received {models}; "
            "predict the test rows with the missing ones."
        )
    folds = features[0].test_folds if len(test_ids) else []
    test = {
        fold: np.concatenate(
            [part.test(fold).loc[test_ids].to_numpy(dtype=np.float64) for part in features], axis=1
        )
        for fold in folds
    }
    return Design(names, readable, np.concatenate(blocks, axis=1), test)
