"""The synthetic sets of TabNet's paper: their odds, their ceiling, and a measurement that is not made twice."""

import importlib.util
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from jigstack.datasets.files import read_json
from sklearn.metrics import roc_auc_score

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "syn.py"
CEILINGS = {1: 0.6985, 2: 0.8990, 3: 0.9060, 4: 0.8206, 5: 0.8213, 6: 0.9038}
"""AUC of the true odds, from 200,000 rows with drawn labels."""


@pytest.fixture(scope="module")
def script() -> Any:
    spec = importlib.util.spec_from_file_location("syn", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("number", CEILINGS)
def test_the_ceiling_is_the_auc_of_who_knows_the_odds(script: Any, number: int):
    rng = np.random.default_rng(0)
    _, p, _ = script.make_set(number, 50_000, rng)
    assert script.expected_auc(p) == pytest.approx(CEILINGS[number], abs=0.005)


def test_the_expected_auc_is_the_mean_over_labels_that_are_drawn(script: Any):
    rng = np.random.default_rng(0)
    p = rng.random(300)
    drawn = [roc_auc_score(rng.random(300) < p, p) for _ in range(300)]
    assert script.expected_auc(p) == pytest.approx(np.mean(drawn), abs=0.004)


@pytest.mark.parametrize("number", CEILINGS)
def test_only_the_columns_that_decide_a_row_change_its_odds(script: Any, number: int):
    class Given:
        def __init__(self, x: np.ndarray) -> None:
            self.x = x

        def standard_normal(self, shape: tuple[int, int]) -> np.ndarray:
            assert shape == self.x.shape
            return self.x

    rng = np.random.default_rng(0)
    x = rng.standard_normal((200, 11))
    _, p, deciding = script.make_set(number, 200, Given(x))
    other = np.where(deciding, x, rng.standard_normal(x.shape))
    np.testing.assert_array_equal(script.make_set(number, 200, Given(other))[1], p)
    for column in np.flatnonzero(deciding.all(0)):
        if column < 10:  # the switch changes what the rows read only where its sign does
            moved = x.copy()
            moved[:, column] += 1.0
            assert (script.make_set(number, 200, Given(moved))[1] != p).all()
    expected = {1: 2, 2: 4, 3: 4}
    if number in expected:
        assert (deciding.sum(1) == expected[number]).all()
    else:
        assert deciding[:, 10].all() and len(set(map(tuple, deciding))) == 2


def test_a_result_in_the_json_is_printed_and_not_measured_again(
    script: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
):
    measured: list[tuple[int, int]] = []

    def measure(number: int, seed: int, iterations: int, rate: float, compiled: bool) -> dict[str, float]:
        measured.append((number, seed))
        return {
            "auc": 0.5 + number / 100,
            "best_after": 150,
            "last_auc": 0.5,
            "ceiling": 0.9,
            "on_true": 0.7,
            "by_chance": 0.2,
            "seconds": 1.0,
        }

    monkeypatch.setattr(script, "measure", measure)
    out = tmp_path / "syn.json"
    for sets in (["2"], ["2", "4"]):
        monkeypatch.setattr(sys, "argv", ["syn.py", "--sets", *sets, "--out", str(out)])
        script.main()
    assert measured == [(2, 0), (4, 0)]
    assert len(read_json(out)["results"]) == 2
    printed = capsys.readouterr().out
    assert printed.count("Syn2") == 2 and "0.5400  0.776  0.5000" in printed


def test_a_short_training_already_knows_which_columns_count(script: Any):
    found = script.measure(2, 0, 30, 0.02, compiled=False)
    assert 0.55 < found["auc"] < found["ceiling"]
    assert found["on_true"] > found["by_chance"]
