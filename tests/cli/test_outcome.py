"""How a command ends."""

import json

import pytest
import typer
from jigstack.cli.outcome import told_plainly
from jigstack.configs.errors import UserError
from jigstack.configs.registry import options_class


def ended(error: BaseException, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    with pytest.raises(typer.Exit) as caught, told_plainly(debug=False):
        raise error
    return caught.value.exit_code, capsys.readouterr().err


def test_a_mistake_of_the_user_ends_with_2(capsys: pytest.CaptureFixture[str]):
    assert ended(UserError("lr: expected more"), capsys) == (2, "error: lr: expected more\n")
    assert ended(FileNotFoundError(2, "No such file", "a.csv"), capsys)[0] == 2


def test_a_check_of_our_own_code_ends_with_2(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(typer.Exit) as caught, told_plainly(debug=False):
        options_class("jigsow")
    assert caught.value.exit_code == 2
    assert "did you mean 'jigsaw'" in capsys.readouterr().err


def test_what_a_library_raises_is_ours_and_ends_with_1(capsys: pytest.CaptureFixture[str]):
    """A JSONDecodeError is a ValueError too, but no check of what the user gave."""
    with pytest.raises(typer.Exit) as caught, told_plainly(debug=False):
        json.loads("{")
    assert caught.value.exit_code == 1
    message = capsys.readouterr().err
    assert message.startswith("JSONDecodeError: ")
    assert message.endswith("This should not happen; --debug shows where it did.\n")
    assert ended(RuntimeError("boom"), capsys)[0] == 1


def test_a_diverged_training_says_so_and_ends_with_1(capsys: pytest.CaptureFixture[str]):
    assert ended(FloatingPointError("loss is nan at step 7"), capsys) == (1, "error: loss is nan at step 7\n")


def test_a_full_disk_is_told_without_blame(capsys: pytest.CaptureFixture[str]):
    assert ended(OSError(28, "No space left on device"), capsys) == (
        1,
        "error: [Errno 28] No space left on device\n",
    )


def test_a_closed_pipe_is_left_to_the_command_line():
    with pytest.raises(BrokenPipeError), told_plainly(debug=False):
        raise BrokenPipeError


def test_ctrl_c_ends_with_130(capsys: pytest.CaptureFixture[str]):
    assert ended(KeyboardInterrupt(), capsys) == (
        130,
        "Stopped. The same command goes on from what is finished.\n",
    )
    assert ended(KeyboardInterrupt("saved last.ckpt"), capsys) == (130, "saved last.ckpt\n")


@pytest.mark.parametrize("error", [UserError("x"), RuntimeError("x"), KeyboardInterrupt()])
def test_debug_lets_everything_through(error: BaseException):
    with pytest.raises(type(error)), told_plainly(debug=True):
        raise error


def test_nothing_is_said_when_all_is_well(capsys: pytest.CaptureFixture[str]):
    with told_plainly(debug=False):
        pass
    assert capsys.readouterr() == ("", "")
