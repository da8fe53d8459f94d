"""What SimSiam has in common on pictures and on rows."""

import pytest
import torch
from jigstack.pretext.siamese import projection, simsiam_loss
from lightly.loss import NegativeCosineSimilarity


def test_no_gradient_reaches_the_target_branch():
    z = torch.randn(2, 4, 8, requires_grad=True)
    p = torch.randn(2, 4, 8, requires_grad=True)
    simsiam_loss(p, z).backward()
    assert z.grad is None and p.grad is not None and p.grad.abs().sum() > 0


def test_the_loss_of_two_views_is_lightly_s_both_ways():
    p, z = torch.randn(2, 2, 5, 16, generator=torch.Generator().manual_seed(0))
    criterion = NegativeCosineSimilarity()
    torch.testing.assert_close(simsiam_loss(p, z), (criterion(p[0], z[1]) + criterion(p[1], z[0])) / 2)


@pytest.mark.parametrize("layers", [2, 3])
def test_the_projection_has_as_many_layers_as_asked_and_ends_in_a_batch_norm(layers: int):
    head = projection(16, 8, layers)
    assert sum(isinstance(module, torch.nn.Linear) for module in head.modules()) == layers
    outputs = head(torch.randn(64, 16, generator=torch.Generator().manual_seed(0)))
    torch.testing.assert_close(outputs.mean(0), torch.zeros(8), atol=1e-5, rtol=0)
