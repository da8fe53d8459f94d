"""Print ladders and write submissions of a finished run."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from ..datasets.predictions import Predictions
from ..stacking import Ladder, write_submissions
from ..stacking.heads import score_heads
from ..stacking.level2 import seeded
from .jobs import Work

HEADINGS = ("rung", "in-sample", "out-of-fold", "nested", "95 % interval", "submission")


def read_ladders(work: Work) -> list[Ladder]:
    """The ladders of all stacks of the config."""
    return [Ladder.read(work.run / "stack" / name) for name in work.workspace.config.stack]


def say_ladder(work: Work, ladder: Ladder) -> None:
    """The table, the comparisons, and what they mean in a sentence."""
    say = work.console.say
    say(always=True)
    direction = "higher is better" if ladder.greater_is_better else "lower is better"
    say(
        f"{ladder.name}: {ladder.metric} ({direction}), {ladder.scored:,} of {ladder.labelled:,} labelled rows scored",
        always=True,
    )
    lines = [HEADINGS] + [
        (
            line["rung"],
            _number(line["in-sample"]),
            _number(line["out-of-fold"]),
            _number(line["nested"]),
            f"{_number(line['interval'][0])} to {_number(line['interval'][1])}",
            _number(line["submission"]),
        )
        for line in ladder.table()
    ]
    for text in aligned(lines):
        say(text, always=True)
    for pair in ladder.comparisons:
        say(
            f"{pair.task} against {pair.against} on the {pair.rows:,} rows of fold {', '.join(map(str, pair.folds))}: "
            f"{pair.score:.4f} against {pair.against_score:.4f}, {pair.task} is {abs(pair.gain):.4f} "
            f"{'better' if pair.gain > 0 else 'worse'} (interval of the gain {pair.low:+.4f} to {pair.high:+.4f})",
            always=True,
        )
    say(ladder.sentence, always=True)
    picked = ", ".join(sorted(set(ladder.choices.values())))
    say(
        f"Choosing the rung too, without the scored fold: {ladder.choice:.4f} (it takes {picked}).",
        always=True,
    )
    for note in (*ladder.notes, *scope_notes(work)):
        say(note, always=True)


def scope_notes(work: Work) -> list[str]:
    """What pretraining saw, where that makes the scores flatter."""
    return [
        f"pretext {stage.name} saw the validation rows but not the test rows (scope: asymmetric): these scores may "
        f"flatter"
        for stage in work.workspace.config.pretext
        if stage.scope == "asymmetric"
    ]


def say_scores(work: Work) -> None:
    """Scores of the heads on the folds trained so far."""
    workspace = work.workspace
    predictions = {
        task: Predictions.read(path)
        for task in (stage.job.name for stage in work.stages.features)
        if (path := work.run / "predictions" / f"{task}.parquet").exists()
    }
    for name, options in workspace.config.stack.items():
        scores = score_heads(
            options,
            predictions,
            workspace.frame.filter(options.columns),
            workspace.plan,
            list(workspace.config.features.stats),
            seeded(workspace.config.seed, "heads", name),
        )
        lines = [("head", "rows", f"out-of-fold {options.metric}", "95 % interval")] + [
            (
                score.task,
                f"{score.rows:,}",
                _number(score.score),
                f"{_number(score.low)} to {_number(score.high)}",
            )
            for score in scores
        ]
        for text in aligned(lines):
            work.console.say(text, always=True)
    for note in scope_notes(work):
        work.console.say(note, always=True)


def write_run_submissions(work: Work, ladders: Sequence[Ladder]) -> Path | None:
    """`submission.csv` and one file a rung; None for a run without test rows or stacks."""
    workspace = work.workspace
    if not ladders or not len(workspace.test):
        return None
    sample = workspace.config.data.sample_submission
    ids = workspace.test.ids
    unreadable = ids[~workspace.pictures().readable(ids)].tolist() if workspace.has_images else []
    written = write_submissions(
        ladders,
        workspace.config.data.id,
        work.run,
        None if sample is None else workspace.root / sample,
        unreadable,
    )
    for warning in written.warnings:
        work.console.say(f"warning: {warning.message}", always=True)
    return written.chosen


def aligned(lines: Sequence[Sequence[str]]) -> list[str]:
    """Columns of equal width, the first to the left."""
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    return [
        "  ".join(
            text.ljust(width) if column == 0 else text.rjust(width)
            for column, (text, width) in enumerate(zip(line, widths, strict=True))
        )
        for line in lines
    ]


def _number(value: float | None) -> str:
    return "–" if value is None or pd.isna(value) else f"{value:.4f}"
