"""What `init` asks of a network of tables: steps, epochs, and whether there is anything to learn from."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from ..datasets.findings import name_some
from ..datasets.table_schema import TableSchema

WIDE = 500  # number columns from which directions replace single columns
DIRECTIONS = 64
SKEWED = 2.0  # absolute skewness of a column; an exponential distribution has 2
MOST_CODES = 100  # values of a column of codes: as many as a category keeps
_SEEN, _SEEN_LABELLED = 200_000, 90_000  # rows that a pretraining and a head of preset good are shown
_CODES = re.compile(r"(^|[^a-z])(re)?codes?($|[^a-z])|(^|[^a-z])zip($|[^a-z])", re.I)


def codes(frame: pd.DataFrame, columns: Sequence[str]) -> list[str]:
    """Columns of numbers that are surely codes: whole numbers of few values whose name says so.

    Args:
        frame: the train rows.
        columns: those that a network may read.
    """
    found = []
    for name in columns:
        values = pd.Series(frame[name].dropna())
        if not _CODES.search(name) or not pd.api.types.is_numeric_dtype(values):
            continue
        whole = np.asarray(values, dtype=float) % 1 == 0
        if whole.all() and 2 < len(np.unique(values)) <= MOST_CODES:
            found.append(name)
    return found


def unreadable(frame: pd.DataFrame, columns: Sequence[str], kinds: Sequence[str]) -> str | None:
    """Why no network could learn from these columns, or None.

    Args:
        frame: the train rows.
        columns: those that it would read.
        kinds: the columns that are categories, whatever they look like.
    """
    try:
        TableSchema.fit(frame, columns, kinds=dict.fromkeys(kinds, "category"))
    except ValueError as error:
        return str(error)
    return None


def joining(
    extra: Mapping[str, pd.DataFrame], columns: Sequence[str]
) -> tuple[dict[str, int], dict[str, str]]:
    """Which tables of rows without labels a pretraining can read.

    Args:
        extra: file -> its rows.
        columns: those that the network reads.

    Returns:
        File -> how many rows it has, and file -> why it is left out.
    """
    lacking = {name: [column for column in columns if column not in rows] for name, rows in extra.items()}
    return (
        {name: len(rows) for name, rows in extra.items() if not lacking[name]},
        {name: f"lacks {name_some(absent)}" for name, absent in lacking.items() if absent},
    )


def steps_for(
    frame: pd.DataFrame, columns: Sequence[str], kinds: Sequence[str]
) -> tuple[list[dict[str, Any]], str]:
    """Steps for the numbers among the columns, and the reason.

    Args:
        frame: the train rows.
        columns: those that a network reads.
        kinds: the columns that are categories, whatever they look like.

    Returns:
        As `backbones.<name>.steps` has them, perhaps none.
    """
    numbers = frame[[name for name in columns if name not in kinds]].select_dtypes("number")
    numbers = numbers.loc[:, numbers.nunique() > 2]
    count = numbers.shape[1]
    if count >= WIDE and len(frame) > 2 * DIRECTIONS:
        why = f"{count:,} columns of numbers: one says little, {DIRECTIONS} directions in which rows differ say most"
        return [{"kind": "svd", "n": DIRECTIONS}], why
    skewed = int((numbers.skew().abs() > SKEWED).sum()) if count else 0
    if skewed:
        return [{"kind": "quantile"}], f"{skewed:,} of {count:,} columns of numbers are skewed: ranks are not"
    return (
        [],
        "no column of numbers is skewed: they are only standardised" if count else "no columns of numbers",
    )


def masked_epochs(rows: int, effort: float) -> int:
    """Epochs of a masked pretraining.

    Args:
        rows: labelled or not, all that it is shown.
        effort: a multiple of the work of preset `good`.
    """
    return max(1, round(effort * min(100, max(5, _SEEN / rows))))


def head_epochs(rows: int, effort: float) -> int:
    """Epochs of a head.

    Args:
        rows: labelled ones.
        effort: a multiple of the work of preset `good`.
    """
    return max(1, round(effort * min(40, max(3, _SEEN_LABELLED / rows))))


def batch_for(rows: int) -> int:
    """Rows in a batch."""
    return next(
        batch for most, batch in ((1000, 32), (4000, 64), (50_000, 256), (np.inf, 1024)) if rows < most
    )
