"""Backbone checkpoints: weights as safetensors, a JSON card, and the ids that the weights have seen."""

from collections.abc import Iterable, Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import pandas as pd
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from ..configs.registry import TABLE_BACKBONES
from ..datasets.files import atomic, read_json, write_json
from ..datasets.findings import name_some
from .finite import refuse_not_finite
from .joined import KIND as JOINED
from .joined import JoinedBackbone
from .table_build import restore_table_backbone
from .timm_backbone import TimmBackbone

WEIGHTS, CARD, SEEN = "backbone.safetensors", "backbone.json", "seen.parquet"
_NEEDED = {
    "timm": ("kind", "name", "options", "channels", "size", "dim"),
    **dict.fromkeys(TABLE_BACKBONES, ("kind", "options", "columns", "dim")),
}


def save_backbone(
    backbone: Any,
    folder: str | PathLike[str],
    card: Mapping[str, Any],
    seen_ids: Iterable[str] | None,
    weights: Mapping[str, Tensor] | None = None,
) -> None:
    """Write `backbone.safetensors`, `seen.parquet` and, last, `backbone.json`: with the card it is complete.

    Args:
        backbone: the network.
        folder: where to write; made if missing.
        card: what the stage adds to the network's own card (pretext, scope, ...).
        seen_ids: the ids of the rows that the weights were trained on; None: not known, so that there is no file of
            them.
        weights: state of the inner timm model to write instead of the network's own, such as an average.

    Raises:
        ValueError: `card` holds a key that the network's own card sets.
    """
    own = backbone.card()
    if clash := sorted(own.keys() & card.keys()):
        raise ValueError(f"card: expected keys beside the network's own, received {name_some(clash)}; rename")
    folder = Path(folder)
    state = backbone.core.state_dict() if weights is None else weights
    # safetensors stores rows in order: channels-last weights are laid out anew. Keys are timm's own.
    tensors = {key: value.detach().contiguous().cpu() for key, value in state.items()}
    with atomic(folder / WEIGHTS) as temporary:
        save_file(tensors, temporary, metadata={"format": "pt"})
    if seen_ids is None:
        (folder / SEEN).unlink(missing_ok=True)
    else:
        with atomic(folder / SEEN) as temporary:
            seen = pd.DataFrame({"id": pd.Series(sorted({str(i) for i in seen_ids}), dtype=object)})
            seen.to_parquet(temporary, index=False, compression="zstd")
    write_json(folder / CARD, {**own, **card})


def load_backbone(path: str | PathLike[str], size: int | None = None) -> tuple[Any, dict[str, Any]]:
    """Build the network that a card describes and give it the weights beside it.

    Args:
        path: the folder, or its `backbone.safetensors`.
        size: the input size that the network must take, pixels; None: the one it was saved with.

    Returns:
        The network, built for the size of its card, and the whole card.

    Raises:
        ValueError: a file is missing, the card is incomplete, the weights do not fit, or the network cannot
            take images of `size`.
    """
    file = weights_file(path)
    card = read_card(file)
    if card is None:
        raise ValueError(
            f"{file}: expected {CARD} beside it, received none; copy the card too, "
            "or name the model under backbones and give the file as its weights"
        )
    backbone = from_card(card)
    load_weights(backbone, file)
    if size is not None and backbone.modality == "image":
        backbone.probe(size)
    return backbone, card


def load_weights(backbone: Any, file: str | PathLike[str]) -> None:
    """Copy a file's weights into a network of exactly the same keys and shapes.

    Args:
        backbone: the network to fill; untouched if the file does not fit.
        file: a safetensors file with the keys of the timm model, or a folder that holds one.

    Raises:
        ValueError: keys are missing, unexpected or of another shape, or weights are not finite; all are named.
    """
    file = weights_file(file)
    try:
        tensors = load_file(file)
    except SafetensorError as error:
        raise ValueError(f"{file}: expected a safetensors file, received something else ({error})") from error
    found = misfits(backbone.core.state_dict(), tensors)
    if found:
        raise ValueError(
            f"weights {file}: expected the keys of {backbone.name!r}{_at(backbone)}, received "
            f"{'; '.join(found)}. Use the model, options and size that the file was saved with"
        )
    refuse_not_finite(file, backbone.core, tensors)
    backbone.core.load_state_dict(tensors)


def misfits(state: Mapping[str, Tensor], tensors: Mapping[str, Tensor]) -> list[str]:
    """What keeps the tensors of a file from being the state of a network; keys that are at fault are named."""
    differ = [
        f"{key} (file {tuple(tensors[key].shape)}, network {tuple(value.shape)})"
        for key, value in state.items()
        if key in tensors and tensors[key].shape != value.shape
    ]
    faults = {
        "missing": sorted(state.keys() - tensors.keys()),
        "unexpected": sorted(tensors.keys() - state.keys()),
        "of another shape": differ,
    }
    return [f"{len(keys)} {fault}: {name_some(keys)}" for fault, keys in faults.items() if keys]


def _at(backbone: Any) -> str:
    return f" at size {backbone.size}" if backbone.modality == "image" else ""


def read_card(path: str | PathLike[str]) -> dict[str, Any] | None:
    """Read the card beside a weights file.

    Args:
        path: the folder, or its `backbone.safetensors`.

    Returns:
        The card, or None where there is none.

    Raises:
        ValueError: the card lacks a key or is of an unknown kind.
    """
    file = weights_file(path)
    beside = file.with_suffix(".json")
    if not beside.exists():
        return None
    card = read_json(beside)
    card = card if isinstance(card, dict) else {}
    kind = card.get("kind", "timm")
    if kind not in _NEEDED:
        raise ValueError(f"{beside}: expected a kind out of {', '.join(_NEEDED)}, received {kind!r}")
    missing = [key for key in _NEEDED[kind] if key not in card]
    if missing:
        raise ValueError(
            f"{beside}: expected a backbone's card, received one without {name_some(missing, 9)}"
        )
    return card


def from_card(card: Mapping[str, Any]) -> Any:
    """The network that a card describes, with random weights: a `TimmBackbone`, a `TableBackbone` or several joined."""
    if card["kind"] == JOINED:
        return JoinedBackbone(
            {name: from_card(part) for name, part in zip(card["names"], card["parts"], strict=True)}
        )
    if card["kind"] == "timm":
        return TimmBackbone(card["name"], card["channels"], card["size"], card["options"])
    return restore_table_backbone(card)


def read_seen(path: str | PathLike[str]) -> set[str]:
    """Read the ids that a checkpoint has seen.

    Args:
        path: the folder, or its `backbone.safetensors`.

    Raises:
        ValueError: `seen.parquet` is missing.
    """
    beside = weights_file(path).with_name(SEEN)
    if not beside.exists():
        raise ValueError(f"{beside}: expected the ids that the checkpoint has seen, received no such file")
    return set(pd.read_parquet(beside)["id"].astype(str))


def weights_file(path: str | PathLike[str]) -> Path:
    """The weights file that a path stands for.

    Args:
        path: a checkpoint's folder, or the file itself.

    Raises:
        ValueError: there is no such file.
    """
    path = Path(path)
    file = path / WEIGHTS if path.is_dir() else path
    if not file.is_file():
        raise ValueError(f"weights: expected a folder with {WEIGHTS} or a safetensors file, received {path}")
    return file
