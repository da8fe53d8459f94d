"""Weighted nearest neighbours: what the targets of similar rows say."""

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from .metrics import Array

CELLS = 16_000_000
"""Most similarities to hold at a time: 64 MB in float32."""


def neighbours(
    bank: NDArray | Tensor,
    targets: NDArray | Tensor,
    queries: NDArray | Tensor,
    k: int = 20,
    temperature: float = 0.1,
) -> Array:
    """Mean of the targets of the k most similar rows, each weighted by exp(cosine similarity / temperature).

    With one-hot targets the result is the probability of each class. Source: Wu et al. 2018 (instance discrimination),
    section 3.4; k = 20 as in the reference results of SimSiam (Chen and He 2021).

    Args:
        bank: (N, D) features of rows with a target; their length does not matter.
        targets: (N, K) values, one-hot classes or vectors.
        queries: (M, D) features.
        k: how many neighbours; all N where there are fewer.
        temperature: small: the nearest alone counts; large: all k alike.

    Returns:
        (M, K) float64.

    Raises:
        ValueError: shapes that do not fit, an empty bank, values that are not finite, k < 1, or a temperature of 0 or
            less.

    Example:
        >>> import numpy as np
        >>> bank, classes = np.array([[1.0, 0.0], [0.0, 1.0]]), np.eye(2)
        >>> neighbours(bank, classes, np.array([[2.0, 0.1]])).argmax(axis=1).tolist()
        [0]
    """
    stored, values, asked = (torch.as_tensor(part) for part in (bank, targets, queries))
    if not (stored.ndim == values.ndim == asked.ndim == 2 and len(stored) == len(values) > 0) or (
        stored.shape[1] != asked.shape[1]
    ):
        raise ValueError(
            "expected `bank` (N, D), `targets` (N, K) and `queries` (M, D) with N > 0, received "
            f"{tuple(stored.shape)}, {tuple(values.shape)} and {tuple(asked.shape)}"
        )
    if k < 1 or temperature <= 0:
        raise ValueError(
            f"expected `k` >= 1 and `temperature` > 0, received k={k}, temperature={temperature}"
        )
    for name, part in (("bank", stored), ("targets", values), ("queries", asked)):
        if not bool(torch.isfinite(part).all()):
            raise ValueError(
                f"`{name}`: expected finite values, received NaN or infinite ones; leave those rows out"
            )
    unit, values = F.normalize(stored.float(), dim=1), values.double()
    k = min(k, len(unit))
    means = []
    for chunk in asked.float().split(max(1, CELLS // len(unit))):
        similar, rows = (F.normalize(chunk, dim=1) @ unit.T).topk(k, dim=1)  # (m, k)
        weights = torch.softmax(similar.double() / temperature, dim=1)  # exp(s/T), its sum divided out
        # One neighbour rank after the other: (m, K) at a time, not (m, k, K).
        means.append(sum((weights[:, [j]] * values[rows[:, j]] for j in range(k)), torch.zeros(())))
    return torch.cat(means).cpu().numpy() if means else np.zeros((0, values.shape[1]))
