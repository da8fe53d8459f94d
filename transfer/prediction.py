"""Prediction of fixed views by one trained network."""

from collections.abc import Callable, Sequence
from typing import Any, cast

import numpy as np
import torch

from ..training.device import Machine
from ..training.predicting import prepare, unfused
from ..training.resident import resident
from .network import HeadNetwork


def predict_views(
    networks: Sequence[HeadNetwork],
    store: Any,
    ids: np.ndarray,
    views: Sequence[str],
    machine: Machine,
    *,
    size: int | None = None,
    batch: int = 256,
    progress: Callable[[int, int], None] | None = None,
    say: Callable[[str], None] | None = None,
) -> dict[str, np.ndarray]:
    """Decoded predictions of N inputs under V views, averaged over networks of equal training but different seeds.

    The networks predict as `training.predicting.prepare` makes them ready; they themselves stay as they are.

    Args:
        networks: one or several fold models with the same targets.
        store, ids: the N inputs, all readable.
        views: the V views.
        size: side of the input, pixels; None: that of the training.
        batch: images times views in one call.
        progress: told (done, total) images after each call.
        say: told once which batch norms could not be folded, if any.

    Returns:
        {task: (N, V, columns)} float32 in the units of the target's columns.
    """
    rows = store.rows(ids)
    step = max(1, batch // len(views))
    parts: dict[str, list[np.ndarray]] = {name: [] for name in networks[0].targets}
    source = resident(store, machine)
    ready = [cast(HeadNetwork, prepare(network, machine)) for network in networks]
    if say is not None and (left := unfused(ready[0])):
        say(left)
    with torch.inference_mode():
        for start in range(0, len(rows), step):
            part = rows[start : start + step]
            images = source.gather(part)
            decoded: dict[str, list[np.ndarray]] = {name: [] for name in parts}
            for network in ready:
                with machine.autocast():
                    outputs = network.view_outputs(images, views, size)
                for name, output in outputs.items():  # (B, V, D)
                    flat = output.flatten(0, 1).cpu().numpy()
                    decoded[name].append(
                        network.targets[name].decode(flat).reshape(len(part), len(views), -1)
                    )
            for name, members in decoded.items():
                parts[name].append(np.mean(members, axis=0))
            if progress is not None:
                progress(min(start + step, len(rows)), len(rows))
    empty = {
        name: np.zeros((0, len(views), len(target.columns)), np.float32)
        for name, target in networks[0].targets.items()
    }
    return {name: np.concatenate(chunks) if chunks else empty[name] for name, chunks in parts.items()}
