"""The units of heads whose loss leaves them open."""

from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ..training.device import Machine
from ..training.fit import batches
from .network import HeadNetwork
from .rows import LabelledInputs

BATCH = 256
FREE = "column_correlation"
"""The loss that does not see level and spread of a column."""


def calibrate(network: HeadNetwork, source: LabelledInputs, machine: Machine) -> None:
    """Give column-correlated heads the units of their columns, so that seeds and fold models may be pooled.

    Level and spread of such a head are whatever the training left. Each of its columns is fitted to the truth by least
    squares, and slope and intercept are folded into the head's linear layer. Heads of other losses stay as they are. It
    draws nothing: the same weights and rows give the same heads.

    Args:
        network: the trained network, on the machine's device; afterwards in eval mode.
        source: the rows it was trained on, with encoded targets; of several inputs of a row the first counts.
        machine: device and precision.

    Raises:
        ValueError: a column without any known truth.
    """
    free = [name for name, target in network.targets.items() if target.loss == FREE]
    if not free:
        return
    outputs = _outputs(network, source, machine, free)
    for name in free:
        truth = source.targets[name].numpy().astype(np.float64)
        slope, intercept = least_squares(truth, outputs[name])
        _fold(cast(nn.Linear, network.heads[name]), slope, intercept)


def least_squares(truth: NDArray, outputs: NDArray) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Slope and intercept of the truth on the outputs, column by column.

    Args:
        truth: (N, D); NaN where missing, which is left out.
        outputs: (N, D) finite values.

    Returns:
        Slopes (D,), negative where outputs run against the truth and 0 where they are constant, and intercepts (D,).

    Raises:
        ValueError: a column without any known truth.

    Example:
        >>> slope, intercept = least_squares(np.array([[3.0], [5.0], [np.nan]]), np.array([[1.0], [2.0], [9.0]]))
        >>> float(slope[0]), float(intercept[0])
        (2.0, 1.0)
    """
    known = np.isfinite(truth)
    count = known.sum(axis=0)
    if (count == 0).any():
        raise ValueError(
            f"`truth`: expected a known value in each column, received none in {np.flatnonzero(count == 0).tolist()}"
        )
    y, x = np.where(known, truth, 0.0), np.where(known, outputs, 0.0).astype(np.float64)
    level, usual = x.sum(axis=0) / count, y.sum(axis=0) / count
    centred = np.where(known, x - level, 0.0)
    square = (centred**2).sum(axis=0)
    # Outputs are float32: what differs by less than their rounding is constant.
    varies = square > count * (16 * np.finfo(np.float32).eps * np.abs(x).max(axis=0)) ** 2
    slope = np.where(varies, (centred * y).sum(axis=0) / np.where(varies, square, 1.0), 0.0)
    return slope, usual - slope * level


def _outputs(
    network: HeadNetwork, source: LabelledInputs, machine: Machine, names: list[str]
) -> dict[str, NDArray]:
    """Raw outputs {task: (N, D)} of the source's rows in eval mode, their first input as it is."""
    network.eval()
    parts: dict[str, list[Tensor]] = {name: [] for name in names}
    with torch.inference_mode():
        for rows in batches(len(source), BATCH):
            inputs = source.batch(rows)["inputs"].to(machine.device)
            with machine.autocast():
                outputs = network.view_outputs(inputs, ["identity"])
            for name in names:
                parts[name].append(outputs[name][:, 0].cpu())
    return {name: torch.cat(found).numpy() for name, found in parts.items()}


def _fold(layer: nn.Linear, slope: NDArray, intercept: NDArray) -> None:
    """Let the layer say slope · output + intercept."""
    with torch.no_grad():
        factor, shift = (torch.from_numpy(part).to(layer.weight.device) for part in (slope, intercept))
        layer.weight.copy_(layer.weight.double() * factor[:, None])
        layer.bias.copy_(layer.bias.double() * factor + shift)
