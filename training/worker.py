"""The other end of `launch.Processes`: a process that does jobs and says how they go."""

import os
import pickle
import signal
import sys
import threading
import traceback
from queue import Queue
from typing import Any

from .interrupt import Interrupted


def serve() -> None:
    """Read the context, then jobs until the input ends; answer on what was the standard output.

    Whoever started this process decides when it stops, so an interruption from the keyboard is left to it. When it is
    gone, the job at hand ends with a checkpoint; so it does at a SIGTERM, which a whole group of processes may get.
    """
    stopped = threading.Event()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: stopped.set())
    source, sink = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever prints must not get between the answers
    lock = threading.Lock()

    def answer(*message: Any) -> None:
        data = _pickled(message)
        with lock:
            sink.write(data)
            sink.flush()

    def tell(*words: Any, **options: Any) -> None:
        answer("said", words, options)

    run, context = pickle.load(source)
    jobs: Queue[Any] = Queue()

    def listen() -> None:
        try:
            while True:
                kind, *rest = pickle.load(source)
                if kind == "stop":
                    stopped.set()
                else:
                    jobs.put(rest)
        except EOFError:
            stopped.set()
            jobs.put(None)

    threading.Thread(target=listen, daemon=True).start()
    while (job := jobs.get()) is not None:
        try:
            result = run(context, job[0], tell, stopped.is_set)
        except (Exception, Interrupted) as error:  # noqa: BLE001 (told to whoever waits, and raised there)
            error.add_note("in a worker process:\n" + traceback.format_exc())
            answer("failed", error)
        else:
            answer("done", result)


def _pickled(message: tuple[Any, ...]) -> bytes:
    """The message; an error that cannot travel goes as its text."""
    try:
        data = pickle.dumps(message)
        pickle.loads(data)
    except Exception:  # classes decide themselves what they raise here
        kind, error = message[0], message[-1]
        if not isinstance(error, BaseException):
            raise
        return pickle.dumps((kind, RuntimeError(f"{type(error).__name__}: {error}")))
    return data
