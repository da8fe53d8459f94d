"""The MLP, against torch's own modules."""

import torch
from jigstack.backbones.mlp import Mlp
from jigstack.backbones.table_input import TableInput
from jigstack.datasets.table_column import TableColumn
from torch import nn

COLUMNS = [TableColumn("a"), TableColumn("b"), TableColumn("c")]


def test_it_is_torch_s_layers_one_after_the_other():
    torch.manual_seed(0)
    network = Mlp(TableInput(COLUMNS), width=5, depth=3, dropout=0.5)
    twin = nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 5), nn.ReLU(), nn.Linear(5, 5), nn.ReLU())
    weights = [value for key, value in network.state_dict().items() if not key.startswith("input.")]
    twin.load_state_dict(dict(zip(twin.state_dict(), weights, strict=True)))
    x = torch.randn(6, 3)
    assert torch.equal(network.eval()(x), twin(x))


def test_dropout_is_for_training_only():
    torch.manual_seed(0)
    network = Mlp(TableInput(COLUMNS), width=200, depth=1, dropout=0.75)
    x = torch.randn(20, 3)
    kept = (network.eval()(x) > 0).sum()
    assert 0.2 < float((network.train()(x) > 0).sum() / kept) < 0.3
