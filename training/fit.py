"""The one training loop: pretexts and heads share it, and the whole step is visible on one screen."""

import math
import pickle
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from timm.utils.model_ema import ModelEmaV3
from torch import Tensor, nn

from ..backbones.finite import not_finite
from ..configs.schema import Optimisation, Pretext
from ..datasets.files import atomic
from ..datasets.findings import name_some
from .compiling import said_clearly
from .device import Machine
from .optimiser import Optimiser, make_optimiser, set_learning_rate
from .randomness import generator, reseed_global
from .schedule import Schedule
from .taps import blind_taps, mend

Batch = dict[str, Any]


class Source(Protocol):
    """Rows in memory or mapped: index `i` of a batch is the row `rows[i]`."""

    def __len__(self) -> int: ...

    def batch(self, rows: Tensor, draws: torch.Generator | None = None) -> Batch:
        """The tensors of the given rows, on the CPU or the device; what a row leaves to chance comes from `draws`."""
        ...


class Method(Protocol):
    """What pretexts and head networks have in common; all three parts work on whole batches on the device."""

    def views(self, batch: Batch, generator: torch.Generator) -> Batch:
        """Augmented float32 inputs and encoded targets; outside autocast and outside the wrapped module."""
        ...

    def forward(self, views: Batch) -> Any:
        """The only call through the wrapped module, under autocast."""
        ...

    def loss(self, outputs: Any, views: Batch) -> dict[str, Tensor]:
        """`loss` and further scalars to log, in float32."""
        ...


@dataclass(frozen=True)
class FitOptions:
    """What the loop needs to know. `epochs` are passes over the source, `ema` 0 keeps no average.

    The gradients of `accumulate` batches are averaged before the weights change; at the end of an epoch of fewer.
    """

    epochs: int
    batch: int
    schedule: Schedule
    clip: float | None = None
    ema: float = 0.0
    accumulate: int = 1
    optimiser: Optimiser = "adamw"

    @classmethod
    def of(cls, options: Optimisation, ema: float = 0.0, kind: str | Sequence[str] = "timm") -> "FitOptions":
        """From the part of the config that every trained stage has; `kind` is that of the backbone, or of several."""
        own = options.optimiser if isinstance(options, Pretext) else "adamw"
        if own == "auto":
            raise ValueError("optimiser: expected a resolved config, received 'auto'; make a Workspace first")
        schedule = Schedule(options.rates(own, kind)[0], options.warmup, options.schedule, options.restarts)
        return cls(options.epochs, options.batch, schedule, options.clip, ema, options.accumulate, own)


@dataclass(frozen=True)
class Record:
    """One line of the log: an epoch that ended, or an interruption between two steps; `steps` counts batches.

    `compile_seconds` is what the compiling step took, the first one and the first after each thaw; speed and time left
    are without it.
    """

    kind: str
    epoch: int
    epochs: int
    step: int
    steps: int
    scalars: dict[str, float]
    lr: float
    seconds: float
    images_per_second: float
    loader_share: float
    seconds_left: float
    compile_seconds: float = 0.0


@dataclass
class Training:
    """A method being trained: its weights, their moving average, its optimiser and the next step.

    A method with a `thaw(epoch)` says which stages stay as they are in an epoch; the optimiser gets the others, and
    each of the rest when it thaws. A method with a `follow(share)` is told after each change of the weights which share
    of the training is done: its teacher then follows.

    Attributes:
        method: an `nn.Module` that is a `Method`.
        groups: parameter groups with a `scale` each (`parameter_groups`).
        names: the stage, task and fold, from which all draws are seeded.
        history: one entry a finished epoch; it travels with the checkpoint.
    """

    method: Any
    groups: list[dict]
    options: FitOptions
    machine: Machine
    seed: int
    names: tuple[str | int, ...]
    step: int = 0
    sums: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    history: list[dict[str, Any]] = field(default_factory=list)
    ema: ModelEmaV3 | None = None
    compiled: bool = False
    blind: list[tuple[Tensor, Tensor]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.machine.lay_out(self.method)
        frozen = self._still(0)
        self.waiting = [group for group in self.groups if group["stage"] in frozen]
        for group in self.waiting:
            freeze(group["params"])
        # The optimiser is made before Fabric wraps the module: both hold the same parameters.
        fabric = self.machine.fabric()
        learning = [group for group in self.groups if group["stage"] not in frozen]
        # Fabric wraps the method and compiles what it wrapped; `method` itself stays eager, with its own names.
        module = torch.compile(self.method, dynamic=False) if self.machine.compile else self.method
        optimiser = make_optimiser(self.options.optimiser, learning)
        self.wrapped, self.optimiser = fabric.setup(module, optimiser)  # pyright: ignore[reportArgumentType]
        self.fabric = fabric
        if self.options.ema > 0:
            # The warm-up of the decay lets short trainings forget their first weights.
            self.ema = ModelEmaV3(self.method, decay=self.options.ema, use_warmup=True)

    @property
    def averaged(self) -> Any:
        """The method with the weights that predict: the moving average, or the last weights without one."""
        return self.method if self.ema is None else self.ema.module

    def begin_epoch(self, epoch: int) -> None:
        """Let the stages learn that are to learn from this epoch on, and put all that stays frozen to eval."""
        self._learn({group["stage"] for group in self.waiting} - self._still(epoch))
        self.method.train()  # whoever took the last record may have evaluated
        if hasattr(self.method, "apply_modes"):
            self.method.apply_modes()

    def forward(self, views: Batch) -> Any:
        """Outputs of the wrapped method under autocast; the first call of a compiled one compiles it."""
        if self.machine.compile and not self.compiled:
            if self.machine.taps_unwritten:
                names = dict(self.method.named_parameters())
                found = blind_taps(self.method, lambda trial: self._plainly(trial, views))
                self.blind = [(names[name], mask) for name, mask in found]
            with said_clearly():
                outputs = self._plainly(self.wrapped, views)
            self.compiled = True
            return outputs
        return self._plainly(self.wrapped, views)

    def _plainly(self, module: Any, views: Batch) -> Any:
        with self.machine.autocast():
            return module(views)

    def update(self, rate: float) -> None:
        """Change the weights by the gradients, clipped if the options say so."""
        mend(self.blind)
        set_learning_rate(self.optimiser, rate, self.options.schedule.peak)
        if self.options.clip is not None:
            self.fabric.clip_gradients(
                self.wrapped, self.optimiser, max_norm=self.options.clip, error_if_nonfinite=False
            )
        self.optimiser.step()

    def _still(self, epoch: int) -> set[str]:
        """The stages that do not learn in an epoch."""
        return set(self.method.thaw(epoch)) if hasattr(self.method, "thaw") else set()

    def _learn(self, stages: set[str]) -> None:
        for group in [group for group in self.waiting if group["stage"] in stages]:
            self.compiled = False  # other gradients are asked for: the next step compiles anew
            for parameter in group["params"]:
                parameter.requires_grad_(True)
            self.optimiser.optimizer.add_param_group({**group, "lr": 0.0})
        self.waiting = [group for group in self.waiting if group["stage"] not in stages]

    def save(self, path: Path, key: str) -> None:
        """Write weights, average, optimiser and loop state; `key` names the work they belong to."""
        state = {
            "key": key,
            "method": self.method.state_dict(),
            "ema": None if self.ema is None else self.ema.module.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "learning": [group["stage"] for group in self.optimiser.param_groups],
            "loop": {"step": self.step, "sums": self.sums, "seconds": self.seconds, "history": self.history},
        }
        with atomic(path) as temporary:
            torch.save(state, temporary)

    def note(self, record: "Record") -> None:
        """Keep the record of a finished epoch."""
        if record.kind == "epoch":
            self.history.append(asdict(record))

    def resume(self, path: Path, key: str) -> bool:
        """Go on from a checkpoint of the same work; False if there is none.

        Raises:
            ValueError: the file is damaged, lacks a part, as another version may have written it, or holds weights that
                are not finite; it stays as it is.
        """
        if not path.exists():
            return False
        try:
            state = torch.load(path, map_location=self.machine.device, weights_only=True)
        except (RuntimeError, EOFError, LookupError, ValueError, TypeError, pickle.UnpicklingError) as error:
            raise ValueError(
                f"{path}: expected a checkpoint, received a damaged file ({error}); remove it to start this stage anew"
            ) from error
        if missing := _missing(state):
            raise ValueError(
                f"{path}: expected a checkpoint of this version, received one without {', '.join(missing)}, which "
                "another version wrote; go on with that version, or remove the file to train this stage anew (finished "
                "stages stay)"
            )
        if state["key"] != key:
            return False
        self.method.load_state_dict(state["method"])
        if self.ema is not None:
            self.ema.module.load_state_dict(state["ema"])
        for stage in state["learning"]:  # in the order in which they thawed
            self._learn({stage})
        self.optimiser.load_state_dict(state["optimiser"])
        for name, value in state["loop"].items():
            setattr(self, name, value)
        if spoilt := self._spoilt():
            raise ValueError(
                f"{path}: expected finite weights, received {spoilt}; remove the file to train this stage anew"
            )
        return True

    def check_finite(self, epoch: int) -> None:
        """Let no weights become a checkpoint that are not numbers; the loss of the next step would say so too late.

        Raises:
            FloatingPointError: a weight or its moving average is NaN or infinite; the message names some.
        """
        if spoilt := self._spoilt():
            raise FloatingPointError(
                f"weights: expected finite numbers, received {spoilt} in epoch {epoch} of "
                f"{'/'.join(map(str, self.names))}; use precision=fp32, a smaller lr or a larger size. "
                "The last checkpoint is from before this epoch."
            )

    def _spoilt(self) -> str:
        """Which weights are not finite, in words; nothing if all are."""
        if names := not_finite(self.method):
            return f"NaN or infinity in {name_some(names)}"
        if self.ema is not None and (names := not_finite(self.ema.module)):
            return f"NaN or infinity in the moving average of {name_some(names)}"
        return ""


def fit(training: Training, source: Source, stop: Callable[[], bool] = lambda: False) -> Iterator[Record]:
    """Train to the end, yielding one record for each finished epoch.

    The order of the rows, the augmentation and dropout are functions of (seed, names, step), so a training resumed at
    any step goes on exactly as if it had not been interrupted.

    Args:
        training: its `step` says where to start.
        source: N rows; a last batch of fewer than `batch` rows is left to the next epoch's order.
        stop: asked after each step; when true, an `interrupted` record is yielded and the loop ends.

    Raises:
        FloatingPointError: the loss is not finite, or a weight at the end of an epoch; the message names the step or
            the weight.
    """
    options, machine, names, seed = training.options, training.machine, training.names, training.seed
    size = min(options.batch, len(source))
    per_epoch = len(source) // size
    steps = options.epochs * per_epoch
    updates_per_epoch = -(-per_epoch // options.accumulate)
    order = None
    started, begun_at, loading, compile_seconds = time.perf_counter(), training.step, 0.0, 0.0
    device = torch.device(machine.device)
    check_every = 1 if machine.kind == "cpu" else 20  # reading a loss waits for the device
    unread: list[dict[str, Tensor]] = []
    rate = 0.0

    while training.step < steps:
        epoch, at = divmod(training.step, per_epoch)
        first = at - at % options.accumulate  # of the batches whose gradients are averaged
        together = min(options.accumulate, per_epoch - first)
        update = epoch * updates_per_epoch + at // options.accumulate
        if order is None or at == 0:
            training.begin_epoch(epoch)
            order = torch.randperm(len(source), generator=generator(seed, *names, "order", epoch))
        reseed_global(seed, *names, "step", training.step)
        draws = generator(seed, *names, "views", training.step)  # on the CPU: the same draws on every device

        fetched = time.perf_counter()
        batch = to_device(source.batch(order[at * size : (at + 1) * size], draws), device)
        loading += time.perf_counter() - fetched

        views = training.method.views(batch, draws)
        compiling = time.perf_counter() if machine.compile and not training.compiled else None
        outputs = training.forward(views)
        losses = training.method.loss(outputs, views)
        if at == first:
            training.optimiser.zero_grad()
        training.fabric.backward(losses["loss"] / together)
        if compiling is not None:
            compile_seconds = time.perf_counter() - compiling  # backward is compiled when it first runs
        training.step += 1
        complete = at + 1 == first + together
        if complete:
            rate = options.schedule.rate(update, options.epochs * updates_per_epoch)
            training.update(rate)
            if training.ema is not None:
                training.ema.update(training.method, step=update + 1)
            if hasattr(training.method, "follow"):
                training.method.follow((update + 1) / (options.epochs * updates_per_epoch))

        unread.append({name: value.detach() for name, value in losses.items()})
        done = training.step % per_epoch == 0
        interrupted = complete and not done and stop()
        if done or interrupted or len(unread) >= check_every:
            _read(unread, training)
        if done or interrupted:
            training.check_finite(epoch + 1)
            spent = time.perf_counter() - started
            stepping = spent - compile_seconds
            taken = training.step - begun_at
            count = training.step - epoch * per_epoch
            training.seconds += spent
            scalars = {name: value / count for name, value in training.sums.items()}
            if done:
                training.sums = {}  # before the yield: a checkpoint taken there starts the next epoch
            yield Record(
                kind="epoch" if done else "interrupted",
                epoch=epoch + 1,
                epochs=options.epochs,
                step=training.step,
                steps=steps,
                scalars=scalars,
                lr=rate,
                seconds=training.seconds,
                images_per_second=taken * size / stepping,
                loader_share=loading / stepping,
                seconds_left=(steps - training.step) * stepping / taken,
                compile_seconds=compile_seconds,
            )
            if interrupted or (done and stop()):
                return
            started, begun_at, loading, compile_seconds = time.perf_counter(), training.step, 0.0, 0.0


def _missing(state: Any) -> list[str]:
    """The parts that `Training.save` writes and a checkpoint lacks."""
    state = state if isinstance(state, dict) else {}
    loop = state.get("loop")
    wanted = ["key", "method", "ema", "optimiser", "learning"]
    return [name for name in wanted if name not in state] + [
        f"loop.{name}"
        for name in ("step", "sums", "seconds", "history")
        if not isinstance(loop, dict) or name not in loop
    ]


def _read(unread: list[dict[str, Tensor]], training: Training) -> None:
    """Add the waiting scalars to the epoch's sums, and stop at the first loss that is not finite."""
    first = training.step - len(unread) + 1
    for offset, scalars in enumerate(unread):
        for name, value in scalars.items():
            number = float(value)
            if name == "loss" and not math.isfinite(number):
                raise FloatingPointError(
                    f"loss: expected a finite number, received {number} at step {first + offset} of "
                    f"{'/'.join(map(str, training.names))}; lower lr, set clip (1.0) or use precision=fp32. "
                    "The last checkpoint is from before this epoch."
                )
            training.sums[name] = training.sums.get(name, 0.0) + number
    unread.clear()


def to_device(value: Any, device: torch.device) -> Any:
    """A tensor, or all tensors of nested mappings, on a device."""
    if isinstance(value, Tensor):
        return value.to(device, non_blocking=True)
    if isinstance(value, dict):
        return {name: to_device(part, device) for name, part in value.items()}
    return value


def batches(count: int, size: int) -> Sequence[Tensor]:
    """Consecutive row indices in batches, the last one shorter: for evaluation and prediction."""
    return torch.arange(count).split(size)


def freeze(parameters: Sequence[nn.Parameter]) -> None:
    """Ask for no gradient: the optimiser then never sees these parameters."""
    for parameter in parameters:
        parameter.requires_grad_(False)
