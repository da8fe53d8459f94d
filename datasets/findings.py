"""What a look at the data found, in a form that can be printed, counted and tested."""

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

Severity = Literal["error", "warning", "note"]


@dataclass(frozen=True)
class Finding:
    """One thing the user should know about the data."""

    code: str
    """A stable kebab-case name: `test-ids-in-train`."""
    severity: Severity
    """`error`: a run would be wrong or fail; `warning`: the score may mislead; `note`: worth knowing."""
    message: str
    """A sentence that names the way out."""
    ids: tuple[str, ...] = ()
    """Every row or file concerned; the message names only some."""

    def __str__(self) -> str:
        return f"{self.severity}: {self.message} [{self.code}]"


def name_some(names: Sequence[str] | Iterable[str], most: int = 5) -> str:
    """Name the first few and count the rest.

    Args:
        names: what to name.
        most: how many to name at most.

    Example:
        >>> name_some(["a", "b", "c", "d"], most=2)
        "'a', 'b' and 2 more"
    """
    names = [str(name) for name in names]
    shown = ", ".join(repr(name) for name in names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"


def did_you_mean(name: str, choices: Iterable[str]) -> str:
    """Say which of the choices was probably meant; nothing where none is near.

    Example:
        >>> did_you_mean("objectid", ["object_id", "year"])
        " Did you mean 'object_id'?"
    """
    choices = [str(choice) for choice in choices]
    folded = {choice.casefold(): choice for choice in choices}
    near = difflib.get_close_matches(name.casefold(), folded, n=1, cutoff=0.6)
    return f" Did you mean {folded[near[0]]!r}?" if near else ""
