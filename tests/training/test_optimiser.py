"""The parameter groups."""

import pytest
import torch
from jigstack.training.optimiser import make_optimiser, parameter_groups, set_learning_rate
from torch import nn


def test_lower_stages_learn_slower_and_vectors_do_not_decay():
    stages = {
        "stem": [nn.Parameter(torch.zeros(2, 2)), nn.Parameter(torch.zeros(2))],
        "layer1": [nn.Parameter(torch.zeros(3, 3))],
    }
    groups = parameter_groups(stages, [nn.Parameter(torch.zeros(1, 3))], weight_decay=0.05, layer_decay=0.5)
    found = {(group["stage"], group["weight_decay"]): group["scale"] for group in groups}
    assert found == {("head", 0.05): 1.0, ("layer1", 0.05): 0.5, ("stem", 0.05): 0.25, ("stem", 0.0): 0.25}
    optimiser = make_optimiser("adamw", groups)
    set_learning_rate(optimiser, 0.1, peak=1.0)
    assert sorted(group["lr"] for group in optimiser.param_groups) == pytest.approx([0.025, 0.025, 0.05, 0.1])


def test_frozen_parameters_are_not_in_the_optimiser():
    frozen = nn.Parameter(torch.zeros(2, 2), requires_grad=False)
    groups = parameter_groups({"stem": [frozen]}, [nn.Parameter(torch.zeros(1, 3))], weight_decay=0.05)
    assert [group["stage"] for group in groups] == ["head"]


def test_steady_parameters_keep_the_peak_rate_and_the_others_follow_the_schedule():
    predictor, projector = nn.Parameter(torch.zeros(2, 2)), nn.Parameter(torch.zeros(3, 3))
    groups = parameter_groups({}, [predictor, projector], weight_decay=0.1, steady=[predictor])
    optimiser = make_optimiser("sgd", groups)
    set_learning_rate(optimiser, 0.01, peak=0.5)
    rates = {id(p): group["lr"] for group in optimiser.param_groups for p in group["params"]}
    assert rates == {id(predictor): 0.5, id(projector): 0.01}


def test_sgd_steps_as_torch_does_with_momentum_and_decay_of_every_weight():
    start = [torch.randn(3, 2, generator=torch.Generator().manual_seed(0)), torch.ones(3)]
    ours, twins = ([nn.Parameter(value.clone()) for value in start] for _ in range(2))
    groups = parameter_groups({}, ours, weight_decay=0.01, decay_all=True)
    optimiser = make_optimiser("sgd", groups)
    twin = torch.optim.SGD(twins, lr=0.1, momentum=0.9, weight_decay=0.01)
    for _ in range(3):
        set_learning_rate(optimiser, 0.1, peak=0.1)
        for parameters, stepped in ((ours, optimiser), (twins, twin)):
            stepped.zero_grad()
            torch.stack([(p**3).sum() for p in parameters]).sum().backward()
            stepped.step()
    for own, expected in zip(ours, twins, strict=True):
        torch.testing.assert_close(own, expected)
