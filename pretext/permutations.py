"""Orders of tiles that are easy to tell apart."""

import itertools
import math
from functools import cache

import numpy as np

CANDIDATES = 50_000  # random orders to choose among where all would take minutes


@cache
def far_apart(tiles: int, count: int) -> np.ndarray:
    """Choose orders one after the other, each as far as can be from its nearest among those before it.

    The first is the order itself; among equally far ones the first candidate is taken. Source: Noroozi and Favaro 2016,
    algorithm 1, with the smallest instead of the mean Hamming distance, which lets no two orders lie close together.

    Args:
        tiles: T.
        count: P, at most T!.

    Returns:
        (P, T) int64, all different, the same for the same arguments; not to be written to.

    Raises:
        ValueError: there are fewer orders.

    Example:
        >>> far_apart(3, 3).tolist()
        [[0, 1, 2], [1, 2, 0], [2, 0, 1]]
    """
    if count > math.factorial(tiles):
        raise ValueError(
            f"permutations: expected at most {math.factorial(tiles)}, the orders of {tiles} tiles, received {count}"
        )
    candidates = _candidates(tiles, count)
    chosen = np.empty((count, tiles), dtype=np.int64)
    nearest = np.full(len(candidates), tiles + 1, dtype=np.int8)  # Hamming distance to the chosen ones
    place = 0
    for number in range(count):
        chosen[number] = candidates[place]
        np.minimum(nearest, (candidates != candidates[place]).sum(axis=1, dtype=np.int8), out=nearest)
        place = int(nearest.argmax())
    chosen.setflags(write=False)
    return chosen


def _candidates(tiles: int, count: int) -> np.ndarray:
    """(K, T) int8 different orders, the ordered one first."""
    if math.factorial(tiles) <= CANDIDATES or (tiles <= 9 and count <= 1000):
        return np.array(list(itertools.permutations(range(tiles))), dtype=np.int8)
    draws = np.random.default_rng(tiles).permuted(
        np.tile(np.arange(tiles, dtype=np.int8), (max(CANDIDATES, 4 * count), 1)), axis=1
    )
    different = np.unique(draws, axis=0)
    ordered = np.arange(tiles, dtype=np.int8)
    return np.vstack([ordered, different[(different != ordered).any(axis=1)]])
