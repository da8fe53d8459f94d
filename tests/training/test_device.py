"""Device, precision and layout follow one table."""

from typing import Any

import pytest
import torch
from jigstack.configs.schema import Config
from jigstack.training.device import TABLE, Machine, capability, machine_of_tables, resolve_machine
from torch import nn


def config(**changes: Any) -> Config:
    return Config.model_validate(
        {"name": "x", "data": {"id": "id", "train": ["t.csv"], "images": "{id}.png"}, **changes}
    )


def test_auto_is_resolved_from_the_table():
    machine = resolve_machine(config())
    assert machine.kind == ("cuda" if torch.cuda.is_available() else "cpu")
    assert (machine.precision, machine.channels_last) == TABLE[machine.kind, capability(machine.device)]
    assert machine.threads >= 1


def test_what_the_config_says_wins():
    machine = resolve_machine(config(device="cpu", precision="bf16", channels_last=False, threads=1))
    assert machine == Machine("cpu", "bf16", False, 1)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_device_that_is_not_there_is_an_error():
    with pytest.raises(
        ValueError, match=r"device: expected a CUDA device that torch can see, received 'cuda:0'"
    ):
        resolve_machine(config(device="cuda:0"))
    with pytest.raises(
        ValueError, match=r"device: expected a CUDA device that torch can see, received 'cuda'"
    ):
        machine_of_tables("cuda")


def test_tables_are_computed_in_float32_with_the_threads_there_are():
    assert machine_of_tables("cpu") == Machine("cpu", "fp32", False, torch.get_num_threads())
    assert machine_of_tables("auto").device == resolve_machine(config()).device


def test_autocast_touches_forward_only_and_leaves_inputs_alone():
    """With Fabric's own mixed precision the year 1915 would arrive as 1912."""
    seen = []

    class Probe(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(1, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            seen.append(x.clone())
            return self.layer(x)

    machine = Machine("cpu", "bf16", False, 1)
    wrapped = machine.fabric().setup_module(Probe())
    with machine.autocast():
        output = wrapped(torch.tensor([[1915.0]]))
    assert seen[0].dtype == torch.float32 and seen[0].item() == 1915.0 and output.dtype == torch.bfloat16


def test_convolutions_are_laid_out_channels_last():
    module = Machine("cpu", "fp32", True, 1).lay_out(nn.Conv2d(4, 4, 3))
    assert next(module.parameters()).is_contiguous(memory_format=torch.channels_last)
