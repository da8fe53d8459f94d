"""Sample data by name, made from public packages."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from .census import sample_census
from .emoji import sample_emoji
from .packages import Progress


@dataclass(frozen=True)
class Sample:
    """A data set that can be made here."""

    make: Callable[[str | os.PathLike[str], Progress | None], Path]
    """Makes the folder given, telling (done, all); a second call finds it there."""
    unit: str
    """What the progress counts."""
    next: str
    """The commands to give next; `{folder}` is the folder made."""


SAMPLES: Mapping[str, Sample] = {
    "emoji": Sample(
        sample_emoji,
        "images",
        "jigstack recipes copy quickstart, then jigstack run quickstart.yaml data.root={folder}",
    ),
    "census": Sample(sample_census, "rows", "jigstack init {folder}"),
}
