"""Labelled images as the source of a head's training."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..datasets.images import ImageStore


class LabelledImages:
    """N rows of a store with their encoded targets.

    Args:
        store: the decoded images.
        ids: the N rows, all readable.
        targets: {task: (N, D) float32}, NaN where unlabelled.
    """

    def __init__(self, store: ImageStore, ids: np.ndarray, targets: Mapping[str, np.ndarray]) -> None:
        self.store = store
        self.rows = store.rows(ids)
        self.targets = {
            name: torch.from_numpy(np.ascontiguousarray(values)) for name, values in targets.items()
        }

    def __len__(self) -> int:
        return len(self.rows)

    def batch(self, rows: Tensor) -> dict[str, Any]:
        """Images (B, C, H, W) uint8 and targets {task: (B, D)} of the given rows."""
        return {
            "images": self.store.gather(self.rows[rows.numpy()]),
            "targets": {name: values[rows] for name, values in self.targets.items()},
        }
