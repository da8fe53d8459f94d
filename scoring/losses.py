"""Losses of the heads, one value a row, in float32."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

RowLoss = Callable[[Tensor, Tensor], Tensor]
SHORT = 1e-3  # with torch's own 1e-8 a vector of length 0 gets a gradient of 1e8


def squared_error(outputs: Tensor, targets: Tensor) -> Tensor:
    """Mean over columns of the squared difference.

    Args:
        outputs: (B, K) standardised values.
        targets: (B, K) in the same space.

    Returns:
        (B,) losses.
    """
    return (outputs - targets).square().mean(dim=1)


def cross_entropy(outputs: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy of soft labels.

    Args:
        outputs: (B, C) logits.
        targets: (B, C) probabilities; one-hot rows give the usual cross-entropy.

    Returns:
        (B,) losses in nats.
    """
    return -(targets * functional.log_softmax(outputs, dim=1)).sum(dim=1)


def cosine_distance(outputs: Tensor, targets: Tensor) -> Tensor:
    """One minus the cosine of the angle between two vectors.

    Args:
        outputs: (B, D) vectors of any length; one of length 0 is at distance 1. The gradient grows as the length
            falls, but not below `SHORT`.
        targets: (B, D).

    Returns:
        (B,) losses in 0..2.
    """
    return 1.0 - functional.cosine_similarity(outputs, targets, dim=1, eps=SHORT)


LOSSES: dict[str, RowLoss] = {
    "squared_error": squared_error,
    "cross_entropy": cross_entropy,
    "cosine_distance": cosine_distance,
}


def masked_mean(losses: Tensor, present: Tensor) -> Tensor:
    """Mean over the labelled rows of a batch; 0 with a gradient of 0 where no row is labelled.

    Args:
        losses: (B,) values; those of unlabelled rows must be finite but do not count.
        present: (B,) True where the row has this label.
    """
    weights = present.to(losses.dtype)
    return (losses * weights).sum() / torch.clamp(weights.sum(), min=1.0)
