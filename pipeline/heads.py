"""What each head is worth by itself, in the units of its own columns: printed, and for the report."""

from collections.abc import Iterator
from dataclasses import dataclass

from ..datasets.predictions import Predictions
from ..datasets.tags import Word2vecTarget
from ..stacking.level2 import seeded
from ..transfer.recovery import Recovery, recover_names
from ..transfer.scores import TaskScore, score_task
from .jobs import Work
from .ladders import aligned

HEADINGS = ("head alone", "measure", "rows", "constant", "out-of-fold", "95 % interval", "beats it")


@dataclass(frozen=True)
class HeadFindings:
    """The scores of all heads, and the names that word2vec heads recover."""

    scores: list[TaskScore]
    recoveries: list[Recovery]


def judge_heads(work: Work) -> HeadFindings:
    """Score every head whose predictions are there, on the folds trained so far."""
    workspace = work.workspace
    scores: list[TaskScore] = []
    recoveries: list[Recovery] = []
    for task, target in workspace.targets.items():
        path = work.run / "predictions" / f"{task}.parquet"
        if not path.exists():
            continue
        predictions = Predictions.read(path)
        draws = seeded(workspace.config.seed, "head alone", task)
        scores += score_task(predictions, target, workspace.frame, workspace.plan, draws)
        if isinstance(target, Word2vecTarget):
            found = recover_names(predictions, target, workspace.frame, workspace.plan, draws)
            recoveries += [] if found is None else [found]
    return HeadFindings(scores, recoveries)


def say_heads(work: Work, findings: HeadFindings) -> None:
    """Print one small table, and a line for each word2vec head."""
    if not findings.scores:
        return
    work.console.say(always=True)
    lines = [HEADINGS] + [
        (
            score.task,
            named(score),
            f"{score.rows:,}",
            f"{score.constant:.4f}",
            f"{score.score:.4f}",
            f"{score.low:.4f} to {score.high:.4f}",
            "yes" if score.better else "no",
        )
        for score in findings.scores
    ]
    for text in [*aligned(lines), *map(recovered, findings.recoveries)]:
        work.console.say(text, always=True)


def named(score: TaskScore) -> str:
    """The measure with its unit."""
    return score.measure + (f", {score.unit}" if score.unit else "")


def recovered(recovery: Recovery) -> str:
    """What a word2vec head recovers, in a sentence."""
    return (
        f"{recovery.task}: {recovery.k} names found by the nearest training rows hold {recovery.predicted.names:.1%} "
        f"of a row's names; the {recovery.k} most frequent names {recovery.frequent.names:.1%}, those found with the "
        f"row's own vector {recovery.ceiling.names:.1%}"
    )


def recall_rows(recovery: Recovery) -> Iterator[tuple[str, ...]]:
    """The lines of the report's table: whose names, then each share in percent."""
    for name, recall in (
        ("of the training rows nearest to the prediction", recovery.predicted),
        ("whose own vectors are nearest to the prediction", recovery.nearest),
        ("most frequent in training", recovery.frequent),
        ("of the training rows nearest to the row's own vector", recovery.ceiling),
    ):
        yield name, f"{recall.rows:.1%}", f"{recall.names:.1%}", f"{recall.even:.1%}"
