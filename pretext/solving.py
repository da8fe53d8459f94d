"""From what a network says of single slots to a whole order."""

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor


def solve(logits: Tensor) -> Tensor:
    """Give every slot another tile so that the sum of log-probabilities is largest (Hungarian method).

    Args:
        logits: (B, T, T) [slot, tile], finite.

    Returns:
        (B, T) long on the CPU: the tile of each slot, each tile once.
    """
    scores = logits.detach().float().log_softmax(-1).cpu().numpy()
    assigned = np.stack([linear_sum_assignment(board, maximize=True)[1] for board in scores])  # (B, T)
    return torch.from_numpy(assigned).long()
