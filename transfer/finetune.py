"""Fine-tune the heads of one network on one fold, always restarted from the same checkpoint."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from safetensors.torch import load_file, save_file

from ..backbones import build_backbone, from_card, refuse_not_finite, starting_from
from ..configs.rates import shares
from ..configs.schema import Backbone, Task, Transfer
from ..datasets.files import atomic, read_json, write_json
from ..datasets.folds import FoldPlan
from ..datasets.inputs import Inputs
from ..datasets.targets import Target, restore_target
from ..training.device import Machine
from ..training.fit import FitOptions, Record, Training, batches, fit, to_device
from ..training.interrupt import Interrupted
from ..training.optimiser import parameter_groups
from ..training.randomness import reseed_global
from .calibration import calibrate
from .network import HeadNetwork
from .rows import LabelledInputs

REFIT = -1  # the fold number of a network trained on all labelled rows


@dataclass(frozen=True)
class FoldWork:
    """Everything one fine-tuning job reads.

    Attributes:
        network: its name, of which the random draws are a function.
        tasks: the heads; they agree in everything but their target.
        targets: the coding of each task, without statistics.
        fold: the fold whose validation rows stay unseen, or `REFIT`.
        frame: the labelled rows, indexed by id.
        inputs: the pictures, or the table, of all rows.
        backbone: the config's section; of several whose features are joined name -> section.
        checkpoint: a pretrained backbone, or None for `backbone`'s own weights; joined ones name theirs as weights.
    """

    network: str
    tasks: Mapping[str, Task]
    targets: Mapping[str, Target]
    fold: int
    frame: pd.DataFrame
    plan: FoldPlan
    inputs: Inputs
    backbone: Backbone | Mapping[str, Backbone]
    checkpoint: Path | None
    transfer: Transfer
    machine: Machine
    seed: int

    @property
    def shared(self) -> Task:
        """The options all tasks of the network agree on."""
        return next(iter(self.tasks.values()))

    @property
    def section(self) -> Backbone | Mapping[str, Backbone]:
        """What the network is built from: the section, or sections, with the weights to start from."""
        if isinstance(self.backbone, Mapping):
            return self.backbone
        return starting_from(self.backbone, self.checkpoint)

    @property
    def kinds(self) -> list[str]:
        """The kind of the backbone, or of each that is joined."""
        sections = self.backbone.values() if isinstance(self.backbone, Mapping) else [self.backbone]
        return [section.kind for section in sections]

    def training_ids(self) -> np.ndarray:
        """The fold's training rows (all rows for a refit) that have a readable input and carry any of the labels."""
        ids = self.frame.index.to_numpy() if self.fold == REFIT else self.plan.train_ids(self.fold)
        ids = ids[self.inputs.readable(ids)]
        frame = self.frame.loc[ids]
        truths = [np.isfinite(target.truth(frame)).any(axis=1) for target in self.targets.values()]
        labelled = np.logical_or.reduce(truths)
        if labelled.sum() < 2:
            raise ValueError(
                f"network {self.network}, fold {self.fold}: expected at least two labelled, readable training rows, "
                f"received {int(labelled.sum())}"
            )
        return ids[labelled]

    def fit_ids(self) -> tuple[np.ndarray, np.ndarray]:
        """The rows that are trained on, and those held out of them for early stopping (none without it)."""
        ids = self.training_ids()
        if (stopping := self.shared.early_stopping) is None:
            return ids, ids[:0]
        return self.plan.inner_split(ids, stopping.share, self.seed)


def finetune_fold(
    work: FoldWork,
    folder: Path,
    key: str,
    report: Callable[[Record], None],
    stop: Callable[[], bool] = lambda: False,
) -> None:
    """Train the networks of one fold and write `head*.safetensors`, `head.json` and `history.json`.

    A `last.ckpt` of the same key in `folder` is continued; it is removed when the work is done.

    Raises:
        Interrupted: `stop` became true; `last.ckpt` holds everything.
        ValueError: no labelled rows, or a freeze name that the backbone lacks.
    """
    folder.mkdir(parents=True, exist_ok=True)
    ids, held = work.fit_ids()
    stopping = work.shared.early_stopping
    rows = work.frame.loc[ids]
    targets = {name: target.fit(rows) for name, target in work.targets.items()}
    histories = folder / "history.json"
    history: dict[str, list[dict[str, Any]]] = {}
    card: dict[str, Any] = {}
    for number in range(work.transfer.seeds):
        training = begin(work, targets, number)
        card = training.method.backbone.card()
        path = folder / _weights(number)
        if path.exists() and _belongs(path, key):
            history[str(number)] = read_json(histories)[str(number)]
            continue
        best = _Best(folder / f"best{number}.safetensors", f"{key}/{number}")
        _train(work, training, best, ids, held, folder / "last.ckpt", report, stop)
        history[str(number)] = training.history
        write_json(histories, history)  # before the weights: who finds these finds their history
        network = training.averaged
        if stopping:
            network.load_state_dict(best.weights())
        calibrate(network, labelled(work, ids, targets), work.machine)
        _save_weights(network.state_dict(), path, key)
        best.remove()
    work.inputs.save(folder)
    write_json(
        folder / "head.json",
        {
            "targets": {name: target.state() for name, target in targets.items()},
            "card": card,
            "rows": len(ids),
            "absent_classes": {
                name: missing for name, target in targets.items() if (missing := target.absent(rows))
            },
        },
    )
    for leftover in ("last.ckpt", *(path.name for path in folder.glob("best*"))):
        (folder / leftover).unlink(missing_ok=True)


def _train(
    work: FoldWork,
    training: Training,
    best: "_Best",
    ids: np.ndarray,
    held: np.ndarray,
    checkpoint: Path,
    report: Callable[[Record], None],
    stop: Callable[[], bool],
) -> None:
    """Train one network to the end, or until the held rows have not improved for `patience` epochs."""
    targets, stopping = training.method.targets, work.shared.early_stopping
    source, watched = (labelled(work, part, targets) for part in (ids, held))
    training.resume(checkpoint, best.key)
    if stopping is not None and best.waited(len(training.history)) >= stopping.patience:
        return  # it had stopped already when it was killed
    for record in fit(training, source, stop):
        if stopping is not None and record.kind == "epoch":
            loss = held_loss(training.averaged, watched, work.machine)
            record = replace(record, scalars={**record.scalars, "held_loss": loss})
            best.see(record.epoch, loss, training.averaged)
        training.note(record)
        training.save(checkpoint, best.key)
        report(record)
        if record.kind == "interrupted" or (stop() and record.step < record.steps):
            raise Interrupted
        if stopping is not None and best.waited(record.epoch) >= stopping.patience:
            return


def labelled(work: FoldWork, ids: np.ndarray, targets: Mapping[str, Target]) -> LabelledInputs:
    """Rows with their encoded targets."""
    rows = work.frame.loc[ids]
    encoded = {name: target.encode(rows) for name, target in targets.items()}
    return LabelledInputs(work.inputs, ids, encoded, work.machine)


def start_network(work: FoldWork, targets: Mapping[str, Target], number: int = 0) -> HeadNetwork:
    """The network before its first step: the checkpoint's backbone and heads that predict the mean."""
    shared = work.shared
    reseed_global(work.seed, "finetune", work.network, work.fold, number, "init")
    return HeadNetwork(
        build_backbone(work.section, work.inputs.takes, shared.size),
        targets,
        size=shared.size,
        augment=shared.augment,
        weights={name: task.weight for name, task in work.tasks.items()},
        frozen=shared.freeze,
        unfreeze=shared.unfreeze,
    )


def begin(work: FoldWork, targets: Mapping[str, Target], number: int = 0) -> Training:
    """The network and its optimiser before the first step; `number` counts networks of different seeds."""
    shared, network = work.shared, start_network(work, targets, number)
    groups = _groups(network, shared, work.kinds)
    options = FitOptions.of(shared, work.transfer.ema, work.kinds)
    return Training(
        network, groups, options, work.machine, work.seed, ("finetune", work.network, work.fold, number)
    )


def _groups(network: HeadNetwork, shared: Task, kinds: Sequence[str]) -> list[dict]:
    """The optimiser's groups; of joined backbones each part's, with its own share of the rate and from its own top."""
    decay = shared.rates(kind=kinds)[1]
    heads, backbone = network.heads.parameters(), network.backbone
    if backbone.modality != "joined":
        return parameter_groups(backbone.stages(), heads, weight_decay=decay, layer_decay=shared.layer_decay)
    groups = parameter_groups({}, heads, weight_decay=decay)
    for (name, part), (rate, own) in zip(backbone.parts.items(), shares(kinds), strict=True):
        stages = {f"{name}.{stage}": parameters for stage, parameters in part.stages().items()}
        found = parameter_groups(stages, [], weight_decay=decay * own, layer_decay=shared.layer_decay)
        groups += [{**group, "scale": group["scale"] * rate} for group in found]
    return groups


def load_networks(folder: Path, work: FoldWork) -> list[HeadNetwork]:
    """The finished networks of one fold, one a seed, with the statistics they were trained with.

    Raises:
        ValueError: weights are not finite; the message names the file.
    """
    card = read_json(folder / "head.json")
    targets = {name: restore_target(state) for name, state in card["targets"].items()}
    networks = []
    for number in range(work.transfer.seeds):
        network = HeadNetwork(
            from_card(card["card"]),
            targets,
            size=work.shared.size,
            augment=work.shared.augment,
            weights={name: task.weight for name, task in work.tasks.items()},
        )
        weights = load_file(folder / _weights(number))
        refuse_not_finite(folder / _weights(number), network, weights)
        network.load_state_dict(weights)
        networks.append(network)
    return networks


def held_loss(network: Any, source: LabelledInputs, machine: Machine) -> float:
    """Mean loss on rows that are not trained on, their first input as it is, for early stopping."""
    network.eval()
    total = 0.0
    with torch.inference_mode():
        for part in batches(len(source), 256):
            batch = source.batch(part)
            with machine.autocast():
                outputs = network.view_outputs(
                    to_device(batch["inputs"], torch.device(machine.device)), ["identity"]
                )
            targets = {name: values.to(machine.device) for name, values in batch["targets"].items()}
            flat = {name: output[:, 0] for name, output in outputs.items()}
            total += float(network.loss(flat, {"targets": targets})["loss"]) * len(part)
    return total / len(source)


class _Best:
    """The best weights so far by the held rows; what it knows lies in a file, so that a resumed run knows it too."""

    def __init__(self, path: Path, key: str) -> None:
        self.path, self.key = path, key
        self.memory = path.with_suffix(".json")
        known = read_json(self.memory) if self.memory.exists() else {}
        self.epoch, self.loss = (
            (known["epoch"], known["loss"]) if known.get("key") == key else (0, float("inf"))
        )

    def see(self, epoch: int, loss: float, network: torch.nn.Module) -> None:
        if loss < self.loss:
            self.epoch, self.loss = epoch, loss
            _save_weights(network.state_dict(), self.path, self.key)
            write_json(self.memory, {"key": self.key, "epoch": epoch, "loss": loss})

    def waited(self, epoch: int) -> int:
        return epoch - self.epoch

    def weights(self) -> dict[str, torch.Tensor]:
        return load_file(self.path)

    def remove(self) -> None:
        self.path.unlink(missing_ok=True)
        self.memory.unlink(missing_ok=True)


def _weights(number: int) -> str:
    return "head.safetensors" if number == 0 else f"head.seed{number}.safetensors"


def weight_files(seeds: int) -> Iterator[str]:
    """Names of the weight files that `finetune_fold` writes."""
    return map(_weights, range(seeds))


def _save_weights(weights: Mapping[str, torch.Tensor], path: Path, key: str) -> None:
    plain = {name: value.detach().cpu().contiguous() for name, value in weights.items()}
    with atomic(path) as temporary:
        save_file(plain, temporary, metadata={"key": key})


def _belongs(path: Path, key: str) -> bool:
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        return (file.metadata() or {}).get("key") == key
