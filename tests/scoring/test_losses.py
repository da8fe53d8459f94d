"""Row losses against torch's own."""

import numpy as np
import torch
from jigstack.scoring.losses import (
    column_correlation_loss,
    cosine_distance,
    cross_entropy,
    masked_mean,
    mean_loss,
    row_correlation_loss,
    squared_error,
)
from jigstack.scoring.pearson import SHORT, column_correlations, mean_correlation, row_correlations
from torch.nn import functional

OUTPUTS = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))


def test_squared_error_is_torchs_by_row():
    targets = torch.zeros(6, 4)
    torch.testing.assert_close(squared_error(OUTPUTS, targets).mean(), functional.mse_loss(OUTPUTS, targets))


def test_cross_entropy_is_torchs_for_hard_and_soft_labels():
    labels = torch.tensor([0, 1, 2, 3, 1, 1])
    hard = functional.one_hot(labels, 4).float()
    torch.testing.assert_close(
        cross_entropy(OUTPUTS, hard), functional.cross_entropy(OUTPUTS, labels, reduction="none")
    )
    soft = torch.softmax(torch.arange(24.0).reshape(6, 4), dim=1)
    torch.testing.assert_close(cross_entropy(OUTPUTS, soft).mean(), functional.cross_entropy(OUTPUTS, soft))


def test_cosine_distance_is_torchs_and_does_not_see_the_length():
    targets = torch.randn(6, 4, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(
        cosine_distance(OUTPUTS, targets),
        functional.cosine_embedding_loss(OUTPUTS, targets, torch.ones(6), reduction="none"),
    )
    torch.testing.assert_close(cosine_distance(9 * OUTPUTS, targets), cosine_distance(OUTPUTS, targets))


def test_a_vector_of_length_zero_has_a_bounded_gradient():
    outputs = torch.zeros(2, 3, requires_grad=True)
    losses = cosine_distance(outputs, torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, 0.0]]))
    losses.sum().backward()
    assert losses.tolist() == [1.0, 1.0]
    assert outputs.grad is not None and outputs.grad.isfinite().all() and outputs.grad.norm() < 2e3


def test_unlabelled_rows_count_for_nothing():
    losses = torch.tensor([1.0, 100.0, 3.0])
    assert masked_mean(losses, torch.tensor([True, False, True])) == 2.0


def test_a_batch_without_labels_costs_nothing_and_has_a_gradient_of_zero():
    losses = torch.ones(3, requires_grad=True)
    mean = masked_mean(losses, torch.zeros(3, dtype=torch.bool))
    mean.backward()
    assert mean == 0 and losses.grad is not None and torch.equal(losses.grad, torch.zeros(3))


def gaps() -> torch.Tensor:
    targets = torch.randn(6, 4, generator=torch.Generator().manual_seed(1))
    targets[0, 1] = targets[2, 3] = torch.nan
    targets[4] = 2.5
    return targets


def test_correlation_losses_are_the_metrics_with_gaps_and_constant_rows():
    targets = gaps()
    rows, columns = (
        1 - mean_correlation(of(targets.numpy(), OUTPUTS.numpy()))
        for of in (row_correlations, column_correlations)
    )
    assert np.isclose(float(row_correlation_loss(OUTPUTS, targets)), rows, atol=1e-6)
    assert np.isclose(float(column_correlation_loss(OUTPUTS, targets)), columns, atol=1e-6)


def test_the_gradient_of_correlation_losses_is_that_of_finite_differences():
    outputs = OUTPUTS.double().requires_grad_()
    for loss in (row_correlation_loss, column_correlation_loss):
        assert torch.autograd.gradcheck(lambda given, loss=loss: loss(given, gaps().double()), outputs)


def test_a_constant_row_of_outputs_has_a_bounded_gradient_that_leads_out_of_it():
    outputs = torch.full((1, 4), 7.0, requires_grad=True)
    targets = torch.tensor([[1.0, 2.0, 3.0, 5.0]])
    loss = row_correlation_loss(outputs, targets)
    loss.backward()
    assert loss == 1.0
    assert outputs.grad is not None and outputs.grad.norm() <= 1.001 / SHORT
    assert row_correlation_loss(outputs - outputs.grad, targets) < 1e-5


def test_a_batch_without_correlations_costs_nothing_and_has_a_gradient_of_zero():
    for targets in (torch.full((3, 2), torch.nan), torch.ones(3, 2)):
        outputs = torch.randn(3, 2, requires_grad=True)
        loss = row_correlation_loss(outputs, targets)
        loss.backward()
        assert loss == 0 and outputs.grad is not None and torch.equal(outputs.grad, torch.zeros(3, 2))


def test_the_mean_loss_leaves_out_missing_cells_of_every_loss():
    outputs, targets = OUTPUTS.clone().requires_grad_(), gaps()
    targets[5] = torch.nan
    known = ~targets.isnan()
    squares = torch.where(known, OUTPUTS - targets, 0.0).square().mean(dim=1)[:5].mean()
    torch.testing.assert_close(mean_loss("squared_error", outputs, targets), squares)
    for name in ("squared_error", "row_correlation", "column_correlation"):
        (gradient,) = torch.autograd.grad(mean_loss(name, outputs, targets), outputs)
        assert gradient.isfinite().all() and (gradient[~known] == 0).all() and gradient[0, 0] != 0
