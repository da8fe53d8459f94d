"""Inputs of several kinds, pictures and lines of tables, joined by the id of their row."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from torch import Tensor

from .findings import name_some
from .inputs import Inputs
from .pictures import Pictures


class JoinedStore:
    """M inputs, each a mapping of part -> what that part reads of the same row.

    Args:
        stores: part -> what its inputs are gathered from.
        places: part -> (M,) where each input stands in its store; -1: nowhere.
        lead: the store whose names and rows are those of the M inputs.
    """

    def __init__(self, stores: Mapping[str, Any], places: Mapping[str, np.ndarray], lead: Any) -> None:
        self.stores, self.places, self.lead = dict(stores), dict(places), lead

    def __len__(self) -> int:
        return len(self.lead)

    @property
    def ids(self) -> np.ndarray:
        """(M,) names of the inputs."""
        return self.lead.ids

    def rows(self, ids: Sequence[str] | np.ndarray) -> np.ndarray:
        """(N,) the places of some of them."""
        return self.lead.rows(ids)

    def gather(self, rows: np.ndarray) -> dict[str, Tensor]:
        """Inputs at some places.

        Args:
            rows: B places, any order, repeats allowed.

        Returns:
            part -> (B, ...).

        Raises:
            ValueError: an input of which a part has nothing.
        """
        found = {name: places[rows] for name, places in self.places.items()}
        for name, places in found.items():
            if (places < 0).any():
                lacking = self.ids[rows][places < 0]
                raise ValueError(
                    f"rows: expected inputs of rows that {name} has too, received {len(lacking)} others "
                    f"({name_some(lacking)})"
                )
        return {name: self.stores[name].gather(places) for name, places in found.items()}

    def read_through(self, reader: Callable[[Any], Any]) -> "JoinedStore":
        """The same inputs, each part's gathered from what `reader` makes of its store."""
        return JoinedStore(
            {name: reader(store) for name, store in self.stores.items()}, self.places, self.lead
        )


class JoinedInputs:
    """The inputs of several backbones, joined by id, with the face of one.

    Where a part reads pictures, a row has as many inputs as pictures, each with the same lines of the tables. A row can
    be read if every part can read it.

    Args:
        parts: name -> inputs.

    Attributes:
        parts: as given.
        store: what `gather` is asked of.
        takes: name -> what that part's backbone is built for.
        schema_files: of each table below a folder of the part's name.
    """

    def __init__(self, parts: Mapping[str, Inputs]) -> None:
        self.parts = dict(parts)
        values = list(self.parts.values())
        self._lead = next((part for part in values if isinstance(part, Pictures)), values[0])
        places = {name: self._places(part) for name, part in self.parts.items()}
        stores = {name: part.store for name, part in self.parts.items()}
        self.store = JoinedStore(stores, places, self._lead.store)
        self.takes = {name: part.takes for name, part in self.parts.items()}
        self.schema_files = tuple(
            f"{name}/{file}" for name, part in self.parts.items() for file in part.schema_files
        )

    def _places(self, part: Inputs) -> np.ndarray:
        """(M,) where the lead's inputs find theirs in a part: at the row of the same id."""
        if part is self._lead:
            return np.arange(len(part.owners))
        if part.most > 1:
            raise ValueError(
                "parts: expected one source of pictures, received two with several pictures a row; "
                "which belong together is not known"
            )
        return pd.Index(part.owners).get_indexer(pd.Index(self._lead.owners))

    @property
    def owners(self) -> np.ndarray:
        """(M,) the id of each input's row."""
        return self._lead.owners

    @property
    def numbers(self) -> np.ndarray:
        """(M,) the place of each input among those of its row, from 0."""
        return self._lead.numbers

    @property
    def most(self) -> int:
        """The largest number of inputs that a row has."""
        return self._lead.most

    def save(self, folder: Path) -> None:
        """Write each table's `schema_files` into a folder of its part's name."""
        for name, part in self.parts.items():
            if part.schema_files:
                (folder / name).mkdir(parents=True, exist_ok=True)
                part.save(folder / name)

    def readable(self, ids: Sequence[str] | np.ndarray) -> np.ndarray:
        """(N,) bool: which rows every part can read."""
        return np.logical_and.reduce([part.readable(ids) for part in self.parts.values()])

    def of(self, ids: Sequence[str] | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Positions of all readable inputs of N rows, row after row, and (N,) how many each has."""
        return self._lead.of(ids)

    def first(self, ids: Sequence[str] | np.ndarray) -> np.ndarray:
        """(N,) positions: the first readable input of each row."""
        return self._lead.first(ids)
