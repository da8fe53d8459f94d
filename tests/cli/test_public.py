"""The command as a process: how it ends when it is asked to stop, once or many times."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from PIL import Image

EPOCHS = 2000


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A pretraining that nobody waits for the end of."""
    rng = np.random.default_rng(0)
    for number in range(24):
        path = tmp_path / "photos" / f"{number:02d}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (32, 32, 3), dtype=np.uint8)).save(path)
    ids = [f"{number:02d}" for number in range(24)]
    pd.DataFrame({"id": ids, "y": range(24)}).to_csv(tmp_path / "train.csv", index=False)
    values = {
        "name": "trial",
        "runs": str(tmp_path / "runs"),
        "threads": 1,
        "device": "cpu",
        "data": {"root": str(tmp_path), "id": "id", "train": ["train.csv"], "images": "photos/{id}.png"},
        "folds": {"scheme": "kfold", "n": 2},
        "backbones": {"img": {"name": "test_resnet"}},
        "pretext": [{"name": "jig", "kind": "jigsaw", "size": 32, "epochs": EPOCHS, "batch": 8}],
    }
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(values))
    return path


def started(config: Path, log: Path) -> tuple[subprocess.Popen[bytes], Path]:
    """The command, once it has finished an epoch."""
    with log.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "jigstack", "pretrain", str(config)], stdout=file, stderr=subprocess.STDOUT
        )
    end = time.monotonic() + 120
    try:
        while "epoch" not in log.read_text():
            assert process.poll() is None and time.monotonic() < end, log.read_text()
            time.sleep(0.01)
    except BaseException:
        process.kill()
        raise
    return process, config.parent / "runs/trial/pretext/jig/fold0/last.ckpt"


def steps(checkpoint: Path) -> int:
    return torch.load(checkpoint, weights_only=True)["loop"]["step"]


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("pause", [None, 0.02])
def test_a_command_that_is_asked_to_stop_ends_with_130_and_a_checkpoint(
    config: Path, tmp_path: Path, number: int, pause: float | None
):
    """Once (None), or again and again until the process is gone: in a step, in saving, in Python's own end."""
    before = 0
    for attempt in range(2):
        log = tmp_path / f"{attempt}.log"
        process, checkpoint = started(config, log)
        process.send_signal(number)
        while pause is not None and process.poll() is None:
            time.sleep(pause)
            process.send_signal(number)
        assert process.wait(timeout=60) == 130, log.read_text()
        assert "Traceback" not in log.read_text()
        assert pause is not None or "Stopped. The same command goes on" in log.read_text()
        reached = steps(checkpoint)
        assert reached > before or (
            pause is not None and reached == before > 0
        )  # an impatient one loses nothing
        before = reached


def test_a_command_that_is_asked_to_stop_before_its_work_begins_ends_with_130_too():
    code = (
        "import os, signal, sys, jigstack.cli.commands as commands\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # a shell's background job ignores it
        "commands.app = lambda: os.kill(os.getpid(), int(sys.argv[1]))\n"
        "import jigstack.cli; jigstack.cli.main()"
    )
    for number in (signal.SIGINT, signal.SIGTERM):
        ended = subprocess.run(
            [sys.executable, "-c", code, str(number.value)], check=False, capture_output=True
        )
        assert (ended.returncode, ended.stderr) == (130, b"")
