"""How a command ends: exit 2 for the user's mistakes, 1 for ours, 130 for Ctrl-C."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

import typer

from ..configs.errors import UserError

_PACKAGE = Path(__file__).resolve().parent.parent


@contextmanager
def told_plainly(debug: bool) -> Iterator[None]:
    """Turn what a command raises into a message and an exit status.

    Args:
        debug: Let everything through, so that Python prints the traceback.

    Raises:
        typer.Exit: with code 2 for a mistake of the user, 1 for one of ours, 130 for Ctrl-C.
    """
    try:
        yield
    except KeyboardInterrupt as stop:
        if debug:
            raise
        _say(str(stop) or "Stopped. The same command goes on from what is finished.")
        raise typer.Exit(130) from stop
    except Exception as error:
        # A closed pipe (`jigstack check my.yaml | head`) is ended quietly further up.
        if debug or isinstance(error, BrokenPipeError):
            raise
        if _is_the_users(error):
            _say(f"error: {error}")
            raise typer.Exit(2) from error
        if isinstance(error, FloatingPointError | OSError):
            _say(f"error: {error}")
        else:
            _say(f"{type(error).__name__}: {error}\nThis should not happen; --debug shows where it did.")
        raise typer.Exit(1) from error


def _is_the_users(error: Exception) -> bool:
    """Our own code checks what it is given with ValueErrors; one that a library raised is no such check."""
    if isinstance(error, UserError | FileNotFoundError | PermissionError):
        return True
    return isinstance(error, ValueError) and _raised_by_us(error.__traceback__)


def _raised_by_us(trace: TracebackType | None) -> bool:
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace is not None and _PACKAGE in Path(trace.tb_frame.f_code.co_filename).resolve().parents


def _say(text: str) -> None:
    typer.echo(text, err=True)
