"""The mistakes of a user, told so that the way out is plain. Imports nothing heavy."""

import difflib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

KeyPath = tuple[str | int, ...]


class UserError(ValueError):
    """Something the user can put right; the command line answers it with exit status 2."""


@dataclass(frozen=True)
class Problem:
    """One mistake in a config."""

    path: KeyPath
    """The key, e.g. ("tasks", "era", "lr")."""
    expected: str
    received: str
    suggestion: str | None = None
    """A name close to the one received."""
    hint: str | None = None
    """The way out, where `expected` does not already say it."""
    where: str = "config"
    """`file:line` or `flag key=value`."""

    @property
    def key(self) -> str:
        """The dotted key; empty for the config as a whole."""
        return ".".join(str(part) for part in self.path)

    def __str__(self) -> str:
        lines = [f"{self.where}: {self.key}" if self.path else self.where]
        lines += [f"  expected: {self.expected}", f"  received: {self.received}"]
        if self.suggestion is not None:
            lines.append(f"  did you mean: {self.suggestion}")
        if self.hint is not None:
            lines.append(f"  way out: {self.hint}")
        return "\n".join(lines)


class ConfigError(UserError):
    """All mistakes of one config at once.

    Args:
        source: What was read, for the headline.
        problems: At least one mistake.
    """

    def __init__(self, source: str, problems: Sequence[Problem]) -> None:
        self.source = source
        self.problems = list(problems)
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        super().__init__("\n\n".join([f"{count} in {source}", *map(str, problems)]))

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.source, self.problems)


def closest(word: object, choices: Iterable[str]) -> str | None:
    """The choice that a mistyped word most likely means, or None."""
    by_folded = {choice.lower(): choice for choice in choices}
    found = difflib.get_close_matches(str(word).lower(), list(by_folded), n=1, cutoff=0.6)
    return by_folded[found[0]] if found else None


def shown(value: object, width: int = 80) -> str:
    """A received value as one short line of JSON."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= width else text[: width - 1] + "…"
