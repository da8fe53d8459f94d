"""Whether weights are numbers: NaN or infinity in one of them spoils everything that is trained from them."""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from ..datasets.findings import name_some


def not_finite(network: nn.Module, weights: Mapping[str, Tensor] | None = None) -> list[str]:
    """The parameters and running statistics of a network that hold NaN or infinity.

    Args:
        network: says which names are weights; other buffers, such as masks, may be infinite.
        weights: values by the keys of its state, such as those of a file; None: its own.

    Example:
        >>> layer = nn.Linear(2, 1)
        >>> not_finite(layer, {"weight": torch.tensor([[1.0, float("nan")]]), "bias": torch.zeros(1)})
        ['weight']
    """
    state = network.state_dict() if weights is None else weights
    names = [name for name, _ in network.named_parameters()]
    names += [name for name, _ in network.named_buffers() if name.endswith(("running_mean", "running_var"))]
    names = [name for name in names if name in state]
    if not names:
        return []
    # One look at the device for all of them.
    whole = torch.stack([state[name].isfinite().all() for name in names]).tolist()
    return [name for name, finite in zip(names, whole, strict=True) if not finite]


def refuse_not_finite(file: Path, network: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Refuse a finished checkpoint whose weights are not numbers.

    Raises:
        ValueError: with the file and the way out.
    """
    if spoilt := not_finite(network, weights):
        names = file.stat().st_nlink
        shared = f" under all of its {names} names (runs share it by hard links)" if names > 1 else ""
        raise ValueError(
            f"{file}: expected finite weights, received NaN or infinity in {name_some(spoilt)}; delete the file"
            f"{shared}, and a run that made it trains it again"
        )
