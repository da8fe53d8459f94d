"""The residual MLP, against the paper's formula written with torch's functions."""

import torch
import torch.nn.functional as F
from jigstack.backbones.resmlp import ResidualMlp
from jigstack.backbones.table_input import TableInput
from jigstack.datasets.table_column import TableColumn

COLUMNS = [TableColumn("a"), TableColumn("b"), TableColumn("c")]


def test_it_is_the_formula_of_the_paper():
    torch.manual_seed(0)
    network = ResidualMlp(TableInput(COLUMNS), width=6, depth=2, expansion=1.5, dropout=0.0)
    state = {key: value.clone() for key, value in network.state_dict().items()}
    x = torch.randn(8, 3)

    def norm(z: torch.Tensor, name: str) -> torch.Tensor:
        return F.batch_norm(z, None, None, state[f"{name}.weight"], state[f"{name}.bias"], training=True)

    def linear(z: torch.Tensor, name: str) -> torch.Tensor:
        return F.linear(z, state[f"{name}.weight"], state[f"{name}.bias"])

    z = linear(x, "first")
    for i in range(2):
        assert state[f"blocks.{i}.1.weight"].shape == (9, 6)
        z = z + linear(linear(norm(z, f"blocks.{i}.0"), f"blocks.{i}.1").relu(), f"blocks.{i}.4")
    torch.testing.assert_close(network.train()(x), norm(z, "tail.0").relu())


def test_blocks_whose_share_is_dropped_leave_the_stream_as_it_was():
    torch.manual_seed(0)
    network = ResidualMlp(TableInput(COLUMNS), width=6, depth=3, residual_dropout=1.0).train()
    x = torch.randn(8, 3)
    torch.testing.assert_close(network(x), network.tail(network.first(x)))
