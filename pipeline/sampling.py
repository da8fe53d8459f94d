"""Demo data by name."""

from pathlib import Path

from ..configs.errors import UserError, closest
from ..datasets.samples import SAMPLES
from .console import Console


def sample(name: str, destination: str | Path | None = None, *, quiet: bool = False) -> Path:
    """Get a demo data set; a second call finds it there.

    Args:
        name: emoji or census.
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
    console, chosen = Console(quiet), SAMPLES[name]
    folder = Path("data") / name if destination is None else Path(destination)

    def counted(done: int, total: int) -> None:
        console.counting(f"{name}: {chosen.unit}", done, total)

    try:
        chosen.make(folder, counted)
    except ConnectionError as error:
        raise UserError(str(error)) from error
    console.say(f"{folder}: ready. Next: {chosen.next.format(folder=folder)}")
    return folder
