"""Train a backbone on a pretext, without labels."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from ..backbones import build_backbone, save_backbone, starting_from
from ..configs.registry import implementation, options_class
from ..configs.schema import Backbone, Pretext
from ..datasets.files import atomic, read_json, write_json
from ..datasets.inputs import Inputs
from ..training.device import Machine
from ..training.fit import FitOptions, Record, Source, Training, fit, to_device
from ..training.interrupt import Interrupted
from ..training.optimiser import parameter_groups
from ..training.randomness import generator, reseed_global
from ..training.resident import resident
from .collapse import Watch
from .filling import column_skill
from .parts import PARTS, keeps_parts, own_state, put_parts, save_parts
from .probing import ProbeRows, embed_first, summary

OUTPUTS = ("backbone.safetensors", "backbone.json", "seen.parquet", "history.json", "preview.png")
COLUMNS = "columns.json"
"""Of a pretext of tables also: how well each column is predicted from the others, see `skill_of_columns`."""
HIDDEN = 4
"""How often cells of a held row are hidden to tell a column's skill."""
PREVIEW_BOARDS = 6
_OWN = "pretext:"
"""Before the names of a pretext's own parts in a snapshot; a module's own names hold no colon."""
MEASURED_ROWS = 64
"""Rows that are measured at a time, unless the pretext asks for another number (`measured_rows`)."""
HEALTH_ROWS = 64
"""Fewest rows whose features are compared, if there are as many: of three pictures that happen to be alike nothing
follows."""


class StoredInputs:
    """All readable inputs of some rows as a source without labels; given a machine, its batches lie on the device."""

    def __init__(self, inputs: Inputs, ids: np.ndarray, machine: Machine | None = None) -> None:
        self.store = inputs.store if machine is None else resident(inputs.store, machine)
        self.positions, _ = inputs.of(ids)

    def __len__(self) -> int:
        return len(self.positions)

    def batch(self, rows: Tensor, draws: torch.Generator | None = None) -> Any:
        """(B, ...) inputs."""
        return self.store.gather(self.positions[rows.numpy()])


@dataclass(frozen=True)
class PretrainWork:
    """Everything one pretraining job reads.

    Attributes:
        options: the pretext's part of the config, scope resolved.
        ids: the rows whose inputs it may see.
        checkpoint: a backbone to start from, or None for `backbone`'s own weights.
        fold: the fold whose validation groups are not among `ids`, or None for all rows.
        probes: the labelled rows that the features are tested on, if there are any.
        probe_every: epochs between two tests; 0: after the last one only.
    """

    options: Pretext
    ids: np.ndarray
    inputs: Inputs
    backbone: Backbone
    checkpoint: Path | None
    fold: int | None
    machine: Machine
    seed: int
    probes: ProbeRows | None = None
    probe_every: int = 0


def pretrain(
    work: PretrainWork,
    folder: Path,
    key: str,
    report: Callable[[Record], None],
    stop: Callable[[], bool] = lambda: False,
    say: Callable[[str], None] = lambda text: None,
) -> None:
    """Train and write the files that `outputs_of` names; a `last.ckpt` of the same key is continued.

    A twentieth of the rows, at most 512, is held out of the training with all their images: every epoch is measured on
    the same boards of them. Every epoch's features are watched for collapse; every `probe_every` epochs, and after the
    last, they are tested on the labelled rows.

    Raises:
        Interrupted: `stop` became true; `last.ckpt` holds everything.
        Collapsed: all inputs get the same features; `last.ckpt` is kept.
        ValueError: fewer readable rows than one training step needs.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if (
        all((folder / name).exists() for name in outputs_of(work))
        and read_json(folder / "backbone.json").get("key") == key
    ):
        return  # killed after its last file and before anyone noted it
    options = work.options
    seen, held = split_held(work)
    training = begin(work)
    method = training.method
    checkpoint = folder / "last.ckpt"
    training.resume(checkpoint, key)
    trained, measured_on = sources(work, method, seen, held, (folder, key, stop))
    watch = Watch(options)
    say_if(watch.judge(_scalars(training)), say)
    compared = compared_rows(seen, held)
    for record in fit(training, trained, stop):
        if record.kind == "epoch":
            measured = measure(method, measured_on, work.machine, work.seed)
            held_scalars = {f"held_{name}": value for name, value in measured.items()}
            features = embed_first(exported(method), work.inputs, compared, work.machine)
            scalars = record.scalars | held_scalars | dict(method.health(features))
            if record.epoch == record.epochs or (work.probe_every and record.epoch % work.probe_every == 0):
                scalars |= probe_scores(work, method, folder, record.epoch)
            record = replace(record, scalars=scalars)
        training.note(record)
        training.save(checkpoint, key)
        report(record)
        if record.kind == "epoch":
            forget_snapshots(folder, best_epoch(training.history))
            say_if(watch.judge(_scalars(training)), say)
        if record.kind == "interrupted" or (stop() and record.step < record.steps):
            raise Interrupted
    weights = None
    if (best := best_epoch(training.history)) is not None:
        weights = take_snapshot(method, snapshot_file(folder, best))
    rows = min(getattr(method, "preview_rows", PREVIEW_BOARDS), len(measured_on))
    shown = measured_on.batch(torch.arange(rows))
    method.eval()
    picture = method.preview(
        to_device(shown, torch.device(work.machine.device)), generator(work.seed, "preview")
    )
    with atomic(folder / "preview.png") as temporary:
        picture.save(temporary, format="PNG")
    write_json(folder / "history.json", training.history)
    card = {
        "pretext": options.model_dump(),
        "scope": options.scope,
        "fold": work.fold,
        "rows": len(seen),
        "seed": work.seed,
        "key": key,
    }
    if best is not None:
        card["snapshot"] = best
    work.inputs.save(folder)
    if keeps_parts(options.kind):
        card["parts"] = save_parts(method, folder)
    if work.inputs.schema_files:
        card["steps"] = [step.model_dump(mode="json") for step in work.backbone.steps]
        write_json(folder / COLUMNS, skill_of_columns(method, measured_on, work.machine, work.seed))
    save_backbone(exported(method), folder, card, seen, weights)
    for name in (checkpoint.name, *getattr(method, "until_finished", ())):
        (folder / name).unlink(missing_ok=True)
    forget_snapshots(folder, None)


def sources(
    work: PretrainWork,
    method: Any,
    seen: np.ndarray,
    held: np.ndarray,
    kept: tuple[Path, str, Callable[[], bool]] | None = None,
) -> tuple[Source, Source]:
    """What is trained on, and what is measured: the inputs of rows, and what a pretext with `sources` puts beside.

    Args:
        work: the job.
        method: its pretext.
        seen, held: the rows of each.
        kept: folder and key for what the pretext finds out of the rows, and what stops it; None: nothing is kept.
    """
    trained, measured_on = (StoredInputs(work.inputs, part, work.machine) for part in (seen, held))
    if not hasattr(method, "sources"):
        return trained, measured_on
    return method.sources(trained, measured_on, *(kept or ()))


def outputs_of(work: PretrainWork) -> tuple[str, ...]:
    """The names of all files that a pretraining leaves."""
    return outputs_with(work.inputs.schema_files, work.options.kind)


def outputs_with(schema_files: Sequence[str], kind: str) -> tuple[str, ...]:
    """The same for a kind of pretext on inputs whose schema is in these files; none are pictures."""
    columns = (*schema_files, COLUMNS) if schema_files else ()
    return (*OUTPUTS, *columns, PARTS) if keeps_parts(kind) else (*OUTPUTS, *columns)


def skill_of_columns(method: Any, source: Source, machine: Machine, seed: int) -> dict[str, float]:
    """What `pretext.filling.column_skill` says of a pretext that predicts cells; {} of another one.

    Args:
        method: as it is after the last epoch.
        source: the held rows.
        machine: where the method is.
        seed: of the hidden cells.
    """
    if not hasattr(method, "compare"):
        return {}
    parts = torch.arange(len(source)).split(512) * HIDDEN
    batches = (to_device(source.batch(rows), torch.device(machine.device)) for rows in parts)
    return column_skill(method, batches, generator(seed, "columns"))


def probe_scores(work: PretrainWork, method: Any, folder: Path, epoch: int) -> dict[str, float]:
    """The scores `probe.<task>.<name>` of the backbone as it is; with `snapshot: probe` its weights are kept too.

    What an epoch is chosen by, `snapshot`, comes from the rows of the other folds among themselves where the pretext
    is one of a fold, and so never from the rows that this fold scores.
    """
    if work.probes is None:
        return {}
    features = embed_first(exported(method), work.inputs, work.probes.ids, work.machine)
    if not bool(torch.isfinite(features).all()):
        return {}  # the watch says so
    scalars = {f"probe.{name}": value for name, value in work.probes.scores(features).items()}
    inner = work.probes.inner() if work.options.snapshot == "probe" else None
    if inner is not None:
        rows = torch.from_numpy(np.isin(work.probes.ids, inner.ids))
        scalars["snapshot"] = summary(inner.scores(features[rows]))
        keep_snapshot(method, work.options.kind, snapshot_file(folder, epoch))
    return scalars


def keep_snapshot(method: Any, kind: str, file: Path) -> None:
    """Write the backbone as it is, and the pretext's own parts where a checkpoint of its kind has them."""
    state = dict(exported(method).core.state_dict())
    if keeps_parts(kind):
        state |= {_OWN + name: value for name, value in own_state(method).items()}
    tensors = {name: value.detach().contiguous().cpu() for name, value in state.items()}
    with atomic(file) as temporary:
        save_file(tensors, temporary)


def take_snapshot(method: Any, file: Path) -> dict[str, Tensor]:
    """The backbone's weights in a snapshot; a pretext of which there are parts becomes again what it was then."""
    tensors = load_file(file)
    parts = {name.removeprefix(_OWN): value for name, value in tensors.items() if name.startswith(_OWN)}
    weights = {name: value for name, value in tensors.items() if not name.startswith(_OWN)}
    if parts:
        exported(method).core.load_state_dict(weights)
        put_parts(method, parts)
    return weights


def best_epoch(history: Sequence[Mapping[str, Any]]) -> int | None:
    """The epoch with the best `snapshot`, of equals the first; None where there is none."""
    found = {each["epoch"]: each["scalars"]["snapshot"] for each in history if "snapshot" in each["scalars"]}
    return max(found, key=lambda epoch: found[epoch]) if found else None


def snapshot_file(folder: Path, epoch: int) -> Path:
    """Where the weights after an epoch wait for a better one."""
    return folder / f"snapshot-{epoch}.safetensors"


def forget_snapshots(folder: Path, best: int | None) -> None:
    """Remove all snapshots but that of the best epoch."""
    for path in folder.glob("snapshot-*.safetensors"):
        if best is None or path != snapshot_file(folder, best):
            path.unlink()


def compared_rows(seen: np.ndarray, held: np.ndarray) -> np.ndarray:
    """The rows whose features are compared: those held out, and trained ones where these are few."""
    count = min(len(seen), max(0, HEALTH_ROWS - len(held)))
    return np.concatenate([held, seen[np.linspace(0, len(seen) - 1, count).astype(int)]])


def say_if(text: str, say: Callable[[str], None]) -> None:
    """Say what there is to say."""
    if text:
        say(text)


def _scalars(training: Training) -> list[dict[str, float]]:
    return [each["scalars"] for each in training.history]


def build_pretext(options: Pretext, backbone: Backbone, takes: Any) -> Any:
    """A pretext on its backbone, which is built for what it will see: the picture, or what `input_size` says."""
    kind, own = implementation(options.kind), options_class(options.kind)(**options.options)
    size = kind.input_size(own, options.size) if hasattr(kind, "input_size") else options.size
    return kind(build_backbone(backbone, takes, size), own, options.size)


def begin(work: PretrainWork) -> Training:
    """The pretext and its optimiser before the first step."""
    options = work.options
    reseed_global(work.seed, "pretrain", options.name, _scope_part(work), "init")
    start = starting_from(work.backbone, work.checkpoint)
    method = build_pretext(options, start, work.inputs.takes)
    backbone = method.backbone
    own = {id(parameter) for parameter in backbone.parameters()}
    head = [parameter for parameter in method.parameters() if id(parameter) not in own]
    fit_options = FitOptions.of(options, kind=work.backbone.kind)
    groups = parameter_groups(
        backbone.stages(),
        head,
        weight_decay=options.rates(fit_options.optimiser, work.backbone.kind)[1],
        decay_all=fit_options.optimiser == "sgd",
        steady=method.steady() if hasattr(method, "steady") else (),
    )
    return Training(
        method,
        groups,
        fit_options,
        work.machine,
        work.seed,
        ("pretrain", options.name, _scope_part(work)),
    )


def exported(method: Any) -> Any:
    """The backbone that a pretext leaves: its teacher, if it has one, or the one that learned."""
    return getattr(method, "exported", method.backbone)


def measure(method: Any, source: Source, machine: Machine, seed: int) -> dict[str, float]:
    """The pretext's own measures on fixed boards of held-out rows; batch-norm uses its running statistics."""
    method.eval()
    size = getattr(method, "measured_rows", MEASURED_ROWS)
    sums: dict[str, float] = {}
    with torch.inference_mode():
        for number, rows in enumerate(torch.arange(len(source)).split(size)):
            draws = generator(seed, "held", number)
            views = method.views(to_device(source.batch(rows, draws), torch.device(machine.device)), draws)
            with machine.autocast():
                outputs = method(views)
            for name, value in method.measure(outputs, views).items():
                sums[name] = sums.get(name, 0.0) + float(value) * len(rows)
    return {name: total / len(source) for name, total in sums.items()}


def split_held(work: PretrainWork) -> tuple[np.ndarray, np.ndarray]:
    """The rows with readable images that are trained on, and those held out to measure the pretext."""
    ids = np.sort(work.ids)
    ids = ids[work.inputs.readable(ids)]
    if len(ids) < 4:
        raise ValueError(
            f"pretext {work.options.name}: expected at least 4 readable images, received {len(ids)}; see `jigstack "
            f"check`"
        )
    count = min(512, max(2, len(ids) // 20))
    order = torch.randperm(len(ids), generator=generator(work.seed, "held", work.options.name)).numpy()
    return np.sort(ids[order[count:]]), np.sort(ids[order[:count]])


def _scope_part(work: PretrainWork) -> str:
    return "all" if work.fold is None else f"fold{work.fold}"
