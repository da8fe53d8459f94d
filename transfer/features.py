"""Features: statistics over the views of one fold model's predictions, and their files."""

import io
import json
import pickle
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from .._version import __version__
from ..datasets.files import atomic, write_json
from ..datasets.predictions import REFIT, Predictions

STATISTICS = {"mean": np.mean, "var": np.var, "max": np.max, "min": np.min}
"""Over the views of all images, axis 1 of (rows, W, D); `var` is the population variance (divided by W), 0 for one."""
KEYS = ("id", "role", "fold")


@dataclass(frozen=True)
class Features:
    """The level-2 inputs that one task gives.

    Args:
        frame: columns ``id``, ``role`` (``oof`` or ``test``), ``fold`` (the fold model the views come from),
            then one float32 column for each of `names`.
        task: the task's name.
        names: plain feature name (``era.d0.mean``) → readable name.
        plan: hash of the fold plan.

    Raises:
        ValueError: a row that is neither ``oof`` nor ``test`` (in-sample rows must never reach level 2), an
            id with two ``oof`` rows, or columns that differ from `names`.
    """

    frame: pd.DataFrame
    task: str
    names: dict[str, str]
    plan: str

    def __post_init__(self) -> None:
        expected = [*KEYS, *self.names]
        if list(self.frame.columns) != expected:
            raise ValueError(
                f"Features of task {self.task!r}: `frame` must have the columns {expected}; "
                f"received {list(self.frame.columns)}."
            )
        strange = sorted(set(self.frame["role"].unique()) - {"oof", "test"})
        if strange:
            raise ValueError(
                f"Features of task {self.task!r}: expected rows of the roles 'oof' and 'test', received "
                f"{strange}. "
                "Level 2 trained on in-sample rows trusts whichever head overfits most; "
                "hand over out-of-fold predictions (`transfer.features.aggregate` keeps only those)."
            )
        doubled = self.frame.duplicated(list(KEYS)) | (
            (self.frame["role"] == "oof") & self.frame.duplicated(["id", "role"])
        )
        if doubled.any():
            ids = self.frame.loc[doubled, "id"].unique()[:5]
            raise ValueError(
                f"Features of task {self.task!r}: each id stands once among the 'oof' rows and once for each "
                "fold "
                f"model among the 'test' rows; received ids {list(ids)} more often."
            )

    def training(self) -> pd.DataFrame:
        """The out-of-fold rows, which alone train level 2, indexed by id: ``fold``, then the features."""
        rows = self.frame[self.frame["role"] == "oof"]
        return rows.set_index("id").drop(columns="role")

    def test(self, fold: int) -> pd.DataFrame:
        """The test rows as fold model `fold` sees them, indexed by id."""
        rows = self.frame[(self.frame["role"] == "test") & (self.frame["fold"] == fold)]
        return rows.set_index("id").drop(columns=["role", "fold"])

    @property
    def test_folds(self) -> list[int]:
        """The fold models that predicted test rows; -1 is the refitted one."""
        return sorted(int(fold) for fold in self.frame.loc[self.frame["role"] == "test", "fold"].unique())

    def write(self, path: Path) -> None:
        """Write one parquet file (zstd) with names, plan hash and version in its metadata."""
        meta = {"task": self.task, "names": self.names, "plan": self.plan, "jigstack": __version__}
        table = pa.Table.from_pandas(self.frame, preserve_index=False)
        table = table.replace_schema_metadata({b"jigstack.features": json.dumps(meta).encode()})
        with atomic(path) as temporary:
            pq.write_table(table, temporary, compression="zstd")

    @classmethod
    def read(cls, path: Path) -> "Features":
        """Read what `write` wrote.

        Raises:
            ValueError: the file is not a features file.
        """
        table = pq.read_table(path)
        text = (table.schema.metadata or {}).get(b"jigstack.features")
        if text is None:
            raise ValueError(
                f"{path}: expected a features file of jigstack, received a parquet without its metadata; "
                "run the features stage to write it."
            )
        meta = json.loads(text)
        frame = table.replace_schema_metadata(None).to_pandas()
        return cls(frame=frame, task=meta["task"], names=meta["names"], plan=meta["plan"])


def aggregate(predictions: Predictions, stats: Sequence[str]) -> Features:
    """Summarise the views of each fold model's predictions, row by row; of several images, all views of all of them.

    The views are summarised *per fold model*, on out-of-fold and test rows alike: averaging fold models first
    would shrink var, and pull max and min inwards, on the test rows only. In-sample rows are left out.

    Args:
        predictions: (id, fold model, image, view) rows with D columns.
        stats: some of ``mean``, ``var``, ``max``, ``min``.

    Returns:
        Features with D x len(stats) columns, ``<task>.d<j>.<stat>`` for prediction column j.

    Raises:
        ValueError: an unknown, repeated or missing statistic.
    """
    unknown = sorted(set(stats) - set(STATISTICS))
    if unknown or not stats or len(set(stats)) != len(stats):
        raise ValueError(
            f"`stats` must be one or more different names of {list(STATISTICS)}; received {list(stats)}."
        )
    rows, blocks = _by_row(predictions, ["oof", "test"])
    names: dict[str, str] = {}
    columns: dict[str, np.ndarray] = {}
    n_views = len(predictions.views)
    over = f"{n_views} view{'s' if n_views > 1 else ''}"
    if predictions.images > 1:
        over += f" of 1 to {predictions.images} images"
    for j, column in enumerate(predictions.columns):
        for stat in stats:
            name = f"{predictions.task}.d{j}.{stat}"
            names[name] = f"{predictions.task}: {column}, {stat} over {over}"
            columns[name] = summary = np.empty(len(rows), dtype=np.float32)
            for places, values in blocks:
                summary[places] = STATISTICS[stat](values[:, :, j], axis=1)
    frame = pd.concat([rows, pd.DataFrame(columns)], axis=1)
    return Features(frame=frame, task=predictions.task, names=names, plan=predictions.plan)


def write_feature_pickles(predictions: Predictions, folder: Path) -> list[Path]:
    """Write the predictions as pickles for users who want plain arrays; no later stage reads them.

    ``<task>.train.pkl`` holds the out-of-fold rows, ``<task>.test.fold<k>.pkl`` the test rows of fold model k
    (``<task>.test.refit.pkl``: of the refitted one), each ``{id: [V arrays (D,)]}``, with a JSON card beside
    it. A row of several images has V arrays of the first, then V of the next.

    Args:
        predictions: the task's predictions.
        folder: an existing folder.

    Returns:
        The pickles written.
    """
    files: list[tuple[str, str, int | None]] = [("train", "oof", None)]
    for fold in sorted(int(f) for f in predictions.test()["fold"].unique()):
        files.append((f"test.{'refit' if fold == REFIT else f'fold{fold}'}", "test", fold))
    written = []
    for part, role, fold in files:
        rows, blocks = _by_row(predictions, [role], fold)
        content: dict[str, list[np.ndarray]] = {name: [] for name in rows["id"]}
        for places, values in blocks:
            content |= {
                name: list(value)
                for name, value in zip(rows["id"].iloc[places], values.astype(np.float32), strict=True)
            }
        path = folder / f"{predictions.task}.{part}.pkl"
        with atomic(path) as temporary, temporary.open("wb") as file:
            pickle.dump(content, file, protocol=4)
        card = {
            "task": predictions.task,
            "role": role,
            "fold": fold,
            "content": "{id: [one float32 array (D,) a view]}",
            "rows": len(rows),
            "views": list(predictions.views),
            **({"images": predictions.images} if predictions.images > 1 else {}),
            "columns": list(predictions.columns),
            "space": predictions.space,
            "plan": predictions.plan,
            "jigstack": __version__,
        }
        write_json(path.with_suffix(".json"), card)
        written.append(path)
    return written


def load_feature_pickle(path: Path) -> Any:
    """Read a pickle of arrays and plain containers; everything else in it is refused, and nothing is
    executed.

    Args:
        path: the pickle, for instance one of `write_feature_pickles`.

    Returns:
        Its content.

    Raises:
        ValueError: the pickle names anything but numpy arrays, dict, list, tuple, set, numbers and text.
    """
    return _ArraysOnly(io.BytesIO(path.read_bytes()), str(path)).load()


class _ArraysOnly(pickle.Unpickler):
    """An unpickler that resolves only what numpy arrays and plain containers need."""

    def __init__(self, file: io.BytesIO, name: str) -> None:
        super().__init__(file)
        self._name = name

    def find_class(self, module_name: str, global_name: str, /) -> Any:
        # numpy 2 renamed numpy.core to numpy._core, and files of both are around.
        module = module_name.replace("numpy._core", "numpy.core")
        if (module, global_name) in _ADMITTED:
            return _ADMITTED[module, global_name]
        raise ValueError(
            f"{self._name}: expected arrays and plain containers only, received {module_name}.{global_name}. "
            "A pickle can run any code when it is opened; this one is not opened."
        )


def _plain_dtype(code: str, align: bool = False, copy: bool = False) -> np.dtype:
    """Numbers, text, bytes and objects; a structured type could describe memory that is not there."""
    dtype = np.dtype(code, align=align, copy=copy)
    if dtype.kind not in "biufcSUO":
        raise ValueError(
            f"expected arrays of numbers, text or plain containers, received the dtype {code!r}."
        )
    return dtype


# numpy keeps these under other names from version to version; it names them itself when it pickles.
_ADMITTED = {
    ("numpy.core.multiarray", "_reconstruct"): np.ndarray(0).__reduce__()[0],
    ("numpy.core.multiarray", "scalar"): np.float64(0).__reduce__()[0],
    ("numpy.core.numeric", "_frombuffer"): np.zeros(1).__reduce_ex__(5)[0],
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): _plain_dtype,
    ("builtins", "set"): set,
    ("builtins", "frozenset"): frozenset,
    ("builtins", "complex"): complex,
}


def _by_row(
    predictions: Predictions, roles: list[str], fold: int | None = None
) -> tuple[pd.DataFrame, list[tuple[slice | np.ndarray, np.ndarray]]]:
    """The rows (id, role, fold) in a fixed order, and blocks of those with equally many images.

    A block is the places of its rows and their values (rows, W, D) in float64, W = V x images.
    """
    frame = predictions.frame.loc[predictions.frame["role"].isin(roles)]
    if fold is not None:
        frame = frame.loc[frame["fold"] == fold]
    frame = frame.sort_values(["role", "fold", "id", "view"], kind="stable")
    width, depth = len(predictions.views), len(predictions.columns)
    values = frame[list(predictions.columns)].to_numpy(dtype=np.float64)
    if predictions.images == 1:
        rows = frame[list(KEYS)].iloc[::width].reset_index(drop=True)
        return rows, [(slice(None), values.reshape(len(rows), width, depth))]
    first = ~frame.duplicated(list(KEYS)).to_numpy()
    rows = frame.loc[first, list(KEYS)].reset_index(drop=True)
    widths = np.diff(np.append(np.flatnonzero(first), len(frame)))  # of each row
    blocks: list[tuple[slice | np.ndarray, np.ndarray]] = []
    for width in np.unique(widths):
        inside = values[np.repeat(widths == width, widths)]
        blocks.append((np.flatnonzero(widths == width), inside.reshape(-1, width, depth)))
    return rows, blocks
