"""Collapse is warned of, then explained, then stopped, and judged from the history alone."""

import math

import pytest
from jigstack.configs.errors import UserError
from jigstack.configs.schema import Pretext
from jigstack.pretext.collapse import Collapsed, Gauge, Watch

GOOD, THIN = {"loss": 1.0, "held_z_std": 0.9}, {"loss": -1.0, "held_z_std": 0.02}


def watch(**changes) -> Watch:
    return Watch(Pretext(**{"name": "sim", "kind": "jigsaw", "batch": 32, "lr": 0.03} | changes))


def test_a_healthy_history_says_nothing():
    assert watch().judge([GOOD] * 5) == ""
    assert watch().judge([]) == ""


def test_the_first_collapsed_epoch_warns_the_second_advises_the_third_stops():
    first, second = watch().judge([GOOD, THIN]), watch().judge([GOOD, THIN, THIN])
    assert "warning: sim: all inputs get nearly the same outputs (std·√D 0.020" in first
    assert "Try" not in first
    assert "for 2 epochs" in second
    assert "Try lr: 0.01 (now 0.03), batch: 64 (now 32)." in second
    with pytest.raises(Collapsed) as stopped:
        watch().judge([GOOD, THIN, THIN, THIN])
    for part in (
        "std·√D 0.020",
        "epochs 2 to 4",
        "Probable causes",
        "lr: 0.01",
        "last.ckpt",
        "collapse: warn",
    ):
        assert part in str(stopped.value)
    assert isinstance(stopped.value, UserError)


def test_a_resumed_run_that_had_collapsed_stops_again():
    with pytest.raises(Collapsed, match="epochs 1 to 4"):
        watch().judge([THIN] * 4)


def test_one_healthy_epoch_starts_the_count_again():
    assert "for 2 epochs" in watch().judge([THIN, THIN, GOOD, THIN, THIN])


def test_features_that_spread_again_are_not_stopped():
    rising = [{"held_z_std": value} for value in (0.01, 0.02, 0.05)]
    assert watch().judge(rising) == ""
    with pytest.raises(Collapsed):
        watch().judge([*rising, {"held_z_std": 0.05}, {"held_z_std": 0.05}])
    with pytest.raises(Collapsed):
        watch().judge([{"held_z_std": math.nan}] * 3)


def test_with_warn_it_goes_on_and_falls_silent():
    lenient = watch(collapse="warn")
    assert "goes on as asked" in lenient.judge([THIN] * 3)
    assert lenient.judge([THIN] * 4) == ""


@pytest.mark.parametrize(
    ("scalars", "finding"),
    [
        ({"feature_std": 0.05, "feature_rank": 9.0}, ""),  # pooled features lie close together by nature
        ({"feature_std": 0.005, "feature_rank": 9.0}, "nearly the same features"),
        ({"z_std": 0.05, "feature_std": 0.5}, "nearly the same outputs"),
        ({"z_std": 0.9, "feature_std": 0.005}, "nearly the same features"),
        ({"z_std": 0.05, "held_z_std": 0.8}, ""),
        ({"z_std": 0.9, "held_z_std": 0.05}, ""),  # running statistics that have not settled
        ({"z_std": 0.06, "held_z_std": 0.05}, "std·√D 0.060"),
        ({"z_std": 0.9, "feature_rank": 1.01}, "one line"),
        ({"z_std": math.nan}, "not finite"),
        ({"z_std": 0.9, "held_z_std": math.nan}, "not finite"),
        ({"feature_std": 0.4, "feature_rank": math.nan}, "not finite"),
        ({"loss": 1.0}, ""),
    ],
)
def test_outputs_features_and_rank_are_judged(scalars: dict[str, float], finding: str):
    gauge = Gauge.of(scalars)
    assert (finding in gauge.finding) if finding else not gauge.finding


def test_epochs_without_a_gauge_are_not_judged():
    assert watch().judge([{"loss": 1.0}] * 5) == ""


def test_only_values_that_differ_from_the_present_ones_are_proposed():
    advice = watch(batch=256, warmup=0.2).advice
    assert "batch:" not in advice
    assert "warmup:" not in advice
