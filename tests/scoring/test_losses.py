"""Row losses against torch's own."""

import torch
from jigstack.scoring.losses import cosine_distance, cross_entropy, masked_mean, squared_error
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
