"""What a pretext that predicts cells has beside its backbone, as a file of a checkpoint."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from ..backbones import refuse_not_finite
from ..backbones.checkpoint import CARD, misfits
from ..configs.registry import implementation
from ..datasets.files import atomic, content_digests

PARTS = "pretext.safetensors"
"""The file's name, beside those of the backbone."""
_BACKBONE = "backbone."


def keeps_parts(kind: str) -> bool:
    """Whether checkpoints of a pretext hold its own parts: where they are good for more than pretraining."""
    return getattr(implementation(kind), "keeps_parts", False)


def own_state(method: nn.Module) -> dict[str, Tensor]:
    """What a pretext has beside its backbone, such as the decoder."""
    return {name: value for name, value in method.state_dict().items() if not name.startswith(_BACKBONE)}


def save_parts(method: nn.Module, folder: Path) -> str:
    """Write `pretext.safetensors`, atomically, and return its digest, by which the card names it."""
    tensors = {name: value.detach().contiguous().cpu() for name, value in own_state(method).items()}
    with atomic(folder / PARTS) as temporary:
        save_file(tensors, temporary, metadata={"format": "pt"})
    return content_digests([folder / PARTS])[0]


def load_parts(method: nn.Module, folder: Path, named: str) -> None:
    """Give a pretext, whose backbone stays as it is, what `save_parts` wrote.

    Args:
        method: the pretext on the checkpoint's backbone.
        folder: the checkpoint's.
        named: the digest that the card holds.

    Raises:
        ValueError: the file is missing, is not the one that belongs to the card, is not of such a pretext, or holds
            weights that are not finite.
    """
    file = folder / PARTS
    if not file.is_file():
        raise ValueError(
            f"folder: expected {PARTS} beside the backbone, received none in {folder}; copy it too"
        )
    if content_digests([file])[0] != named:
        raise ValueError(
            f"{file}: expected the file that was written with {CARD} beside it, received another one; copy all files "
            "of the checkpoint anew, or pretrain again"
        )
    tensors = load_file(file)
    if found := misfits(own_state(method), tensors):
        raise ValueError(
            f"{file}: expected the parts of the pretext that {CARD} beside it tells of, received "
            f"{'; '.join(found)}; copy all files of the checkpoint anew"
        )
    refuse_not_finite(file, method, tensors)
    put_parts(method, tensors)


def put_parts(method: nn.Module, parts: Mapping[str, Tensor]) -> None:
    """Copy what `own_state` once said into a pretext."""
    state: dict[str, Any] = method.state_dict()
    method.load_state_dict(state | dict(parts))
