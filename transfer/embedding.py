"""Embeddings: the features of a frozen backbone, one row a picture's owner, computed once and read by many."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from ..datasets.files import atomic
from ..datasets.findings import name_some
from ..datasets.inputs import Inputs
from ..training.device import Machine
from ..training.modality import seen
from ..training.predicting import prepare, unfused
from ..training.resident import resident

FILES = ("embeddings.npy", "ids.parquet")


@dataclass(frozen=True, eq=False)
class Embeddings:
    """The features of N rows by one backbone; those of different fold models are never put side by side.

    Attributes:
        ids: (N,) unique ids.
        values: (N, D) float32; a file that is mapped, not read, where it was written before.
    """

    ids: np.ndarray
    values: np.ndarray

    @property
    def widths(self) -> tuple[int, ...]:
        """(D,): one backbone's."""
        return (self.values.shape[1],)

    def known(self, ids: np.ndarray) -> np.ndarray:
        """(M,) bool: which rows have features."""
        return pd.Index(ids).isin(pd.Index(self.ids))

    def of(self, ids: np.ndarray) -> np.ndarray:
        """The features (M, D) of some rows.

        Raises:
            ValueError: an id without features.
        """
        rows = pd.Index(self.ids).get_indexer(pd.Index(ids))
        if (rows < 0).any():
            raise ValueError(
                f"ids: expected rows with an embedding, received {int((rows < 0).sum())} without "
                f"({name_some(np.asarray(ids)[rows < 0])}). Keep to those for which known() is true."
            )
        return np.asarray(self.values[rows])

    def write(self, folder: Path) -> None:
        """Write `embeddings.npy` and `ids.parquet`, each whole or not at all."""
        values, ids = (folder / name for name in FILES)
        with atomic(values) as temporary:
            np.save(temporary, self.values)
        with atomic(ids) as temporary:
            frame = pd.DataFrame({"id": pd.Series(self.ids, dtype=object)})
            frame.to_parquet(temporary, index=False, compression="zstd")

    @classmethod
    def read(cls, folder: Path) -> "Embeddings":
        """Map what `write` wrote.

        Raises:
            ValueError: the two files do not belong together.
        """
        values = np.load(folder / FILES[0], mmap_mode="r", allow_pickle=False)
        ids = pd.read_parquet(folder / FILES[1])["id"].to_numpy(dtype=object)
        if values.ndim != 2 or len(values) != len(ids):
            raise ValueError(
                f"{folder}: expected a row of {FILES[0]} for each of the {len(ids)} ids, received {values.shape}; "
                "remove the folder, and the same command makes it again"
            )
        return cls(ids, values)


@dataclass(frozen=True, eq=False)
class JoinedEmbeddings:
    """The features of several backbones side by side, joined by id.

    Attributes:
        parts: name of the backbone -> its features, in this order.
    """

    parts: Mapping[str, Embeddings]

    @property
    def widths(self) -> tuple[int, ...]:
        """The D of each part."""
        return tuple(width for part in self.parts.values() for width in part.widths)

    def known(self, ids: np.ndarray) -> np.ndarray:
        """(M,) bool: which rows have features of every part."""
        return np.logical_and.reduce([part.known(ids) for part in self.parts.values()])

    def of(self, ids: np.ndarray) -> np.ndarray:
        """The features (M, sum of D) of some rows.

        Raises:
            ValueError: an id without features of a part.
        """
        return np.concatenate([part.of(ids) for part in self.parts.values()], axis=1)


def embed_rows(
    backbone: Any,
    inputs: Inputs,
    ids: np.ndarray,
    views: Sequence[str],
    size: int,
    machine: Machine,
    *,
    batch: int = 256,
    progress: Callable[[int, int], None] | None = None,
    say: Callable[[str], None] | None = None,
) -> np.ndarray:
    """Mean features of each row over its readable inputs and the views of each.

    Args:
        backbone: gives (B, D) features; a copy of it predicts (`training.predicting.prepare`), it stays as it is.
        inputs: pictures or a table.
        ids: the N rows, each with a readable input.
        views: V names of `training.views.VIEWS`.
        size: side of the input, pixels.
        batch: images times views in one call.
        progress: told (done, total) images after each call.
        say: told once which batch norms could not be folded, if any.

    Returns:
        (N, D) float32.

    Raises:
        ValueError: a row without a readable input, or features that are not finite.
    """
    positions, counts = inputs.of(ids)  # M inputs, row after row
    rows = np.repeat(np.arange(len(ids)), counts)  # (M,)
    sums = np.zeros((len(ids), backbone.dim), dtype=np.float32)
    step = max(1, batch // len(views))
    source, ready = resident(inputs.store, machine), prepare(backbone, machine)
    if say is not None and (left := unfused(ready)):
        say(left)
    with torch.inference_mode():
        for start in range(0, len(positions), step):
            part = slice(start, start + step)
            gathered = source.gather(positions[part])
            stacked = seen(ready, gathered, views, size)  # (V * B, ...)
            with machine.autocast():
                features = ready(stacked)
            means = features.float().unflatten(0, (len(views), len(gathered))).mean(dim=0)  # (B, D)
            np.add.at(sums, rows[part], means.cpu().numpy())
            if progress is not None:
                progress(min(start + step, len(positions)), len(positions))
    means = sums / counts[:, None].astype(np.float32)
    if not (finite := np.isfinite(means).all(axis=1)).all():
        raise ValueError(
            f"{backbone.name}: expected finite features, received others for {int((~finite).sum())} of {len(ids)} rows "
            f"({name_some(np.asarray(ids)[~finite])}); use precision: fp32, or another checkpoint"
        )
    return means
