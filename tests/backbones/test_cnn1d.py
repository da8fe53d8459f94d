"""The 1-D CNN, layer by layer with torch's functions."""

import pytest
import torch
import torch.nn.functional as F
from jigstack.backbones.cnn1d import Cnn1d
from jigstack.backbones.table_input import TableInput
from jigstack.datasets.table_column import TableColumn

COLUMNS = [TableColumn(name) for name in "abcde"]
PLAIN = {"dropout_input": 0.0, "dropout": 0.0, "dropout_output": 0.0}


def test_its_layers_are_those_of_the_competition():
    torch.manual_seed(0)
    network = Cnn1d(TableInput(COLUMNS), hidden=32, channels=4, filters=6, **PLAIN)
    with torch.no_grad():
        for parameter in network.parameters():  # norms and lengths that are not 1
            parameter.add_(torch.randn_like(parameter) * 0.1)
    state = {key: value.clone() for key, value in network.state_dict().items()}

    def norm(z: torch.Tensor, name: str) -> torch.Tensor:
        return F.batch_norm(z, None, None, state[f"{name}.weight"], state[f"{name}.bias"], training=True)

    def weight(name: str) -> torch.Tensor:
        length, direction = (state[f"{name}.parametrizations.weight.original{i}"] for i in range(2))
        return direction / direction.flatten(1).norm(dim=1).view_as(length) * length

    def convolution(z: torch.Tensor, name: str, size: int) -> torch.Tensor:
        kernel = weight(f"{name}.2")
        assert kernel.shape[-1] == size
        return F.conv1d(norm(z, f"{name}.0"), kernel, state[f"{name}.2.bias"], padding=(size - 1) // 2).relu()

    x = torch.randn(7, 5)
    z = F.celu(F.linear(norm(x, "first.0"), weight("first.2"), state["first.2.bias"]), alpha=0.06)
    z = convolution(z.reshape(7, 4, 8), "conv1", 5)
    z = convolution(F.avg_pool1d(z, 2), "conv2", 3)
    z = z * convolution(convolution(z, "conv3", 3), "conv4", 5)
    z = norm(F.max_pool1d(z, 4, stride=2, padding=1).reshape(7, 12), "tail.0")
    torch.testing.assert_close(network.train()(x), z, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("hidden", "channels"), [(16, 4), (20, 4), (28, 4), (64, 4)])
def test_the_width_is_known_for_every_length_of_the_signal(hidden: int, channels: int):
    network = Cnn1d(TableInput(COLUMNS), hidden=hidden, channels=channels, filters=3)
    assert network.eval()(network.example()).shape == (1, network.dim)
