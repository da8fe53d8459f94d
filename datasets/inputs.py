"""What networks read of the rows of a run: pictures or a table, behind one face."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from torch import Tensor


class Store(Protocol):
    """M inputs that are ready to read, each under a name."""

    @property
    def ids(self) -> np.ndarray:
        """(M,) their names."""
        ...

    def rows(self, ids: Sequence[str] | np.ndarray) -> np.ndarray:
        """(N,) the places of some of them."""
        ...

    def gather(self, rows: np.ndarray) -> Tensor:
        """(B, ...) the inputs at some places, in that order."""
        ...


class Inputs(Protocol):
    """The inputs of rows, one or several a row: `Pictures`, or the one line of a table (`TableRows`).

    Positions are those of `store.gather`.
    """

    @property
    def store(self) -> Any:
        """The `Store` that holds them."""
        ...

    @property
    def takes(self) -> Any:
        """What a backbone is built for: the channels of pictures, or the columns of a table."""
        ...

    @property
    def schema_files(self) -> tuple[str, ...]:
        """The names of what `save` writes."""
        ...

    def save(self, folder: Path) -> None:
        """Write beside a checkpoint what turns a user's data into these inputs."""
        ...

    @property
    def owners(self) -> np.ndarray:
        """(M,) the id of each input's row."""
        ...

    @property
    def numbers(self) -> np.ndarray:
        """(M,) the place of each input among those of its row, from 0."""
        ...

    @property
    def most(self) -> int:
        """The largest number of inputs that a row has."""
        ...

    def readable(self, ids: Sequence[str] | np.ndarray) -> np.ndarray:
        """(N,) bool: which rows have an input that can be read."""
        ...

    def of(self, ids: Sequence[str] | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Positions of all readable inputs of N rows, row after row, and (N,) how many each has."""
        ...

    def first(self, ids: Sequence[str] | np.ndarray) -> np.ndarray:
        """(N,) positions: the first readable input of each row."""
        ...
