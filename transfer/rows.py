"""Labelled rows as the source of a head's training."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..datasets.inputs import Inputs
from ..training.device import Machine
from ..training.resident import resident


class LabelledInputs:
    """N rows with their inputs and encoded targets.

    Args:
        inputs: the pictures or the table of the rows.
        ids: the N rows, each with a readable input.
        targets: {task: (N, D) float32}, NaN where unlabelled.
        machine: on whose device the inputs of a batch lie; None: on the CPU.
    """

    def __init__(
        self,
        inputs: Inputs,
        ids: np.ndarray,
        targets: Mapping[str, np.ndarray],
        machine: Machine | None = None,
    ) -> None:
        self.store = inputs.store if machine is None else resident(inputs.store, machine)
        self.positions, counts = inputs.of(ids)  # of all inputs, row after row
        self.counts = torch.from_numpy(counts)  # (N,)
        self.starts = self.counts.cumsum(0) - self.counts
        self.targets = {
            name: torch.from_numpy(np.ascontiguousarray(values)) for name, values in targets.items()
        }

    def __len__(self) -> int:
        return len(self.counts)

    def batch(self, rows: Tensor, draws: torch.Generator | None = None) -> dict[str, Any]:
        """Inputs (B, ...), of joined ones part -> such, and targets {task: (B, D)} of the given rows.

        Of several inputs of a row, one is drawn, all with the same chance; without `draws` it is the first.
        """
        chosen = self.starts[rows]
        if draws is not None and len(self.positions) > len(self.counts):
            # In double precision a share below 1 times a count stays below the count.
            shares = torch.rand(len(rows), generator=draws, dtype=torch.float64)
            chosen = chosen + (shares * self.counts[rows]).long()
        return {
            "inputs": self.store.gather(self.positions[chosen.numpy()]),
            "targets": {name: values[rows] for name, values in self.targets.items()},
        }
