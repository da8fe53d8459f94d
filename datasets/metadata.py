"""What a file says of itself before it is decoded, and whether that tells the target."""

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Literal

import numpy as np
import pandas as pd
from PIL import Image
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

from ..scoring.intervals import paired_interval
from ..scoring.metrics import METRICS
from .decoding import DAMAGE
from .findings import Finding
from .folds import FoldPlan
from .onehot import class_label
from .pictures import Pictures
from .tables import Table
from .windows import is_array, read_array

Kind = Literal["number", "class"]
SMALLEST_GAIN = 0.05
"""Share of the constant's score below which a gain is not worth a warning."""
MOST_TARGETS = 20
_FEWEST_ROWS = 100


def read_metadata(pictures: Pictures, ids: Sequence[str] | np.ndarray) -> pd.DataFrame:
    """Width, height, aspect, bytes, bytes a pixel, format, mode, and whether there is EXIF, of images.

    Only headers are read, in threads; of several readable images of a row that of the first.

    Args:
        pictures: whose files.
        ids: M rows with a readable image.

    Returns:
        M rows indexed by id; format and mode as codes.
    """

    rows = pictures.first(ids)

    def one(row: int) -> tuple[float, ...]:
        path = pictures.store.paths[row]
        size = os.path.getsize(path)  # noqa: PTH202 (a text)
        try:
            if is_array(path):
                array = read_array(path)
                (height, width), form, mode, exif = array.shape[:2], "npy", str(array.dtype), False
            else:
                with Image.open(path) as image:
                    width, height = image.size
                    form, mode, exif = str(image.format), image.mode, bool(image.getexif())
        except DAMAGE:
            return (np.nan, np.nan, np.nan, size, np.nan, -1, -1, 0)
        return (width, height, width / height, size, size / (width * height), _code(form), _code(mode), exif)

    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        values = list(pool.map(one, rows.tolist()))
    names = ["width", "height", "aspect", "bytes", "bytes a pixel", "format", "mode", "exif"]
    return pd.DataFrame(values, columns=pd.Index(names), index=pictures.owners[rows], dtype=np.float64)


def check_metadata(
    train: Table, pictures: Pictures, plan: FoldPlan, targets: Mapping[str, Kind]
) -> list[Finding]:
    """Predict each target from metadata alone, out of fold, and warn where that beats the constant.

    Args:
        train: the labelled rows.
        pictures: their images.
        plan: the run's folds.
        targets: table columns, and whether each holds numbers or classes; the first twenty are looked at.

    Returns:
        Findings `metadata-predicts-target`; none for sets whose files differ in nothing, or of fewer than 100 rows.
    """
    ids = train.ids[np.asarray(plan.fold_of(train.ids)) >= 0]
    ids = ids[pd.Index(ids).isin(pictures.owners)]
    ids = ids[pictures.readable(ids)]
    if len(ids) < _FEWEST_ROWS:
        return []
    metadata = read_metadata(pictures, ids)
    metadata = metadata.loc[:, metadata.nunique(dropna=False) > 1]
    if metadata.empty:
        return []
    findings = []
    for column, kind in list(targets.items())[:MOST_TARGETS]:
        truth = train.column(column).reindex(ids)
        if kind == "number":
            truth = pd.Series(np.asarray(pd.to_numeric(truth, errors="coerce"), dtype=np.float64), index=ids)
        truth = truth.dropna()
        if len(truth) >= _FEWEST_ROWS and truth.nunique() > 1:
            findings += _predicts(column, kind, truth, metadata.loc[truth.index], plan)
    return findings


def _predicts(
    column: str, kind: Kind, truth: pd.Series, metadata: pd.DataFrame, plan: FoldPlan
) -> list[Finding]:
    """A warning if a small model on metadata beats the constant of each fold."""
    if kind == "class":
        labels = truth.map(class_label)
        values = pd.Categorical(labels).codes.astype(np.int64)
    else:
        values = truth.to_numpy(dtype=np.float64)
    metric = METRICS["accuracy" if kind == "class" else "rmse"]
    sign = 1 if metric.greater_is_better else -1
    ids = truth.index.to_numpy()
    folds, groups = np.asarray(plan.fold_of(ids)), np.asarray(plan.group_of(ids)).astype(str)

    def guessed(names: Sequence[str]) -> np.ndarray:
        return _out_of_fold(kind, metadata[list(names)].to_numpy(), values, folds)

    constant, guess = guessed([]), guessed(list(metadata.columns))
    base, score = (metric.function(values, predicted) for predicted in (constant, guess))
    interval = paired_interval(metric, values, guess, constant, groups, np.random.default_rng(0))
    gain = sign * (score - base)
    if gain < SMALLEST_GAIN * abs(base) or not interval.excludes_zero:
        return []
    single = {name: metric.function(values, guessed([name])) for name in metadata.columns}
    strongest = max(single, key=lambda name: sign * single[name])
    return [
        Finding(
            "metadata-predicts-target",
            "warning",
            f"size, bytes and format of the image files alone predict {column}: {metric.name} {score:.3f} out of fold "
            f"against {base:.3f} of the constant; {strongest} alone {single[strongest]:.3f}. Networks see squares "
            "of one size and learn little of it, unless borders, sharpness or compression show it; if test files were "
            "made otherwise, the score will not hold for them.",
        )
    ]


def _out_of_fold(kind: Kind, features: np.ndarray, values: np.ndarray, folds: np.ndarray) -> np.ndarray:
    """(N,) predictions of numbers or (N, C) shares of classes, each by a model that did not see its fold."""
    classes = int(values.max()) + 1 if kind == "class" else 1
    found = np.zeros((len(values), classes))
    for fold in np.unique(folds):
        valid = folds == fold
        seen = values[~valid]
        if not features.shape[1] or len(np.unique(seen)) < 2:
            found[valid] = (
                np.bincount(seen, minlength=classes) / len(seen) if kind == "class" else seen.mean()
            )
        elif kind == "class":
            model = HistGradientBoostingClassifier(
                max_iter=60, learning_rate=0.1, max_depth=4, random_state=0
            )
            model.fit(features[~valid], seen)
            found[np.ix_(valid, np.asarray(model.classes_))] = model.predict_proba(features[valid])
        else:
            model = HistGradientBoostingRegressor(max_iter=60, learning_rate=0.1, max_depth=4, random_state=0)
            found[valid, 0] = model.fit(features[~valid], seen).predict(features[valid])
    return found if kind == "class" else found[:, 0]


def _code(text: str) -> float:
    """A number for a short text, the same in every process."""
    return float(int.from_bytes(text.encode()[:6], "big"))
