"""The first signal raises a flag, the second one ends at once."""

import os
import signal
import threading

import pytest
from jigstack.training.interrupt import stop_signal


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_only_raises_the_flag(number: int):
    before = signal.getsignal(number)
    with stop_signal() as stop:
        assert not stop
        os.kill(os.getpid(), number)
        assert stop
    assert signal.getsignal(number) is before


def test_the_second_signal_ends_at_once():
    with pytest.raises(KeyboardInterrupt), stop_signal():
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)


def test_in_another_thread_the_flag_stays_down():
    seen = []

    def work() -> None:
        with stop_signal() as stop:
            seen.append(bool(stop))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [False]
