"""Random numbers that are the same on every device."""

import torch
from torch import Tensor


def uniform(
    generator: torch.Generator, shape: tuple[int, ...], low: float = 0.0, high: float = 1.0
) -> Tensor:
    """Draw from [low, high) in double precision, on the generator's device.

    A generator on the CPU gives a run on CUDA the same draws as one on the CPU.
    """
    draws = torch.rand(shape, generator=generator, device=generator.device, dtype=torch.float64)
    return draws * (high - low) + low


def chosen(generator: torch.Generator, count: int, share: float) -> Tensor:
    """Draw which of so many samples are among a share of them: (n,) long on the generator's device, rising."""
    return (uniform(generator, (count,)) < share).nonzero()[:, 0]
