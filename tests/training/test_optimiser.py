"""The schedule and the parameter groups."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from jigstack.training.optimiser import adamw, learning_rate, parameter_groups, set_learning_rate
from torch import nn


@given(st.integers(2, 400), st.floats(0.0, 0.9))
def test_the_rate_rises_to_its_peak_and_falls_towards_zero(steps: int, warmup: float):
    rates = [learning_rate(step, steps, 0.3, warmup) for step in range(steps)]
    top = rates.index(max(rates))
    assert max(rates) <= 0.3 and min(rates) > 0
    assert rates[: top + 1] == sorted(rates[: top + 1]) and rates[top:] == sorted(rates[top:], reverse=True)


def test_the_cosine_is_torchs():
    parameter = nn.Parameter(torch.zeros(1))
    twin = torch.optim.SGD([parameter], lr=0.7)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(twin, T_max=20)
    for step in range(20):
        assert learning_rate(step, 20, 0.7, 0.0) == pytest.approx(twin.param_groups[0]["lr"])
        twin.step()
        schedule.step()


def test_lower_stages_learn_slower_and_vectors_do_not_decay():
    stages = {
        "stem": [nn.Parameter(torch.zeros(2, 2)), nn.Parameter(torch.zeros(2))],
        "layer1": [nn.Parameter(torch.zeros(3, 3))],
    }
    groups = parameter_groups(stages, [nn.Parameter(torch.zeros(1, 3))], weight_decay=0.05, layer_decay=0.5)
    found = {(group["stage"], group["weight_decay"]): group["scale"] for group in groups}
    assert found == {("head", 0.05): 1.0, ("layer1", 0.05): 0.5, ("stem", 0.05): 0.25, ("stem", 0.0): 0.25}
    optimiser = adamw(groups)
    set_learning_rate(optimiser, 0.1)
    assert sorted(group["lr"] for group in optimiser.param_groups) == pytest.approx([0.025, 0.025, 0.05, 0.1])


def test_frozen_parameters_are_not_in_the_optimiser():
    frozen = nn.Parameter(torch.zeros(2, 2), requires_grad=False)
    groups = parameter_groups({"stem": [frozen]}, [nn.Parameter(torch.zeros(1, 3))], weight_decay=0.05)
    assert [group["stage"] for group in groups] == ["head"]
