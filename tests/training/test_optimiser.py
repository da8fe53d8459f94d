"""The parameter groups."""

import pytest
import torch
from jigstack.training.optimiser import adamw, parameter_groups, set_learning_rate
from torch import nn


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
