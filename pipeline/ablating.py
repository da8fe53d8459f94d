"""`jigstack ablate`: was pretraining worth it? One head under several starts, on the same folds, paired."""

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..configs import Config, load_config
from ..datasets.files import atomic, write_json
from ..datasets.predictions import Predictions
from ..scoring.intervals import paired_interval
from ..scoring.metrics import METRICS, Metric
from ..stacking.level2 import seeded
from ..transfer.scores import validated_rows
from .commands import RunResult, run
from .console import Console, duration
from .estimate import estimate
from .ladders import aligned
from .manifest import Manifest
from .stages import Stages
from .starts import RAW_PIXELS, ProbeTable, probe_starts
from .variants import REFERENCE, Plan, Variant, chosen_head, derived, plan_rows, varied
from .workspace import Workspace

AS_CONFIGURED = "as configured"


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        label: the start or setting.
        score: out-of-fold score of the head, None for raw pixels.
        gain: how much better than the reference, in units of the metric (negative: worse); None for the reference.
        low, high: the paired group-bootstrap interval of `gain`.
        folds: fold -> gain.
        probes: `ridge.100` and so on -> score of frozen features.
        minutes: of pretraining.
        tuned: whether the setting was chosen by this very score.
    """

    label: str
    score: float | None
    gain: float | None
    low: float | None
    high: float | None
    folds: dict[int, float]
    probes: dict[str, float]
    minutes: float
    tuned: bool = False


@dataclass(frozen=True)
class Ablation:
    """What each choice was worth.

    Attributes:
        head, measure, unit: what was judged.
        greater_is_better: the direction of the measure.
        rows: the first with a score is the reference.
        sentence: the result in words.
        path: the run directory of the rows.
    """

    head: str
    measure: str
    unit: str
    greater_is_better: bool
    rows: tuple[Row, ...]
    sentence: str
    path: Path

    def table(self) -> list[tuple[str, ...]]:
        """The table as text, headings first."""
        probes = list(dict.fromkeys(name for row in self.rows for name in row.probes))
        heading = (
            "start",
            *(name.replace(".", " ") for name in probes),
            "pretrained",
            f"{self.head}, {self.measure}",
            "gain",
            "95 % interval",
            "gain a fold",
        )
        return [heading, *(_cells(row, probes) for row in self.rows)]


def ablate(
    config: str | Path | dict[str, Any] | Config,
    overrides: Sequence[str] = (),
    *,
    head: str | None = None,
    rows: Sequence[str] | None = None,
    vary: Sequence[str] = (),
    freeze: bool = False,
    full: bool = False,
    smoke: bool = False,
    dry: bool = False,
    quiet: bool = False,
    replace: bool = False,
    allow_plugins: bool = False,
) -> Ablation | None:
    """Fine-tune one head from several starts with the same budget and folds, and compare them pair by pair.

    Args:
        config: as for `run`.
        overrides: `key.path=value` texts.
        head: the task to judge by; None: the first that is a network.
        rows: `scratch`, kinds or names of pretexts, `chained`, checkpoint files; None: scratch, jigsaw, simsiam and
            chained.
        vary: `key=a,b,c` texts: a row for each value of any key of the config, the rest as configured.
        freeze: add the head under each freezing policy.
        full: all folds instead of the first three.
        smoke: 200 rows and one epoch, to see that it works.
        dry: print what would be done and how long it takes, and do nothing.
        quiet: print only the result.
        replace: allow finished trainings to be replaced by ones with other values.
        allow_plugins: load the plug-ins that the config of a run directory names.

    Returns:
        The table; None with `dry`.

    Raises:
        UserError: the config, a row or a key is not as it must be.
        Interrupted: asked to stop; the same command goes on.
    """
    console = Console(quiet)
    base = load_config(config, overrides, allow_plugins=allow_plugins)
    head = chosen_head(base, head)
    plans = [plan_rows(base, head, rows, freeze=freeze, full=full)]
    plans += _varied(base, overrides, config, head, vary, full, allow_plugins)
    if dry or len(plans) > 1 or freeze or full:
        _say_cost(console, plans, smoke)
    if dry:
        return None
    judged: list[_Judged] = []
    for plan in plans:
        result = run(plan.config, until="features", smoke=smoke, quiet=quiet, replace=replace)
        judged += _judge(plan, result, smoke)
    workspace = Workspace(plans[0].config, smoke=smoke)
    probes = probe_starts(workspace, head, plans[0], console)
    ablation = _compare(head, judged, probes, workspace)
    _write(ablation)
    console.say(always=True)
    for line in aligned(ablation.table()):
        console.say(line, always=True)
    console.say(ablation.sentence, always=True)
    console.say(f"table {ablation.path / 'ablation.csv'}", always=True)
    return ablation


@dataclass(frozen=True)
class _Judged:
    """A row's out-of-fold predictions beside the truth, both indexed by id."""

    variant: Variant
    truth: pd.DataFrame
    guesses: pd.DataFrame
    measure: str
    unit: str
    minutes: float
    path: Path


def _varied(
    base: Config,
    overrides: Sequence[str],
    config: Any,
    head: str,
    vary: Sequence[str],
    full: bool,
    allow_plugins: bool,
) -> Iterator[Plan]:
    """One plan for the config as it is, and one for each value of each varied key, each a run of its own."""
    settings = [(key, value) for each in vary for key, values in [varied(each)] for value in values]
    if not settings:
        return
    yield _alone(base, head, AS_CONFIGURED, "as-configured", full)
    for number, (key, value) in enumerate(settings):
        changed = load_config(config, [*overrides, f"{key}={value}"], allow_plugins=allow_plugins)
        yield _alone(changed, head, f"{key}={value}", f"vary{number}", full)


def _alone(config: Config, head: str, label: str, suffix: str, full: bool) -> Plan:
    """The head as a config has it, as the only row."""
    own = config.tasks[head].init
    plan = plan_rows(config, head, [own] if own != REFERENCE else [REFERENCE], full=full)
    kept = plan.variants[-1]
    only = derived(config, plan.config.pretext, {kept.task: plan.config.tasks[kept.task]}, f"ablate-{suffix}")
    return Plan(only, (dataclasses.replace(kept, label=label),))


def _say_cost(console: Console, plans: Sequence[Plan], smoke: bool) -> None:
    """How many trainings there are, and their hours: those that several rows share are counted once."""
    seconds: dict[str, float] = {}
    for plan in plans:
        workspace = Workspace(plan.config, smoke=smoke)
        stages = Stages(workspace)
        done = Manifest(workspace.run_path)
        missing = [stage for stage in stages if not done.done(stage)]
        cost = estimate(stages, missing).seconds
        seconds |= {stage.key: cost[stage.name] for stage in missing if stage.name in cost}
    console.say(
        f"{sum(len(plan.variants) for plan in plans)} rows, about {duration(sum(seconds.values()))} on this machine "
        f"({sum(seconds.values()) / 3600:.1f} hours) for what is not finished yet",
        always=True,
    )


def _judge(plan: Plan, result: RunResult, smoke: bool) -> Iterator[_Judged]:
    """Read the rows of one finished run."""
    workspace = Workspace(plan.config, smoke=smoke)
    stages, manifest = Stages(workspace), Manifest(result.path)
    for variant in plan.variants:
        target = workspace.targets[variant.task]
        predictions = Predictions.read(result.path / "predictions" / f"{variant.task}.parquet")
        truth, guesses = validated_rows(predictions, target, workspace.frame, workspace.plan)
        measure, unit = next(iter(target.measures.items()))
        seconds = sum(
            manifest.entries[stage.name].seconds
            for stage in stages.pretrain
            if stage.job.name in _behind(plan.config, variant.init) and stage.name in manifest.entries
        )
        yield _Judged(variant, truth, guesses, measure, unit, seconds / 60, result.path)


def _behind(config: Config, init: str) -> set[str]:
    """The pretexts that a start rests on."""
    by_name = {pretext.name: pretext for pretext in config.pretext}
    names: set[str] = set()
    while init in by_name:
        names.add(init)
        init = str(by_name[init].init)
    return names


def _compare(head: str, judged: Sequence[_Judged], probes: ProbeTable, workspace: Workspace) -> Ablation:
    """Pair every row with the first, on the rows that both predicted."""
    first = judged[0]
    metric = METRICS[first.measure]
    sign = 1.0 if metric.greater_is_better else -1.0
    rows = (
        [Row(RAW_PIXELS, None, None, None, None, {}, probes[RAW_PIXELS], 0.0)] if RAW_PIXELS in probes else []
    )
    for each in judged:
        own = probes.get(each.variant.init, {})
        score = metric.function(*_arrays(metric, each, each.guesses.index))
        if each is first:
            rows.append(Row(each.variant.label, score, None, None, None, {}, own, each.minutes))
            continue
        ids = each.guesses.index.intersection(first.guesses.index)
        truth, guesses = _arrays(metric, each, ids)
        _, reference = _arrays(metric, first, ids)
        groups = np.asarray(workspace.plan.group_of(ids)).astype(str)
        draws = seeded(workspace.config.seed, "ablate", head)
        gap = paired_interval(metric, truth, guesses, reference, groups, draws)
        low, high = sorted((sign * gap.low, sign * gap.high))
        folds = workspace.plan.fold_of(ids)
        gains = {
            int(fold): sign
            * (
                metric.function(truth[folds == fold], guesses[folds == fold])
                - metric.function(truth[folds == fold], reference[folds == fold])
            )
            for fold in np.unique(folds)
        }
        gain = sign * (metric.function(truth, guesses) - metric.function(truth, reference))
        rows.append(Row(each.variant.label, score, gain, low, high, gains, own, each.minutes))
    sentence = _sentence(head, first.measure, rows)
    return Ablation(
        head, first.measure, first.unit, metric.greater_is_better, tuple(rows), sentence, first.path
    )


def _arrays(metric: Metric, each: _Judged, ids: pd.Index) -> tuple[np.ndarray, np.ndarray]:
    """Truth and predictions of some rows as the metric wants them."""
    truth = each.truth.loc[ids].to_numpy()
    return (truth.argmax(axis=1) if metric.kind == "probability" else truth), each.guesses.loc[ids].to_numpy()


def _sentence(head: str, measure: str, rows: Sequence[Row]) -> str:
    """Which row won, by how much, and whether the probes would have chosen otherwise."""
    reference = next(row for row in rows if row.score is not None)
    paired = [row for row in rows if row.gain is not None]
    if not paired:
        return f"Only {reference.label} was trained: nothing to compare."
    best = max(paired, key=lambda row: row.gain or 0.0)
    assert best.gain is not None and best.low is not None and best.high is not None
    where = f"{best.gain:+.4f} {measure} (interval {best.low:+.4f} to {best.high:+.4f})"
    if best.low > 0:
        said = f"{best.label} was worth it: better than {reference.label} by {where} for {head}"
    elif best.high < 0:
        said = f"Nothing was worth it: the best, {best.label}, is worse than {reference.label}: {where} for {head}"
    else:
        said = f"No difference beyond noise: {best.label}, the best, is at {where} of {reference.label} for {head}"
    cost = f", for {best.minutes:.1f} minutes of pretraining" if best.minutes else ""
    probed = [row for row in rows if row.gain is not None or row is reference]
    name = next((name for row in probed for name in row.probes if name == "ridge.all"), None)
    if name is None or not all(name in row.probes for row in probed):
        return f"{said}{cost}."
    favourite = max(probed, key=lambda row: row.probes[name])
    winner = best if (best.gain or 0.0) > 0 else reference
    if favourite.label == winner.label:
        return f"{said}{cost}. The ridge probe agrees."
    return (
        f"{said}{cost}. The ridge probe would have chosen {favourite.label}: believe the fine-tuned score, since that "
        "is what you will use."
    )


def _cells(row: Row, probes: Sequence[str]) -> tuple[str, ...]:
    """One line of the table."""

    def number(value: float | None, sign: str = "") -> str:
        return "–" if value is None else f"{value:{sign}.4f}"

    interval = "–" if row.low is None or row.high is None else f"{row.low:+.4f} to {row.high:+.4f}"
    return (
        row.label + (" (tuned)" if row.tuned else ""),
        *(number(row.probes.get(name)) for name in probes),
        f"{row.minutes:.1f} min" if row.minutes else "–",
        number(row.score),
        number(row.gain, "+"),
        interval,
        " ".join(f"{gain:+.3f}" for gain in row.folds.values()) or "–",
    )


def _write(ablation: Ablation) -> None:
    """`ablation.json` and `ablation.csv` in the run directory of the rows."""
    content = {name: value for name, value in asdict(ablation).items() if name != "path"}
    write_json(ablation.path / "ablation.json", content)
    frame = pd.DataFrame(
        [
            {
                "start": row.label,
                **row.probes,
                "pretraining_minutes": row.minutes,
                "score": row.score,
                "gain": row.gain,
                "low": row.low,
                "high": row.high,
                **{f"gain_fold{fold}": gain for fold, gain in row.folds.items()},
                "tuned": row.tuned,
            }
            for row in ablation.rows
        ]
    )
    with atomic(ablation.path / "ablation.csv") as temporary:
        frame.to_csv(temporary, index=False)
