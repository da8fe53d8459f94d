"""Fold models trained side by side: the same results, and a stop or an error that loses nothing."""

import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import jigstack
import pandas as pd
import pytest
import torch
import yaml
from safetensors.torch import load_file


def heads(path: Path) -> dict[str, dict[str, torch.Tensor]]:
    return {
        file.parent.name: load_file(file)
        for file in sorted(path.glob("transfer/era+kind/*/head.safetensors"))
    }


def assert_same_bits(one: Path, other: Path) -> None:
    first, second = heads(one), heads(other)
    assert first.keys() == second.keys() == {"fold0", "fold1", "fold2"}
    for fold, weights in first.items():
        assert all(torch.equal(value, second[fold][name]) for name, value in weights.items())


def from_scratch(config: dict[str, Any]) -> dict[str, Any]:
    """Without the pretext, which one process trains with all threads."""
    return config | {"pretext": [], "tasks": {n: t | {"init": "scratch"} for n, t in config["tasks"].items()}}


def test_two_processes_with_a_thread_each_give_the_bits_of_one_with_one_thread(
    make_config, tmp_path: Path, capsys: pytest.CaptureFixture
):
    config = from_scratch(make_config())
    alone = jigstack.run(config | {"runs": str(tmp_path / "alone"), "processes": 1, "threads": 1}, quiet=True)
    beside = jigstack.run(config | {"runs": str(tmp_path / "beside"), "processes": 2, "threads": 2})
    assert "2 threads, 2 fold models side by side" in capsys.readouterr().out
    assert_same_bits(alone.path, beside.path)
    name = "predictions/era.parquet"
    pd.testing.assert_frame_equal(pd.read_parquet(alone.path / name), pd.read_parquet(beside.path / name))
    log = (beside.path / "log.jsonl").read_text()
    assert log.count('"kind": "epoch"') == 3 * 2  # of three folds, merged
    assert not list(beside.path.glob("transfer/**/log.jsonl"))


def test_an_error_in_a_worker_reaches_the_user_as_it_is(make_config):
    config = from_scratch(make_config(processes=2, threads=2))
    for task in config["tasks"].values():
        task["lr"] = 1e30
    with pytest.raises(FloatingPointError, match=r"expected a finite number, received .* lower lr"):
        jigstack.finetune(config, quiet=True)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_run_side_by_side_that_is_killed_goes_on_to_the_same_bits(make_config, tmp_path: Path, number: int):
    def config(name: str) -> Path:
        made = make_config(runs=str(tmp_path / name), processes=2, threads=2)
        for task in made["tasks"].values():
            task["epochs"] = 12
        path = tmp_path / f"{name}.yaml"
        path.write_text(yaml.safe_dump(made))
        return path

    whole = jigstack.run(str(config("whole")), quiet=True)
    command = [sys.executable, "-m", "jigstack", "run", str(config("killed"))]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    for line in process.stdout:
        if "finetune" in line and "epoch 2/12" in line:
            process.send_signal(number)
            break
    process.stdout.read()
    assert process.wait() != 0
    killed = tmp_path / "killed" / "trial"
    assert not (killed / "submission.csv").exists()
    time.sleep(2)  # after a SIGKILL the workers end by themselves, with checkpoints
    resumed = subprocess.run(command, capture_output=True, text=True, check=False)
    assert resumed.returncode == 0, resumed.stderr
    assert_same_bits(whole.path, killed)
