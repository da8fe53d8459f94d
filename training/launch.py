"""Launchers take jobs and run them: here and now, later side by side."""

from collections.abc import Callable, Iterable, Iterator
from typing import Protocol, TypeVar

Job = TypeVar("Job")
Result = TypeVar("Result")


class Launcher(Protocol):
    """Runs a function on every job; results come in the order of the jobs."""

    def map(self, function: Callable[[Job], Result], jobs: Iterable[Job]) -> Iterator[Result]: ...


class InProcess:
    """One job after the other in this process, which gives every job all threads."""

    def map(self, function: Callable[[Job], Result], jobs: Iterable[Job]) -> Iterator[Result]:
        """Run the next job when its result is asked for."""
        for job in jobs:
            yield function(job)
