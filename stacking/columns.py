"""Table columns as level-2 features: numbers as they are, classes one-hot, long texts by how frequent they are."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..datasets.findings import did_you_mean, name_some
from ..datasets.folds import FoldPlan
from ..scoring.metrics import Array
from ..scoring.ridge import varying
from ..transfer.features import Features

TABLE = "table"
"""The name under which the columns stand among the tasks."""
MOST_LEVELS = 20


@dataclass(frozen=True)
class TableColumns:
    """D features of the table's rows; no label and no fold has a part in them.

    Args:
        names: plain feature name (`table.d0`) -> readable name (`age`, `city = Kyoto`).
        train: float32 (N, D), indexed by id.
        test: float32 (M, D), indexed by id.
        dropped: columns without two different values among the train rows.
    """

    names: dict[str, str]
    train: pd.DataFrame
    test: pd.DataFrame
    dropped: tuple[str, ...]

    @classmethod
    def encode(cls, train: pd.DataFrame, test: pd.DataFrame, columns: Sequence[str]) -> "TableColumns":
        """Turn columns into numbers.

        Numbers and booleans stay what they are, a missing one NaN. Text of up to `MOST_LEVELS` values gets a column for
        each value, in the order of the alphabet; longer text one column, the share of all rows with the same value.
        Levels and shares are those of train and test together, so that a validation row is seen as a test row is.
        Missing texts are 0 in all of them; so are values of test alone, whose columns do not vary in train.

        Args:
            train: the labelled rows, indexed by id.
            test: the rows to predict, with the same columns; may be empty.
            columns: what to take.

        Raises:
            ValueError: a column that train or test lacks, an infinite number, numbers in train that are text in test,
                or no column, or none that varies.
        """
        if not columns:
            raise ValueError(
                "data.columns: expected table columns to learn from, received none: beside the id, the group and what "
                "is learned, train and test share no column"
            )
        parts: list[tuple[str, NDArray[np.float32], NDArray[np.float32]]] = []
        dropped = []
        for column in columns:
            for where, frame in (("train", train), ("test", test)):
                if column not in frame.columns:
                    raise ValueError(
                        f"data.columns: expected columns that train and test share, received {column!r}, which "
                        f"{where} lacks.{did_you_mean(column, frame.columns)}"
                    )
            found = [
                (
                    name,
                    rows.astype(np.float32),
                    more.astype(np.float32),
                )  # in float64 all columns take twice as much
                for name, rows, more in _encode(train.loc[:, column], test.loc[:, column])
                if varying(rows[:, None])[0]
            ]
            parts += found
            dropped += [] if found else [column]
        if not parts:
            raise ValueError(
                f"data.columns: expected columns of two values or more, received {len(columns)} that are constant "
                f"({name_some(dropped)})"
            )
        names = {f"{TABLE}.d{j}": readable for j, (readable, _, _) in enumerate(parts)}
        frames = [
            pd.DataFrame(
                np.stack([part[side] for part in parts], axis=1),
                index=pd.Index(rows.index.to_numpy(dtype=object), name="id"),
                columns=pd.Index(names),
                copy=False,
            )
            for side, rows in ((1, train), (2, test))
        ]
        return cls(names, frames[0], frames[1], tuple(dropped))

    @property
    def notes(self) -> list[str]:
        """What was left out, a sentence each."""
        if not self.dropped:
            return []
        columns = "1 table column" if len(self.dropped) == 1 else f"{len(self.dropped)} table columns"
        why = "one value only, or another text in every row"
        return [f"{columns} left out of level 2 and frozen members ({why}): {name_some(self.dropped)}."]

    def features(self, plan: FoldPlan, models: Sequence[int]) -> Features:
        """The columns as a task's features.

        Args:
            plan: the run's fold plan; a row is handed out under the fold that validates it, and rows that none does
                are left out.
            models: the fold models whose test rows the columns stand beside; none: one.
        """
        folds = np.asarray(plan.fold_of(self.train.index.to_numpy()))
        parts = [_long(self.train.loc[folds >= 0, :], "oof", folds[folds >= 0])]
        for model in models or [-1]:
            parts.append(_long(self.test, "test", np.full(len(self.test), model)))
        return Features(pd.concat(parts, ignore_index=True), TABLE, self.names, plan.hash)


def _encode(train: pd.Series, test: pd.Series) -> list[tuple[str, Array, Array]]:
    """Readable name, train values (N,) and test values (M,) of each feature that a column gives."""
    name = str(train.name)
    if pd.api.types.is_numeric_dtype(train):
        if len(test) and not pd.api.types.is_numeric_dtype(test) and test.notna().any():
            strange = [str(value) for value in test.dropna() if not _is_number(value)]
            raise ValueError(
                f"data.columns: expected numbers in {name!r}, as train has, received text in test "
                f"({name_some(sorted(set(strange)))}); mend the file or leave the column out"
            )
        values = [side.to_numpy(dtype=np.float64, na_value=np.nan) for side in (train, test)]
        for side, rows in zip(values, (train, test), strict=True):
            if np.isinf(side).any():
                raise ValueError(
                    f"data.columns: expected finite numbers in {name!r}, received infinite ones for ids "
                    f"{name_some(rows.index[np.isinf(side)].to_numpy())}; leave them empty"
                )
        return [(name, values[0], values[1])]
    texts = [
        side.astype(object).where(side.notna(), None).map(str, na_action="ignore") for side in (train, test)
    ]
    shares = pd.concat(texts).value_counts(normalize=True)
    if len(shares) > MOST_LEVELS:
        share = dict(zip(shares.index, shares.to_numpy(), strict=True))
        found = [side.map(share.get).astype(float).fillna(0.0).to_numpy() for side in texts]
        return [(f"{name}, share of the rows with its value", found[0], found[1])]
    levels = sorted(shares.index)
    if len(levels) == 2 and train.notna().all():
        levels = levels[1:]  # the other one is its opposite
    return [
        (f"{name} = {level}", (texts[0] == level).to_numpy(float), (texts[1] == level).to_numpy(float))
        for level in levels
    ]


def _is_number(value: object) -> bool:
    try:
        float(str(value))
    except ValueError:
        return False
    return True


def _long(values: pd.DataFrame, role: str, folds: NDArray) -> pd.DataFrame:
    frame = values.reset_index()
    frame.insert(1, "role", role)
    frame.insert(2, "fold", folds.astype(np.int32))
    return frame
