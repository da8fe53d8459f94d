"""The checks of `make gpu-check`, the CPU against itself: they pass on a right device, and fail on a wrong one."""

import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "gpu_check.py"


@pytest.fixture(scope="module")
def script() -> Any:
    spec = importlib.util.spec_from_file_location("gpu_check", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["gpu_check"] = module  # dataclasses look themselves up
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def scale(script: Any) -> Any:
    return script.Scale("test_resnet", 48, 32, 2)


@pytest.fixture(scope="module")
def store(script: Any, scale: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    return script.make_store(tmp_path_factory.mktemp("gpu"), scale)


def test_all_checks_pass_on_a_device_that_computes_as_the_cpu_does(script: Any, scale: Any, store: Any):
    checks = list(script.all_checks("cpu", store, scale))
    assert [check.name for check in checks if not check.passed] == []
    names = {check.name for check in checks}
    assert {"jigsaw: gradients, fp32", "heads: loss, fp32", "store: rows equal to the map's"} <= names
    assert len([name for name in names if name.startswith("augment: ")]) == 10


def test_a_device_with_other_products_fails(script: Any, scale: Any, monkeypatch: pytest.MonkeyPatch):
    """As if its second step through every convolution were 1 % too large."""
    calls = 0
    whole = script._step

    def step(method: Any, batch: Any, device: str) -> Any:
        nonlocal calls
        calls += 1
        if calls % 2 == 0:
            with torch.no_grad():
                for value in method.backbone.parameters():
                    value.mul_(1.01)
        return whole(method, batch, device)

    monkeypatch.setattr(script, "_step", step)
    failed = {check.name for check in script.check_methods("cpu", scale) if not check.passed}
    assert {"jigsaw: outputs, fp32", "jigsaw: gradients, fp32", "heads: outputs, fp32"} <= failed


def test_a_device_with_other_draws_fails(script: Any, scale: Any, monkeypatch: pytest.MonkeyPatch):
    calls = 0
    whole = script.augment_images

    def augment(images: Tensor, options: Any, size: int, draws: torch.Generator) -> Tensor:
        nonlocal calls
        calls += 1
        return whole(images, options, size, draws.manual_seed(calls))

    monkeypatch.setattr(script, "augment_images", augment)
    passed = [check.name for check in script.check_augmentation("cpu", scale) if check.passed]
    assert passed == ["augment: mixes"]


def test_a_store_with_other_rows_fails(script: Any, store: Any, monkeypatch: pytest.MonkeyPatch):
    class Shifted:
        def gather(self, rows: Any) -> Tensor:
            return store.gather((rows + 1) % len(store))

    monkeypatch.setattr(script, "resident", lambda *_: Shifted())
    assert [check.passed for check in script.check_store("cpu", store)] == [True, False]


def test_throughput_is_that_of_training_and_of_prediction(script: Any, scale: Any, store: Any):
    rates = script.throughput("cpu", store, scale, "fp32", 8)
    assert rates["train"] > 0 and rates["predict"] > 0


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_without_cuda_it_says_so_in_one_sentence_and_ends_with_2():
    ended = subprocess.run([sys.executable, str(SCRIPT)], capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert ended.stdout == (
        "gpu-check: expected a CUDA device that torch can see, received none; nothing was checked.\n"
    )
