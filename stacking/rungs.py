"""Rungs: the predictions that the ladder scores, from the constant to the stackers."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..datasets.folds import FoldPlan
from ..scoring.metrics import Array
from ..scoring.pearson import ROUNDING
from .boosting import Boosting
from .columns import TABLE
from .level2 import Learner, Parts, Stacked, seeded, stack_features
from .members import Member, validated_folds
from .problem import Problem
from .ridge import Ridge

Kind = Literal["constant", "head", "head through ridge", "mean", "stacker"]


@dataclass(frozen=True)
class Candidate:
    """One rung before it is scored.

    Args:
        name: the rung's name, also that of its submission file.
        kind: what it is.
        nested: (N, O) predictions of rows that nothing in the rung has seen.
        out_of_fold: (N, O) the same with settings chosen on all folds; equal to `nested` where there are
            none.
        in_sample: score on rows that the models were trained on, or None.
        test: (members, M, O) test predictions of the models whose mean is submitted.
        stacked: the level-2 fit behind it, or None.
    """

    name: str
    kind: Kind
    nested: Array
    out_of_fold: Array
    in_sample: float | None
    test: Array
    stacked: Stacked | None = None


def build_candidates(
    members: Sequence[Member],
    scored: Problem,
    labelled: Problem,
    plan: FoldPlan,
    parts: Parts,
    every_test: NDArray,
    test_ids: NDArray,
    models: Sequence[str],
    seed: int,
    threads: int,
    progress: Callable[[str, int, int], None] | None = None,
) -> list[Candidate]:
    """Every rung, in the order of the ladder.

    Args:
        members: the stacked tasks.
        scored: the N scored rows.
        labelled: all labelled rows, scored or not.
        plan: the run's fold plan.
        parts: the outer parts of level 2.
        every_test: all test ids; the constant predicts them all.
        test_ids: the M of them that every member predicted.
        models: ``ridge`` and ``lightgbm``, those wanted.
        seed: the run's seed.
        threads: threads of LightGBM.
        progress: told (model, done, all) while the stackers choose their settings.

    Returns:
        constant; each head (through a ridge if it does not decode to the target); the mean of the decoding
        heads if there are several (for metric pearson that of their rows' patterns); ridge; lightgbm.
    """
    ridge = Ridge(scored.is_classes)
    shown = [member for member in members if member.insample is not None]
    rungs = [_constant(scored, labelled, plan, every_test, shown)]
    for member in with_own_rung(members):
        if member.oof is not None:
            rungs.append(_head(member, scored, labelled, test_ids))
        else:
            stacked = stack_features(ridge, [member.features], scored, parts, test_ids)
            rungs.append(_stacker(f"{member.task}~ridge", "head through ridge", stacked))
    heads = [rung for rung in rungs if rung.kind == "head"]
    if len(heads) > 1:
        rungs.append(_mean(heads, shown, labelled))
    features = [member.features for member in members]
    draw = int(seeded(seed, "lightgbm", *scored.target).integers(2**31))
    learners: Mapping[str, Learner] = {
        "ridge": ridge,
        "lightgbm": Boosting(scored.is_classes, scored.metric.name == "mae", threads, draw),
    }
    for name, learner in learners.items():
        if name in models:
            told = None if progress is None else partial(progress, name)
            stacked = stack_features(learner, features, scored, parts, test_ids, told)
            rungs.append(_stacker(name, "stacker", stacked))
    return rungs


def with_own_rung(members: Sequence[Member]) -> list[Member]:
    """The members that are scored by themselves: all but a table that is alone, whose ridge is the stackers' ridge."""
    return [member for member in members if member.task != TABLE or len(members) > 1]


def submission_score(problem: Problem, nested: Array, test: Array) -> float | None:
    """What the submission should score, given that it averages models while a nested score judges one at a
    time.

    Ambiguity decomposition (Krogh & Vedelsby, NeurIPS 1995, eq. 7). Let p_m be the predictions of m = 1..M
    models for one row, p their mean, t the truth. Since the deviations p_m - p sum to 0,

        mean_m (p_m - t)² = mean_m (p_m - p)² + 2 (p - t) mean_m (p_m - p) + (p - t)² = var_m(p_m) + (p - t)²,

    with the population variance. So the error of the mean is the mean error of the models less their
    variance, row by row, whatever their correlation. The mean error of one model on rows it never saw is the
    nested squared error; the variance needs no truth and is taken on the test rows themselves:

        submission MSE = nested MSE - mean over test rows of var_m(p_m).

    It holds as far as the test rows resemble the validated ones and each model is as good as the next. For a
    head the models are its fold models; for a level-2 model, the pairs (level-2 model, fold model).

    Args:
        problem: the N scored rows.
        nested: (N, O) nested predictions.
        test: (models, M, O) test predictions.

    Returns:
        The expected rmse or r2 (the average over the target columns); None for other metrics, a single model,
        no test rows, or a variance larger than the error (the test rows are then unlike the validated ones).
    """
    if not problem.metric.squared or len(test) < 2 or not test.shape[1]:
        return None
    error = ((problem.clip(nested) - problem.truth) ** 2).mean(axis=0)  # (K,)
    left = error - problem.clip(test).var(axis=0).mean(axis=0)  # (K,)
    if (left < 0).any():
        return None
    if problem.metric.name == "rmse":
        return float(np.sqrt(left).mean())
    return float((1 - left / problem.truth.var(axis=0)).mean())


def model_states(rungs: Sequence[Candidate]) -> dict[str, Any]:
    """Settings and coefficients of the level-2 models behind the rungs, as plain JSON values."""
    return {
        rung.name: {
            "setting": rung.stacked.setting,
            "folds": {
                str(k): {"setting": rung.stacked.settings[k], **model.state()}
                for k, model in rung.stacked.models.items()
            },
        }
        for rung in rungs
        if rung.stacked is not None
    }


def _constant(
    scored: Problem, labelled: Problem, plan: FoldPlan, test_ids: NDArray, shown: Sequence[Member]
) -> Candidate:
    folds = plan.fold_of(scored.ids)
    values = {k: labelled.constant(plan.train_ids(k)) for k in validated_folds(plan)}
    predicted = np.stack([values[int(k)] for k in folds])  # (N, O)
    test = np.stack([np.tile(value, (len(test_ids), 1)) for value in values.values()])
    in_sample = None
    if shown and shown[0].insample is not None:
        rows = shown[0].insample.loc[shown[0].insample.index.isin(labelled.ids)]
        if len(rows):
            known = np.stack([values[int(k)] for k in rows["fold"]])
            in_sample = labelled.take(rows.index.to_numpy()).score(known)
    return Candidate("constant", "constant", predicted, predicted, in_sample, test)


def _head(member: Member, scored: Problem, labelled: Problem, test_ids: NDArray) -> Candidate:
    predicted = member.values(scored.ids)
    test = np.empty((0, 0, len(scored.outputs)))
    if member.test and len(test_ids):
        test = np.stack([frame.loc[test_ids].to_numpy(dtype=np.float64) for frame in member.test.values()])
    in_sample = None
    if member.insample is not None:
        shown = member.insample.loc[member.insample.index.isin(labelled.ids)]
        if len(shown):
            values = shown[list(scored.outputs)].to_numpy(dtype=np.float64)
            in_sample = labelled.take(shown.index.to_numpy()).score(values)
    return Candidate(member.task, "head", predicted, predicted, in_sample, test)


def _mean(heads: Sequence[Candidate], shown: Sequence[Member], labelled: Problem) -> Candidate:
    # Fold model k of the mean is the mean of the heads' fold models k.
    average = _mean_pattern if labelled.metric.name == "pearson" else partial(np.mean, axis=0)
    predicted = average([head.nested for head in heads])
    test = average([head.test for head in heads])
    in_sample = None
    if len(shown) == len(heads):
        frames = [
            member.insample.set_index("fold", append=True) for member in shown if member.insample is not None
        ]
        rows = frames[0].index
        for frame in frames[1:]:
            rows = rows.intersection(frame.index)
        rows = rows[rows.get_level_values(0).isin(labelled.ids)]
        if len(rows):
            averaged = average([frame.loc[rows].to_numpy(dtype=np.float64) for frame in frames])
            in_sample = labelled.take(rows.get_level_values(0).to_numpy()).score(averaged)
    return Candidate("mean", "mean", predicted, predicted, in_sample, test)


def _mean_pattern(parts: Sequence[Array]) -> Array:
    """The mean of predictions (..., O) of which the correlation within a row counts.

    A correlation sees neither level nor spread of a row, and a head that was trained by it leaves both open. So each
    head's row is standardised first, else the widest would decide alone; the mean pattern gets the mean level and
    spread of the heads. A constant row has no pattern.
    """
    values = np.stack(parts)  # (heads, ..., O)
    level, spread = values.mean(axis=-1, keepdims=True), values.std(axis=-1, keepdims=True)
    flat = spread <= ROUNDING * np.abs(values).max(axis=-1, keepdims=True, initial=0.0)
    patterns = np.where(flat, 0.0, (values - level) / np.where(flat, 1.0, spread))
    return level.mean(axis=0) + spread.mean(axis=0) * patterns.mean(axis=0)


def _stacker(name: str, kind: Kind, stacked: Stacked) -> Candidate:
    return Candidate(
        name, kind, stacked.nested, stacked.out_of_fold, stacked.in_sample, stacked.test, stacked
    )
