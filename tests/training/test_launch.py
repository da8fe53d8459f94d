"""Jobs run here or side by side, and what becomes of them when one fails or someone asks to stop."""

import os
import signal
import textwrap
import time
from pathlib import Path
from typing import Any

import pytest
from jigstack.training.interrupt import Interrupted
from jigstack.training.launch import InProcess, Processes

JOBS = """
import os, time
from jigstack.training.interrupt import Interrupted

class Refusal(Exception):
    def __init__(self, first, second):
        super().__init__(f"{first} {second}")

def square(context, job, tell, stop):
    tell("say", f"{context} {job}", always=True)
    print("this must not get between the answers")
    return os.getpid(), job * job

def fail_on_two(context, job, tell, stop):
    if job == 2:
        raise ValueError("argument: expected another number, received 2")
    return wait(context, job, tell, stop)

def wait(context, job, tell, stop):
    tell("started", job)
    for _ in range(600):
        if stop():
            (context / f"checkpoint{job}").touch()
            raise Interrupted
        time.sleep(0.02)
    return job

def refuse(context, job, tell, stop):
    raise Refusal("cannot", "travel")

def vanish(context, job, tell, stop):
    os.kill(os.getpid(), 9)

def threads(context, job, tell, stop):
    return os.environ["OMP_NUM_THREADS"]
"""


@pytest.fixture
def jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A module of jobs that a fresh interpreter can import too."""
    import importlib
    import sys

    (tmp_path / "launched_jobs.py").write_text(textwrap.dedent(JOBS))
    monkeypatch.syspath_prepend(str(tmp_path))
    sys.modules.pop("launched_jobs", None)
    return importlib.import_module("launched_jobs")


def never() -> bool:
    return False


def test_a_job_in_this_process_starts_when_its_result_is_asked_for(jobs: Any) -> None:
    said: list[Any] = []
    results = InProcess(jobs.square, "context", lambda *words, **_: said.append(words), never).map([2, 3])
    assert said == []
    assert next(results) == (2, (os.getpid(), 4))
    assert said == [("say", "context 2")]


def test_processes_give_every_job_its_result_and_pass_on_what_it_says(jobs: Any) -> None:
    said: list[Any] = []

    def tell(*words: Any, **options: Any) -> None:
        said.append((words, options))

    with Processes(2, 1, jobs.square, "context", tell, never) as launcher:
        results = dict(launcher.map([1, 2, 3, 4]))
        again = dict(launcher.map([5]))
    assert {job: value for job, (_, value) in results.items()} == {1: 1, 2: 4, 3: 9, 4: 16}
    workers = {pid for pid, _ in results.values()}
    assert len(workers) == 2
    assert os.getpid() not in workers
    assert again[5][0] in workers
    assert sorted(said, key=str) == [(("say", f"context {job}"), {"always": True}) for job in range(1, 6)]


def test_each_process_has_its_share_of_the_threads(jobs: Any) -> None:
    with Processes(1, 3, jobs.threads, None, print, never) as launcher:
        assert list(launcher.map(["job"])) == [("job", "3")]


def test_jobs_are_taken_only_as_they_start(jobs: Any) -> None:
    taken: list[int] = []

    def numbers():
        for number in range(4):
            taken.append(number)
            yield number

    with Processes(2, 1, jobs.square, None, lambda *_, **__: None, never) as launcher:
        next(launcher.map(numbers()))
    assert taken == [0, 1]


def test_an_error_ends_the_other_jobs_with_their_checkpoints_and_is_raised(jobs: Any, tmp_path: Path) -> None:
    with (
        pytest.raises(ValueError, match="expected another number, received 2") as caught,
        Processes(2, 1, jobs.fail_on_two, tmp_path, lambda *_: None, never) as launcher,
    ):
        list(launcher.map([1, 2, 3]))
    assert "in fail_on_two" in caught.value.__notes__[0]
    assert [path.name for path in tmp_path.glob("checkpoint*")] == ["checkpoint1"]


def test_a_stop_signal_reaches_every_job(jobs: Any, tmp_path: Path) -> None:
    started: list[int] = []
    with (
        pytest.raises(Interrupted),
        Processes(
            2, 1, jobs.wait, tmp_path, lambda _, job: started.append(job), lambda: len(started) == 2
        ) as launcher,
    ):
        list(launcher.map([1, 2, 3]))
    assert sorted(path.name for path in tmp_path.glob("checkpoint*")) == ["checkpoint1", "checkpoint2"]


def test_an_interruption_from_the_keyboard_is_left_to_the_parent(jobs: Any, tmp_path: Path) -> None:
    launcher = Processes(1, 1, jobs.square, tmp_path, lambda *_, **__: None, never)
    with launcher:
        list(launcher.map([1]))
        launcher.workers[0].process.send_signal(signal.SIGINT)
        assert [value for _, (_, value) in launcher.map([3])] == [9]


def test_a_worker_that_is_terminated_ends_its_job_with_a_checkpoint(jobs: Any, tmp_path: Path) -> None:
    """As with `kill` of a whole group: the parent hears of it as of any other stop."""
    launcher = Processes(1, 1, jobs.wait, tmp_path, lambda *_: launcher.workers[0].process.terminate(), never)
    with pytest.raises(Interrupted), launcher:
        list(launcher.map([1]))
    assert (tmp_path / "checkpoint1").exists()


def test_a_worker_whose_parent_is_gone_ends_with_a_checkpoint(jobs: Any, tmp_path: Path) -> None:
    started: list[int] = []
    launcher = Processes(1, 1, jobs.wait, tmp_path, lambda _, job: started.append(job), lambda: bool(started))
    with pytest.raises(Interrupted):
        list(launcher.map([1]))
    (tmp_path / "checkpoint1").unlink()
    worker = launcher.workers[0]
    worker.send(("job", 7))
    time.sleep(0.3)
    assert worker.process.stdin is not None
    worker.process.stdin.close()  # as when the parent is killed
    assert worker.process.wait(timeout=20) == 0
    assert (tmp_path / "checkpoint7").exists()


def test_an_error_that_cannot_travel_goes_as_its_text(jobs: Any) -> None:
    with (
        pytest.raises(RuntimeError, match="Refusal: cannot travel"),
        Processes(1, 1, jobs.refuse, None, print, never) as launcher,
    ):
        list(launcher.map([1]))


def test_a_worker_that_vanishes_is_told_with_the_way_out(jobs: Any) -> None:
    with (
        pytest.raises(RuntimeError, match=r"killed by signal 9.*processes=1"),
        Processes(1, 1, jobs.vanish, None, print, never) as launcher,
    ):
        list(launcher.map([1]))
