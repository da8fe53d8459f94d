"""The one fold plan of a run: which rows each fold trains on, which it validates, and what may not be parted."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from sklearn.model_selection import GroupShuffleSplit

from .._version import __version__
from ..configs.data import Folds
from .files import atomic, digest
from .findings import name_some
from .splitting import group_names, natural_order, own_folds, split_rows, strata_names

ROLES = ("train", "valid", "out")
_METADATA = b"jigstack"


@dataclass(frozen=True, eq=False)
class FoldPlan:
    """F folds over N ids; `make_plan` makes one, and every artefact of a run carries its `hash`."""

    rows: pd.DataFrame
    """N x F rows (id, fold, role): fold 0 to F-1; role `train`, `valid`, or `out` for neither."""
    groups: pd.DataFrame
    """N rows (id, group, stratum), text; without a group column each id is its own group."""
    n: int
    """F."""
    scheme: str

    @cached_property
    def _roles(self) -> tuple[np.ndarray, np.ndarray]:
        """The sorted ids (N,) and their roles (N, F) as indices into ROLES."""
        ids = np.sort(self.groups["id"].to_numpy(dtype=object))
        roles = np.full((len(ids), self.n), -1, dtype=np.int8)
        at = pd.Index(ids).get_indexer(pd.Index(self.rows["id"]))
        fold = self.rows["fold"].to_numpy(dtype=np.int64)
        role = pd.Index(ROLES).get_indexer(pd.Index(self.rows["role"]))
        if (at < 0).any() or (role < 0).any() or ((fold < 0) | (fold >= self.n)).any():
            raise ValueError(
                f"rows: expected ids of groups, folds 0 to {self.n - 1} and roles {ROLES}, received others"
            )
        roles[at, fold] = role
        if len(self.rows) != roles.size or (roles < 0).any():
            raise ValueError(
                f"rows: expected one row for each of {len(ids)} ids x {self.n} folds, received {len(self.rows)}"
            )
        return ids, roles

    @cached_property
    def _sorted_groups(self) -> pd.DataFrame:
        """(group, stratum) indexed by the sorted id."""
        return self.groups.set_index("id").sort_index()

    @property
    def ids(self) -> np.ndarray:
        """The N ids, sorted, an object array of text."""
        return self._roles[0]

    @cached_property
    def hash(self) -> str:
        """A name for the whole plan; the order of the table's rows does not matter."""
        ids, roles = self._roles
        groups = [self._sorted_groups[name].tolist() for name in ("group", "stratum")]
        return digest("folds", self.n, ids, roles, groups)

    def train_ids(self, fold: int) -> np.ndarray:
        """The ids that fold `fold` trains on, sorted."""
        return self._with_role(fold, "train")

    def valid_ids(self, fold: int) -> np.ndarray:
        """The ids that fold `fold` is scored on, sorted."""
        return self._with_role(fold, "valid")

    def fold_of(self, ids: Sequence[str] | np.ndarray | pd.Index) -> np.ndarray:
        """The fold that validates each of B ids, int64; -1 where none does."""
        valid = self._roles[1][self._at(ids)] == ROLES.index("valid")  # (B, F)
        return np.where(valid.any(axis=1), valid.argmax(axis=1), -1).astype(np.int64)

    def group_of(self, ids: Sequence[str] | np.ndarray | pd.Index) -> np.ndarray:
        """The group of each of B ids, an object array of text."""
        return self._sorted_groups["group"].to_numpy(dtype=object)[self._at(ids)]

    def inner_split(
        self, ids: Sequence[str] | np.ndarray | pd.Index, share: float, seed: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Split training ids once more without parting a group, for early stopping and inner choices.

        Args:
            ids: the ids to split, usually `train_ids(fold)`; their order does not matter.
            share: share of the groups to hold out, between 0 and 1.
            seed: the split is a function of ids, share and seed.

        Returns:
            (fit ids, held-out ids), each sorted, neither empty.

        Raises:
            ValueError: fewer than two groups, or an unknown id.
        """
        ids = np.sort(np.asarray(ids, dtype=object))
        groups = self.group_of(ids)
        count = len(np.unique(groups))
        if count < 2:
            raise ValueError(
                f"ids: expected at least two groups to split, received {count}. Switch early stopping off."
            )
        held_groups = min(max(1, round(share * count)), count - 1)
        splitter = GroupShuffleSplit(1, test_size=held_groups, random_state=seed)
        fit, held = next(splitter.split(ids, groups=groups))
        return ids[np.sort(fit)], ids[np.sort(held)]

    @property
    def has_groups(self) -> bool:
        """Whether rows share a group; without `folds.group` each row is its own."""
        return len(np.unique(self.groups["group"].to_numpy(dtype=str))) < len(self.groups)

    def balance(self) -> pd.DataFrame:
        """Show the folds: F rows (fold, train, valid, out, groups if rows share one, then the share of each stratum in
        `valid`)."""
        ids, roles = self._roles
        table = []
        strata = self._sorted_groups["stratum"].to_numpy(dtype=object)
        names = sorted(set(strata) - {""}, key=natural_order)
        for fold in range(self.n):
            valid = roles[:, fold] == ROLES.index("valid")
            row: dict[str, Any] = {"fold": fold}
            row |= {role: int((roles[:, fold] == i).sum()) for i, role in enumerate(ROLES)}
            if self.has_groups:
                row["groups"] = len(np.unique(self.group_of(ids[valid])))
            row |= {f"share {name}": float((strata[valid] == name).mean()) for name in names}
            table.append(row)
        return pd.DataFrame(table)

    def verify(self) -> "FoldPlan":
        """Check what every later stage relies on.

        Returns:
            The plan itself.

        Raises:
            ValueError: an id validated twice, an empty part, or a group on both sides of a split.
        """
        ids, roles = self._roles
        valid, train = roles == ROLES.index("valid"), roles == ROLES.index("train")  # (N, F)
        twice = ids[valid.sum(axis=1) > 1]
        if len(twice):
            raise ValueError(
                f"folds: expected each id in at most one validation part, received {len(twice)} in several "
                f"({name_some(twice)})"
            )
        groups = self.group_of(ids)
        count = len(np.unique(groups))
        for fold in range(self.n):
            for part, members in (("validation", valid[:, fold]), ("training", train[:, fold])):
                if not members.any():
                    raise ValueError(
                        f"folds: expected rows in every part of {self.n} folds, received an empty {part} part of "
                        f"fold {fold}. The {len(ids)} rows have {count} groups: ask for fewer folds (folds.n)."
                    )
            shared = np.intersect1d(groups[valid[:, fold]], groups[train[:, fold]])
            if len(shared):
                raise ValueError(
                    f"folds: expected each group on one side of a split, received {len(shared)} groups on both "
                    f"sides of fold {fold} ({name_some(shared)}). Use scheme: group or stratified_group, or "
                    "correct the fold column."
                )
        return self

    def write(self, path: str | Path) -> None:
        """Write the plan as one parquet file with its hash in the metadata."""
        frame = self.rows.merge(self.groups, on="id", how="left", validate="many_to_one")
        table = pa.Table.from_pandas(frame, preserve_index=False)
        facts = {"n": self.n, "scheme": self.scheme, "hash": self.hash, "version": __version__}
        table = table.replace_schema_metadata(
            {_METADATA + b"." + k.encode(): str(v) for k, v in facts.items()}
        )
        with atomic(path) as temporary:
            pq.write_table(table, temporary, compression="zstd")

    @classmethod
    def read(cls, path: str | Path) -> "FoldPlan":
        """Read a plan that `write` wrote.

        Raises:
            ValueError: it is no plan, or was changed after it was written.
        """
        table = pq.read_table(path)
        facts = {
            key.decode().removeprefix("jigstack."): value.decode()
            for key, value in (table.schema.metadata or {}).items()
            if key.startswith(_METADATA)
        }
        if not {"n", "scheme", "hash"} <= set(facts):
            raise ValueError(f"{path}: expected a fold plan, received another parquet file")
        frame = table.replace_schema_metadata(None).to_pandas()
        groups = frame.loc[:, ["id", "group", "stratum"]].drop_duplicates("id").reset_index(drop=True)
        plan = cls(frame.loc[:, ["id", "fold", "role"]], groups, int(facts["n"]), facts["scheme"])
        if plan.hash != facts["hash"]:
            raise ValueError(
                f"{path}: expected the plan {facts['hash']}, received one with hash {plan.hash}: it was changed "
                "after it was written. Delete the file; the same config makes the plan again."
            )
        return plan.verify()

    def _with_role(self, fold: int, role: str) -> np.ndarray:
        if not 0 <= fold < self.n:
            raise ValueError(f"fold: expected 0 to {self.n - 1}, received {fold}")
        ids, roles = self._roles
        return ids[roles[:, fold] == ROLES.index(role)]

    def _at(self, ids: Sequence[str] | np.ndarray | pd.Index) -> np.ndarray:
        wanted = np.asarray(ids, dtype=object)
        at = pd.Index(self.ids).get_indexer(pd.Index(wanted, dtype=object))
        if (at < 0).any():
            raise ValueError(
                f"ids: expected ids of the fold plan ({len(self.ids)} training rows), received "
                f"{int((at < 0).sum())} others ({name_some(wanted[at < 0])})"
            )
        return at


def make_plan(
    table_ids: Sequence[str] | np.ndarray | pd.Index,
    options: Folds,
    seed: int,
    group: pd.Series | None = None,
    stratify: pd.Series | None = None,
    column: pd.Series | None = None,
) -> FoldPlan:
    """Split rows into folds with scikit-learn's shuffled splitters, and verify the result.

    Rows are sorted by id first, so the plan does not depend on their order in the table.

    Args:
        table_ids: N unique ids of the training rows.
        options: scheme and its values.
        seed: the plan is a function of ids, columns, options and seed.
        group: id -> group; equal values stay on one side of every split.
        stratify: id -> value to balance; more than `options.bins` different numbers are cut into quantiles, and
            missing values are a stratum of their own.
        column: id -> fold, for `scheme: column`; rows with a missing, empty or -1 fold train in every fold and are
            never validated (as in scikit-learn's PredefinedSplit).

    Returns:
        The verified plan; one fold for `holdout`, as many as the column has values for `column`.

    Raises:
        ValueError: repeated or missing ids, missing groups, fewer groups or rows than folds, a scheme that would
            part groups, or a scikit-learn whose shuffled StratifiedGroupKFold does not stratify.
    """
    ids = np.sort(np.array([str(name) for name in table_ids], dtype=object))
    repeated = pd.Index(ids)[pd.Index(ids).duplicated()].unique()
    if len(repeated):
        raise ValueError(f"table_ids: expected unique ids, received {name_some(repeated)} more than once")
    groups = ids if group is None else group_names(_aligned(group, ids, "group"))
    strata = np.full(len(ids), "", dtype=object)
    if stratify is not None:
        strata = strata_names(_aligned(stratify, ids, "stratify"), options.bins)
    if options.scheme == "column":
        if column is None:
            raise ValueError("column: expected a series of folds for scheme: column, received none")
        fold_of, n = own_folds(_aligned(column, ids, "column"))
    else:
        if group is not None and options.scheme in ("kfold", "stratified"):
            raise ValueError(
                f"folds.scheme: expected group or stratified_group with folds.group given, received "
                f"{options.scheme}, which would part groups. Change the scheme or remove folds.group."
            )
        fold_of, n = split_rows(options, seed, groups, strata, group is not None)
    folds = np.arange(n)
    roles = np.where(fold_of[:, None] == folds, "valid", "train").astype(object)  # (N, F)
    rows = pd.DataFrame(
        {"id": np.repeat(ids, n), "fold": np.tile(folds, len(ids)), "role": roles.reshape(-1)},
    )
    frame = pd.DataFrame({"id": ids, "group": groups, "stratum": strata}, dtype=object)
    return FoldPlan(rows, frame, n, options.scheme).verify()


def _aligned(series: pd.Series, ids: np.ndarray, argument: str) -> pd.Series:
    series = series.set_axis(series.index.map(str), axis=0)
    lacking = [name for name in ids if name not in series.index]
    if lacking:
        raise ValueError(
            f"{argument}: expected a value for every id, received a series without {len(lacking)} of them "
            f"({name_some(lacking)})"
        )
    return series.loc[list(ids)]
