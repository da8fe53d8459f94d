"""Sample: the shape of a submission, read from the sample file of whoever scores it.

Three shapes are known. ``wide``: one row an id, one column for each value, label or class probability.
``long``: (id, name, value) with several rows an id, where name is a class label or a target column. Column
order and row order are kept.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..datasets.findings import did_you_mean, name_some
from ..datasets.onehot import class_label
from .ladder import Ladder

Block = tuple[Ladder, pd.DataFrame]
LABEL_METRICS = ("accuracy", "f1")


@dataclass(frozen=True)
class Sample:
    """A sample submission.

    Args:
        path: where it was read, for messages.
        frame: its content as text.
        id_column: the column that names the row.
    """

    path: Path
    frame: pd.DataFrame
    id_column: str

    @classmethod
    def read(cls, path: Path, id_column: str) -> "Sample":
        """Read a CSV.

        Raises:
            ValueError: no id column, no other column, a missing id, or no rows.
        """
        frame = pd.read_csv(path, dtype=str, keep_default_na=False)
        if id_column not in frame.columns:
            raise ValueError(
                f"{path}: expected the id column {id_column!r}, received {list(frame.columns)}."
                f"{did_you_mean(id_column, frame.columns)}"
            )
        empty = frame[id_column].tolist().count("")
        if frame.shape[1] < 2 or frame.empty or empty:
            raise ValueError(
                f"{path}: expected rows with an id and one or more further columns; received {len(frame)} "
                f"rows, the columns {list(frame.columns)} and {empty} empty ids."
            )
        return cls(path, frame, id_column)

    def fill(self, blocks: Sequence[Block]) -> pd.DataFrame:
        """Put predictions into the sample's shape.

        Args:
            blocks: each stack's ladder and its complete test predictions, indexed by id.

        Returns:
            The submission: the sample's columns, ids and order.

        Raises:
            ValueError: ids that differ, a column that no stack fills or two do, or labels where numbers are
                asked for.
        """
        self.check_ids(blocks[0][1].index)
        if self.frame[self.id_column].is_unique:
            return self._wide(blocks)
        return self._long(blocks)

    def check_ids(self, index: pd.Index) -> None:
        """Compare the sample's ids with those of the test rows.

        Raises:
            ValueError: some stand on one side only.
        """
        asked = pd.Index(self.frame[self.id_column].unique())
        missing, surplus = index.difference(asked), asked.difference(index)
        if len(missing) or len(surplus):
            raise ValueError(
                f"{self.path}: its ids must be those of the test table; {len(surplus)} ids have no test row"
                f"{': ' + name_some(surplus) if len(surplus) else ''}; {len(missing)} test rows are not "
                "asked for"
                f"{': ' + name_some(missing) if len(missing) else ''}."
            )

    def _wide(self, blocks: Sequence[Block]) -> pd.DataFrame:
        asked = [column for column in self.frame.columns if column != self.id_column]
        filled: dict[str, pd.Series] = {}
        for ladder, values in blocks:
            columns = self._columns(ladder, values, asked, alone=len(blocks) == 1)
            twice = sorted(set(columns) & set(filled))
            if twice:
                raise ValueError(f"{self.path}: two stacks fill the columns {twice}; leave one stack out.")
            filled.update(columns)
        unfilled = [column for column in asked if column not in filled]
        if unfilled:
            raise ValueError(
                f"{self.path}: no stack fills the columns {unfilled}; the stacks give "
                f"{[name for ladder, _ in blocks for name in (*ladder.target, *ladder.outputs)]}."
            )
        ids = self.frame[self.id_column]
        parts = {column: self._typed(column, filled[column].loc[ids]) for column in asked}
        order = {
            column: ids.to_numpy() if column == self.id_column else parts[column]
            for column in self.frame.columns
        }
        return pd.DataFrame(order)

    def _columns(
        self, ladder: Ladder, values: pd.DataFrame, asked: list[str], alone: bool
    ) -> dict[str, pd.Series]:
        """Which asked-for columns a stack fills, and with what."""
        if ladder.is_classes:
            renamed = _match_classes(ladder.outputs, asked)
            if renamed is not None:
                return {renamed[label]: values.loc[:, label] for label in ladder.outputs}
        names = {column: column for column in ladder.target if column in asked}
        if not names and alone and len(asked) == len(ladder.target) == 1:
            # One column asked for and one target: what else could it be? (`Predicted`, `label`, `score`)
            names = {ladder.target[0]: asked[0]}
        missing = [column for column in ladder.target if column not in names]
        if missing:
            kind = (
                f"a column for each of the classes {list(ladder.outputs)}, or " if ladder.is_classes else ""
            )
            raise ValueError(
                f"{self.path}: stack {ladder.name} needs {kind}the columns {list(ladder.target)}; received "
                f"{asked}."
                f"{did_you_mean(missing[0], asked)}"
            )
        if not ladder.is_classes:
            numbers = round_to_int(values) if ladder.metric == "qwk" else values
            return {name: numbers.loc[:, column] for column, name in names.items()}
        return {names[ladder.target[0]]: self._single(ladder, values)}

    def _single(self, ladder: Ladder, values: pd.DataFrame) -> pd.Series:
        """One column for a class target: the label, or the probability of the second of two classes."""
        if ladder.metric in LABEL_METRICS:
            return most_probable(ladder, values)
        if len(ladder.outputs) == 2:
            return values.loc[:, ladder.outputs[1]]
        raise ValueError(
            f"{self.path}: stack {ladder.name} ({ladder.metric}) gives probabilities of "
            f"{len(ladder.outputs)} classes, but the "
            f"sample has the single column {ladder.target[0]!r}; use accuracy or f1 for labels."
        )

    def _typed(self, column: str, values: pd.Series) -> NDArray:
        """The values, if the sample's own are of that type; its zeros and blanks are placeholders."""
        given = [text for text in self.frame[column].tolist() if text != ""]
        textual = not all(_is_number(text) for text in given)
        is_text = values.dtype == object or isinstance(values.dtype, pd.StringDtype)
        if textual and not is_text:
            raise ValueError(
                f"{self.path}: column {column!r} holds text ({given[0]!r}), the predictions are numbers. "
                "Use accuracy or f1 for a column of labels."
            )
        if given and not textual and is_text and not all(_is_number(label) for label in values.tolist()):
            raise ValueError(
                f"{self.path}: column {column!r} holds numbers ({given[0]!r}), the predictions are labels "
                f"({values.iloc[0]!r}). Use logloss or auc for probabilities."
            )
        return values.to_numpy()

    def _long(self, blocks: Sequence[Block]) -> pd.DataFrame:
        others = [column for column in self.frame.columns if column != self.id_column]
        if len(others) != 2:
            raise ValueError(
                f"{self.path}: ids repeat, so it is taken for the long form (id, name, value); "
                f"received {len(others)} columns beside the id: {others}."
            )
        known: dict[str, pd.Series] = {}
        for _, values in blocks:
            for name in values.columns:
                if name in known:
                    raise ValueError(
                        f"{self.path}: two stacks give values for {name!r}; leave one stack out."
                    )
                known[str(name)] = values.loc[:, name]

        def recognised(column: str) -> bool:
            return bool(self.frame[column].map(class_label_of_text).isin(list(known)).all())

        name_columns = [column for column in others if recognised(column)]
        if len(name_columns) != 1:
            wrong = sorted(set(self.frame[others[0]].map(class_label_of_text)) - set(known))
            raise ValueError(
                f"{self.path}: expected one column that holds the names {list(known)} (long form), received "
                f"{len(name_columns)}; {others[0]!r} also holds {name_some(wrong)}."
            )
        name_column = name_columns[0]
        value_column = next(column for column in others if column != name_column)
        names = [class_label_of_text(text) for text in self.frame[name_column].tolist()]
        ids = self.frame[self.id_column].tolist()
        pairs = pd.DataFrame({"id": ids, "name": names})
        expected = len(set(ids)) * len(known)
        if pairs.duplicated().any() or len(pairs) != expected:
            raise ValueError(
                f"{self.path}: expected each id once with each of the names {list(known)}, {expected} rows; "
                f"received {len(pairs)} rows, {int(pairs.duplicated().sum())} of them repeated."
            )
        table = pd.DataFrame(known)
        rows, columns = table.index.get_indexer(pd.Index(ids)), table.columns.get_indexer(pd.Index(names))
        filled = pd.Series(table.to_numpy()[rows, columns])
        result = self.frame.copy()
        result[value_column] = self._typed(value_column, filled)
        return result


def most_probable(ladder: Ladder, values: pd.DataFrame) -> pd.Series:
    """The most probable class of each row, as text."""
    names = np.asarray(ladder.outputs, dtype=object)
    return pd.Series(names[values.to_numpy().argmax(axis=1)], index=values.index)


def round_to_int(values: pd.DataFrame) -> pd.DataFrame:
    """Whole numbers without a decimal point."""
    return values.round().astype(np.int64)


def class_label_of_text(text: str) -> str:
    """`class_label` of a CSV field: "3.0" and "3" are one class, "007" stays."""
    return class_label(float(text)) if "." in text and _is_number(text) else text


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _match_classes(classes: Sequence[str], asked: list[str]) -> dict[str, str] | None:
    """class → column, where the columns are the class names within a common prefix and suffix; else None."""
    first = classes[0]
    for column in asked:
        start = column.find(first)
        while start >= 0:
            prefix, suffix = column[:start], column[start + len(first) :]
            names = {label: f"{prefix}{label}{suffix}" for label in classes}
            if set(names.values()) <= set(asked):
                return names
            start = column.find(first, start + 1)
    return None
