"""Rows of a table as training reads them: with the face of pictures, of which each row has one."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from .findings import name_some
from .table_column import TableColumn
from .table_schema import FILES, TableSchema


class TableStore:
    """N encoded rows in memory; a batch is one indexing.

    Attributes:
        ids: the N ids, an object array of text.
        values: (N, D) float32 on the CPU.
        readable: (N,) all true: a row of a table is always there, however many of its cells are missing.
    """

    def __init__(self, values: Tensor, ids: NDArray[np.object_]) -> None:
        self.values, self.ids = values, ids
        self.readable: NDArray[np.bool_] = np.ones(len(ids), dtype=bool)
        self._index = pd.Index(ids)

    def __len__(self) -> int:
        return len(self.ids)

    def __reduce__(self) -> tuple[type["TableStore"], tuple[Tensor, NDArray[np.object_]]]:
        return TableStore, (self.values, self.ids)

    @property
    def nbytes(self) -> int:
        """Bytes of all values."""
        return self.values.nbytes

    def rows(self, ids: Sequence[str] | NDArray | pd.Index) -> NDArray[np.int64]:
        """Where ids stand.

        Raises:
            ValueError: an id that is no row's.
        """
        names = np.asarray(ids, dtype=object)
        found = self._index.get_indexer(pd.Index(names))
        if (found < 0).any():
            unknown = names[found < 0]
            raise ValueError(
                f"ids: expected ids of the {len(self)} rows of the table, received {len(unknown)} others "
                f"({name_some(unknown)})."
            )
        return found.astype(np.int64)

    def check_rows(self, rows: NDArray) -> NDArray[np.int64]:
        """Row numbers as int64.

        Raises:
            ValueError: a row out of range.
        """
        rows = np.asarray(rows, dtype=np.int64)
        if len(rows) and (rows.min() < 0 or rows.max() >= len(self)):
            raise ValueError(f"rows: expected 0 to {len(self) - 1}, received {rows.min()} to {rows.max()}")
        return rows

    def gather(self, rows: NDArray, pinned: bool = False) -> Tensor:
        """Copy rows.

        Args:
            rows: B row numbers, 0 to N-1, any order, repeats allowed.
            pinned: into memory from which a graphics card copies by itself; needs CUDA.

        Returns:
            (B, D) float32 on the CPU, in the order of `rows`.

        Raises:
            ValueError: a row out of range.
        """
        index = torch.from_numpy(self.check_rows(rows))
        batch = torch.empty((len(index), self.values.shape[1]), pin_memory=pinned)
        return torch.index_select(self.values, 0, index, out=batch)  # (B, D)

    def slice(self, start: int, stop: int) -> Tensor:
        """Consecutive rows, (stop - start, D) float32."""
        return self.values[start:stop]


class TableRows:
    """Rows of a table with the face of `Pictures`: each row is its own only input, and all can be read.

    Attributes:
        store: what `gather` is asked of; positions are its row numbers.
        owners: the N ids.
        numbers: N zeros.
        most: 1.
        one_each: true.
        schema: what encoded the rows.
        schema_files: the names of what `save` writes.
    """

    schema_files = FILES

    def __init__(
        self, values: NDArray[np.float32] | Tensor, ids: Sequence[str] | NDArray, schema: TableSchema
    ) -> None:
        """Take encoded rows.

        Args:
            values: (N, D) float32, as `TableSchema.encode` gives them; shared, not copied.
            ids: N unique ids.
            schema: what encoded them.

        Raises:
            ValueError: another shape or type, not as many ids as rows, or repeated ids.
        """
        tensor = values if isinstance(values, Tensor) else torch.from_numpy(np.ascontiguousarray(values))
        if tensor.ndim != 2 or tensor.dtype != torch.float32:
            raise ValueError(
                f"values: expected (N, D) float32, received {tuple(tensor.shape)} {str(tensor.dtype)[6:]}"
            )
        names = np.array([str(name) for name in ids], dtype=object)
        if len(names) != len(tensor):
            raise ValueError(f"ids: expected {len(tensor)}, one a row, received {len(names)}")
        self.schema = schema
        self.store = TableStore(tensor.contiguous(), names)
        index = pd.Index(names)
        if not index.is_unique:
            raise ValueError(
                f"ids: expected unique ids, received {name_some(index[index.duplicated()].unique())} more than once"
            )
        self.owners: NDArray[np.object_] = names
        self.numbers: NDArray[np.int64] = np.zeros(len(names), dtype=np.int64)
        self.most = 1
        self.one_each = True

    def __len__(self) -> int:
        return len(self.store)

    def __reduce__(self) -> tuple[type["TableRows"], tuple[Tensor, NDArray[np.object_], TableSchema]]:
        return TableRows, (self.store.values, self.owners, self.schema)

    @property
    def takes(self) -> tuple[TableColumn, ...]:
        """What a backbone is built for: the columns."""
        return self.schema.columns

    def save(self, folder: Path) -> None:
        """Write what turns a table into these values beside a checkpoint: `schema_files`."""
        self.schema.save(folder)

    def readable(self, ids: Sequence[str] | NDArray) -> NDArray[np.bool_]:
        """(N,) bool, all true.

        Raises:
            ValueError: an id that is no row's.
        """
        return np.ones(len(self.store.rows(ids)), dtype=bool)

    def of(self, ids: Sequence[str] | NDArray) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Positions of N rows, and as many ones.

        Raises:
            ValueError: an id that is no row's.
        """
        positions = self.store.rows(ids)
        return positions, np.ones(len(positions), dtype=np.int64)

    def first(self, ids: Sequence[str] | NDArray) -> NDArray[np.int64]:
        """(N,) positions of the rows."""
        return self.of(ids)[0]
