"""AdamW over named stages."""

from collections.abc import Iterable, Mapping

import torch
from torch import nn

Stages = Mapping[str, Iterable[nn.Parameter]]


def parameter_groups(
    stages: Stages, head: Iterable[nn.Parameter], *, weight_decay: float, layer_decay: float = 1.0
) -> list[dict]:
    """Group parameters by stage and by whether they decay.

    The head learns at the full rate and each stage at `layer_decay` times the rate of the one above it. Vectors
    (biases, normalisation) are not decayed. Parameters that need no gradient are left out, so that neither decay nor
    momentum moves them.

    Returns:
        AdamW groups with an extra key `scale`, the factor on the learning rate.
    """
    ordered = [*((name, list(parameters)) for name, parameters in stages.items()), ("head", list(head))]
    groups = []
    for depth, (name, parameters) in enumerate(reversed(ordered)):
        trained = [p for p in parameters if p.requires_grad]
        for decays in (True, False):
            members = [p for p in trained if (p.ndim > 1) == decays]
            if members:
                decay = weight_decay if decays else 0.0
                groups.append(
                    {"params": members, "weight_decay": decay, "scale": layer_decay**depth, "stage": name}
                )
    return groups


def adamw(groups: list[dict]) -> torch.optim.AdamW:
    """AdamW with one fused kernel a step; its rate is set by the loop."""
    return torch.optim.AdamW(groups, lr=0.0, fused=True)


def set_learning_rate(optimiser: torch.optim.Optimizer, rate: float) -> None:
    """Give every group its share of `rate`."""
    for group in optimiser.param_groups:
        group["lr"] = rate * group["scale"]
