"""The range test suggests a rate that the training bears."""

from typing import Any

import pytest
import torch
from jigstack.training.device import Machine
from jigstack.training.finder import range_test
from jigstack.training.fit import FitOptions, Training
from jigstack.training.optimiser import parameter_groups
from jigstack.training.schedule import Schedule
from torch import Tensor, nn

CPU = Machine(device="cpu", precision="fp32", channels_last=False, threads=1)


class Bowl(nn.Module):
    """A quadratic far from its minimum."""

    def __init__(self) -> None:
        super().__init__()
        self.at = nn.Parameter(torch.full((4, 4), 3.0))

    def views(self, batch: dict[str, Tensor], generator: torch.Generator) -> dict[str, Tensor]:
        return batch

    def forward(self, views: dict[str, Tensor]) -> Tensor:
        return self.at * views["x"].mean()

    def loss(self, outputs: Tensor, views: dict[str, Tensor]) -> dict[str, Tensor]:
        return {"loss": outputs.square().mean() + 0.01}


class Ones:
    def __len__(self) -> int:
        return 20

    def batch(self, rows: Tensor, draws: torch.Generator | None = None) -> dict[str, Tensor]:
        return {"x": torch.ones(len(rows), 1)}


def bowl(**options: Any) -> Training:
    method = Bowl()
    groups = parameter_groups({}, method.parameters(), weight_decay=0.0)
    return Training(method, groups, FitOptions(1, 4, Schedule(1e-3), **options), CPU, 0, ("test",))


def test_the_rates_rise_and_the_suggestion_lies_below_the_best_of_them():
    found = range_test(bowl(), Ones(), 120)
    assert list(found.rates) == sorted(found.rates)
    assert found.losses[0] > 5 and min(found.losses) < found.losses[0] / 2
    best = found.rates[found.losses.index(min(found.losses))]
    assert found.suggestion is not None and found.suggestion == pytest.approx(best / 10)
    assert 1e-3 < found.suggestion < 0.2


def test_it_repeats_bit_for_bit():
    assert range_test(bowl(), Ones(), 30) == range_test(bowl(), Ones(), 30)


def test_it_ends_when_the_loss_rises():
    class Steep(Bowl):
        def loss(self, outputs: Tensor, views: dict[str, Tensor]) -> dict[str, Tensor]:
            return {"loss": (outputs - 3.001).square().mean() * 1e6 + 1e-4}

    method = Steep()
    groups = parameter_groups({}, method.parameters(), weight_decay=0.0)
    found = range_test(
        Training(method, groups, FitOptions(1, 4, Schedule(1e-3)), CPU, 0, ("test",)), Ones(), 120
    )
    assert len(found.rates) < 120


def test_a_loss_that_begins_near_0_and_falls_below_it_is_followed_to_its_end():
    class Below(Bowl):
        """As SimSiam's loss: from near 0 towards -1."""

        def loss(self, outputs: Tensor, views: dict[str, Tensor]) -> dict[str, Tensor]:
            return {"loss": -torch.exp(-outputs.square().mean() / 3)}

    method = Below()
    groups = parameter_groups({}, method.parameters(), weight_decay=0.0)
    found = range_test(
        Training(method, groups, FitOptions(1, 4, Schedule(1e-3)), CPU, 0, ("test",)), Ones(), 120
    )
    assert len(found.rates) == 120
    assert found.losses[0] > -0.1 and min(found.losses) < -0.5
    assert found.suggestion is not None and found.suggestion > 1e-3


def test_a_loss_that_never_falls_suggests_nothing():
    class Flat(Bowl):
        def loss(self, outputs: Tensor, views: dict[str, Tensor]) -> dict[str, Tensor]:
            return {"loss": 1.0 + outputs.sum() * 0}

    method = Flat()
    groups = parameter_groups({}, method.parameters(), weight_decay=0.0)
    training = Training(method, groups, FitOptions(1, 4, Schedule(1e-3)), CPU, 0, ("test",))
    assert range_test(training, Ones(), 20).suggestion is None


def test_too_few_steps_are_refused():
    with pytest.raises(ValueError, match="steps: expected 10 or more, received 3"):
        range_test(bowl(), Ones(), 3)


def test_gradients_are_accumulated_and_clipped_as_in_training():
    """Four batches of ones are one, so only the number of rows asked for differs; a clipped step is another one."""

    class Counted(Ones):
        rows = 0

        def batch(self, rows: Tensor, draws: torch.Generator | None = None) -> dict[str, Tensor]:
            self.rows += len(rows)
            return super().batch(rows, draws)

    plain, four = Counted(), Counted()
    expected, found = range_test(bowl(), plain, 20), range_test(bowl(accumulate=4), four, 20)
    assert found.losses == pytest.approx(expected.losses) and four.rows == 4 * plain.rows == 4 * 20 * 4
    seen = []
    for training in (bowl(), bowl(clip=1e-3)):
        training.optimiser.optimizer.register_step_pre_hook(
            lambda optimiser, *_: seen.append(float(optimiser.param_groups[0]["params"][0].grad.norm()))
        )
        range_test(training, Ones(), 20)
    assert min(seen[:20]) > 1 and max(seen[20:]) <= 1e-3 * 1.001


def test_what_is_frozen_keeps_its_running_statistics():
    class Normed(Bowl):
        def __init__(self) -> None:
            super().__init__()
            self.frozen, self.free = nn.BatchNorm1d(1), nn.BatchNorm1d(1)

        def apply_modes(self) -> None:
            self.frozen.eval()

        def forward(self, views: dict[str, Tensor]) -> Tensor:
            return super().forward({"x": self.free(self.frozen(views["x"])) + views["x"]})

    method = Normed()
    groups = parameter_groups({}, method.parameters(), weight_decay=0.0)
    range_test(Training(method, groups, FitOptions(1, 4, Schedule(1e-3)), CPU, 0, ("test",)), Ones(), 10)
    counts = {
        name: int(value)
        for name, value in method.state_dict().items()
        if name.endswith("num_batches_tracked")
    }
    assert counts == {"frozen.num_batches_tracked": 0, "free.num_batches_tracked": 10}
