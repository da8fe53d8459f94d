"""Every random draw is a pure function of (seed, stage, task, fold, step, rank)."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager

import torch


def seed_of(seed: int, *names: str | int) -> int:
    """A 63-bit seed that depends on the run's seed and on all names, in order.

    Example:
        >>> seed_of(0, "pretrain", "jig", 3) == seed_of(0, "pretrain", "jig", 3)
        True
        >>> seed_of(0, "a", 12) == seed_of(0, "a1", 2)
        False
    """
    text = json.dumps([seed, *names])  # JSON keeps ("a", 12) and ("a1", 2), and 1 and "1", apart
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8]) >> 1


def generator(seed: int, *names: str | int) -> torch.Generator:
    """A fresh generator seeded by `seed_of`, on the CPU, so that every device gets the same draws."""
    return torch.Generator().manual_seed(seed_of(seed, *names))


def reseed_global(seed: int, *names: str | int) -> None:
    """Seed torch's global generators of all devices, from which dropout and stochastic depth draw."""
    torch.manual_seed(seed_of(seed, *names))


@contextmanager
def kept_generators() -> Iterator[None]:
    """Leave torch's global generators behind as they were found, however often they are seeded inside."""
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        yield
