"""What a run says, on a terminal and in a file."""

import io
from dataclasses import replace

import pytest
from jigstack.pipeline.console import Console, duration
from jigstack.training.fit import Record

RECORD = Record(
    "epoch", 2, 10, 20, 100, {"loss": 0.51239, "tile_accuracy": 0.25}, 1e-3, 30.0, 161.4, 0.021, 190.0
)


def test_a_compiled_first_step_is_told_with_its_epoch():
    stream = io.StringIO()
    Console(stream=stream).epoch("pretrain/jig", replace(RECORD, compile_seconds=41.3))
    assert stream.getvalue().endswith(" · 3:10 min left · compiled in 41 s\n")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_the_progress_line_says_all_that_matters():
    stream = io.StringIO()
    Console(stream=stream).epoch("finetune/era/fold1", RECORD)
    expected = "epoch 2/10 · loss 0.5124 · tile accuracy 0.25 · 161 images/s · loader 2% · 3:10 min left"
    assert stream.getvalue() == f"finetune/era/fold1 · {expected}\n"


def test_a_training_on_a_table_counts_rows():
    stream = io.StringIO()
    Console(stream=stream).epoch("pretrain/mask", RECORD, "rows")
    assert " · 161 rows/s · " in stream.getvalue()


def test_a_terminal_gets_one_line_rewritten_and_lines_that_stay():
    stream = Terminal()
    console = Console(stream=stream)
    console.epoch("stage", RECORD)
    console.say("done")
    text = stream.getvalue()
    assert text.startswith("\r\033[2Kstage · epoch 2/10") and text.endswith("left\ndone\n")


def test_a_file_gets_counts_only_when_they_are_complete():
    stream = io.StringIO()
    console = Console(stream=stream)
    console.counting("decode images", 10, 1200)
    console.counting("decode images", 1200, 1200)
    assert stream.getvalue() == "decode images · 1,200 of 1,200\n"


def test_a_count_tells_the_time_left_from_its_second_call_on(monkeypatch: pytest.MonkeyPatch):
    seconds = iter(range(0, 1000, 10))
    monkeypatch.setattr("jigstack.pipeline.console.time.monotonic", lambda: float(next(seconds)))
    stream = Terminal()
    console = Console(stream=stream)
    console.counting("fits", 0, 4)
    console.counting("fits", 1, 4)  # after 30 s: each look at the clock takes ten
    assert "fits · 1 of 4 · 1:30 min left" in stream.getvalue() and stream.getvalue().count("left") == 1


def test_quiet_says_only_what_was_asked_for():
    stream = io.StringIO()
    console = Console(quiet=True, stream=stream)
    console.say("chatter")
    console.epoch("stage", RECORD)
    console.say("result", always=True)
    assert stream.getvalue() == "result\n"


@pytest.mark.parametrize(
    ("seconds", "text"), [(3.4, "3 s"), (59.7, "60 s"), (61, "1:01 min"), (3661, "1:01 h")]
)
def test_durations_read_easily(seconds: float, text: str):
    assert duration(seconds) == text
