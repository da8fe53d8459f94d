"""How many of the names that belong to a row were found for it."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Recall:
    """Shares, each between 0 and 1, of the true names among those found.

    Attributes:
        rows: share of the rows with at least one of their names.
        names: mean over rows of the share of a row's names.
        even: mean over the different names of the share of its rows that a name was found for, so that rare names count
            like frequent ones.
    """

    rows: float
    names: float
    even: float

    @classmethod
    def of(cls, found: Sequence[Iterable[str]], true: Sequence[Iterable[str]]) -> "Recall":
        """Compare two lists of names for each of N rows; repetitions and the order do not count.

        Raises:
            ValueError: no rows, different numbers of rows, or a row without a true name.
        """
        if len(found) != len(true) or not len(true) or not all(map(set, true)):
            raise ValueError(
                f"`true`: expected one or more names for each of the {len(found)} rows of `found`, received "
                f"{len(true)} rows, {sum(not set(names) for names in true)} of them without a name"
            )
        shares = []
        by_name: dict[str, list[bool]] = defaultdict(list)
        for given, wanted in zip(map(set, found), map(set, true), strict=True):
            shares.append(len(given & wanted) / len(wanted))
            for name in wanted:
                by_name[name].append(name in given)
        return cls(
            float(np.mean(np.array(shares) > 0)),
            float(np.mean(shares)),
            float(np.mean([np.mean(hits) for hits in by_name.values()])),
        )
