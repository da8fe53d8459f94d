"""Submission: the test predictions of each rung in the shape asked for, checked before they are written."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from ..datasets.files import atomic
from ..datasets.findings import Finding, name_some
from .ladder import Ladder
from .sample import LABEL_METRICS, Sample, most_probable, round_to_int


@dataclass(frozen=True)
class Submissions:
    """What was written.

    Args:
        chosen: ``submission.csv``: every stack's chosen rung.
        rungs: (stack, rung) → its file.
        warnings: what the user must know about them.
    """

    chosen: Path
    rungs: Mapping[tuple[str, str], Path]
    warnings: tuple[Finding, ...]


def write_submissions(
    ladders: Sequence[Ladder],
    id_column: str,
    folder: Path,
    sample: Path | None = None,
    unreadable: Sequence[str] = (),
) -> Submissions:
    """Write ``submissions/<rung>.csv`` for each rung and ``submission.csv`` for the chosen one.

    With several stacks each file holds the columns of all: ``submissions/<stack>.<rung>.csv`` has that rung
    for its own stack and the chosen ones for the others.

    Without a sample file the columns are the id, then: the target columns for a metric of values (whole
    classes for qwk); the label of the most probable class for accuracy and f1; for logloss and auc the
    probability of the second class under the target's name if there are two classes, else one column for each
    class. With a sample file its shape, ids and order are taken; see `stacking.sample`.

    Args:
        ladders: one for each stack, all with the same test ids.
        id_column: name of the id column.
        folder: the run directory.
        sample: a sample submission (CSV), or None.
        unreadable: test ids whose input cannot be read; they get the constant's prediction, and a warning
            names them.

    Returns:
        The files and warnings.

    Raises:
        ValueError: no test rows, a test row without prediction that is not listed in `unreadable`, a sample
            file that does not fit, or values that are missing or out of range.
    """
    if not ladders:
        raise ValueError("`ladders` must hold one ladder or more; received none.")
    first = ladders[0].test_ids
    if not first or any(ladder.test_ids != first for ladder in ladders):
        raise ValueError(
            "`ladders` must have the same test rows, one or more; received "
            f"{[len(ladder.test_ids) for ladder in ladders]}. "
            "Name a test table in `data.test`, and stack all targets in one run."
        )
    shape = Sample.read(sample, id_column) if sample is not None else None
    chosen, warnings = {}, []
    for ladder in ladders:
        chosen[ladder.name] = _complete(ladder, ladder.chosen, unreadable)
        lost = ladder.test(ladder.chosen).isna().any(axis=1)
        if lost.any():
            ids = [str(name) for name in lost.index[lost.to_numpy()]]
            warnings.append(
                Finding(
                    "unreadable-test-rows",
                    "warning",
                    f"stack {ladder.name}: {len(ids)} test rows could not be read and get the constant: "
                    f"{name_some(ids)}.",
                    tuple(ids),
                )
            )

    def render(values: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
        blocks = {ladder.name: (ladder, values[ladder.name]) for ladder in ladders}
        if shape is not None:
            return shape.fill(list(blocks.values()))
        frame = pd.concat([default_columns(ladder, block) for ladder, block in blocks.values()], axis=1)
        if frame.columns.has_duplicates:
            raise ValueError(
                f"the stacks {list(blocks)} would write columns of the same name: "
                f"{sorted(set(frame.columns[frame.columns.duplicated()]))}. Give `data.sample_submission`."
            )
        return frame.rename_axis(id_column).reset_index()

    paths = {}
    for ladder in ladders:
        for rung in ladder.rungs:
            values = {**chosen, ladder.name: _complete(ladder, rung.name, unreadable)}
            name = rung.name if len(ladders) == 1 else f"{ladder.name}.{rung.name}"
            paths[ladder.name, rung.name] = _write(folder / "submissions" / f"{name}.csv", render(values))
    return Submissions(_write(folder / "submission.csv", render(chosen)), paths, tuple(warnings))


def default_columns(ladder: Ladder, values: pd.DataFrame) -> pd.DataFrame:
    """The columns of a stack where no sample file says otherwise.

    Args:
        ladder: the stack's ladder.
        values: complete test predictions, columns ``ladder.outputs``.
    """
    if not ladder.is_classes:
        return round_to_int(values) if ladder.metric == "qwk" else values
    if ladder.metric in LABEL_METRICS:
        return most_probable(ladder, values).to_frame(ladder.target[0])
    if len(ladder.outputs) == 2:
        return values.loc[:, ladder.outputs[1]].to_frame(ladder.target[0])
    return values


def _complete(ladder: Ladder, rung: str, unreadable: Sequence[str]) -> pd.DataFrame:
    """The rung's test predictions, the constant's for unreadable rows; checked."""
    values = ladder.test(rung)
    lost = values.isna().any(axis=1)
    strange = sorted(set(values.index[lost.to_numpy()]) - set(unreadable))
    if strange:
        raise ValueError(
            f"stack {ladder.name}, rung {rung}: {len(strange)} test rows have no prediction: "
            f"{name_some(strange, 10)}. "
            "If their inputs cannot be read, hand their ids over as `unreadable`: they then get the constant."
        )
    values = values.where(~lost, ladder.test("constant"), axis=0)
    numbers = values.to_numpy()
    if not np.isfinite(numbers).all():
        raise ValueError(f"stack {ladder.name}, rung {rung}: received NaN or infinite test predictions.")
    low, high = (0.0, 1.0 + 1e-6) if ladder.is_classes else (ladder.range or (-np.inf, np.inf))
    if numbers.min() < low or numbers.max() > high:
        raise ValueError(
            f"stack {ladder.name}, rung {rung}: expected test predictions from {low:g} to {high:g}, "
            f"received {numbers.min():g} to {numbers.max():g}."
        )
    if ladder.is_classes and np.abs(numbers.sum(axis=1) - 1).max() > 1e-3:
        raise ValueError(
            f"stack {ladder.name}, rung {rung}: expected probabilities that sum to 1 in each row."
        )
    return values


def _write(path: Path, frame: pd.DataFrame) -> Path:
    with atomic(path) as temporary:
        frame.to_csv(temporary, index=False)
    return path
