"""AdamW or SGD over named stages."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Literal

import torch
from torch import nn

Stages = Mapping[str, Iterable[nn.Parameter]]


Optimiser = Literal["adamw", "sgd"]
MOMENTUM = 0.9


def parameter_groups(
    stages: Stages,
    head: Iterable[nn.Parameter],
    *,
    weight_decay: float,
    layer_decay: float = 1.0,
    decay_all: bool = False,
    steady: Collection[nn.Parameter] = (),
) -> list[dict]:
    """Group parameters by stage and by whether they decay.

    The head learns at the full rate and each stage at `layer_decay` times the rate of the one above it. Vectors
    (biases, normalisation) are not decayed, unless `decay_all` says so, as SGD recipes do. Parameters that need no
    gradient are left out, so that neither decay nor momentum moves them.

    Args:
        stages: name -> parameters, from the input to the output.
        head: the parameters above the last stage.
        weight_decay: of what decays.
        layer_decay: factor on the rate from each stage to the one below it.
        decay_all: whether vectors decay too.
        steady: parameters of the head that keep the peak rate whatever the schedule says (SimSiam's predictor).

    Returns:
        Groups of an optimiser with two extra keys: `scale`, the factor on the learning rate, and `steady`.
    """
    kept = {id(parameter) for parameter in steady}
    head = list(head)
    groups = [
        {**group, "steady": True}
        for group in _grouped([("head", [p for p in head if id(p) in kept])], weight_decay, 1.0, decay_all)
    ]
    ordered = [
        *((name, list(parameters)) for name, parameters in stages.items()),
        ("head", [p for p in head if id(p) not in kept]),
    ]
    return groups + _grouped(ordered, weight_decay, layer_decay, decay_all)


def _grouped(
    ordered: Sequence[tuple[str, list[nn.Parameter]]],
    weight_decay: float,
    layer_decay: float,
    decay_all: bool,
) -> list[dict]:
    groups = []
    for depth, (name, parameters) in enumerate(reversed(ordered)):
        trained = [p for p in parameters if p.requires_grad]
        for decays in (True, False):
            members = [p for p in trained if (decay_all or p.ndim > 1) == decays]
            if members:
                decay = weight_decay if decays else 0.0
                groups.append(
                    {"params": members, "weight_decay": decay, "scale": layer_decay**depth, "stage": name}
                )
    return groups


def make_optimiser(kind: Optimiser, groups: list[dict]) -> torch.optim.Optimizer:
    """AdamW, or SGD with momentum .9, with one fused kernel a step; the rate is set by the loop."""
    if kind == "sgd":
        return torch.optim.SGD(groups, lr=0.0, momentum=MOMENTUM, fused=True)
    return torch.optim.AdamW(groups, lr=0.0, fused=True)


def set_learning_rate(optimiser: torch.optim.Optimizer, rate: float, peak: float) -> None:
    """Give every group its share of `rate`, or of `peak` if it is steady."""
    for group in optimiser.param_groups:
        group["lr"] = (peak if group.get("steady") else rate) * group["scale"]
