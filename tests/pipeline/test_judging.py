"""Rows of an ablation against each other."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from jigstack.configs import load_config
from jigstack.pipeline.judging import Judged, paired_gain
from jigstack.pipeline.variants import Variant
from jigstack.pipeline.workspace import Workspace

from .conftest import MakeConfig


@pytest.fixture
def workspace(make_config: MakeConfig) -> Workspace:
    return Workspace(load_config(make_config()))


def judged(label: str, ids: pd.Index, noise: float, measure: str = "rmse") -> Judged:
    draws = np.random.default_rng(len(label))
    truth = pd.DataFrame({"y": np.arange(len(ids), dtype=float)}, index=ids)
    guesses = truth + noise * draws.normal(size=(len(ids), 1))
    return Judged(Variant(label, label, "scratch"), truth, guesses, measure, "", 0.0, Path())


@pytest.mark.parametrize("measure", ["rmse", "r2"])
def test_the_better_row_gains_whatever_the_direction_of_the_measure(workspace: Workspace, measure: str):
    ids = pd.Index(workspace.plan.ids)
    good, bad = judged("good", ids, 0.5, measure), judged("bad", ids, 5.0, measure)
    gain = paired_gain(good, bad, workspace, np.random.default_rng(0))
    assert gain.value > 0 and 0 < gain.interval.low <= gain.value <= gain.interval.high
    assert gain.value == pytest.approx(abs(good.score - bad.score))
    assert set(gain.folds) == {0, 1, 2} and all(value > 0 for value in gain.folds.values())
    back = paired_gain(bad, good, workspace, np.random.default_rng(0))
    assert back.value == pytest.approx(-gain.value) and back.interval.high < 0


def test_only_rows_that_both_predicted_are_compared(workspace: Workspace):
    ids = pd.Index(workspace.plan.ids)
    first, second = judged("first", ids[:40], 1.0), judged("second", ids[20:], 1.0)
    second = Judged(second.variant, first.truth, second.guesses, "rmse", "", 0.0, Path())
    with pytest.raises(ValueError, match="third: expected rows that first predicted too"):
        paired_gain(judged("third", ids[40:], 1.0), first, workspace, np.random.default_rng(0))
    shared = ids[20:40]
    second = Judged(second.variant, first.truth, second.guesses.loc[shared], "rmse", "", 0.0, Path())
    gain = paired_gain(second, first, workspace, np.random.default_rng(0))
    assert set(gain.folds) == {int(fold) for fold in np.unique(workspace.plan.fold_of(shared))}
