"""Ctrl-C and SIGTERM end a long job with a checkpoint instead of in the middle of a step."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Interrupted(KeyboardInterrupt):
    """The job has saved a checkpoint and stopped; the same command goes on from there."""


class StopSignal:
    """Whether someone asked the process to stop."""

    def __init__(self) -> None:
        self.received = False

    def __bool__(self) -> bool:
        return self.received


@contextmanager
def stop_signal() -> Iterator[StopSignal]:
    """Turn the first SIGINT or SIGTERM into a flag that the loop reads between steps; the second one ends at once.

    Outside the main thread no handler can be set and the flag stays down.
    """
    stop = StopSignal()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def raise_flag(number: int, frame: FrameType | None) -> None:
        if stop.received:
            raise KeyboardInterrupt
        stop.received = True
        os.write(2, b"\nstopping after this step, with a checkpoint; once more to stop at once\n")

    before = {number: signal.signal(number, raise_flag) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
