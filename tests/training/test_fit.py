"""The loop: what it computes, how it resumes, how it stops."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from jigstack.training.device import Machine
from jigstack.training.fit import FitOptions, Record, Training, fit
from jigstack.training.optimiser import parameter_groups
from jigstack.training.randomness import generator
from jigstack.training.schedule import Schedule
from torch import Tensor, nn

CPU = Machine(device="cpu", precision="fp32", channels_last=False, threads=1)


class Line(nn.Module):
    """y = w x + b with noise in its views and dropout in its forward, so that every source of randomness is there."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.body = nn.Sequential(nn.Linear(3, 8, bias=False), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.2))
        self.head = nn.Linear(8, 1)
        self.seen: list[Tensor] = []

    def views(self, batch: dict[str, Tensor], generator: torch.Generator) -> dict[str, Tensor]:
        self.seen.append(batch["row"].clone())
        return {"x": batch["x"] + 0.1 * torch.randn(batch["x"].shape, generator=generator), "y": batch["y"]}

    def forward(self, views: dict[str, Tensor]) -> Tensor:
        return self.head(self.body(views["x"]))

    def loss(self, outputs: Tensor, views: dict[str, Tensor]) -> dict[str, Tensor]:
        return {"loss": (outputs - views["y"]).square().mean(), "size": torch.tensor(float(len(outputs)))}


class Points:
    def __init__(self, count: int, poison: int | None = None) -> None:
        generator = torch.Generator().manual_seed(0)
        self.x = torch.randn(count, 3, generator=generator)
        self.y = self.x.sum(dim=1, keepdim=True)
        if poison is not None:
            self.y[poison] = math.nan

    def __len__(self) -> int:
        return len(self.x)

    def batch(self, rows: Tensor, draws: torch.Generator | None = None) -> dict[str, Tensor]:
        return {"x": self.x[rows], "y": self.y[rows], "row": rows}


def start(epochs: int = 4, ema: float = 0.9, batch: int = 8, **options: Any) -> Training:
    method = Line()
    groups = parameter_groups({"body": method.body.parameters()}, method.head.parameters(), weight_decay=0.05)
    return Training(
        method, groups, FitOptions(epochs, batch, Schedule(1e-2, 0.1), ema=ema, **options), CPU, 0, ("test",)
    )


def same(one: nn.Module, other: nn.Module) -> bool:
    first, second = one.state_dict(), other.state_dict()
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def test_two_trainings_with_one_seed_give_the_same_bits():
    first, second = start(), start()
    one, two = list(fit(first, Points(40))), list(fit(second, Points(40)))
    assert same(first.method, second.method) and same(first.averaged, second.averaged)
    assert [record.scalars for record in one] == [record.scalars for record in two]


def test_the_global_generator_before_a_training_does_not_matter():
    first, second = start(), start()
    list(fit(first, Points(40)))
    torch.manual_seed(1234)
    list(fit(second, Points(40)))
    assert same(first.method, second.method)


@pytest.mark.parametrize("stop_after", [1, 5, 7, 12])
def test_a_training_stopped_at_any_step_and_resumed_equals_one_that_was_not(tmp_path: Path, stop_after: int):
    """5 steps an epoch: within an epoch, at its end, and across two."""
    whole = start()
    records = list(fit(whole, Points(40)))

    first = start()
    asked = 0

    def stop() -> bool:
        nonlocal asked
        asked = first.step
        return asked >= stop_after

    seen: list[Record] = []
    for record in fit(first, Points(40), stop):
        first.note(record)
        seen.append(record)
        first.save(tmp_path / "last.ckpt", "key")
    assert first.step == stop_after
    second = start()
    assert second.resume(tmp_path / "last.ckpt", "key")
    for record in fit(second, Points(40)):
        second.note(record)
        seen.append(record)
    assert same(whole.method, second.method) and same(whole.averaged, second.averaged)
    finished = [record for record in seen if record.kind == "epoch"]
    assert [record.scalars for record in finished] == [record.scalars for record in records]
    assert [entry["epoch"] for entry in second.history] == [1, 2, 3, 4]


def test_a_checkpoint_of_other_work_is_not_continued(tmp_path: Path):
    training = start(epochs=1)
    list(fit(training, Points(16)))
    training.save(tmp_path / "last.ckpt", "one key")
    fresh = start()
    assert not fresh.resume(tmp_path / "last.ckpt", "another key") and fresh.step == 0
    assert not fresh.resume(tmp_path / "nothing.ckpt", "another key")


@pytest.mark.parametrize("part", ["key", "ema", "learning", "loop.history"])
def test_a_checkpoint_that_lacks_a_part_is_refused_with_a_way_out_and_stays(tmp_path: Path, part: str):
    path = tmp_path / "last.ckpt"
    start().save(path, "key")
    state = torch.load(path, weights_only=True)
    holder = state["loop"] if part.startswith("loop.") else state
    del holder[part.removeprefix("loop.")]
    torch.save(state, path)
    written, fresh = path.read_bytes(), start()
    before = {name: value.clone() for name, value in fresh.method.state_dict().items()}
    with pytest.raises(ValueError, match=rf"last.ckpt: expected .* without {part}, .* remove the file"):
        fresh.resume(path, "key")
    assert path.read_bytes() == written and fresh.step == 0
    assert all(torch.equal(before[name], value) for name, value in fresh.method.state_dict().items())


def test_a_file_that_holds_no_mapping_is_no_checkpoint(tmp_path: Path):
    torch.save([1, 2], tmp_path / "last.ckpt")
    with pytest.raises(ValueError, match=r"without key, method, ema, optimiser, learning, loop.step"):
        start().resume(tmp_path / "last.ckpt", "key")


def test_every_epoch_shows_each_row_at_most_once_in_another_order():
    training = start(epochs=2)
    list(fit(training, Points(42)))
    seen = training.method.seen
    first, second = torch.cat(seen[:5]), torch.cat(seen[5:])
    assert len(first.unique()) == len(second.unique()) == 40
    assert not torch.equal(first, second)


def test_fewer_rows_than_a_batch_make_one_step_an_epoch():
    records = list(fit(start(epochs=3, batch=64), Points(10)))
    assert [record.step for record in records] == [1, 2, 3]
    assert records[-1].scalars["size"] == 10.0


@pytest.mark.parametrize("clip", [None, 1.0])
def test_a_loss_that_is_not_finite_stops_with_the_step_named(clip: float | None):
    training = start(batch=40, clip=clip)
    with pytest.raises(FloatingPointError, match=r"received nan at step 1 of test; lower lr, set clip"):
        list(fit(training, Points(40, poison=3)))


class Spoiler(Points):
    """Spoils a weight that the loss does not feel in time, as a gradient of the last step may."""

    def __init__(self, training: Training, step: int) -> None:
        super().__init__(40)
        self.training, self.step = training, step

    def spoil(self) -> None:
        with torch.no_grad():
            self.training.method.spare[0] = math.inf

    def batch(self, rows: Tensor, draws: torch.Generator | None = None) -> dict[str, Tensor]:
        if self.training.step == self.step:
            self.spoil()
        return super().batch(rows, draws)


class Averaged(Spoiler):
    def spoil(self) -> None:
        assert self.training.ema is not None
        with torch.no_grad():
            self.training.ema.module.spare[1] = math.nan


def spare(ema: float = 0.9) -> Training:
    """A training with a weight that takes no part in the loss; 5 steps an epoch."""
    method: Any = Line()
    method.spare = nn.Parameter(torch.zeros(2))
    groups = parameter_groups({"body": method.body.parameters()}, method.head.parameters(), weight_decay=0.05)
    return Training(method, groups, FitOptions(3, 8, Schedule(1e-2, 0.1), ema=ema), CPU, 0, ("pretrain", "x"))


@pytest.mark.parametrize(
    ("source", "ema", "what"),
    [
        (Spoiler, 0.0, "in 'spare'"),
        (Spoiler, 0.9, "in 'spare'"),
        (Averaged, 0.9, "in the moving average of 'spare'"),
    ],
)
def test_weights_that_are_not_finite_never_become_a_checkpoint(
    tmp_path: Path, source: type[Spoiler], ema: float, what: str
):
    training, path = spare(ema), tmp_path / "last.ckpt"
    with pytest.raises(
        FloatingPointError,
        match=rf"weights: expected finite .* NaN or infinity {what} in epoch 2 of pretrain/x; use precision=fp32",
    ):
        for _ in fit(training, source(training, 9)):
            training.save(path, "key")
    fresh = spare(ema)
    assert fresh.resume(path, "key") and fresh.step == 5


def test_an_interruption_does_not_save_them_either():
    training = spare()
    with pytest.raises(FloatingPointError, match="in epoch 1 of"):
        list(fit(training, Spoiler(training, 1), stop=lambda: training.step == 3))


def test_a_checkpoint_with_weights_that_are_not_finite_is_not_continued(tmp_path: Path):
    training = spare()
    with torch.no_grad():
        training.method.spare[1] = math.nan
    training.save(tmp_path / "last.ckpt", "key")
    with pytest.raises(
        ValueError, match=r"last.ckpt: expected finite weights, .* in 'spare'; remove the file"
    ):
        spare().resume(tmp_path / "last.ckpt", "key")


def test_the_loop_equals_plain_torch_written_out():
    """Without average, clipping and dropout, against torch's own optimiser on the same order of rows."""
    training = start(epochs=2, ema=0.0)
    training.method.body[3] = nn.Identity()
    list(fit(training, Points(40)))
    assert training.averaged is training.method

    twin = Line()
    twin.body[3] = nn.Identity()
    decayed = [parameter for parameter in twin.parameters() if parameter.ndim > 1]
    plain = [parameter for parameter in twin.parameters() if parameter.ndim <= 1]
    optimiser = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": 0.05}, {"params": plain, "weight_decay": 0.0}], lr=0.0
    )
    points = Points(40)
    for step, rows in enumerate(training.method.seen):
        for group in optimiser.param_groups:
            group["lr"] = Schedule(1e-2, 0.1).rate(step, 10)
        views = twin.views(points.batch(rows), generator(0, "test", "views", step))
        loss = twin.loss(twin(views), views)["loss"]
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    for name, value in twin.state_dict().items():
        torch.testing.assert_close(training.method.state_dict()[name], value, rtol=1e-5, atol=1e-6)


def test_clipping_bounds_the_step():
    """With plain gradients scaled up, Adam hides the norm; so look at the gradient itself."""
    training = start(epochs=1, clip=1e-3, batch=40)
    list(fit(training, Points(40)))
    norm = torch.cat(
        [parameter.grad.flatten() for parameter in training.method.parameters() if parameter.grad is not None]
    ).norm()
    assert norm <= 1.001e-3


def test_the_record_says_how_fast_and_how_long():
    record = next(fit(start(epochs=2), Points(40)))
    assert (record.epoch, record.epochs, record.step, record.steps) == (1, 2, 5, 10)
    assert record.images_per_second > 0 and 0 <= record.loader_share <= 1 and record.seconds_left > 0


class Plain(Line):
    """Without batch-norm, noise and dropout: batches do not see one another."""

    def __init__(self) -> None:
        super().__init__()
        self.body[1] = self.body[3] = nn.Identity()
        self.double()

    def views(self, batch: dict[str, Tensor], generator: torch.Generator) -> dict[str, Tensor]:
        self.seen.append(batch["row"].clone())
        return {"x": batch["x"].double(), "y": batch["y"].double()}


def plain(batch: int, accumulate: int, clip: float | None = None) -> Training:
    method = Plain()
    groups = parameter_groups({"body": method.body.parameters()}, method.head.parameters(), weight_decay=0.05)
    options = FitOptions(3, batch, Schedule(1e-2, 0.2), clip, accumulate=accumulate)
    return Training(method, groups, options, CPU, 0, ("test",))


@pytest.mark.parametrize("clip", [None, 0.1])
def test_accumulated_small_batches_equal_one_large_batch(clip: float | None):
    large, small = plain(16, 1, clip), plain(4, 4, clip)
    list(fit(large, Points(48)))
    list(fit(small, Points(48)))
    for name, value in large.method.state_dict().items():
        torch.testing.assert_close(small.method.state_dict()[name], value, rtol=1e-12, atol=1e-12)


def test_the_last_batches_of_an_epoch_are_averaged_over_their_own_number():
    training = plain(4, 4)
    taken: list[tuple[int, dict[str, Tensor], list[Tensor]]] = []

    def before_step(*_: Any) -> None:
        weights = {name: value.clone() for name, value in training.method.state_dict().items()}
        gradients = [p.grad.clone() for p in training.method.parameters() if p.grad is not None]
        taken.append((len(training.method.seen), weights, gradients))

    training.optimiser.optimizer.register_step_pre_hook(before_step)
    list(fit(training, Points(24)))  # six batches an epoch: four and two
    assert [seen for seen, *_ in taken] == [4, 6, 10, 12, 16, 18]
    for (start, *_), (stop, weights, gradients) in zip([(0,), *taken], taken, strict=False):
        twin, points = Plain(), Points(24)
        twin.load_state_dict(weights)
        views = twin.views(points.batch(torch.cat(training.method.seen[start:stop])), torch.Generator())
        twin.loss(twin(views), views)["loss"].backward()
        for parameter, gradient in zip(twin.parameters(), gradients, strict=True):
            assert parameter.grad is not None
            torch.testing.assert_close(gradient, parameter.grad, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("stop_after", [1, 4, 6, 9])
def test_a_training_that_accumulates_stops_between_updates_and_resumes_to_the_same_bits(
    tmp_path: Path, stop_after: int
):
    whole = start(batch=4, accumulate=3)
    list(fit(whole, Points(40)))  # ten batches an epoch: three updates of three and one of one
    first = start(batch=4, accumulate=3)
    for _ in fit(first, Points(40), lambda: first.step >= stop_after):
        first.save(tmp_path / "last.ckpt", "key")
    assert first.step in (3, 6, 9, 10, 13)
    second = start(batch=4, accumulate=3)
    assert second.resume(tmp_path / "last.ckpt", "key")
    list(fit(second, Points(40)))
    assert same(whole.method, second.method) and same(whole.averaged, second.averaged)


class Thawing(Line):
    """The head learns alone for one epoch; the norm's statistics must not move before its stage learns."""

    def thaw(self, epoch: int) -> set[str]:
        self.still = {"stem"} if epoch < 1 else set()
        if epoch < 2:
            self.still.add("norm")
        return self.still

    def apply_modes(self) -> None:
        for stage, module in (("stem", self.body[0]), ("norm", self.body[1])):
            if stage in self.still:
                module.eval()


def thawing() -> Training:
    method = Thawing()
    stages = {"stem": method.body[0].parameters(), "norm": method.body[1].parameters()}
    groups = parameter_groups(stages, method.head.parameters(), weight_decay=0.05)
    return Training(method, groups, FitOptions(4, 8, Schedule(1e-2, 0.1), ema=0.9), CPU, 0, ("test",))


def test_a_frozen_stage_keeps_weights_and_statistics_until_it_thaws_and_is_not_in_the_optimiser_before():
    training = thawing()
    before = {name: value.clone() for name, value in training.method.state_dict().items()}
    for record in fit(training, Points(40)):
        now = training.method.state_dict()
        moved = {name for name in now if not torch.equal(now[name], before[name])}
        held = {id(parameter) for group in training.optimiser.param_groups for parameter in group["params"]}
        stem, norm = training.method.body[0], training.method.body[1]
        assert ("body.0.weight" in moved) == (record.epoch >= 2) == (id(stem.weight) in held)
        norm_moved = {"body.1.weight", "body.1.running_mean", "body.1.num_batches_tracked"} <= moved
        assert norm_moved == (record.epoch >= 3) == (id(norm.weight) in held)
        assert stem.weight.requires_grad == (record.epoch >= 2)
        assert "head.weight" in moved
        if record.epoch < 3:
            assert not any(name.startswith("body.1") for name in moved)


@pytest.mark.parametrize("stop_after", [3, 5, 7, 10, 12, 15])
def test_a_training_resumed_before_between_and_after_its_thaws_gives_the_same_bits(
    tmp_path: Path, stop_after: int
):
    whole = thawing()
    list(fit(whole, Points(40)))
    first = thawing()
    for _ in fit(first, Points(40), lambda: first.step >= stop_after):
        first.save(tmp_path / "last.ckpt", "key")
    second = thawing()
    assert second.resume(tmp_path / "last.ckpt", "key")
    list(fit(second, Points(40)))
    assert same(whole.method, second.method) and same(whole.averaged, second.averaged)
