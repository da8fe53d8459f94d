"""A batch worked on in parts that the processor's cache holds."""

from collections.abc import Callable

import torch
from torch import Tensor

CACHED = 1 << 20
"""Bytes of a part."""


def in_parts(work: Callable[..., Tensor], images: Tensor, *parameters: Tensor) -> Tensor:
    """Apply work that knows each sample alone to some samples after the others.

    On a processor most changes of images wait for memory, and fresh memory is the slowest: in parts, each step finds
    the last one's result in the cache, and its memory is that of the part before. A GPU takes all at once.

    Args:
        work: takes images and parameters of some samples; returns as many samples.
        images: (B, ...).
        parameters: each (B, ...).

    Returns:
        What `work` returns for all, joined in order.
    """
    some = part_size(images)
    if len(images) <= some:
        return work(images, *parameters)
    rows = (images, *parameters)
    return torch.cat([work(*part) for part in zip(*(row.split(some) for row in rows), strict=True)])


def part_size(images: Tensor) -> int:
    """How many samples of (B, ...) to work on at a time, at least one."""
    if images.device.type != "cpu":
        return max(1, len(images))
    return max(1, CACHED // max(1, images[:1].nbytes))
