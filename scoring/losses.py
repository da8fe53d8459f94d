"""Losses of the heads, in float32: one value a row, or of a whole batch for correlations."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from .pearson import SHORT

RowLoss = Callable[[Tensor, Tensor], Tensor]
BatchLoss = Callable[[Tensor, Tensor], Tensor]


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


def row_correlation_loss(outputs: Tensor, targets: Tensor) -> Tensor:
    """One minus the mean over rows of the Pearson correlation within a row, as `scoring.pearson` defines it.

    A centred row of outputs shorter than `SHORT` is divided by that: constant rows have the correlation 0 and a bounded
    gradient that leads out of it.

    Args:
        outputs: (B, D), D > 1.
        targets: (B, D) in any units; NaN where missing.

    Returns:
        () loss in 0..2; 0 with a gradient of 0 where no row of the targets has a correlation.
    """
    return _correlation_loss(outputs, targets)


def column_correlation_loss(outputs: Tensor, targets: Tensor) -> Tensor:
    """One minus the mean over columns of the correlation over the batch's rows; else as `row_correlation_loss`."""
    return _correlation_loss(outputs.T, targets.T)


def _correlation_loss(outputs: Tensor, targets: Tensor) -> Tensor:
    present = ~targets.isnan()
    known = torch.where(present, targets, 0.0)
    truth, guess = _centred(known, present), _centred(outputs, present)
    norm, length = (torch.linalg.vector_norm(values, dim=1) for values in (truth, guess))
    rounding = 16 * torch.finfo(truth.dtype).eps
    defined = norm > rounding * torch.linalg.vector_norm(known, dim=1)
    dots = (truth * guess).sum(dim=1)
    correlations = dots / (torch.where(defined, norm, 1.0) * length.clamp(min=SHORT))
    return masked_mean(1.0 - correlations, defined)


def _centred(values: Tensor, present: Tensor) -> Tensor:
    mean = torch.where(present, values, 0.0).sum(dim=1, keepdim=True) / present.sum(
        dim=1, keepdim=True
    ).clamp(min=1)
    return torch.where(present, values - mean, 0.0)


LOSSES: dict[str, RowLoss] = {
    "squared_error": squared_error,
    "cross_entropy": cross_entropy,
    "cosine_distance": cosine_distance,
}
"""name → loss of each row."""
BATCH_LOSSES: dict[str, BatchLoss] = {
    "row_correlation": row_correlation_loss,
    "column_correlation": column_correlation_loss,
}
"""name → loss of a batch; these know what to do with missing cells, and which rows or columns count."""


def mean_loss(name: str, outputs: Tensor, targets: Tensor) -> Tensor:
    """The loss of a batch: the mean over what is labelled.

    Args:
        name: in `LOSSES` or `BATCH_LOSSES`.
        outputs: (B, D) raw outputs, float32.
        targets: (B, D) in the space of the loss; NaN where missing.

    Returns:
        () loss; 0 with a gradient of 0 where nothing is labelled.
    """
    if name in BATCH_LOSSES:
        return BATCH_LOSSES[name](outputs, targets)
    missing = targets.isnan()
    filled = torch.where(
        missing, outputs.detach(), targets
    )  # a missing column costs nothing and moves nothing
    return masked_mean(LOSSES[name](outputs, filled), ~missing.all(dim=1))


def masked_mean(losses: Tensor, present: Tensor) -> Tensor:
    """Mean over the labelled rows of a batch; 0 with a gradient of 0 where no row is labelled.

    Args:
        losses: (B,) values; those of unlabelled rows must be finite but do not count.
        present: (B,) True where the row has this label.
    """
    weights = present.to(losses.dtype)
    return (losses * weights).sum() / torch.clamp(weights.sum(), min=1.0)
