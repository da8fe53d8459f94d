"""Rows of a table's numbers, some at a time, and what passes over them tell."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

MOST_SAMPLED = 32_768  # rows that quantiles are read off; an even one is then right within .3 % of the rows


@dataclass(frozen=True)
class Blocks:
    """N rows of K numbers, handed out some at a time, as often as needed.

    Attributes:
        rows: N.
        read: gives the blocks (B, K) float64 from the first row to the last; whoever takes one may overwrite it.
        pick: gives the rows (S, K) of some numbers (S,), rising, and reads no others.
    """

    rows: int
    read: Callable[[], Iterator[Floats]]
    pick: Callable[[NDArray[np.int64]], Floats]

    @classmethod
    def of(cls, values: NDArray, size: int = 4096) -> "Blocks":
        """Those of an array (N, K)."""
        starts = range(0, len(values), size)
        return cls(
            len(values),
            lambda: (values[at : at + size].astype(np.float64) for at in starts),
            lambda rows: values[rows].astype(np.float64),
        )

    def through(self, change: Callable[[Floats], Floats]) -> "Blocks":
        """The same rows, changed, each row by itself."""
        return Blocks(self.rows, lambda: map(change, self.read()), lambda rows: change(self.pick(rows)))


@dataclass(frozen=True)
class Moments:
    """What one pass tells of K columns; missing values are left aside.

    Attributes:
        count: how many values each has.
        mean, sd: 0 where there is none; the standard deviation is the population's.
        low, high: NaN where there is none.
    """

    count: NDArray[np.int64]
    mean: Floats
    sd: Floats
    low: Floats
    high: Floats

    @classmethod
    def of(cls, blocks: Blocks) -> "Moments":
        """Read the blocks once; sums are taken around the first block's means, so that large offsets cost no digits."""
        count, sums, squares, shift, low, high = (np.zeros(0) for _ in range(6))
        for block in blocks.read():
            present = ~np.isnan(block)
            here = present.sum(axis=0)
            if not len(shift):
                width = block.shape[1]
                count, sums, squares = np.zeros(width), np.zeros(width), np.zeros(width)
                low, high = np.full(width, np.nan), np.full(width, np.nan)
                shift = np.where(present, block, 0.0).sum(axis=0) / np.maximum(here, 1)
            if len(block):
                low, high = np.fmin(low, np.fmin.reduce(block)), np.fmax(high, np.fmax.reduce(block))
            block -= shift
            if here.sum() < block.size:
                block[~present] = 0.0
            count += here
            sums += block.sum(axis=0)
            squares += np.einsum("ij,ij->j", block, block)
        some = np.maximum(count, 1)
        mean = sums / some
        variance = np.maximum(squares / some - mean**2, 0.0)
        return cls(
            count.astype(np.int64), np.where(count > 0, mean + shift, 0.0), np.sqrt(variance), low, high
        )

    @property
    def scale(self) -> Floats:
        """(K,) the standard deviation, but no less than 1e-6 of the mean, nor than the gap of float32 at the largest
        value: what varies less is rounding. 1 for a constant 0."""
        largest = np.fmax(np.abs(np.nan_to_num(self.low)), np.abs(np.nan_to_num(self.high)))
        gap = np.where(largest > 0, largest * np.finfo(np.float32).eps, 0.0)
        floor = np.maximum(np.maximum(self.sd, 1e-6 * np.abs(self.mean)), gap)
        return np.where(floor > 0, floor, 1.0)


def sampled(blocks: Blocks, generator: np.random.Generator, most: int = MOST_SAMPLED) -> Floats:
    """(S, K): all rows, or `most` drawn without repeats, in their order; the others are not read."""
    if blocks.rows <= most:
        return blocks.pick(np.arange(blocks.rows))
    return blocks.pick(np.sort(generator.choice(blocks.rows, most, replace=False)))


def quantiles(values: Floats, shares: Floats) -> Floats:
    """Linear quantiles of each column, missing values left aside; the same as `numpy.nanquantile`, but fast.

    Args:
        values: (N, K).
        shares: (Q,) from 0 to 1.

    Returns:
        (Q, K); NaN for a column without values.
    """
    found = np.empty((len(shares), values.shape[1]))
    for start in range(0, values.shape[1], 256):
        part = np.sort(values[:, start : start + 256].T.copy(), axis=1)  # NaN goes last
        last = np.maximum((~np.isnan(part)).sum(axis=1), 1) - 1
        at = shares[:, None] * last
        below = np.floor(at).astype(np.int64)
        lanes = np.arange(len(part))
        low, high = part[lanes, below], part[lanes, np.minimum(below + 1, last)]
        found[:, start : start + 256] = low + (high - low) * (at - below)
    return found
