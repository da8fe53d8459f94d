"""Which weights of a network are not numbers."""

import math

import torch
from jigstack.backbones import not_finite
from torch import nn


def test_parameters_and_running_statistics_are_named_and_other_buffers_are_not():
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Identity())
    network.register_buffer("mask", torch.tensor([-math.inf, 0.0]))  # as of attention
    assert not_finite(network) == []
    with torch.no_grad():
        network[0].weight[1, 0, 2, 2] = math.nan  # pyright: ignore[reportIndexIssue]
        network[1].running_var[0] = math.inf  # pyright: ignore[reportIndexIssue]
    assert not_finite(network) == ["0.weight", "1.running_var"]
    assert not_finite(network, {"0.bias": torch.zeros(2)}) == []


def test_a_network_without_weights_has_none():
    assert not_finite(nn.Identity()) == []
