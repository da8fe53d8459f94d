"""The table of a run as networks read it: encoded by a schema that a checkpoint brings, or that rows teach."""

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

import numpy as np
import pandas as pd
import yaml

from ..configs.data import Data
from ..configs.errors import UserError, closest
from ..configs.schema import Backbone
from ..configs.steps import Step
from ..datasets.files import digest
from ..datasets.findings import name_some
from ..datasets.table_cells import foreign, spoiled
from ..datasets.table_rows import TableRows
from ..datasets.table_schema import TableSchema
from ..datasets.tables import Table, read_table


def read_unlabelled(root: Path, names: Sequence[str], id: str, known: set[str]) -> list[Table]:
    """Read tables of rows without labels.

    Args:
        root: the folder that relative names start from.
        names: of the files, one table each.
        id: the column that names a row.
        known: ids that other tables have.

    Raises:
        UserError: an id stands in two tables.
    """
    tables = []
    for name in names:
        table = read_table([root / name], id)
        if twice := sorted(known.intersection(table.ids)):
            raise UserError(
                f"data.unlabelled: expected ids that stand in no other table, received {len(twice)} in {name} that do "
                f"({', '.join(twice[:5])}); remove them from one side"
            )
        known = known.union(table.ids)
        tables.append(table)
    return tables


class TableInputs:
    """All rows of a run, train, test and unlabelled, of which every backbone of tables reads its columns.

    Args:
        tables: their ids stand in one of them only; one without rows counts for nothing.
        columns: the columns that they share and that networks may read.
        data: says what kinds of columns are known.
        excluded: column -> why networks do not read it.
        seed: of what a schema draws.
    """

    def __init__(
        self,
        tables: Sequence[Table],
        columns: Sequence[str],
        data: Data,
        excluded: dict[str, str],
        seed: int,
    ) -> None:
        self.columns, self.excluded, self.seed = list(columns), excluded, seed
        self.kinds = data.kinds
        unknown = [name for name in data.kinds if name not in self.columns]
        if unknown:
            near = closest(unknown[0], self.columns)
            raise UserError(
                f"data.kinds: expected columns that networks read, received {unknown[0]!r}"
                + (f"; did you mean {near!r}?" if near else "")
            )
        filled = [table.frame for table in tables if len(table)]
        for frame in filled:
            if lacking := [column for column in self.columns if column not in frame]:
                raise UserError(
                    f"data.unlabelled: expected tables with the columns of the others, received one without "
                    f"{', '.join(lacking[:5])}; leave them out of data.columns, or leave out the table"
                )
        self.frame = pd.concat([frame.loc[:, self.columns] for frame in filled])
        self._schemas: dict[str, TableSchema] = {}
        self._hashes: dict[tuple[str, ...], pd.Series] = {}
        self._rows: tuple[str, TableRows] | None = None

    def read_by(self, backbone: Backbone) -> list[str]:
        """The columns that a backbone reads.

        Raises:
            UserError: a pattern without a column.
        """
        found: list[str] = []
        for pattern in backbone.columns:
            matching = [column for column in self.columns if fnmatchcase(column, pattern)]
            if not matching:
                near = closest(pattern, self.columns)
                raise UserError(
                    f"columns: expected some of data.columns, or patterns of them, received {pattern!r}"
                    + (f"; did you mean {near!r}?" if near else "")
                )
            found += matching
        return list(dict.fromkeys(found))

    def schema(self, backbone: Backbone, ids: np.ndarray) -> TableSchema:
        """What the rows of `ids`, and no others, teach of a backbone's columns."""
        columns = self.read_by(backbone)
        steps = [step.model_dump(mode="json") for step in backbone.steps]
        name = digest(columns, steps, sorted(map(str, ids)))
        if name not in self._schemas:
            self._schemas[name] = TableSchema.fit(
                self.frame.loc[np.sort(ids), columns],
                columns,
                steps=backbone.steps,
                kinds={column: kind for column, kind in self.kinds.items() if column in columns},
                excluded=self.excluded,
                seed=self.seed,
            )
        return self._schemas[name]

    def notes(self, name: str, backbone: Backbone, ids: np.ndarray) -> list[str]:
        """What is left out of a backbone's columns, and which of them hold text for the sake of a few cells.

        Args:
            name: of the backbone in the config.
            backbone: the config's section.
            ids: the rows that teach the schema.

        Returns:
            A sentence each.
        """
        dropped = self.schema(backbone, ids).dropped
        by_reason: dict[str, list[str]] = {}
        for column, reason in dropped.items():
            by_reason.setdefault(reason, []).append(column)
        found = []
        if by_reason:
            parts = [f"{name_some(each)} ({reason})" for reason, each in by_reason.items()]
            found.append(f"backbones.{name} leaves out {'; '.join(parts)}")
        asked = {*self.read_by(backbone)} - {*self.kinds, *self.excluded}
        texts = self.frame.select_dtypes(exclude=["number", "bool"])
        rows = texts.loc[ids, [column for column in texts.columns if column in asked]]
        for column in rows.columns:
            if (written := foreign(rows[column])) is not None:
                found.append(
                    f"warning: {column!r} is read as text, but looks like {written}, or data.kinds: "
                    f"{{{column}: category}} if it is text"
                )
            elif (near := spoiled(rows[column])) is not None:
                kind, strange = near
                found.append(
                    f"warning: {column!r} is read as text for the sake of {name_some(strange)}, while its other values "
                    f"are {kind}s; leave such cells empty, or write data.kinds: {{{column}: category}}"
                )
        return found

    def inputs(self, backbone: Backbone, ids: np.ndarray, checkpoint: Path | None = None) -> TableRows:
        """All rows as a backbone reads them.

        Args:
            backbone: the config's section.
            ids: the rows that teach the schema.
            checkpoint: a folder, or a file in it, whose schema is used instead.

        Raises:
            UserError: the checkpoint reads a table otherwise than the config says, as in `brought`.
        """
        schema = self.schema(backbone, ids) if checkpoint is None else self.brought(backbone, checkpoint)
        if self._rows is None or self._rows[0] != schema.digest:
            self._rows = None  # before the next is made: two of them may not fit
            self._rows = (
                schema.digest,
                TableRows(schema.encode(self.frame), self.frame.index.tolist(), schema),
            )
        return self._rows[1]

    def brought(self, backbone: Backbone, checkpoint: Path) -> TableSchema:
        """The schema that a checkpoint brings, which must not read what the backbone must not.

        Its rows may be others, and so its statistics, its levels, and what it drops. What the config says by name is
        what the checkpoint must do; what it leaves open, the checkpoint says, see `left_to`.

        Args:
            backbone: the config's section.
            checkpoint: a folder, or a file in it.

        Raises:
            UserError: it reads a column that is none of the backbone's, such as a target, or the group of the folds; or
                it does not know a column that the backbone names, takes one for another kind than `data.kinds`, or has
                other steps.
        """
        schema = TableSchema.load(checkpoint if checkpoint.is_dir() else checkpoint.parent)
        allowed = self._allowed(backbone)
        if surplus := [column for column in schema.names if column not in allowed]:
            reasons = [
                f"{column!r}" + (f", which {self.excluded[column]}" if column in self.excluded else "")
                for column in surplus[:5]
            ]
            more = f" and {len(surplus) - 5} more" if len(surplus) > 5 else ""
            raise UserError(
                f"expected a checkpoint whose columns the backbone reads too, received one in {checkpoint} that also "
                f"reads {', '.join(reasons)}{more}; pretrain again without them, or, if no task learns them, let the "
                "backbone read them"
            )
        self._check_as_said(backbone, schema, checkpoint)
        return schema

    def left_to(self, backbone: Backbone, schema: TableSchema) -> str:
        """What a checkpoint decides where the config does not say it: its steps, and columns that it does not read."""
        own = [] if backbone.steps or not schema.steps else [f"its own steps, {_shown(_steps(schema))}, hold"]
        if unknown := self._unknown(backbone, schema):
            own.append(f"it does not read {name_some(unknown)}")
        return "; ".join(own)

    def _allowed(self, backbone: Backbone) -> list[str]:
        return [column for column in self.read_by(backbone) if column not in self.excluded]

    def _unknown(self, backbone: Backbone, schema: TableSchema) -> list[str]:
        """Columns that a schema was not fitted on; those that it dropped told nothing in its rows."""
        known = {*schema.names, *schema.dropped}
        return [column for column in self._allowed(backbone) if column not in known]

    def _check_as_said(self, backbone: Backbone, schema: TableSchema, checkpoint: Path) -> None:
        named = [pattern for pattern in backbone.columns if pattern != "*"]
        unknown = [
            column
            for column in self._unknown(backbone, schema)
            if any(fnmatchcase(column, pattern) for pattern in named)
        ]
        if unknown:
            raise UserError(
                f"columns: expected a checkpoint that reads the columns which the backbone names, received one in "
                f"{checkpoint} that does not know {name_some(unknown)}; leave them out of the backbone's columns, or "
                "pretrain again with them"
            )
        kinds = {source.name: source.kind for source in schema.sources}
        if other := [name for name, kind in self.kinds.items() if kinds.get(name, kind) != kind]:
            name = other[0]
            raise UserError(
                f"data.kinds: expected a checkpoint that takes {name!r} for a {self.kinds[name]}, received one in "
                f"{checkpoint} that takes it for a {kinds[name]}; leave it out of data.kinds, or pretrain again"
            )
        if backbone.steps and backbone.steps != _steps(schema):
            raise UserError(
                f"steps: expected a checkpoint with the backbone's, {_shown(backbone.steps)}, received one in "
                f"{checkpoint} with {_shown(_steps(schema))}; leave the backbone's steps out to take the checkpoint's, "
                "or pretrain again"
            )

    def digest(self, backbone: Backbone, ids: Iterable[str]) -> str:
        """Names what some rows hold in a backbone's columns."""
        columns = self.read_by(backbone)
        hashes = self._hashes_of(columns).loc[sorted(ids)]
        known = {column: kind for column, kind in self.kinds.items() if column in columns}
        kinds = [str(self.frame.dtypes[column]) for column in columns]
        return digest(columns, kinds, known, hashes.to_numpy().tobytes().hex())

    def _hashes_of(self, columns: Sequence[str]) -> pd.Series:
        """A number for each row and its id, found once: every stage asks for those of its rows."""
        name = tuple(columns)
        if name not in self._hashes:
            rows = self.frame if list(self.frame) == list(columns) else self.frame.loc[:, list(columns)]
            self._hashes[name] = pd.util.hash_pandas_object(rows, index=True)  # pyright: ignore[reportAttributeAccessIssue]
        return self._hashes[name]


def _steps(schema: TableSchema) -> list[Step]:
    return [step.options for step in schema.steps]


def _shown(steps: Sequence[Step]) -> str:
    """Steps as a config has them, on one line."""
    said = [
        {"kind": step.kind, **step.model_dump(mode="json", exclude_defaults=True, exclude={"kind"})}
        for step in steps
    ]
    return yaml.safe_dump(said, default_flow_style=True, sort_keys=False, width=10_000).strip()
