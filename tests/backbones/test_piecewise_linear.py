"""Numbers as their place between quantiles, against the paper's formula in a loop over the columns."""

import pytest
import torch
from jigstack.backbones.piecewise_linear import PiecewiseLinear

EDGES = [(-1.0, 0.0, 0.5, 2.0), (-2.0, 2.0), (), (0.25,), (-0.3, -0.1, 0.1)]


def paper_code(x: float, edges: tuple[float, ...]) -> list[float]:
    """Equation 1 of Gorishniy et al. 2022, the outer bins running on for one more width."""
    if len(edges) < 2:
        return [x]
    last = len(edges) - 2
    code = []
    for t in range(last + 1):
        share = (x - edges[t]) / (edges[t + 1] - edges[t])
        if x < edges[t]:
            code.append(max(share, -1.0) if t == 0 else 0.0)
        elif x >= edges[t + 1]:
            code.append(min(share, 2.0) if t == last else 1.0)
        else:
            code.append(share)
    return code


def encode(module: PiecewiseLinear, x: torch.Tensor) -> torch.Tensor:
    return module(x, torch.zeros_like(x, dtype=torch.bool), torch.zeros_like(module.bias))


def test_codes_and_layers_are_the_paper_s_column_by_column():
    torch.manual_seed(0)
    module = PiecewiseLinear(EDGES, width=4).double()
    x = torch.randn(50, len(EDGES), dtype=torch.float64) * 2
    received = encode(module, x)
    for j, edges in enumerate(EDGES):
        code = torch.tensor([paper_code(float(value), edges) for value in x[:, j]], dtype=torch.float64)
        expected = torch.relu(code @ module.weight[j, : code.shape[1]] + module.bias[j])
        torch.testing.assert_close(received[:, j], expected, rtol=1e-6, atol=1e-6)  # edges are float32


def test_rows_of_bins_that_a_column_lacks_get_no_gradient():
    module = PiecewiseLinear(EDGES, width=2)
    encode(module, torch.randn(20, len(EDGES))).sum().backward()
    assert module.weight.grad is not None
    for j, edges in enumerate(EDGES):
        bins = max(len(edges) - 1, 1)
        assert (module.weight.grad[j, bins:] == 0).all()
        assert (module.weight.grad[j, :bins] != 0).any()


def test_an_outlier_beyond_a_narrow_last_bin_makes_no_huge_feature():
    module = PiecewiseLinear([(-1.0, 1.0, 1.000001)], width=4)
    assert encode(module, torch.tensor([[50.0]])).abs().max() < 10


def test_gradients_reach_the_numbers():
    """As attributions want them; the clamp works in place."""
    module = PiecewiseLinear(EDGES[:2], width=3).double()
    x = torch.tensor([[0.2, -1.5], [-0.7, 0.3]], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: encode(module, x), (x,))


def test_an_absent_cell_is_the_blank_as_torch_s_where_has_it_with_its_gradients():
    torch.manual_seed(0)
    module = PiecewiseLinear(EDGES, width=3).double()
    x = torch.randn(30, len(EDGES), dtype=torch.float64)
    absent = torch.rand(x.shape) < 0.4
    blank = torch.randn(len(EDGES), 3, dtype=torch.float64, requires_grad=True)
    upstream = torch.randn(*x.shape, 3, dtype=torch.float64)
    learned = [module.weight, module.bias, blank]
    expected = torch.where(absent.unsqueeze(-1), blank, encode(module, x))
    gradients = torch.autograd.grad((expected * upstream).sum(), learned)
    received = module(torch.where(absent, torch.nan, x), absent, blank)
    torch.testing.assert_close(received, expected)
    torch.testing.assert_close(torch.autograd.grad((received * upstream).sum(), learned), gradients)


@pytest.mark.parametrize("edges", [(0.0, 0.0), (1.0, 0.0, 2.0)])
def test_edges_that_do_not_rise_are_refused(edges: tuple[float, ...]):
    with pytest.raises(ValueError, match="edges: expected strictly rising numbers, received"):
        PiecewiseLinear([edges], width=2)
