"""Group-bootstrap intervals: repeatable, paired, and as wide as the groups say."""

import numpy as np
import pytest
from jigstack.scoring import METRICS, Interval, bootstrap_interval, bootstrap_scores, paired_interval

RMSE = METRICS["rmse"]


def simulated(n_groups=60, size=10, spread=1.0, seed=0):
    """Errors that the rows of a group share: ten photos of one series are wrong together."""
    rng = np.random.default_rng(seed)
    groups = np.repeat(np.arange(n_groups), size)
    truth = rng.normal(size=n_groups * size)
    return truth, truth + spread * rng.normal(size=n_groups)[groups], groups, rng


def test_the_same_generator_gives_the_same_bits():
    truth, prediction, groups, _ = simulated()
    first, second = (
        bootstrap_scores(RMSE, truth, [prediction], groups, np.random.default_rng(5), 50) for _ in range(2)
    )
    assert np.array_equal(first, second)


def test_the_interval_of_a_mean_matches_theory():
    """Without groups, the bootstrap's spread of a mean absolute error is sd / √n."""
    rng = np.random.default_rng(0)
    errors = np.abs(rng.normal(size=2000))
    scores = bootstrap_scores(METRICS["mae"], np.zeros(2000), [errors], None, rng, 1000)
    assert scores.std() == pytest.approx(errors.std() / np.sqrt(2000), rel=0.1)


def test_groups_widen_the_interval():
    truth, prediction, groups, rng = simulated()
    by_group = bootstrap_interval(RMSE, truth, prediction, groups, rng)
    by_row = bootstrap_interval(RMSE, truth, prediction, None, rng)
    assert by_group.high - by_group.low > 2 * (by_row.high - by_row.low)


def test_the_interval_holds_the_truth_about_as_often_as_it_says():
    held = 0
    for seed in range(100):
        truth, prediction, groups, rng = simulated(seed=seed)
        interval = bootstrap_interval(RMSE, truth, prediction, groups, rng, resamples=200)
        held += interval.low <= 1.0 <= interval.high
    assert 85 <= held <= 100


def test_a_paired_difference_is_sharper_than_two_intervals():
    truth, prediction, groups, rng = simulated()
    better = truth + 0.95 * (prediction - truth)
    paired = paired_interval(RMSE, truth, prediction, better, groups, rng)
    single = bootstrap_interval(RMSE, truth, prediction, groups, rng)
    assert paired.low > 0
    assert paired.excludes_zero()
    assert paired.high - paired.low < 0.2 * (single.high - single.low)


def test_chunks_do_not_change_the_draws(monkeypatch):
    truth, prediction, groups, _ = simulated(n_groups=9, size=2)
    whole = bootstrap_scores(RMSE, truth, [prediction], groups, np.random.default_rng(2), 40)
    monkeypatch.setattr("jigstack.scoring.intervals.CELLS", 60)
    parts = bootstrap_scores(RMSE, truth, [prediction], groups, np.random.default_rng(2), 40)
    assert np.allclose(whole, parts)


def test_resamples_without_a_score_are_counted():
    truth = np.array([1.0, 0.0, 0.0, 0.0])
    chances = np.stack([1 - truth, truth], axis=1)
    scores = bootstrap_scores(METRICS["auc"], truth, [chances], None, np.random.default_rng(0), 400)[0]
    interval = Interval.of(scores)
    assert interval.undefined == pytest.approx(0.75**4, abs=0.1)
    assert (interval.low, interval.high) == (1.0, 1.0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"resamples": 0}, "`resamples` must be 1 or more; received 0"),
        ({"groups": ["a"]}, "one entry a row, 3; received 1"),
    ],
)
def test_bad_input_is_named(arguments, message):
    given = {"groups": None, "resamples": 10, **arguments}
    with pytest.raises(ValueError, match=message):
        bootstrap_scores(RMSE, np.ones(3), [np.ones(3)], generator=np.random.default_rng(0), **given)


def test_a_level_outside_its_range_is_refused():
    with pytest.raises(ValueError, match=r"between 0 and 1; received 95"):
        Interval.of(np.ones(3), 95)
