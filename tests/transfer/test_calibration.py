"""Heads of correlated columns get the units that their loss does not see."""

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from jigstack.configs.schema import EarlyStopping, Task
from jigstack.datasets.regression import RegressionTarget
from jigstack.datasets.targets import code_target
from jigstack.training.interrupt import Interrupted
from jigstack.transfer.calibration import calibrate, least_squares
from jigstack.transfer.finetune import FoldWork, finetune_fold, labelled, load_networks, start_network
from jigstack.transfer.network import HeadNetwork
from safetensors.torch import load_file
from sklearn.linear_model import LinearRegression

COLUMNS = ("year", "weight")


def regression(name: str, columns: tuple[str, ...], frame: pd.DataFrame, **options: str) -> RegressionTarget:
    target = code_target(name, Task(kind="regression", columns=list(columns), options=options), frame)
    assert isinstance(target, RegressionTarget)
    return target


def columns_work(work: FoldWork) -> FoldWork:
    """The same rows with two columns, a value missing, in a head by columns; beside it one of squared error."""
    frame = work.frame.assign(
        year=1900.0 + 10 * work.frame["era"], weight=0.02 * np.cos(np.arange(len(work.frame)))
    )
    frame.loc[work.plan.train_ids(0)[1], "weight"] = np.nan
    targets = {
        "shape": regression("shape", COLUMNS, frame, loss="pearson", centre="column"),
        "plain": regression("plain", ("year",), frame),
    }
    tasks = {name: work.shared.model_copy(update={"columns": list(t.inputs)}) for name, t in targets.items()}
    return dataclasses.replace(work, frame=frame, tasks=tasks, targets=targets)


def outputs(network: HeadNetwork, work: FoldWork, ids: np.ndarray) -> dict[str, np.ndarray]:
    inputs = work.inputs.store.gather(work.inputs.first(ids))
    with torch.inference_mode():
        found = network.eval().view_outputs(inputs, ["identity"])
    return {name: values[:, 0].numpy().astype(np.float64) for name, values in found.items()}


@given(seed=st.integers(0, 1000), level=st.floats(-50, 50), spread=st.floats(0.01, 100))
def test_slope_and_intercept_are_scikit_learns_on_the_known_cells(seed: int, level: float, spread: float):
    rng = np.random.default_rng(seed)
    x = (level + spread * rng.normal(size=(30, 2))).astype(np.float32)
    y = rng.normal(size=(30, 2)) - x
    y[rng.random(y.shape) < 0.2] = np.nan
    slope, intercept = least_squares(y, x)
    for k in range(2):
        known = np.isfinite(y[:, k])
        twin = LinearRegression().fit(x[known, k : k + 1].astype(np.float64), y[known, k])
        np.testing.assert_allclose(slope[k], twin.coef_[0], rtol=1e-6, atol=1e-9)
        np.testing.assert_allclose(intercept[k], twin.intercept_, rtol=1e-5, atol=1e-6 * (1 + abs(level)))


def test_a_constant_output_becomes_the_mean_and_one_that_runs_against_the_truth_is_turned():
    truth = np.array([[1.0, 1.0, 4.0], [2.0, 2.0, np.nan], [6.0, 6.0, np.nan]])
    outputs = np.array([[7.1, 5.0, 3.0], [7.1, 4.0, 8.0], [7.1, 0.0, 9.0]], np.float32)
    slope, intercept = least_squares(truth, outputs)
    assert slope.tolist() == [0.0, -1.0, 0.0] and intercept.tolist() == [3.0, 6.0, 4.0]


def test_a_column_without_truth_is_refused():
    with pytest.raises(ValueError, match=r"expected a known value in each column, received none in \[1\]"):
        least_squares(np.array([[1.0, np.nan]]), np.zeros((1, 2)))


def test_only_the_heads_of_columns_change_and_only_their_last_layer(make_work):
    work = columns_work(make_work())
    ids, _ = work.fit_ids()
    targets = {name: target.fit(work.frame.loc[ids]) for name, target in work.targets.items()}
    network = start_network(work, targets)
    for head in network.heads.values():
        torch.nn.init.normal_(head.get_parameter("weight"), std=30.0)
    weights = {name: value.clone() for name, value in network.state_dict().items()}
    source, before = labelled(work, ids, targets), outputs(network, work, ids)
    calibrate(network, source, work.machine)
    changed = {name for name, value in network.state_dict().items() if not torch.equal(value, weights[name])}
    assert changed == {"heads.shape.weight", "heads.shape.bias"}
    after = outputs(network, work, ids)
    slope, intercept = least_squares(source.targets["shape"].numpy(), before["shape"])
    np.testing.assert_allclose(after["shape"], slope * before["shape"] + intercept, rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(after["plain"], before["plain"])


@pytest.mark.parametrize("stopping", [None, EarlyStopping(share=0.3, patience=2)])
def test_every_seed_predicts_in_the_units_of_the_columns(make_work, tmp_path: Path, stopping):
    """On the rows they learned from, the least squares of truth on prediction are the diagonal."""
    work = columns_work(make_work(early_stopping=stopping, seeds=2))
    finetune_fold(work, tmp_path, "key", lambda _: None)
    ids, _ = work.fit_ids()
    truth = work.frame.loc[ids, list(COLUMNS)].to_numpy()
    networks = load_networks(tmp_path, work)
    assert len(networks) == 2
    for network in networks:
        decoded = network.targets["shape"].decode(outputs(network, work, ids)["shape"].astype(np.float32))
        assert np.ptp(decoded, axis=0).min() > 0
        known = np.isfinite(truth)
        spread = np.nanstd(truth, axis=0)
        offset = np.where(known, decoded - truth, 0.0).sum(axis=0) / known.sum(axis=0)
        np.testing.assert_allclose(offset / spread, 0, atol=2e-3)
        slope, _ = least_squares(truth, decoded)
        np.testing.assert_allclose(slope, 1.0, rtol=0.05)


def test_a_resumed_training_is_calibrated_to_the_same_bits(make_work, tmp_path: Path):
    work = columns_work(make_work())
    finetune_fold(work, tmp_path / "whole", "key", lambda _: None)
    steps = []
    with pytest.raises(Interrupted):
        finetune_fold(work, tmp_path / "parts", "key", steps.append, lambda: len(steps) > 0)
    finetune_fold(work, tmp_path / "parts", "key", steps.append)
    whole, parts = (load_file(tmp_path / name / "head.safetensors") for name in ("whole", "parts"))
    assert all(torch.equal(value, parts[name]) for name, value in whole.items())
