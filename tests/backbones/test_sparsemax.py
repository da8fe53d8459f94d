"""Both projections against pytorch-tabnet's sorting ones, their gradients and the corners of the simplex."""

import math
from collections.abc import Callable

import pytest
import torch
from jigstack.backbones.sparsemax import entmax15, sparsemax
from pytorch_tabnet.sparsemax import entmax15 as peers_entmax15
from pytorch_tabnet.sparsemax import sparsemax as peers_sparsemax
from torch import Tensor

Projection = Callable[[Tensor], Tensor]
BOTH = pytest.mark.parametrize("project", [sparsemax, entmax15])
TWINS = pytest.mark.parametrize(
    ("project", "peers"),
    [(sparsemax, peers_sparsemax), (entmax15, peers_entmax15)],
    ids=["sparsemax", "entmax15"],
)


@pytest.fixture(params=["looking", "as a compiler sees it"], autouse=True)
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch):
    """Every test holds for both ways, the loop that looks when it is done and the fixed number of rounds."""
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: request.param != "looking")


@TWINS
@pytest.mark.parametrize("columns", [1, 2, 8, 54, 500])
@pytest.mark.parametrize("scale", [0.01, 1.0, 30.0])
def test_values_and_gradients_are_those_of_pytorch_tabnet(project, peers, columns: int, scale: float):
    generator = torch.Generator().manual_seed(columns)
    z = (torch.randn(300, columns, generator=generator, dtype=torch.float64) * scale).requires_grad_()
    received = torch.randn(300, columns, generator=generator, dtype=torch.float64)
    ours = project(z)
    theirs = peers(z.clone(), -1)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-12)
    (ours_back,) = torch.autograd.grad(ours, z, received)
    # pytorch-tabnet squeezes every dimension of size 1, so its gradient of one column alone is of another shape.
    if columns > 1:
        (theirs_back,) = torch.autograd.grad(theirs, z, received)
        torch.testing.assert_close(ours_back, theirs_back, rtol=0, atol=1e-7 if scale < 1 else 1e-10)
    else:
        assert not ours_back.any()


@TWINS
def test_float32_stays_as_near_to_the_exact_value_as_sorting(project, peers):
    z = torch.randn(1000, 54, generator=torch.Generator().manual_seed(0)) * 2
    exact = peers(z.double(), -1)
    assert (project(z) - exact).abs().max() <= max(2e-7, 2 * (peers(z.clone(), -1) - exact).abs().max())


@BOTH
def test_the_gradient_is_that_of_finite_differences(project: Projection):
    z = torch.randn(6, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(3)).requires_grad_()
    assert torch.autograd.gradcheck(project, z)


@BOTH
def test_each_row_is_a_distribution_for_any_leading_dimensions(project: Projection):
    z = torch.randn(2, 3, 7, generator=torch.Generator().manual_seed(1)) * 3
    p = project(z)
    assert p.shape == z.shape and bool((p >= 0).all())
    torch.testing.assert_close(p.sum(-1), torch.ones(2, 3))
    torch.testing.assert_close(p[1, 2], project(z[1, 2]))


@BOTH
def test_ties_share_and_one_column_takes_all(project: Projection):
    torch.testing.assert_close(project(torch.full((2, 8), 3.0)), torch.full((2, 8), 0.125))
    torch.testing.assert_close(project(torch.tensor([5.0, 5.0, -9.0])), torch.tensor([0.5, 0.5, 0.0]))
    assert project(torch.tensor([[-7.0], [0.0]])).tolist() == [[1.0], [1.0]]


@BOTH
@pytest.mark.parametrize("columns", [2000, 10_000])
def test_many_nearly_even_cells_still_sum_to_1(project: Projection, columns: int):
    z = 1e-6 * torch.randn(8, columns, generator=torch.Generator().manual_seed(5))
    torch.testing.assert_close(project(z).sum(-1), torch.ones(8), rtol=0, atol=1e-5)


@BOTH
def test_minus_infinity_never_gets_a_share(project: Projection):
    p = project(torch.tensor([[-math.inf, 0.0, 0.0], [-math.inf, -math.inf, -50.0]]))
    assert bool((p[:, 0] == 0).all())
    torch.testing.assert_close(p, torch.tensor([[0.0, 0.5, 0.5], [0.0, 0.0, 1.0]]))


def test_a_chain_that_loses_one_cell_a_round_ends_at_the_exact_support():
    """The worst case of Newton's method: the threshold of all cells lies between the last two, and so on up."""
    z = [0.0, 0.0, -0.5 - 1e-12]
    while z[-1] > -1:
        cells, total = len(z), sum(z)
        tau = (total - 1) / cells
        below = z[-1] - (tau - z[-1]) / 2
        z.append((cells + 1) * below + 1 - total)
    chain = torch.tensor([z[:-1]], dtype=torch.float64)
    assert chain.shape[1] > 10
    torch.testing.assert_close(sparsemax(chain), peers_sparsemax(chain.clone(), -1), rtol=0, atol=1e-15)
    assert int((sparsemax(chain) > 0).sum()) == 2


@BOTH
def test_looking_rarely_as_on_a_gpu_gives_the_same(project: Projection, monkeypatch: pytest.MonkeyPatch):
    z = torch.randn(200, 54, generator=torch.Generator().manual_seed(4), dtype=torch.float64) * 2
    often = project(z)
    monkeypatch.setattr("jigstack.backbones.sparsemax._ROUNDS_PER_LOOK", {})
    torch.testing.assert_close(project(z), often, rtol=0, atol=1e-14)


@BOTH
def test_nan_ends_and_is_seen(project: Projection):
    p = project(torch.tensor([[math.nan, 1.0], [0.0, 0.0]]))
    assert bool(p[0].isnan().any()) and bool((p[1] - 0.5).abs().max() < 1e-6)


@BOTH
def test_half_precision_is_computed_in_float32(project: Projection):
    z = torch.randn(40, 20, generator=torch.Generator().manual_seed(2)).bfloat16()
    p = project(z)
    assert p.dtype is torch.bfloat16
    assert torch.equal(p, project(z.float()).bfloat16())


@BOTH
def test_the_input_is_left_alone(project: Projection):
    z = torch.tensor([[1.0, 2.0]])
    project(z)
    assert z.tolist() == [[1.0, 2.0]]


@BOTH
def test_no_rows_give_no_rows(project: Projection):
    assert project(torch.zeros(0, 3)).shape == (0, 3)


@BOTH
def test_rows_without_cells_are_refused(project: Projection):
    with pytest.raises(
        ValueError, match=r"z: expected \(\.\.\., D\) with D of at least 1, received \(3, 0\)"
    ):
        project(torch.zeros(3, 0))
