"""The learning-rate range test: a short training whose rate rises until the loss does."""

import math
from dataclasses import dataclass

import torch

from .fit import Source, Training, to_device
from .randomness import generator, reseed_global

LOWEST, HIGHEST = 1e-6, 1.0
SMOOTHING = 0.9
DIVERGED = 3.0
"""Rise above the smallest loss so far, in units of that loss or of 1, the larger: losses here are about 1 by chance,
and those of joint embeddings begin near 0 and fall below it."""


@dataclass(frozen=True)
class RangeTest:
    """What a range test saw.

    Attributes:
        rates: of each step, rising.
        losses: smoothed, of each step.
    """

    rates: tuple[float, ...]
    losses: tuple[float, ...]

    @property
    def suggestion(self) -> float | None:
        """A tenth of the rate at which the loss was smallest: still falling, and not yet near divergence.

        None where that lies below all rates that were tried: the loss was smallest before it could fall.
        """
        rate = self.rates[self.losses.index(min(self.losses))] / 10
        return rate if rate >= LOWEST else None


def range_test(training: Training, source: Source, steps: int = 100) -> RangeTest:
    """Train for some steps with a rate that rises exponentially; the training is of no use afterwards.

    Source: Smith 2017, Cyclical Learning Rates for Training Neural Networks, section 3.3.

    What stays frozen in the first epoch does so here; gradients are accumulated and clipped as in training.

    Args:
        training: not yet begun.
        source: the rows; steps beyond an epoch begin another one.
        steps: how many updates, at most; it ends earlier once the loss has risen by `DIVERGED`.

    Raises:
        ValueError: fewer than 10 steps.
    """
    if steps < 10:
        raise ValueError(f"steps: expected 10 or more, received {steps}")
    device = torch.device(training.machine.device)
    size = min(training.options.batch, len(source))
    per_epoch = len(source) // size
    rates: list[float] = []
    losses: list[float] = []
    average = 0.0
    together = training.options.accumulate
    order = torch.arange(0)
    training.begin_epoch(0)
    for step in range(steps):
        rate = LOWEST * (HIGHEST / LOWEST) ** (step / (steps - 1))
        value = 0.0
        training.optimiser.zero_grad()
        for drawn in range(step * together, (step + 1) * together):
            epoch, at = divmod(drawn, per_epoch)
            if at == 0:
                order = torch.randperm(len(source), generator=generator(training.seed, "range test", epoch))
            reseed_global(training.seed, "range test", drawn)
            draws = generator(training.seed, "range test views", drawn)
            batch = to_device(source.batch(order[at * size : (at + 1) * size], draws), device)
            views = training.method.views(batch, draws)
            outputs = training.forward(views)
            loss = training.method.loss(outputs, views)["loss"] / together
            training.fabric.backward(loss)
            value += float(loss.detach())
        training.update(rate)
        if not math.isfinite(value):
            break
        average = SMOOTHING * average + (1 - SMOOTHING) * value
        rates.append(rate)
        losses.append(average / (1 - SMOOTHING ** (step + 1)))
        smallest = min(losses)
        if losses[-1] - smallest > DIVERGED * max(1.0, abs(smallest)) and step > 10:
            break
    return RangeTest(tuple(rates), tuple(losses))
