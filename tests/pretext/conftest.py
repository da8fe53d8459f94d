"""What several tests of pretexts on tables read."""

from typing import Any

import torch
from torch import Tensor


class Rows:
    """Rows in memory, as `fit` reads them."""

    def __init__(self, values: Tensor) -> None:
        self.values = values

    def __len__(self) -> int:
        return len(self.values)

    def batch(self, rows: Tensor, draws: torch.Generator | None = None) -> Any:
        return self.values[rows]


def draws(seed: int = 0) -> torch.Generator:
    """A generator of this seed."""
    return torch.Generator().manual_seed(seed)
