"""Which rows a fold model predicts, and its predictions as one table a task."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from ..datasets.folds import FoldPlan
from ..datasets.predictions import Predictions
from ..training.randomness import seed_of
from .finetune import REFIT, FoldWork, load_networks
from .prediction import predict_views

INSAMPLE_ROWS = 500


def predict_fold(
    work: FoldWork,
    folder: Path,
    test_ids: np.ndarray,
    views: Sequence[str],
    size: int | None = None,
    progress: Callable[[int, int], None] | None = None,
    say: Callable[[str], None] | None = None,
) -> dict[str, Predictions]:
    """Predict the validation rows, the test rows and a few training rows with the networks of one fold.

    Validation and test rows are predicted from all their readable images, each in all views. Training rows are
    predicted from the first one in one view and marked `insample`: they show how much the network has learned by
    heart and are refused by everything that trains. `size` is the side of the input, None for that of the training;
    `say` hears once which batch norms could not be folded.

    Returns:
        {task: predictions of this fold model}; rows without a readable image have none.
    """
    networks, inputs = load_networks(folder, work), work.inputs
    frames: dict[str, list[pd.DataFrame]] = {name: [] for name in work.tasks}
    roles = {"test": test_ids}
    if work.fold != REFIT:
        roles = {"oof": work.plan.valid_ids(work.fold), **roles, "insample": insample_ids(work)}
    for role, ids in roles.items():
        ids = ids[inputs.readable(ids)]
        once = role == "insample"
        shown = list(views)[:1] if once else list(views)
        images = inputs.first(ids) if once else inputs.of(ids)[0]  # (M,) of the N rows
        outputs = predict_views(
            networks,
            inputs.store,
            inputs.store.ids[images],
            shown,
            work.machine,
            size=size,
            progress=progress,
            say=say,
        )
        say = None  # it is the same for every role
        owners, firsts = inputs.owners[images], inputs.numbers[images] * len(views)
        for task, values in outputs.items():  # (M, V, columns)
            columns = networks[0].targets[task].columns
            frames[task].append(_long(owners, firsts, role, work.fold, values, columns))
    predictions = {}
    for task, parts in frames.items():
        target = networks[0].targets[task]
        predictions[task] = Predictions(
            frame=pd.concat(parts, ignore_index=True),
            task=task,
            columns=tuple(target.columns),
            space=target.space,
            plan=work.plan.hash,
            views=tuple(views),
            decodes=target.decodes,
            classes=target.classes,
            images=inputs.most,
        )
    return predictions


def insample_ids(work: FoldWork) -> np.ndarray:
    """A fixed choice of this fold model's training rows, about `INSAMPLE_ROWS` over all folds."""
    return choose_insample(work.fit_ids()[0], work.fold, work.plan.n, work.seed)


def choose_insample(ids: np.ndarray, fold: int, folds: int, seed: int) -> np.ndarray:
    """The training rows of one fold model that are shown; models of the same rows show the same ones.

    Args:
        ids: the rows it was trained on.
        fold: its fold.
        folds: F of the plan.
        seed: the run's seed.

    Returns:
        About `INSAMPLE_ROWS` / F of the ids, sorted.
    """
    count = min(len(ids), -(-INSAMPLE_ROWS // folds))
    draws = np.random.default_rng(seed_of(seed, "insample", fold))
    return np.sort(draws.choice(np.sort(ids), count, replace=False))


def merge(parts: Sequence[Predictions], plan: FoldPlan) -> Predictions:
    """The predictions of all fold models of one task as one table.

    Raises:
        ValueError: a part belongs to another fold plan, or to another target.
    """
    first = parts[0]
    for part in parts:
        if part.plan != plan.hash:
            raise ValueError(
                f"predictions of task {part.task}: expected fold plan {plan.hash}, received {part.plan}; predict them "
                f"again"
            )
        if (part.columns, part.views) != (first.columns, first.views):
            raise ValueError(
                f"predictions of task {part.task}: expected equal columns and views in every fold, received "
                f"{part.columns}, {part.views}"
            )
    frame = pd.concat([part.frame for part in parts], ignore_index=True)
    return Predictions(
        frame=frame,
        task=first.task,
        columns=first.columns,
        space=first.space,
        plan=first.plan,
        views=first.views,
        decodes=first.decodes,
        classes=first.classes,
        images=max(part.images for part in parts),
    )


def _long(
    ids: np.ndarray,
    firsts: np.ndarray,
    role: str,
    fold: int,
    values: np.ndarray,
    columns: Sequence[str],
) -> pd.DataFrame:
    """One row per (image, view), with the id of the image's row; `firsts` are the numbers of the first views."""
    count, views, width = values.shape
    frame = pd.DataFrame(values.reshape(count * views, width), columns=pd.Index(columns), copy=False)
    frame.insert(0, "id", np.repeat(ids, views))
    frame.insert(1, "role", role)
    frame.insert(2, "fold", np.int16(fold))
    frame.insert(3, "view", (firsts[:, None] + np.arange(views)).ravel())  # (M, V) to (M * V,)
    return frame
