"""Batch norm that also takes one row."""

import pytest
import torch
from jigstack.backbones.row_batch_norm import RowBatchNorm
from torch import nn


@pytest.mark.parametrize("shape", [(7, 3), (7, 3, 4), (1, 3, 4)])
def test_larger_batches_are_torch_s_in_values_gradients_and_statistics(shape: tuple[int, ...]):
    torch.manual_seed(0)
    ours, theirs = RowBatchNorm(3), nn.BatchNorm1d(3)
    x = torch.randn(shape)
    (ours(x) * x).sum().backward()
    (theirs(x) * x).sum().backward()
    assert torch.equal(ours(x), theirs(x))
    for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert mine.grad is not None
        assert other.grad is not None
        assert torch.equal(mine.grad, other.grad)
    assert all(torch.equal(value, theirs.state_dict()[key]) for key, value in ours.state_dict().items())
    assert torch.equal(ours.eval()(x), theirs.eval()(x))


@pytest.mark.parametrize("shape", [(1, 3), (1, 3, 1)])
def test_one_row_is_normalised_as_in_evaluation_and_leaves_the_statistics(shape: tuple[int, ...]):
    torch.manual_seed(0)
    norm = RowBatchNorm(3)
    norm(torch.randn(50, 3) * 2 + 1)
    before = {key: value.clone() for key, value in norm.state_dict().items()}
    x = torch.randn(shape)
    with pytest.raises(ValueError, match="more than 1 value"):
        nn.BatchNorm1d(3)(x)
    received = norm(x)
    received.sum().backward()
    assert norm.weight.grad is not None
    assert all(torch.equal(value, before[key]) for key, value in norm.state_dict().items())
    assert torch.equal(received, norm.eval()(x))
