"""TabNet on a table's columns: what it gives beside features. The contract of all backbones: test_table_backbone."""

import math
from typing import Any

import pytest
import torch
from jigstack.backbones.table_input import TableInput
from jigstack.backbones.tabnet import TabNet
from jigstack.datasets.table_column import MISSING, TableColumn
from torch import Tensor

COLUMNS = (
    TableColumn("age"),
    TableColumn("city", kind="category", levels=tuple("abcdef")),
    TableColumn("pay"),
)


def tabnet(**options: Any) -> TabNet:
    torch.manual_seed(0)
    return TabNet(TableInput(COLUMNS, category_width=4), **{"virtual_batch": 16, **options})


def rows(count: int = 64) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(count, 3, generator=generator)
    x[:, 1] = torch.randint(3, 9, (count,), generator=generator)
    return x


def test_features_and_penalty_are_those_of_its_encoder():
    network, x = tabnet().eval(), rows()
    encoded = network.encode(x)
    features, sparsity = network.penalised(x)
    assert torch.equal(features, network(x)) and torch.equal(features, encoded.features)
    assert torch.equal(sparsity, encoded.sparsity) and sparsity.ndim == 0
    assert features.shape == (64, network.dim) == (64, 8)


def test_attention_has_one_slot_for_each_column_whatever_its_width():
    assert [tuple(mask.shape) for mask in tabnet().encode(rows()).masks] == [(64, 3)] * 3


def test_the_embedding_holds_the_steps_before_their_relu_and_their_sum():
    network, x = tabnet(steps=2).eval(), rows()
    first, second, total = network.embedding(x).split(8, 1)
    torch.testing.assert_close(total, first + second)
    torch.testing.assert_close(first.relu() + second.relu(), network(x))
    assert bool((first < 0).any())


def test_importance_sums_to_1_and_points_at_the_column_that_the_features_follow():
    network = tabnet(gamma=1.0, steps=1, forbid_masked=True).eval()
    masked = torch.tensor([[True, True, False]]).repeat(64, 1)
    assert torch.equal(network.importance(rows(), masked), torch.tensor([[0.0, 0.0, 1.0]]).repeat(64, 1))
    torch.testing.assert_close(network.importance(rows()).sum(1), torch.ones(64))


def test_missing_cells_have_the_prior_of_masked_ones():
    network, x = tabnet(forbid_masked=True).eval(), rows()
    x[0, 0], x[1, 1], x[2, 1], x[3, 2] = math.nan, MISSING, math.nan, math.inf
    for mask in network.encode(x).masks:
        assert [mask[0, 0], mask[1, 1], mask[2, 1], mask[3, 2]] == [0, 0, 0, 0]
    first = network.encode(x).masks[0]
    assert all(bool((first[4:, column] > 0).any()) for column in range(3))


def test_group_scale_gives_each_feature_of_a_category_an_even_part():
    assert tabnet().encoder.scale is None
    scale = tabnet(group_scale="mean").encoder.scale
    assert scale is not None and scale.tolist() == [1.0, 1.0, 0.25, 0.25, 0.25, 0.25]


def test_the_input_can_pass_a_batch_norm_of_its_own_stage():
    network = tabnet(initial_norm=True)
    assert network.encoder.initial_norm in network.stage_modules()["stem"]
    x = rows() * 5
    plain, normed = tabnet(), network
    assert not torch.allclose(plain(x), normed(x))


def test_it_learns_which_column_decides():
    """Steps of Adam on a rule of one number: the loss falls to a fraction, and that column gets the attention."""
    network = tabnet(virtual_batch=128)
    head = torch.nn.Linear(network.dim, 1)
    optimiser = torch.optim.Adam([*network.parameters(), *head.parameters()], 0.02)
    x = rows(512)
    y = x[:, 2].sign()[:, None]
    losses = []
    for _ in range(60):
        features, sparsity = network.penalised(x)
        loss = (head(features) - y).square().mean() + 1e-2 * sparsity
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.3 * losses[0]
    assert network.importance(x).mean(0).argmax() == 2


def test_after_a_few_dozen_batches_evaluation_knows_the_statistics_of_training():
    """With pytorch-tabnet's momentum of .02 a fifth of their start is left."""
    net, x = tabnet(virtual_batch=64), rows(64)
    for _ in range(80):
        net.train()(x)
    training = net(x)
    net.eval()
    assert (net(x) - training).abs().mean() < 0.1 * training.abs().mean()


def test_an_unknown_group_scale_is_refused():
    with pytest.raises(ValueError, match="group_scale: expected none or mean, received 'sum'"):
        tabnet(group_scale="sum")


@pytest.mark.parametrize("mask", ["sparsemax", "entmax"])
@pytest.mark.parametrize(
    "backend", ["aot_eager", pytest.param("inductor", marks=pytest.mark.slow)], ids=["traced", "compiled"]
)
def test_a_compiler_takes_it_whole_and_computes_the_same(mask: str, backend: str):
    """Features, penalty, gradients and running statistics, in float64: in float32 a tie may fall to either side."""
    net, x, hidden = tabnet(mask=mask, initial_norm=True).double(), rows().double(), rows() > 1
    hidden[:, 1] = False
    before = {name: value.clone() for name, value in net.state_dict().items()}
    found = []
    # A step function: what torch compiles in training is the whole forward pass.
    for call in (net.penalised, torch.compile(net.penalised, backend=backend, fullgraph=True, dynamic=False)):
        net.load_state_dict(before)
        net.train()
        features, penalty = call(x, hidden)
        loss = features.square().mean() + penalty
        gradients = torch.autograd.grad(loss, list(net.parameters()), allow_unused=True)
        found.append(
            ({"features": features.detach(), "penalty": penalty.detach()}, gradients, net.state_dict())
        )
        found[-1][2].update({name: value.clone() for name, value in found[-1][2].items()})
    (outputs, gradients, state), (twins, twin_gradients, twin_state) = found
    for name, value in outputs.items():
        torch.testing.assert_close(twins[name], value, rtol=1e-9, atol=1e-11)
    for gradient, twin in zip(gradients, twin_gradients, strict=True):
        assert (gradient is None) == (twin is None)
        if gradient is not None:
            torch.testing.assert_close(twin, gradient, rtol=1e-8, atol=1e-10)
    for name, value in state.items():
        torch.testing.assert_close(twin_state[name], value, rtol=1e-9, atol=1e-11)
