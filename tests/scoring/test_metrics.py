"""Every metric equals scikit-learn's or scipy's, on the rows and on every bootstrap resample of them."""

import dataclasses
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jigstack.scoring import METRICS, get_metric
from jigstack.scoring.pearson import row_correlations
from scipy.stats import pearsonr
from sklearn import metrics as twins
from sklearn.metrics.pairwise import paired_cosine_distances

RNG = np.random.default_rng(0)
VALUES = RNG.normal(size=(80, 3)), RNG.normal(size=(80, 3))
GRADES = RNG.integers(0, 4, 80).astype(float), RNG.uniform(0, 3, 80)
CODES = RNG.integers(0, 4, 80).astype(float)
SHARES = RNG.dirichlet(np.ones(4), 80)
TWO = (CODES > 1).astype(float), np.stack([1 - SHARES[:, 0], SHARES[:, 0]], axis=1)


def kappa(truth, prediction):
    return twins.cohen_kappa_score(truth, np.floor(prediction + 0.5), weights="quadratic", labels=range(4))


def correlations(truth, prediction):
    return np.array([pearsonr(y, p).correlation for y, p in zip(truth, prediction, strict=True)])


def correlation(truth, prediction):
    return correlations(truth, prediction).mean()


CASES = [
    ("rmse", *VALUES, twins.root_mean_squared_error),
    ("mae", *VALUES, twins.mean_absolute_error),
    ("r2", *VALUES, twins.r2_score),
    ("qwk", *GRADES, kappa),
    ("cosine", *VALUES, lambda y, p: np.mean(1 - paired_cosine_distances(y, p))),
    ("pearson", *VALUES, correlation),
    ("pearson_columns", *VALUES, lambda y, p: correlation(y.T, p.T)),
    ("accuracy", CODES, SHARES, lambda y, p: twins.accuracy_score(y, p.argmax(axis=1))),
    ("logloss", CODES, SHARES, lambda y, p: twins.log_loss(y, p, labels=range(p.shape[1]))),
    ("logloss", *TWO, lambda y, p: twins.log_loss(y, p)),
    ("f1", CODES, SHARES, lambda y, p: twins.f1_score(y, p.argmax(axis=1), average="macro")),
    ("f1", *TWO, lambda y, p: twins.f1_score(y, p.argmax(axis=1))),
    ("auc", CODES, SHARES, lambda y, p: twins.roc_auc_score(y, p, multi_class="ovr", average="macro")),
    ("auc", *TWO, lambda y, p: twins.roc_auc_score(y, p[:, 1])),
    ("auc", TWO[0], np.round(TWO[1], 1), lambda y, p: twins.roc_auc_score(y, p[:, 1])),
]


@pytest.mark.parametrize(("name", "truth", "prediction", "twin"), CASES)
def test_a_metric_matches_sklearn(name, truth, prediction, twin):
    assert METRICS[name].function(truth, prediction) == pytest.approx(twin(truth, prediction), abs=1e-10)


@pytest.mark.parametrize(("name", "truth", "prediction", "twin"), CASES)
def test_a_resample_of_groups_scores_like_its_repeated_rows(name, truth, prediction, twin):
    """A resample that takes group g c_g times is the table with each of its rows c_g times."""
    metric = METRICS[name]
    groups = np.repeat(np.arange(20), 4)
    counts = np.random.default_rng(1).multinomial(20, np.full(20, 1 / 20), size=5).astype(float)
    y, p = metric.check(truth, prediction)
    scores = metric.resample(y, p, groups, counts)
    for score, row in zip(scores, counts, strict=True):
        repeated = np.repeat(np.arange(80), row[groups].astype(int))
        assert score == pytest.approx(twin(truth[repeated], prediction[repeated]), abs=1e-10)


@pytest.mark.parametrize(("name", "truth", "prediction", "twin"), CASES)
def test_a_scorer_of_many_resamples_gives_the_scores_of_each(name, truth, prediction, twin):
    metric = METRICS[name]
    groups = np.repeat(np.arange(20), 4)
    counts = np.random.default_rng(1).multinomial(20, np.full(20, 1 / 20), size=5).astype(float)
    y, p = metric.check(truth, prediction)
    score = metric.scorer(truth, prediction, groups, 20)
    np.testing.assert_allclose(score(counts), metric.resample(y, p, groups, counts), rtol=1e-12)


def test_resamples_share_the_correlations_of_rows():
    calls = []
    counted = dataclasses.replace(
        METRICS["pearson"], by_row=lambda y, p: calls.append(1) or row_correlations(y, p)
    )
    score = counted.scorer(*VALUES, np.arange(80), 80)
    for seed in range(3):
        score(np.random.default_rng(seed).multinomial(80, np.full(80, 1 / 80), size=2).astype(float))
    assert len(calls) == 1


def test_constant_rows_of_the_truth_are_left_out_and_those_of_the_prediction_count_nothing():
    truth, prediction = (values.copy() for values in VALUES)
    truth[0], prediction[1] = 2.0, 0.1
    wanted = correlations(truth[2:], prediction[2:]).sum() / 79
    assert METRICS["pearson"].function(truth, prediction) == pytest.approx(wanted)


@pytest.mark.parametrize("offset", [0.1, 1e6])
def test_constant_columns_do_the_same_for_the_correlation_of_columns(offset):
    truth, prediction = (values + offset for values in VALUES)
    truth[:, 0], prediction[:, 1] = 0.3, 0.1
    wanted = correlations(truth.T[2:], prediction.T[2:])[0] / 2
    assert METRICS["pearson_columns"].function(truth, prediction) == pytest.approx(wanted, abs=1e-8)


def test_several_columns_are_averaged_uniformly():
    truth, prediction = VALUES
    single = [METRICS["rmse"].function(truth[:, k], prediction[:, k]) for k in range(3)]
    assert METRICS["rmse"].function(truth, prediction) == pytest.approx(np.mean(single))


def test_a_class_that_does_not_occur_is_left_out():
    keep = CODES != 2
    scores = {name: METRICS[name].function(CODES[keep], SHARES[keep]) for name in ("auc", "f1")}
    assert all(np.isfinite(score) for score in scores.values())
    single = [twins.roc_auc_score(CODES[keep] == c, SHARES[keep, c]) for c in (0, 1, 3)]
    assert scores["auc"] == pytest.approx(np.mean(single))


@pytest.mark.parametrize(
    ("name", "truth", "prediction"),
    [
        ("auc", np.ones(4), np.full((4, 2), 0.5)),
        ("r2", np.full(4, 7.1), np.arange(4.0)),
        ("qwk", np.ones(4), np.ones(4)),
        ("pearson", np.ones((4, 2)), VALUES[0][:4, :2]),
        ("pearson_columns", np.ones(4), np.arange(4.0)),
    ],
)
def test_an_undefined_score_is_nan_and_silent(name, truth, prediction):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.isnan(METRICS[name].function(truth, prediction))


def test_a_vector_of_length_zero_has_the_cosine_zero():
    assert (
        METRICS["cosine"].function(np.array([[1.0, 0.0], [0.0, 2.0]]), np.array([[3.0, 0.0], [0.0, 0.0]]))
        == 0.5
    )


def test_r2_survives_a_large_offset():
    truth, prediction = VALUES[0][:, 0], VALUES[1][:, 0]
    assert METRICS["r2"].function(truth + 1e7, prediction + 1e7) == pytest.approx(
        METRICS["r2"].function(truth, prediction), rel=1e-6
    )


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.floats(-1e3, 1e3), st.floats(-1e3, 1e3)), min_size=2, max_size=20))
def test_the_order_of_rows_does_not_matter(pairs):
    truth, prediction = np.array(pairs).T
    for name in ("rmse", "mae"):
        turned = METRICS[name].function(truth[::-1], prediction[::-1])
        assert METRICS[name].function(truth, prediction) == pytest.approx(turned)


@pytest.mark.parametrize(
    ("name", "truth", "prediction", "message"),
    [
        ("rmse", np.ones(3), np.ones(4), "expected values .N, K. of both"),
        ("rmse", np.ones(0), np.ones(0), "N > 0"),
        ("mae", np.array([1.0, np.nan]), np.ones(2), "finite"),
        ("pearson", np.arange(3.0), np.arange(3.0), "two or more columns"),
        ("pearson", np.ones((2, 3)), np.ones((2, 2)), "expected values .N, K. of both"),
        ("auc", np.ones(3), np.ones(3), "probabilities .N, C., C > 1"),
        ("logloss", np.array([0.0, 2.0]), np.full((2, 2), 0.5), "class codes 0 to 1"),
        ("accuracy", np.array([0.0, 1.0]), np.full((2, 2), 1.5), "probabilities from 0 to 1"),
        ("qwk", np.array([0.5, 1.0]), np.ones(2), "whole numbers"),
    ],
)
def test_bad_input_is_named(name, truth, prediction, message):
    with pytest.raises(ValueError, match=message):
        METRICS[name].function(truth, prediction)


def test_an_unknown_metric_suggests_the_nearest():
    with pytest.raises(ValueError, match="Did you mean 'rmse'"):
        get_metric("rsme")


def test_better_knows_the_direction():
    assert METRICS["rmse"].better(0.1, 0.2)
    assert METRICS["auc"].better(0.9, 0.2)
    assert not METRICS["auc"].better(0.2, 0.2)
