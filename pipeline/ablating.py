"""`jigstack ablate`: was pretraining worth it? One head under several starts, on the same folds, paired."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from ..configs import Config, load_config
from ..configs.errors import UserError
from ..datasets.files import atomic, digest, write_json
from ..stacking.level2 import seeded
from .commands import run
from .console import Console, duration
from .estimate import estimate
from .judging import Judged, judge, paired_gain, scored_by
from .ladders import aligned
from .manifest import Manifest
from .stages import Stages
from .starts import PROBES, RAW, probe_starts
from .tuning import Space, Tuned, tune
from .variants import REFERENCE, Plan, alone, chosen_head, first_folds, plan_rows, varied
from .workspace import Workspace

AS_CONFIGURED = "as configured"


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        label: the start or setting.
        score: out-of-fold score of the head, None for raw inputs.
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
    optuna: int = 0,
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
        rows: `scratch`, kinds or names of pretexts, `chained`, checkpoint files; None: scratch, jigsaw, simsiam,
            lejepa and chained; on tables scratch and masked.
        vary: `key=a,b,c` texts: a row for each value of any key of the config, the rest as configured.
        freeze: add the head under each freezing policy.
        optuna: search the keys of `vary`, then `key=low..high` or `key=a,b,c`, in so many trials on the first folds;
            the best is marked as tuned, and estimated again on the other folds, if there are any.
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
    spaces = [Space.of(each) for each in vary] if optuna else []
    if optuna and not spaces:
        raise UserError(
            "--optuna: expected what to search, such as --vary tasks.era.lr=1e-4..1e-2, received nothing"
        )
    plans = [plan_rows(base, head, rows, freeze=freeze, folds="auto" if full else None)]
    workspace = Workspace(plans[0].config, smoke=smoke)
    settings = [(space.key, value) for space in spaces for value in space.ends()]
    if not optuna:
        settings = [(key, value) for each in vary for key, values in [varied(each)] for value in values]
    changed = list(_varied(config, overrides, base, head, settings, full, allow_plugins))
    _refuse_other_truths(workspace, plans[0], settings, changed, smoke)
    if changed and not optuna:
        plans += [
            alone(base, head, AS_CONFIGURED, "ablate-as-configured", "auto" if full else None),
            *changed,
        ]
    if dry or optuna or len(plans) > 1 or freeze or full:
        trial = alone(base, head, AS_CONFIGURED, "tune") if optuna else None
        _say_cost(console, plans, trial, spaces, optuna, smoke)
    if dry:
        return None
    scores = workspace.run_path / PROBES
    judged: list[Judged] = []
    probes: list[dict[str, float]] = []
    raw: dict[str, float] = {}
    for plan in plans:
        result = run(plan.config, until="features", smoke=smoke, quiet=quiet, replace=replace, report=False)
        judged += judge(plan, result.path, smoke)
        own = Workspace(plan.config, smoke=smoke)
        table = probe_starts(own, head, plan, scores, console, raw=plan is plans[0])
        raw = table.get(RAW, raw)
        probes += [table.get(variant.init, {}) for variant in plan.variants]
    rows_found = list(_compare(head, judged, probes, raw, workspace))
    if optuna:
        tuned = tune(
            config, overrides, head, spaces, optuna, console, smoke=smoke, allow_plugins=allow_plugins
        )
        own = Workspace(tuned.plan.config, smoke=smoke)
        table = probe_starts(own, head, tuned.plan, scores, console)
        probed = table.get(tuned.plan.variants[0].init, {})
        rows_found += _tuned(
            base, config, overrides, head, tuned, judged[0], probed, workspace, smoke, allow_plugins
        )
    first = judged[0]
    greater = first.metric.greater_is_better
    sentence = _sentence(head, first.measure, rows_found)
    ablation = Ablation(head, first.measure, first.unit, greater, tuple(rows_found), sentence, first.path)
    _write(ablation)
    console.say(always=True)
    for line in aligned(ablation.table()):
        console.say(line, always=True)
    console.say(ablation.sentence, always=True)
    console.say(f"table {ablation.path / 'ablation.csv'}", always=True)
    return ablation


def _varied(
    config: Any,
    overrides: Sequence[str],
    base: Config,
    head: str,
    settings: Sequence[tuple[str, str]],
    full: bool,
    allow_plugins: bool,
) -> Iterator[Plan]:
    """One plan for each setting, each a run of its own."""
    for key, value in settings:
        changed = load_config(config, [*overrides, f"{key}={value}"], allow_plugins=allow_plugins)
        if changed.name != base.name or changed.runs != base.runs or head not in changed.tasks:
            raise UserError(f"--vary: expected a key of how the head is trained, received {key!r}")
        if (changed.tasks[head].kind, changed.tasks[head].columns) != (
            base.tasks[head].kind,
            base.tasks[head].columns,
        ):
            raise _incomparable(key, value)
        yield alone(
            changed, head, f"{key}={value}", f"ablate-{digest([key, value])[:8]}", "auto" if full else None
        )


def _refuse_other_truths(
    workspace: Workspace,
    first: Plan,
    settings: Sequence[tuple[str, str]],
    changed: Sequence[Plan],
    smoke: bool,
) -> None:
    """Refuse a setting whose rows are scored by something else than those of the first plan."""
    expected = scored_by(workspace, first.variants[0].task)
    for (key, value), plan in zip(settings, changed, strict=True):
        if scored_by(Workspace(plan.config, smoke=smoke), plan.variants[0].task) != expected:
            raise _incomparable(key, value)


def _incomparable(key: str, value: str) -> UserError:
    return UserError(
        f"--vary: expected a key that leaves the head's target, the folds and the seed as they are, received {key!r} "
        f"(with {value}): its rows could not be compared"
    )


def _say_cost(
    console: Console,
    plans: Sequence[Plan],
    trial: Plan | None,
    spaces: Sequence[Space],
    trials: int,
    smoke: bool,
) -> None:
    """How many trainings there are, and at most how many hours: those that several rows share are counted once."""
    seconds: dict[str, float] = {}
    for plan in plans:
        seconds |= {key: cost for key, (_, cost) in _cost(plan, smoke).items()}
    total = sum(seconds.values())
    rows = f"{sum(len(plan.variants) for plan in plans)} rows"
    if trial is not None:
        repeated = any(space.key.split(".")[0] in ("pretext", "backbones") for space in spaces)
        each = sum(
            cost for name, cost in _cost(trial, smoke).values() if repeated or not name.startswith("pretrain")
        )
        folds = len(first_folds(trial.config))
        # The winner and scratch are trained once more on each of the other folds.
        total += trials * each + 2 * each / folds * max(0, trial.config.folds.n - folds)
        rows += f" and at most {trials} trials of {folds} folds"
    console.say(
        f"{rows}: at most about {duration(total)} on this machine ({total / 3600:.1f} hours) for what this run has not "
        "finished",
        always=True,
    )


def _cost(plan: Plan, smoke: bool) -> dict[str, tuple[str, float]]:
    """Name and seconds of every stage that is not finished, by key."""
    workspace = Workspace(plan.config, smoke=smoke)
    stages, done = Stages(workspace), Manifest(workspace.run_path)
    missing = [stage for stage in stages if not done.done(stage)]
    cost = estimate(stages, missing).seconds
    return {stage.key: (stage.name, cost[stage.name]) for stage in missing if stage.name in cost}


def _compare(
    head: str,
    judged: Sequence[Judged],
    probes: Sequence[dict[str, float]],
    raw: dict[str, float],
    workspace: Workspace,
) -> Iterator[Row]:
    """Raw inputs, the reference, and every other row paired with it."""
    if raw:
        [backbone] = workspace.config.tasks[judged[0].variant.task].starts
        label = "raw columns" if workspace.config.backbones[backbone].of_tables else "raw pixels"
        yield Row(label, None, None, None, None, {}, raw, 0.0)
    for each, own in zip(judged, probes, strict=True):
        yield _row(head, each, None if each is judged[0] else judged[0], own, workspace)


def _row(
    head: str,
    each: Judged,
    reference: Judged | None,
    probes: dict[str, float],
    workspace: Workspace,
    *,
    label: str | None = None,
    tuned: bool = False,
) -> Row:
    label = label or each.variant.label
    if reference is None:
        return Row(label, each.score, None, None, None, {}, probes, each.minutes)
    gain = paired_gain(each, reference, workspace, seeded(workspace.config.seed, "ablate", head))
    low, high = gain.interval.low, gain.interval.high
    return Row(label, each.score, gain.value, low, high, gain.folds, probes, each.minutes, tuned)


def _tuned(
    base: Config,
    config: Any,
    overrides: Sequence[str],
    head: str,
    tuned: Tuned,
    reference: Judged,
    probes: dict[str, float],
    workspace: Workspace,
    smoke: bool,
    allow_plugins: bool,
) -> Iterator[Row]:
    """The best setting of a search: on the folds that chose it, and on the others against the same reference."""
    [best] = judge(tuned.plan, tuned.path, smoke)
    yield _row(head, best, reference, probes, workspace, tuned=True)
    others = [fold for fold in range(workspace.plan.n) if fold not in first_folds(base)]
    if not others:
        return
    changed = load_config(config, [*overrides, *tuned.overrides], allow_plugins=allow_plugins)
    own = tuned.plan.config.name.removeprefix(f"{base.name}-")
    again = alone(changed, head, tuned.plan.variants[0].label, f"{own}-others", others)
    scratch = plan_rows(base, head, [REFERENCE], folds=others, suffix="ablate-others")
    [winner], [same] = (
        judge(plan, run(plan.config, until="features", smoke=smoke, quiet=True, report=False).path, smoke)
        for plan in (again, scratch)
    )
    label = f"{best.variant.label}, folds {' '.join(map(str, others))} alone"
    yield _row(head, winner, same, probes, workspace, label=label)


def _sentence(head: str, measure: str, rows: Sequence[Row]) -> str:
    """Which row won, by how much, and whether the probes would have chosen otherwise."""
    reference = next(row for row in rows if row.score is not None)
    compared = [
        (row.gain, row.low, row.high, row)
        for row in rows
        if row.gain is not None and row.low is not None and row.high is not None and not row.tuned
    ]
    compared = [
        each for each in compared if set(each[3].folds) == set(compared[0][3].folds)
    ]  # of the same rows
    if not compared:
        tuned = next((row for row in rows if row.tuned), None)
        if tuned is None:
            return f"Only {reference.label} was trained: nothing to compare."
        return (
            f"Only {tuned.label} was compared, which was chosen by this very score: judge it by other folds."
        )
    gain, low, high, best = max(compared, key=lambda each: each[0])
    where = f"{gain:+.4f} {measure} (interval {low:+.4f} to {high:+.4f})"
    if low > 0:
        said = f"{best.label} was worth it: better than {reference.label} by {where} for {head}"
    elif high < 0:
        said = f"Nothing was worth it: the best, {best.label}, is worse than {reference.label}: {where} for {head}"
    else:
        said = f"No difference beyond noise: {best.label}, the best, is at {where} of {reference.label} for {head}"
    cost = f", for {best.minutes:.1f} minutes of pretraining" if best.minutes else ""
    name = "ridge.all"
    probed = [row for row in [reference, *(each[3] for each in compared)] if name in row.probes]
    if len(probed) < 2 or best not in probed:
        return f"{said}{cost}."
    favourite = max(probed, key=lambda row: row.probes[name])
    winner = best if gain > 0 else reference
    if winner.probes.get(name) == favourite.probes[name]:  # settings of a head share their start
        return f"{said}{cost}. The ridge probe agrees."
    return (
        f"{said}{cost}. The ridge probe would have chosen {favourite.label}: believe the fine-tuned score, since that "
        "is what you will use."
    )


def _cells(row: Row, probes: Sequence[str]) -> tuple[str, ...]:
    """One line of the table."""

    def number(value: float | None, sign: str = "") -> str:
        return "–" if value is None else f"{value:{sign}z.4f}"  # z: no minus before zeros

    interval = "–" if row.low is None or row.high is None else f"{row.low:+z.4f} to {row.high:+z.4f}"
    return (
        row.label + (" (tuned)" if row.tuned else ""),
        *(number(row.probes.get(name)) for name in probes),
        f"{row.minutes:.1f} min" if row.minutes else "–",
        number(row.score),
        number(row.gain, "+"),
        interval,
        " ".join(f"{gain:+z.3f}" for gain in row.folds.values()) or "–",
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
