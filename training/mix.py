"""Mixup and cutmix: blends of two samples and of their targets."""

import torch
from scipy.special import betaincinv
from torch import Tensor

from ..configs.heads import Mix
from ..configs.schema import Task
from .draws import uniform

LONG_TRAINING = 100
"""Epochs from which training from scratch is mixed by default."""


def resolve_mix(task: Task) -> Mix | None:
    """What `augment.mix` of a task means: `auto` is on for long training from scratch, which overfits most."""
    if task.augment.mix != "auto":
        return task.augment.mix
    return Mix() if task.init == "scratch" and task.epochs >= LONG_TRAINING else None


def mix(
    images: Tensor, targets: dict[str, Tensor], options: Mix, generator: torch.Generator
) -> tuple[Tensor, dict[str, Tensor]]:
    """Blend every sample of a batch with another one of it, or leave the batch as it is.

    Mixup (Zhang et al. 2018) adds the pictures, cutmix (Yun et al. 2019) pastes a rectangle of one on the other.
    Targets are mixed in the space of the loss, by the shares of the two pictures: classes become soft labels, numbers,
    dates and vectors lie between. An unlabelled partner makes the blend unlabelled, unless its share is 0.

    Args:
        images: (B, C, H, W) float.
        targets: {task: (B, D)}, NaN where unlabelled.
        options: chances and shapes.
        generator: every draw comes from it, the same number whatever is drawn.

    Returns:
        images of the same shape, and targets.
    """
    count, (height, width) = len(images), images.shape[-2:]
    draws = uniform(generator, (2,))  # whether this batch is mixed, and how
    partner = torch.randperm(count, generator=generator, device=generator.device)
    quantiles, corners = uniform(generator, (count,)), uniform(generator, (2, count))
    if draws[0] >= options.p:
        return images, targets
    pasted = draws[1] < 0.5 if options.mixup > 0 and options.cutmix > 0 else options.cutmix > 0
    share = beta_quantile(quantiles, options.cutmix if pasted else options.mixup)  # (B,) of the sample itself
    partner = partner.to(images.device)
    if pasted:
        inside, share = rectangles(share, corners, height, width)
        mixed = torch.where(inside.to(images.device)[:, None], images[partner], images)
    else:
        mixed = torch.lerp(images[partner], images, share.to(images).view(-1, 1, 1, 1))
    share = share.to(images)  # to the device and to its precision at once: not every device has doubles
    return mixed, {name: blend(values, values[partner], share) for name, values in targets.items()}


def blend(first: Tensor, second: Tensor, share: Tensor) -> Tensor:
    """`share` of one target and the rest of another.

    Args:
        first, second: (B, D); NaN where unlabelled.
        share: (B,) in 0..1, of `first`.

    Returns:
        (B, D); NaN where a target of a share above 0 is unlabelled.
    """
    own = share.to(first.dtype)[:, None]
    parts = [
        torch.where(part == 0, torch.zeros_like(values), part * values)
        for part, values in ((own, first), (1 - own, second))
    ]
    return parts[0] + parts[1]


def beta_quantile(quantiles: Tensor, alpha: float) -> Tensor:
    """Quantiles of Beta(α, α): uniform draws become draws of it.

    Args:
        quantiles: in 0..1.
        alpha: above 0.
    """
    return torch.from_numpy(betaincinv(alpha, alpha, quantiles.cpu().numpy())).to(quantiles)


def rectangles(share: Tensor, corners: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
    """Rectangles of about 1 - share of the picture, cut off at its border.

    Args:
        share: (B,) wanted share of what lies outside.
        corners: (2, B) in 0..1: where the centres lie, down and right.
        height, width: H and W, pixels.

    Returns:
        inside (B, H, W) bool, and the true share (B,) of the pixels outside.
    """
    side = (1 - share).sqrt()
    spans = []
    for length, centre in ((height, corners[0]), (width, corners[1])):
        middle, half = (centre * length).floor(), (side * length).floor() / 2
        start, stop = (middle - half).clamp(0, length).floor(), (middle + half).clamp(0, length).floor()
        line = torch.arange(length, device=share.device)
        spans.append((line >= start[:, None]) & (line < stop[:, None]))  # (B, length)
    inside = spans[0][:, :, None] & spans[1][:, None, :]
    return inside, 1 - inside.double().mean((1, 2))
