"""How many test rows a checkpoint must have seen beside its train rows."""

import pytest
from jigstack.pipeline.reuse import UNEQUAL, one_sided
from scipy.stats import binom


@pytest.mark.parametrize(
    ("share", "seen", "count"),
    [
        (0.95, 4, 5),
        (0.95, 3, 4),
        (1.0, 1, 2),
        (0.95, 900, 1000),
        (0.5, 450, 1000),
        (0.1, 0, 1000),
        (0.0, 0, 0),
    ],
)
def test_a_checkpoint_that_saw_train_and_test_rows_alike_may_be_used(share: float, seen: int, count: int):
    """Of few test rows one or two may have been held out."""
    assert not one_sided(share, seen, count)


@pytest.mark.parametrize(
    ("share", "seen", "count"),
    [
        (0.95, 0, 1),
        (0.95, 0, 5),
        (0.95, 1, 5),
        (0.95, 0, 0),
        (0.95, 600, 1000),
        (0.5, 300, 1000),
        (1.0, 50, 100),
    ],
)
def test_a_checkpoint_that_hardly_saw_the_test_rows_may_not(share: float, seen: int, count: int):
    assert one_sided(share, seen, count)


@pytest.mark.parametrize("count", [2, 5, 12, 100, 2000])
def test_a_twentieth_held_out_at_random_is_hardly_ever_refused(count: int):
    refused = sum(binom.pmf(seen, count, 0.95) for seen in range(count + 1) if one_sided(0.95, seen, count))
    assert refused < 0.01 < UNEQUAL
