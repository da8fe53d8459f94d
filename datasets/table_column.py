"""What a network is told of one column of its table."""

import math
from dataclasses import dataclass
from typing import Any, Literal

MASKED, UNKNOWN, MISSING = 0, 1, 2
"""Numbers of a category that are no level: hidden by a pretext, never seen before, absent from the table."""
FIRST_LEVEL = 3


@dataclass(frozen=True)
class TableColumn:
    """One column of a batch (B, D): the same for every backbone of tables, and part of its checkpoint.

    A number stands standardised in the batch, NaN where it is missing. Of a category stands the number of its level as
    a float: `MASKED`, `UNKNOWN`, `MISSING`, or `FIRST_LEVEL` + the place in `levels`.

    Attributes:
        name: of the column, or of the output of a step.
        kind: `number` (also dates and booleans) or `category`.
        levels: the known values of a category, as text.
        shares: how often each level stands among the rows with a level that the column was fitted on; they sum to 1.
        edges: of a number its standardised values at even quantiles, strictly rising; between two neighbours lie about
            equally many rows.
    """

    name: str
    kind: Literal["number", "category"] = "number"
    levels: tuple[str, ...] = ()
    shares: tuple[float, ...] = ()
    edges: tuple[float, ...] = ()

    @property
    def size(self) -> int:
        """Numbers that a category takes, the three that are no level included."""
        return FIRST_LEVEL + len(self.levels)

    @property
    def entropy(self) -> float:
        """Of a category's levels, nats: the cross-entropy of predicting `shares`."""
        return -sum(share * math.log(share) for share in self.shares if share > 0)

    def state(self) -> dict[str, Any]:
        """Plain values; `TableColumn.restore` reads them."""
        return {
            "name": self.name,
            "kind": self.kind,
            "levels": list(self.levels),
            "shares": list(self.shares),
            "edges": list(self.edges),
        }

    @classmethod
    def restore(cls, state: dict[str, Any]) -> "TableColumn":
        """The column that `state` described."""
        listed = {key: tuple(state[key]) for key in ("levels", "shares", "edges")}
        return cls(name=state["name"], kind=state["kind"], **listed)
