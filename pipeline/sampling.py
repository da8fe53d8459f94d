"""Demo data by name."""

from pathlib import Path

from ..configs.errors import UserError, closest
from ..datasets.samples import SAMPLES
from .console import Console


def sample(name: str, destination: str | Path | None = None, *, quiet: bool = False) -> Path:
    """Get a demo data set; a second call finds it there.

    Args:
        name: emoji.
        destination: the folder to write; by default `data/<name>`.

    Returns:
        The folder.

    Raises:
        UserError: no sample of this name, or its source cannot be reached.
    """
    if name not in SAMPLES:
        near = closest(name, SAMPLES)
        raise UserError(
            f"sample: expected one of {', '.join(SAMPLES)}, received {name!r}"
            + (f"; did you mean {near!r}?" if near else "")
        )
    console = Console(quiet)
    folder = Path("data") / name if destination is None else Path(destination)

    def counted(done: int, total: int) -> None:
        console.counting(f"{name}: images", done, total)

    try:
        SAMPLES[name](folder, counted)
    except ConnectionError as error:
        raise UserError(str(error)) from error
    console.say(
        f"{folder}: ready. Next: jigstack recipes copy quickstart, then jigstack run quickstart.yaml data.root={folder}"
    )
    return folder
