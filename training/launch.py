"""Launchers take jobs and run them: here one after the other, or side by side in processes of their own."""

import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable, Container, Iterable, Iterator
from contextlib import suppress
from queue import Empty, Queue
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar

from .interrupt import Interrupted

Job = TypeVar("Job")
Tell = Callable[..., None]
"""Sends what a job has to say to whoever started it."""
Run = Callable[[Any, Any, Tell, Callable[[], bool]], Any]
"""(context, job, tell, stop) -> result; a function of a module, so that another process can import it."""

PATIENCE = 0.2  # seconds between two looks at the stop signal


class Launcher(Protocol):
    """Runs jobs, which it takes from the iterable one by one as it starts them."""

    def map(self, jobs: Iterable[Job]) -> Iterator[tuple[Job, Any]]:
        """Yield each job with its result as it finishes."""
        ...


class InProcess:
    """One job after the other in this process, which gives every job all threads.

    Args:
        run, context: each job is `run(context, job, tell, stop)`.
        tell: hears what the jobs say.
        stop: asked by the jobs between two steps.
    """

    def __init__(self, run: Run, context: Any, tell: Tell, stop: Callable[[], bool]) -> None:
        self.run, self.context, self.tell, self.stop = run, context, tell, stop

    def map(self, jobs: Iterable[Job]) -> Iterator[tuple[Job, Any]]:
        """Run the next job when its result is asked for."""
        for job in jobs:
            yield job, self.run(self.context, job, self.tell, self.stop)


class Processes:
    """Several jobs side by side, each worker process with its share of the threads.

    A worker is a fresh interpreter that talks through its standard streams, so that a script or notebook needs no
    `if __name__ == "__main__"`. It starts with its first job and lives until the launcher is closed; if this process
    dies, so does the worker, after a checkpoint.

    Args:
        count: number of workers.
        threads: of each worker.
        run, context: each job is `run(context, job, tell, stop)` in a worker; the context is sent there once.
        tell: hears what the jobs say, in this process.
        stop: looked at here while jobs run; once true, the workers are told and end with checkpoints.

    Raises:
        RuntimeError: a worker ended without an answer, as one does that the system kills for its memory.
        Interrupted: `stop` became true.
    """

    def __init__(
        self, count: int, threads: int, run: Run, context: Any, tell: Tell, stop: Callable[[], bool]
    ) -> None:
        self.tell, self.stop = tell, stop
        self.said: Queue[tuple[_Worker, tuple[Any, ...]]] = Queue()
        self.run, self.context = run, context
        self.count, self.threads = count, threads
        self.workers: list[_Worker] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for worker in self.workers:
            worker.close(kill=error is not None and not isinstance(error, Interrupted))

    def map(self, jobs: Iterable[Job]) -> Iterator[tuple[Job, Any]]:
        """Yield each job with its result as it finishes.

        The first error ends the other jobs with checkpoints before it is raised.
        """
        waiting = iter(jobs)
        running: dict[_Worker, Job] = {}
        failure: BaseException | None = None
        ending = exhausted = False
        while True:
            while not (ending or exhausted or failure or self.stop()) and len(running) < self.count:
                job = next(waiting, None)
                if job is None:
                    exhausted = True
                else:
                    worker = self._idle(running)
                    running[worker] = job
                    worker.send(("job", job))
            if (failure is not None or self.stop()) and not ending:
                ending = True
                for worker in running:
                    worker.send(("stop",))
            if not running:
                break
            try:
                worker, (what, *rest) = self.said.get(timeout=PATIENCE)
            except Empty:
                continue
            if what == "said":
                self.tell(*rest[0], **rest[1])
                continue
            job = running.pop(worker)
            if what == "done":
                yield job, rest[0]
            else:
                failure = failure or (rest[0] if what == "failed" else worker.lost())
        if failure is not None:
            raise failure
        if ending:
            raise Interrupted

    def _idle(self, running: Container["_Worker"]) -> "_Worker":
        for worker in self.workers:
            if worker not in running:
                return worker
        self.workers.append(_Worker(self.threads, pickle.dumps((self.run, self.context)), self.said))
        return self.workers[-1]


class _Worker:
    """One worker process; a thread brings what it says to the launcher's queue."""

    def __init__(self, threads: int, start: bytes, said: "Queue[tuple[_Worker, tuple[Any, ...]]]") -> None:
        serve = f"import sys; sys.path[:] = {sys.path!r}\nfrom {__package__}.worker import serve; serve()"
        limits = {name: str(threads) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
        self.process = subprocess.Popen(
            [sys.executable, "-c", serve],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | limits,
        )
        threading.Thread(target=self._listen, args=(said,), daemon=True).start()
        self._write(start)

    def send(self, message: tuple[Any, ...]) -> None:
        """Hand something over; a worker that is gone is found out by the listening thread."""
        self._write(pickle.dumps(message))

    def lost(self) -> RuntimeError:
        """What to say of a worker that ended without an answer."""
        code = self.process.wait()
        how = f"killed by signal {-code}" if code < 0 else f"exit status {code}"
        return RuntimeError(
            f"processes: expected every worker process to answer, received none from one ({how}); what was finished is "
            "kept and the same command goes on. If memory ran out, set processes=1 or a smaller batch"
        )

    def close(self, *, kill: bool) -> None:
        """End the process: it leaves by itself when its input ends."""
        if kill:
            self.process.kill()
        if self.process.stdin is not None:
            with suppress(OSError):
                self.process.stdin.close()
        self.process.wait()

    def _write(self, data: bytes) -> None:
        if self.process.stdin is not None:
            with suppress(BrokenPipeError):
                self.process.stdin.write(data)
                self.process.stdin.flush()

    def _listen(self, said: "Queue[tuple[_Worker, tuple[Any, ...]]]") -> None:
        try:
            while True:
                said.put((self, pickle.load(self.process.stdout)))  # pyright: ignore[reportArgumentType]
        except (EOFError, pickle.UnpicklingError, ValueError):
            said.put((self, ("lost",)))
