"""Ghost batch norm against pytorch-tabnet's loop over chunks, and where that loop crashes."""

import pytest
import torch
from jigstack.backbones.folding import batch_norms
from jigstack.backbones.ghost_norm import GhostBatchNorm1d, parts
from pytorch_tabnet.tab_network import GBN
from torch import Tensor, nn


@pytest.fixture(params=["by hand", "as a compiler sees it"], autouse=True)
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch):
    """Every test holds for both ways, the gradient written by hand and the one that autograd finds."""
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: request.param != "by hand")


def twins(features: int = 5, virtual_batch: int = 128) -> tuple[GhostBatchNorm1d, GBN]:
    """Ours and pytorch-tabnet's with the same random weights and running statistics, in float64."""
    generator = torch.Generator().manual_seed(0)
    ours = GhostBatchNorm1d(features, virtual_batch, momentum=0.03).double()
    theirs = GBN(features, virtual_batch, momentum=0.03).double()
    for norm in (ours, theirs.bn):
        generator.manual_seed(0)
        with torch.no_grad():
            for tensor in (norm.weight, norm.bias, norm.running_mean, norm.running_var):
                assert tensor is not None
                tensor.copy_(torch.rand(features, generator=generator) + 0.5)
    return ours, theirs


def batch(rows: int, features: int = 5) -> Tensor:
    x = torch.randn(rows, features, dtype=torch.float64, generator=torch.Generator().manual_seed(rows))
    return (x * 3 + torch.arange(features)).requires_grad_()


@pytest.mark.parametrize("rows", [1024, 1000, 300, 129, 128, 57, 2])
def test_values_gradients_and_running_statistics_are_those_of_the_loop(rows: int):
    ours, theirs = twins()
    x, received = batch(rows), batch(rows).detach().cos()
    for _ in range(2):
        y, expected = ours(x), theirs(x)
        torch.testing.assert_close(y, expected, rtol=0, atol=1e-12)
        back = torch.autograd.grad(y, (x, ours.weight, ours.bias), received)
        expected_back = torch.autograd.grad(expected, (x, theirs.bn.weight, theirs.bn.bias), received)
        for gradient, expected_gradient in zip(back, expected_back, strict=True):
            torch.testing.assert_close(gradient, expected_gradient, rtol=0, atol=1e-11)
    for name, value in theirs.bn.state_dict().items():
        torch.testing.assert_close(ours.state_dict()[name], value, rtol=0, atol=1e-12)


@pytest.mark.parametrize("rows", [300, 57, 1])
def test_evaluation_is_plain_batch_norm(rows: int):
    ours, theirs = twins()
    x = batch(rows)
    torch.testing.assert_close(ours.eval()(x), theirs.eval()(x), rtol=0, atol=1e-12)


def test_a_last_part_of_one_row_joins_the_part_before():
    """pytorch-tabnet raises here: 13 rows by 4 are 4, 4, 4 and 1."""
    ours, theirs = twins(virtual_batch=4)
    x = batch(13)
    with pytest.raises(ValueError, match="more than 1 value"):
        theirs(x)
    y = ours(x)
    plain = nn.BatchNorm1d(5, momentum=0.03).double()
    plain.load_state_dict(twins()[0].state_dict())
    expected = torch.cat([plain(part) for part in x.split([4, 4, 5])])
    torch.testing.assert_close(y, expected, rtol=0, atol=1e-12)
    for name, value in plain.state_dict().items():
        torch.testing.assert_close(ours.state_dict()[name], value, rtol=0, atol=1e-12)


def test_a_batch_of_one_row_trains_by_the_running_statistics_and_leaves_them():
    ours, _ = twins()
    before = {name: value.clone() for name, value in ours.state_dict().items()}
    x = batch(1)
    y = ours(x)
    y.sum().backward()
    assert torch.equal(y, ours.eval()(x)) and ours.weight.grad is not None
    assert all(torch.equal(value, before[name]) for name, value in ours.state_dict().items())


def test_no_virtual_batch_is_batch_norm_over_all_rows():
    ours, theirs = twins()
    ours.virtual_batch = None
    x = batch(300)
    torch.testing.assert_close(ours(x), theirs.bn(x), rtol=0, atol=1e-12)
    torch.testing.assert_close(ours.running_var, theirs.bn.running_var, rtol=0, atol=1e-12)


def test_the_gradient_is_that_of_finite_differences():
    norm = GhostBatchNorm1d(2, virtual_batch=3).double()
    assert torch.autograd.gradcheck(norm, batch(8, 2))


@pytest.mark.parametrize("virtual_batch", [2, 3, 7])
def test_no_part_has_a_single_row_and_none_is_left_out(virtual_batch: int):
    norm = GhostBatchNorm1d(5, virtual_batch).double()
    for rows in range(2, 40):
        size, count = parts(rows, virtual_batch)
        rest = rows - size * count
        assert size >= 2 and count >= 1 and (rest == 0 or 2 <= rest <= size + 1)
        y = norm(batch(rows)).detach()
        for part in (*y[: size * count].split(size), y[size * count :]):
            assert part.numel() == 0 or part.mean(0).abs().max() < 1e-12


def test_float32_is_exact_far_from_zero():
    """Years: the variance is that of the differences from the mean, not a difference of large squares."""
    x = torch.randn(256, 3, generator=torch.Generator().manual_seed(0)) * 5 + 2000
    norm = GhostBatchNorm1d(3, 128)
    torch.testing.assert_close(norm(x), norm.double()(x.double()).float(), rtol=0, atol=1e-3)


def test_half_precision_comes_out_in_the_dtype_of_the_weights():
    x = torch.randn(8, 3, generator=torch.Generator().manual_seed(0)).bfloat16()
    norm = GhostBatchNorm1d(3, 4)
    assert torch.equal(norm(x), norm(x.float()))


def test_it_is_known_as_a_batch_norm():
    assert batch_norms(nn.Sequential(nn.Linear(2, 3), GhostBatchNorm1d(3))) == ["1"]


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match="virtual_batch: expected 2 rows or more, or none, received 1"):
        GhostBatchNorm1d(3, 1)
    with pytest.raises(ValueError, match=r"input: expected \(B, 3\), received \(4, 2\)"):
        GhostBatchNorm1d(3)(torch.zeros(4, 2))
