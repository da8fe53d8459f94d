"""Several backbones as one: their features of the same rows side by side."""

from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from .._version import __version__

KIND = "joined"
"""The kind on a joined network's card."""


class JoinedBackbone(nn.Module):
    """Backbones of pictures and of tables whose features of one row are concatenated.

    The features are not standardised: a head's weights start at 0, and each part learns at its own rate.

    Args:
        parts: name -> backbone, two or more, in the order of their features.

    Attributes:
        modality: `joined`: a batch is a mapping, name -> what that part takes.
        names: of the parts.
        dim: D, the sum of the parts' dims.
        sparsity: 1: `penalised` has weighted the parts' penalties already.

    Raises:
        ValueError: fewer than two parts.
    """

    modality = "joined"
    sparsity = 1.0

    def __init__(self, parts: Mapping[str, Any]) -> None:
        super().__init__()
        if len(parts) < 2:
            raise ValueError(f"parts: expected two or more backbones, received {list(parts)}")
        self.names = tuple(parts)
        # A list: the keys of nn.ModuleDict must not be `type`, `items` and the like, which names may be.
        self.members = nn.ModuleList(parts.values())
        self.dim = sum(part.dim for part in parts.values())

    @property
    def parts(self) -> dict[str, Any]:
        """Name -> backbone."""
        return dict(zip(self.names, self.members, strict=True))

    @property
    def name(self) -> str:
        """What messages call it."""
        return " + ".join(self.names)

    @property
    def core(self) -> nn.Module:
        """The module whose state holds all weights: all of it."""
        return self

    def forward(self, x: Mapping[str, Tensor]) -> Tensor:
        """Turn rows into features.

        Args:
            x: name -> (B, ...), as each part reads it.

        Returns:
            (B, D) float32: the parts' features one after the other.
        """
        features = []
        for name, part in self.parts.items():
            with _precision(part, x[name]):
                features.append(part(x[name]).float())
        return torch.cat(features, dim=1)

    def penalised(self, x: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """The features (B, D), and the sum of the penalties of parts that have one, each times its own weight.

        Args:
            x: as of `forward`.
        """
        features: list[Tensor] = []
        total = torch.zeros((), device=next(iter(x.values())).device)
        for name, part in self.parts.items():
            with _precision(part, x[name]):
                if hasattr(part, "penalised"):
                    own, penalty = part.penalised(x[name])
                    total = total + part.sparsity * penalty.float()
                else:
                    own = part(x[name])
            features.append(own.float())
        return torch.cat(features, dim=1), total

    def stages(self) -> "OrderedDict[str, list[nn.Parameter]]":
        """The parameters of each part's stages: `<part>.<stage>` -> parameters.

        The parts take turns, counted from the top: the last stages are the top ones of all parts, so that a network
        that thaws stage by stage thaws all parts alike, and the longer part goes on alone.
        """
        return _by_turns({name: part.stages() for name, part in self.parts.items()})

    def stage_modules(self) -> "OrderedDict[str, list[nn.Module]]":
        """The modules of each stage, named and ordered as `stages`."""
        return _by_turns({name: part.stage_modules() for name, part in self.parts.items()})

    def card(self) -> dict[str, Any]:
        """Describe the network so that it can be built again.

        Returns:
            Plain values: kind, names, the parts' cards, dim and the version of jigstack.
        """
        return {
            "kind": KIND,
            "names": list(self.names),
            "parts": [part.card() for part in self.parts.values()],
            "dim": self.dim,
            "jigstack": __version__,
        }


@contextmanager
def _precision(part: Any, x: Tensor) -> Iterator[None]:
    """Tables in float32 whatever surrounds them: bfloat16 has three digits, too few for their numbers."""
    if part.modality != "table":
        yield
        return
    with torch.autocast(x.device.type, enabled=False):
        yield


def _by_turns(parts: Mapping[str, Mapping[str, list[Any]]]) -> "OrderedDict[str, list[Any]]":
    ordered: OrderedDict[str, list[Any]] = OrderedDict()
    for below in reversed(range(max(map(len, parts.values())))):
        for name, stages in parts.items():
            if below < len(stages):
                stage = list(stages)[len(stages) - 1 - below]
                ordered[f"{name}.{stage}"] = stages[stage]
    return ordered
