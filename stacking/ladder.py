"""The ladder: every rung with its in-sample, out-of-fold and nested score, and what they say."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from .._version import __version__
from ..datasets.files import atomic, read_json, write_json
from ..datasets.findings import did_you_mean


@dataclass(frozen=True)
class Rung:
    """One line of the ladder.

    Args:
        name: the rung.
        kind: constant, head, head through ridge, mean, or stacker.
        in_sample: score on rows the models were trained on (heads: the in-sample rows; level 2: its own
            training rows, averaged over its models); None where there is none.
        out_of_fold: pooled score with level-2 settings chosen on all folds.
        nested: pooled score with everything above level 1 chosen without the scored fold.
        low: lower end of the group-bootstrap interval of `nested`.
        high: upper end.
        folds: fold → nested score of its rows.
        submission: expected score of the average that is submitted; None where it is not defined.
        averaged: how many models' predictions the submission averages.
    """

    name: str
    kind: str
    in_sample: float | None
    out_of_fold: float
    nested: float
    low: float
    high: float
    folds: Mapping[int, float]
    submission: float | None
    averaged: int


@dataclass(frozen=True)
class Comparison:
    """A task that is not stacked beside one that is, on the rows that both predicted.

    Args:
        task: the task that is not stacked.
        against: the stacked task.
        rows: how many rows both predicted.
        score: score of `task` on them.
        against_score: score of `against` on them.
        gain: how much better `task` is (negative: worse), in units of the metric.
        low: lower end of the paired group-bootstrap interval of `gain`.
        high: upper end.
        folds: fold → (score of `task`, score of `against`).
    """

    task: str
    against: str
    rows: int
    score: float
    against_score: float
    gain: float
    low: float
    high: float
    folds: Mapping[int, tuple[float, float]]


@dataclass(frozen=True)
class Ladder:
    """The scores of one stack, and its predictions.

    Args:
        name: the stack's name in the config.
        target: the target columns.
        metric: the metric's name.
        greater_is_better: its direction.
        is_classes: whether the outputs are class probabilities.
        outputs: names of the predicted columns: target columns, or class labels.
        range: smallest and largest prediction allowed, or None.
        labelled: rows with a known target.
        scored: rows that are validated and that every member predicted: those that count in every score.
        rungs: in order.
        comparisons: tasks that are not stacked.
        best: the rung with the best nested score.
        chosen: the rung that is submitted.
        choice: nested score of choosing the best rung: fold k is predicted by the rung that is best on the
            other folds.
        choices: fold → that rung.
        sentence: the result in words.
        notes: what else should be known, one sentence each.
        plan: hash of the fold plan.
        test_ids: all test ids, in the order of the test table.
        predictions: columns rung, role (``nested`` or ``test``), id, then `outputs`.
    """

    name: str
    target: tuple[str, ...]
    metric: str
    greater_is_better: bool
    is_classes: bool
    outputs: tuple[str, ...]
    range: tuple[float, float] | None
    labelled: int
    scored: int
    rungs: tuple[Rung, ...]
    comparisons: tuple[Comparison, ...]
    best: str
    chosen: str
    choice: float
    choices: Mapping[int, str]
    sentence: str
    notes: tuple[str, ...]
    plan: str
    test_ids: tuple[str, ...]
    predictions: pd.DataFrame

    def rung(self, name: str) -> Rung:
        """The rung of that name.

        Raises:
            ValueError: no such rung.
        """
        return find_rung(name, self.rungs)

    def test(self, rung: str) -> pd.DataFrame:
        """The test predictions of a rung.

        Args:
            rung: its name.

        Returns:
            One row for each test id, in order, and the columns `outputs`; NaN where a row could not be
            predicted.
        """
        return self._rows(rung, "test").reindex(list(self.test_ids))

    def nested(self, rung: str) -> pd.DataFrame:
        """The nested predictions of the scored rows, indexed by id; columns `outputs`."""
        return self._rows(rung, "nested")

    def table(self) -> list[dict[str, Any]]:
        """The ladder's lines for printing: one mapping a rung, with the same keys in the same order."""
        return [
            {
                "rung": rung.name + (" *" if rung.name == self.chosen else ""),
                "in-sample": rung.in_sample,
                "out-of-fold": rung.out_of_fold,
                "nested": rung.nested,
                "interval": (rung.low, rung.high),
                "folds": tuple(rung.folds.values()),
                "submission": rung.submission,
            }
            for rung in self.rungs
        ]

    def write(self, folder: Path) -> None:
        """Write ``ladder.json`` (numbers and sentences) and ``rungs.parquet`` (predictions) into `folder`."""
        content = {name: value for name, value in self.__dict__.items() if name != "predictions"}
        content["rungs"] = [asdict(rung) for rung in self.rungs]
        content["comparisons"] = [asdict(comparison) for comparison in self.comparisons]
        with atomic(folder / "rungs.parquet") as temporary:
            self.predictions.to_parquet(temporary, compression="zstd", index=False)
        write_json(folder / "ladder.json", {**content, "jigstack": __version__})

    @classmethod
    def read(cls, folder: Path) -> "Ladder":
        """Read what `write` wrote."""
        content = read_json(folder / "ladder.json")
        content.pop("jigstack")
        content["rungs"] = tuple(Rung(**_scores(rung)) for rung in content["rungs"])
        content["comparisons"] = tuple(Comparison(**_scores(line)) for line in content["comparisons"])
        for name in ("target", "outputs", "notes", "test_ids"):
            content[name] = tuple(content[name])
        content["range"] = tuple(content["range"]) if content["range"] is not None else None
        content["choices"] = {int(fold): rung for fold, rung in content["choices"].items()}
        return cls(**content, predictions=pd.read_parquet(folder / "rungs.parquet"))

    def _rows(self, rung: str, role: str) -> pd.DataFrame:
        self.rung(rung)
        rows = self.predictions
        rows = rows.loc[(rows["rung"] == rung) & (rows["role"] == role)]
        return rows.set_index("id").loc[:, list(self.outputs)]


def find_rung(name: str, rungs: Sequence[Rung]) -> Rung:
    """The rung of that name.

    Raises:
        ValueError: no such rung.
    """
    names = [rung.name for rung in rungs]
    if name not in names:
        raise ValueError(f"`rung`: expected one of {names}, received {name!r}.{did_you_mean(name, names)}")
    return rungs[names.index(name)]


_NAN_ALLOWED = ("out_of_fold", "nested", "low", "high", "score", "against_score", "gain")


def _scores(line: dict[str, Any]) -> dict[str, Any]:
    """JSON has no NaN (an undefined score) and no whole numbers as keys."""
    line = {key: np.nan if key in _NAN_ALLOWED and value is None else value for key, value in line.items()}

    def back(value: Any) -> Any:
        if isinstance(value, list):
            return tuple(back(part) for part in value)
        return np.nan if value is None else value

    line["folds"] = {int(fold): back(value) for fold, value in line["folds"].items()}
    return line
