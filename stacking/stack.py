"""Stack one target: members to rungs, rungs to the ladder, and the files of both."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from .._version import __version__
from ..configs.schema import Stack
from ..datasets.files import atomic, write_json
from ..datasets.findings import did_you_mean, name_some
from ..datasets.folds import FoldPlan
from ..datasets.predictions import Predictions
from ..scoring.intervals import Interval, bootstrap_scores
from ..scoring.metrics import Array
from .boosting import BoostingModel
from .columns import TABLE, TableColumns
from .ladder import Ladder, Rung, find_rung
from .level2 import Parts, seeded
from .members import Member, read_member, select_members, validated_folds
from .problem import Problem
from .rungs import Candidate, build_candidates, model_states, submission_score, with_own_rung
from .verdict import best_rung, compare_tasks, describe, nested_choice

RESAMPLES = 1000


def stack_target(
    name: str,
    options: Stack,
    predictions: Mapping[str, Predictions],
    truth: pd.DataFrame,
    plan: FoldPlan,
    test_ids: Sequence[str] | NDArray,
    stats: Sequence[str],
    seed: int,
    threads: int,
    folder: Path,
    table: TableColumns | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> Ladder:
    """Stack, score and predict one target, and write its folder.

    Args:
        name: the stack's name in the config.
        options: its section of the config.
        predictions: task → its predictions, all of them under `plan`.
        truth: the labelled rows, indexed by id (text), with the target columns.
        plan: the run's fold plan.
        test_ids: the M test ids, in the order of the test table; empty if there are none.
        stats: statistics over the views: ``features.stats``.
        seed: the run's seed.
        threads: threads of LightGBM.
        folder: the stack's own folder, ``stack/<name>``: receives ``ladder.json``, ``rungs.parquet``,
            ``model.json``, ``fold<k>/<column>.txt`` and ``importance.parquet``.
        table: columns of the table that join the features, or are all of them where there are no tasks.
        progress: told (model, done, all) while the stackers choose their settings.

    Returns:
        The ladder.

    Raises:
        ValueError: a member, target, metric or rung that does not exist or does not fit; predictions of
            another plan; in-sample rows under the name of out-of-fold ones.
    """
    labelled = Problem.build(options, truth)
    stacked, apart = select_members(options.members, predictions, plan, needed=table is None)
    members = [read_member(predictions[task], labelled, plan, stats) for task in stacked]
    others = [read_member(predictions[task], labelled, plan, stats) for task in apart]
    if table is not None:
        members.append(_table_member(table, members, plan))
    _check_submit(options, members)
    scored, notes = _scored(labelled, members, plan)
    notes = [*([] if table is None else table.notes), *notes]
    every_test = np.asarray(test_ids, dtype=object).astype(str)
    predicted, more = _predicted(every_test, members)
    notes += more

    parts = Parts.build(plan, scored.ids, seeded(seed, "parts", *scored.target))
    candidates = build_candidates(
        members, scored, labelled, plan, parts, every_test, predicted, options.models, seed, threads, progress
    )
    groups = np.asarray(plan.group_of(scored.ids)).astype(str)
    decided = [scored.decide(candidate.nested) for candidate in candidates]
    draws = seeded(seed, "bootstrap", *scored.target)
    resampled = bootstrap_scores(scored.metric, scored.truth, decided, groups, draws, RESAMPLES)
    rungs = [
        _score(candidate, scored, parts, scores)
        for candidate, scores in zip(candidates, resampled, strict=True)
    ]

    best = best_rung(rungs, scored.metric.greater_is_better)
    chosen = best if options.submit == "best" else find_rung(options.submit, rungs)
    choice, choices = nested_choice(scored, {c.name: c.nested for c in candidates}, parts.part)
    comparisons = compare_tasks(
        others, members, scored, parts.part, groups, seeded(seed, "compare", *scored.target), RESAMPLES
    )
    ladder = Ladder(
        name=name,
        target=scored.target,
        metric=scored.metric.name,
        greater_is_better=scored.metric.greater_is_better,
        is_classes=scored.is_classes,
        outputs=scored.outputs,
        range=scored.range,
        labelled=len(labelled),
        scored=len(scored),
        rungs=tuple(rungs),
        comparisons=tuple(comparisons),
        best=best.name,
        chosen=chosen.name,
        choice=choice,
        choices=choices,
        sentence=describe(
            rungs, resampled, best, chosen, scored.metric.name, scored.metric.greater_is_better
        ),
        notes=tuple(notes),
        plan=plan.hash,
        test_ids=tuple(every_test.tolist()),
        predictions=_predictions(candidates, decided, scored, predicted, every_test),
    )
    _write_models(candidates, scored, folder)
    ladder.write(folder)
    return ladder


def _table_member(table: TableColumns, tasks: Sequence[Member], plan: FoldPlan) -> Member:
    """The columns beside the tasks' features: their test rows stand once for each fold model of the tasks."""
    models = tasks[0].features.test_folds if tasks else []
    features = table.features(plan, models)
    return Member(TABLE, features, TABLE, frozenset(validated_folds(plan)), None, None, None)


def _check_submit(options: Stack, members: Sequence[Member]) -> None:
    """Refuse a rung that will not exist before the fitting begins."""
    heads = [
        member.task if member.oof is not None else f"{member.task}~ridge" for member in with_own_rung(members)
    ]
    mean = ["mean"] if sum(member.oof is not None for member in members) > 1 else []
    names = ["best", "constant", *heads, *mean, *options.models]
    if options.submit not in names:
        raise ValueError(
            f"`stack.submit`: expected one of {names}, received "
            f"{options.submit!r}.{did_you_mean(options.submit, names)}"
        )


def _scored(labelled: Problem, members: Sequence[Member], plan: FoldPlan) -> tuple[Problem, list[str]]:
    """The labelled rows that are validated and that every member predicted, and notes on the rest."""
    ids = labelled.ids
    known = pd.Index(ids).isin(plan.ids)
    validated = np.zeros(len(ids), dtype=bool)
    validated[known] = np.asarray(plan.fold_of(ids[known])) >= 0
    present = validated.copy()
    for member in members:
        present &= pd.Index(ids).isin(member.features.training().index)
    if not present.any():
        raise ValueError(
            "no labelled row is validated and predicted out-of-fold by every member: nothing to score."
        )
    notes = []
    if (~validated).any():
        notes.append(
            f"{int((~validated).sum())} of {len(ids)} labelled rows are validated in no fold and not scored."
        )
    lost = validated & ~present
    if lost.any():
        notes.append(
            f"{int(lost.sum())} validated rows are not scored, because not every member predicted them: "
            f"{name_some(ids[lost])}."
        )
    return labelled.take(ids[present]), notes


def _predicted(test_ids: NDArray, members: Sequence[Member]) -> tuple[NDArray, list[str]]:
    """The test ids that every fold model of every member predicted, and notes on the rest."""
    if len(np.unique(test_ids)) != len(test_ids):
        raise ValueError("`test_ids` must be unique; received duplicates.")
    present = np.ones(len(test_ids), dtype=bool)
    for member in members:
        folds = member.features.test_folds
        present &= pd.Index(test_ids).isin(member.features.test(folds[0]).index) if folds else False
    lost = test_ids[~present]
    notes = [f"{len(lost)} test rows have no prediction: {name_some(lost)}."] if len(lost) else []
    return test_ids[present], notes


def _score(candidate: Candidate, scored: Problem, parts: Parts, resampled: Array) -> Rung:
    interval = Interval.of(resampled)
    rows = {k: np.flatnonzero(parts.part == k) for k in parts.names}
    return Rung(
        name=candidate.name,
        kind=candidate.kind,
        in_sample=candidate.in_sample,
        out_of_fold=scored.score(candidate.out_of_fold),
        nested=scored.score(candidate.nested),
        low=interval.low,
        high=interval.high,
        folds={k: scored.score(candidate.nested[here], here) for k, here in rows.items()},
        submission=submission_score(scored, candidate.nested, candidate.test),
        averaged=len(candidate.test),
    )


def _predictions(
    candidates: Sequence[Candidate],
    decided: Sequence[Array],
    scored: Problem,
    predicted: NDArray,
    test_ids: NDArray,
) -> pd.DataFrame:
    """Nested and test predictions of every rung, as scored and submitted; the constant has all test rows."""
    parts = []
    for candidate, nested in zip(candidates, decided, strict=True):
        ids = test_ids if candidate.kind == "constant" else predicted
        test = np.empty((0, len(scored.outputs)))
        if len(ids):
            test = scored.decide(scored.clip(candidate.test).mean(axis=0))  # (M, O)
        for role, names, values in (("nested", scored.ids, nested), ("test", ids, test)):
            frame = pd.DataFrame(values, columns=list(scored.outputs))
            frame.insert(0, "id", names.astype(object))
            frame.insert(0, "role", role)
            frame.insert(0, "rung", candidate.name)
            parts.append(frame)
    return pd.concat([part for part in parts if len(part)], ignore_index=True)


def _write_models(candidates: Sequence[Candidate], scored: Problem, folder: Path) -> None:
    """LightGBM's texts and importances, and everything else about level 2 in ``model.json``."""
    columns = list(scored.target)
    files = dict(zip(columns, _file_names(columns), strict=True))
    designs = [candidate.stacked.design for candidate in candidates if candidate.stacked is not None]
    readable = {name: text for design in designs for name, text in design.readable.items()}
    for candidate in candidates:
        if candidate.stacked is None:
            continue
        boosters = {k: m for k, m in candidate.stacked.models.items() if isinstance(m, BoostingModel)}
        for k, model in boosters.items():
            for column, text in zip(columns, model.texts(), strict=True):
                with atomic(folder / f"fold{k}" / f"{files[column]}.txt") as temporary:
                    temporary.write_text(text, encoding="utf-8")
        if boosters:
            gains = np.array([model.gains().sum(axis=0) for model in boosters.values()])  # (folds, D)
            names = list(candidate.stacked.design.names)
            importance = pd.DataFrame(
                {
                    "feature": names,
                    "readable": [readable[name] for name in names],
                    "gain_mean": gains.mean(axis=0),
                    "gain_sd": gains.std(axis=0),
                }
            ).sort_values("gain_mean", ascending=False, kind="stable")
            with atomic(folder / "importance.parquet") as temporary:
                importance.to_parquet(temporary, compression="zstd", index=False)
    content = {
        "target": columns,
        "metric": scored.metric.name,
        "outputs": list(scored.outputs),
        "files": {column: f"fold<k>/{file}.txt" for column, file in files.items()},
        "readable": readable,
        "rungs": model_states(candidates),
        "jigstack": __version__,
    }
    write_json(folder / "model.json", content)


def _file_names(columns: Sequence[str]) -> list[str]:
    """File names for column names, which may hold any character; a number keeps two of them apart."""
    plain = [
        "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "_" for c in column)
        for column in columns
    ]
    return [f"{file}.{j}" if plain.count(file) > 1 else file for j, file in enumerate(plain)]
