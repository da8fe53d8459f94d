"""A trained network made ready to predict: a copy, folded, in the machine's precision and memory layout."""

import copy

import torch
from torch import nn

from ..backbones.folding import batch_norms, fold_batch_norm
from ..datasets.findings import name_some
from .device import Machine

_CAST = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)


def prepare(network: nn.Module, machine: Machine) -> nn.Module:
    """Copy a network for prediction on a machine.

    Batch norms are folded into the layers before them (`backbones.folding`), weights of convolutions and linear layers
    are cast to the machine's precision once rather than in every call, and laid out. What goes into the network stays
    float32: call it under `torch.inference_mode()` and `machine.autocast()`.

    Args:
        network: a backbone, or a network that holds backbones; a backbone says by `example()` what it takes.
        machine: where it will predict.

    Returns:
        The copy in evaluation mode, on the device. It cannot be trained, and its weights are not to be saved.
    """
    # Folding is checked in fp32, for which a graphics card may use less exact units.
    ready = copy.deepcopy(network).cpu().eval()
    if hasattr(ready, "example"):
        ready = fold_batch_norm(ready, ready.example())  # pyright: ignore[reportCallIssue]
    else:
        for name, part in list(ready.named_modules()):
            if hasattr(part, "example"):
                parent, _, last = name.rpartition(".")
                folded = fold_batch_norm(part, part.example())  # pyright: ignore[reportCallIssue]
                setattr(ready.get_submodule(parent), last, folded)
    ready.requires_grad_(False)
    if machine.precision == "bf16":
        tables = [part for part in ready.modules() if getattr(part, "modality", "image") == "table"]
        kept = {id(layer) for part in tables for layer in part.modules()}  # beside pictures in float32 too
        for part in ready.modules():
            # Exact types: a subclass may compute with its weights before they meet an image.
            if type(part) in _CAST and id(part) not in kept:
                part.to(torch.bfloat16)
    return machine.place(ready)


def unfused(network: nn.Module) -> str:
    """A sentence about the batch norms that a prepared network still computes; "" without any.

    Those of a network of tables are not named: they stand between layers that several steps share, or behind none, and
    cost little.
    """
    tables = [name for name, part in network.named_modules() if getattr(part, "modality", "image") == "table"]
    names = [name for name in batch_norms(network) if not any(name.startswith(table) for table in tables)]
    if not names:
        return ""
    return (
        f"{len(names)} batch norm{'s' if len(names) > 1 else ''} cannot be folded into the layer before and "
        f"stay{'' if len(names) > 1 else 's'}: {name_some(names)}"
    )
