"""The verdict: what the ladder says, in plain sentences, and tasks compared in pairs."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..scoring.intervals import Interval, bootstrap_scores
from ..scoring.metrics import Array
from .ladder import Comparison, Rung
from .members import Member
from .problem import Problem


def best_rung(rungs: Sequence[Rung], greater_is_better: bool) -> Rung:
    """The rung with the best nested score; the first of equals, which is the simpler one.

    Raises:
        ValueError: no rung has a score.
    """
    sign = 1 if greater_is_better else -1
    scores = [sign * rung.nested if np.isfinite(rung.nested) else -np.inf for rung in rungs]
    if not np.isfinite(scores).any():
        raise ValueError(
            "the metric is undefined on the scored rows (one class only?); choose another metric."
        )
    return rungs[int(np.argmax(scores))]


def nested_choice(
    problem: Problem, predictions: dict[str, Array], part: NDArray[np.int64]
) -> tuple[float, dict[int, str]]:
    """Score the choice of a rung itself: rows of part k are predicted by the rung that is best on the other
    parts.

    Args:
        problem: the N scored rows.
        predictions: rung → nested predictions (N, O).
        part: the part (N,) of each row.

    Returns:
        The pooled score, and part → the rung chosen without it.
    """
    sign = 1 if problem.metric.greater_is_better else -1
    mixed = np.empty_like(next(iter(predictions.values())))
    chosen = {}
    for k in np.unique(part):
        rows, held = np.flatnonzero(part != k), np.flatnonzero(part == k)
        scores = {name: sign * problem.score(values[rows], rows) for name, values in predictions.items()}
        name = max(scores, key=lambda rung: scores[rung] if np.isfinite(scores[rung]) else -np.inf)
        chosen[int(k)] = name
        mixed[held] = predictions[name][held]
    return problem.score(mixed), chosen


def compare_tasks(
    others: Sequence[Member],
    members: Sequence[Member],
    problem: Problem,
    part: NDArray[np.int64],
    groups: NDArray,
    generator: np.random.Generator,
    resamples: int,
) -> list[Comparison]:
    """Compare each task that is not stacked with its like among those that are, on the scored rows that both predicted.

    Its like are the stacked tasks that predict in the same space (values or probabilities), else all of them.

    Args:
        others: tasks that are not stacked (trained on some folds, or left out by name).
        members: the stacked tasks.
        problem: the N scored rows.
        part: the part (N,) of each.
        groups: the group (N,) of each.
        generator: source of the bootstrap's draws.
        resamples: how many.

    Returns:
        A comparison for each pair of tasks that decode to the target and share rows.
    """
    sign = 1 if problem.metric.greater_is_better else -1
    comparisons = []
    for other in others:
        alike = [member for member in members if member.space == other.space]
        for member in alike or members:
            if other.oof is None or member.oof is None:
                continue
            rows = np.flatnonzero(pd.Index(problem.ids).isin(other.oof.index))
            if not len(rows):
                continue
            shared = problem.take(problem.ids[rows])
            pair = [shared.decide(task.values(shared.ids)) for task in (other, member)]
            first, second = (shared.score(values) for values in pair)
            resampled = bootstrap_scores(
                problem.metric, shared.truth, pair, groups[rows], generator, resamples
            )
            interval = Interval.of(sign * (resampled[0] - resampled[1]))
            folds: dict[int, tuple[float, float]] = {}
            for k in np.unique(part[rows]):
                here = np.flatnonzero(part[rows] == k)
                folds[int(k)] = (shared.score(pair[0][here], here), shared.score(pair[1][here], here))
            gain = sign * (first - second)
            comparisons.append(
                Comparison(
                    other.task,
                    member.task,
                    len(rows),
                    first,
                    second,
                    gain,
                    interval.low,
                    interval.high,
                    folds,
                )
            )
    return comparisons


def describe(
    rungs: Sequence[Rung], resampled: Array, best: Rung, chosen: Rung, metric: str, greater_is_better: bool
) -> str:
    """Say who wins nested, by how much, and whether that is more than noise.

    Args:
        rungs: the ladder.
        resampled: (rungs, R) scores on the same bootstrap resamples.
        best: the nested winner.
        chosen: the rung submitted.
        metric: the metric's name.
        greater_is_better: its direction.

    Returns:
        A few sentences.
    """
    sign = 1 if greater_is_better else -1
    place = {rung.name: r for r, rung in enumerate(rungs)}

    def gain(first: Rung, second: Rung) -> tuple[float, Interval]:
        return sign * (first.nested - second.nested), Interval.of(
            sign * (resampled[place[first.name]] - resampled[place[second.name]])
        )

    def by(first: Rung, second: Rung) -> str:
        value, interval = gain(first, second)
        noise = "" if interval.excludes_zero() else ", which is within noise"
        return f"by {value:.4g} (95 % interval {interval.low:.4g} to {interval.high:.4g}{noise})"

    stackers = [rung for rung in rungs if rung.kind == "stacker"]
    heads = [rung for rung in rungs if rung.kind.startswith("head")]
    means = [rung for rung in rungs if rung.kind == "mean"]
    constant = rungs[0]
    rivals = [best_rung(group, greater_is_better) for group in (heads, means) if group and best not in group]
    names = {"mean": "the mean of the heads", "constant": "the constant"}

    def called(rung: Rung) -> str:
        return names.get(rung.kind, rung.name)

    sentences = []
    if best.kind == "stacker":
        beaten = " and ".join(
            f"{'the best head ' if rival in heads else ''}{called(rival)} ({rival.nested:.4g}) "
            f"{by(best, rival)}"
            for rival in rivals
        )
        sentences.append(
            f"{best.name} wins nested: {metric} {best.nested:.4g}"
            + (f"; it beats {beaten}." if beaten else ".")
        )
        if any(not gain(best, rival)[1].excludes_zero() for rival in rivals):
            sentences.append("Stacking gains nothing that these rows could tell from noise.")
    else:
        text = f"{called(best)} wins nested: {metric} {best.nested:.4g}"
        if stackers:
            top = best_rung(stackers, greater_is_better)
            text += f"; the stackers do not win: it beats {top.name} ({top.nested:.4g}) {by(best, top)}"
        sentences.append(text[0].upper() + text[1:] + "." if best.kind in names else text + ".")
    if best is not constant:
        _, interval = gain(best, constant)
        if interval.excludes_zero():
            sentences.append(f"It beats the constant ({constant.nested:.4g}) {by(best, constant)}.")
        else:
            sentences.append(
                f"It does not beat the constant ({constant.nested:.4g}) by more than noise: "
                f"{by(best, constant)}."
            )
    else:
        sentences.append(
            "Nothing beats the constant: the features say nothing about the target on these rows."
        )
    if chosen is not best:
        sentences.append(
            f"Submitted, as asked: {chosen.name} ({chosen.nested:.4g}), behind the winner {by(best, chosen)}."
        )
    return " ".join(sentences)
