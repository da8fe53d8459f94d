"""Ctrl-C and SIGTERM end the process with status 130, once or many times, before and after the work itself."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager

STOPPED = 130
SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """Treat SIGTERM like Ctrl-C, and let neither disturb the end of a process that was asked to stop.

    While a job runs, `stop_signal` takes both signals: the first asks for a checkpoint. This is for what comes before
    and after it; Python's own end lasts long enough to be hit by an impatient second Ctrl-C.

    Raises:
        SystemExit: as the command ends; with 130 if it was interrupted anywhere.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        try:
            yield
        except SystemExit as end:
            if end.code == STOPPED or _aborted(end):
                _ignore()
                raise SystemExit(STOPPED) from end
            raise
    except KeyboardInterrupt as stop:
        _ignore()
        raise SystemExit(STOPPED) from stop


def _ignore() -> None:
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def _aborted(end: SystemExit) -> bool:
    """Whether typer caught a KeyboardInterrupt, which it ends with 1: as the message was being written, or --debug."""
    from typer import Abort

    return isinstance(end.__context__, Abort)
