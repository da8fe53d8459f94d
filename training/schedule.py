"""Learning rates as pure functions of the step."""

import math
from dataclasses import dataclass
from typing import Literal

ONECYCLE_START, ONECYCLE_END = 25, 250_000
"""What the peak is divided by for the first and the last rate, as in torch's OneCycleLR (Smith and Topin 2018)."""


@dataclass(frozen=True)
class Schedule:
    """A learning rate for every step.

    Attributes:
        peak: the highest rate.
        warmup: share of the steps, 0..1, in which it rises.
        shape: `cosine`: a linear rise, then a cosine to zero; `onecycle`: rise and fall by cosines.
        restarts: how many times the cosine starts again at the peak, in equal parts (Loshchilov and Hutter 2017).
    """

    peak: float
    warmup: float = 0.0
    shape: Literal["cosine", "onecycle"] = "cosine"
    restarts: int = 0

    def rate(self, step: int, steps: int) -> float:
        """The rate of a step.

        Args:
            step: 0-based index of the step about to be taken.
            steps: number of steps in all.

        Example:
            >>> [round(Schedule(1.0, 0.25).rate(step, 4), 3) for step in range(4)]
            [1.0, 1.0, 0.75, 0.25]
        """
        if self.shape == "onecycle":
            return self._onecycle(step, steps)
        rise = round(steps * self.warmup)
        if step < rise:
            return self.peak * (step + 1) / rise
        fall = max(1, steps - rise)
        start, part = 0, fall
        if self.restarts:
            index = min(self.restarts, (step - rise) * (self.restarts + 1) // fall)
            start = -(-index * fall // (self.restarts + 1))  # the first step of the part
            part = -(-(index + 1) * fall // (self.restarts + 1)) - start
        return self.peak * 0.5 * (1.0 + math.cos(math.pi * (step - rise - start) / part))

    def _onecycle(self, step: int, steps: int) -> float:
        top = max(0.0, self.warmup * steps - 1)  # where the peak lies, between two steps as a rule
        if step <= top and top > 0:
            low, high, share = self.peak / ONECYCLE_START, self.peak, step / top
        else:
            low, high, share = self.peak, self.peak / ONECYCLE_END, (step - top) / max(1e-9, steps - 1 - top)
        return high + (low - high) * 0.5 * (1.0 + math.cos(math.pi * min(1.0, share)))
