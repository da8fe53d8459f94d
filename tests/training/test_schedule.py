"""Learning rates are functions of the step, and those that torch has are torch's."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from jigstack.training.schedule import Schedule
from torch import nn
from torch.optim.lr_scheduler import CosineAnnealingLR, CosineAnnealingWarmRestarts, OneCycleLR


def optimiser(rate: float) -> torch.optim.Optimizer:
    return torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=rate)


def rates(schedule: Schedule, steps: int) -> list[float]:
    return [schedule.rate(step, steps) for step in range(steps)]


def followed(
    twin: torch.optim.Optimizer, schedule: torch.optim.lr_scheduler.LRScheduler, steps: int
) -> list[float]:
    seen = []
    for _ in range(steps):
        seen.append(twin.param_groups[0]["lr"])
        twin.step()
        schedule.step()
    return seen


@given(st.integers(2, 400), st.floats(0.0, 0.9))
def test_the_rate_rises_to_its_peak_and_falls_towards_zero(steps: int, warmup: float):
    found = rates(Schedule(0.3, warmup), steps)
    top = found.index(max(found))
    assert max(found) <= 0.3 and min(found) > 0
    assert found[: top + 1] == sorted(found[: top + 1]) and found[top:] == sorted(found[top:], reverse=True)


def test_the_cosine_is_torchs():
    twin = optimiser(0.7)
    assert rates(Schedule(0.7), 20) == pytest.approx(followed(twin, CosineAnnealingLR(twin, T_max=20), 20))


def test_the_restarts_are_torchs():
    twin = optimiser(0.7)
    expected = followed(twin, CosineAnnealingWarmRestarts(twin, T_0=8), 24)
    assert rates(Schedule(0.7, restarts=2), 24) == pytest.approx(expected)


@pytest.mark.parametrize("warmup", [0.3, 0.5])
def test_the_one_cycle_is_torchs(warmup: float):
    twin = optimiser(1.0)
    schedule = OneCycleLR(twin, max_lr=0.7, total_steps=41, pct_start=warmup)
    seen = []
    for step in range(41):
        seen.append(twin.param_groups[0]["lr"])
        twin.step()
        if step < 40:
            schedule.step()
    assert rates(Schedule(0.7, warmup, "onecycle"), 41) == pytest.approx(seen)


@given(st.integers(5, 300), st.integers(1, 9), st.floats(0.0, 0.5))
def test_every_part_starts_at_the_peak_and_falls(steps: int, restarts: int, warmup: float):
    found = rates(Schedule(1.0, warmup, restarts=restarts), steps)
    rise = round(steps * warmup)
    fall = found[rise:]
    jumps = [step for step in range(1, len(fall)) if fall[step] > fall[step - 1]]
    assert all(0 < rate <= 1.0 for rate in found)
    assert all(fall[step] == 1.0 for step in (0, *jumps) if fall)
    if len(fall) >= 2 * (restarts + 1):
        assert len(jumps) == restarts


@given(st.integers(1, 200), st.floats(0.0, 1.0))
def test_the_one_cycle_stays_between_its_ends(steps: int, warmup: float):
    assert all(0 < rate <= 0.5 * (1 + 1e-12) for rate in rates(Schedule(0.5, warmup, "onecycle"), steps))
