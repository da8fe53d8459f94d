"""Passes over blocks of rows, against numpy."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from jigstack.datasets.table_blocks import Blocks, Floats, Moments, quantiles, sampled


def test_moments_leave_missing_values_aside_and_do_not_depend_on_the_blocks():
    values = np.random.default_rng(0).gamma(2.0, 3.0, (200, 6)) * [1, 1e3, 1e-3, 1, 1, 1] + [
        0,
        1e9,
        0,
        5,
        -3,
        0,
    ]
    values[::3, 1] = values[:70, 4] = np.nan
    for size in (7, 64, 1000):
        moments = Moments.of(Blocks.of(values, size))
        np.testing.assert_array_equal(moments.count, (~np.isnan(values)).sum(axis=0))
        np.testing.assert_allclose(moments.mean, np.nanmean(values, axis=0), rtol=1e-12)
        np.testing.assert_allclose(moments.sd, np.nanstd(values, axis=0), rtol=1e-6)
        np.testing.assert_array_equal(moments.low, np.nanmin(values, axis=0))
        np.testing.assert_array_equal(moments.high, np.nanmax(values, axis=0))


def test_the_scale_is_no_smaller_than_what_rounding_could_be():
    values = np.array([[1e6, 0.0, 3.0, np.nan], [1e6 + 1e-3, 0.0, 5.0, np.nan]])
    assert Moments.of(Blocks.of(values)).scale.tolist() == pytest.approx([1.0, 1.0, 1.0, 1.0])


@given(
    arrays(
        np.float64, st.tuples(st.integers(1, 12), st.just(3)), elements=st.floats(-1e6, 1e6) | st.just(np.nan)
    )
)
def test_quantiles_are_numpys(values: Floats):
    values[0] = 1.0
    shares = np.linspace(0, 1, 5)
    np.testing.assert_allclose(
        quantiles(values, shares), np.nanquantile(values, shares, axis=0), rtol=1e-9, atol=1e-9
    )


def test_many_rows_are_sampled_without_repeats_in_their_order():
    values = np.arange(1000.0)[:, None]
    some = sampled(Blocks.of(values, 64), np.random.default_rng(0), most=100)[:, 0]
    assert len(some) == 100 and (np.diff(some) > 0).all() and set(some) <= set(values[:, 0])


def test_sampling_changes_the_drawn_rows_only():
    seen: list[int] = []

    def change(block: Floats) -> Floats:
        seen.append(len(block))
        return block + 1

    blocks = Blocks.of(np.arange(1000.0)[:, None], 64).through(change)
    some = sampled(blocks, np.random.default_rng(0), most=100)
    assert seen == [100] and np.isin(some, np.arange(1, 1001.0)).all()
    np.testing.assert_array_equal(sampled(blocks, np.random.default_rng(0)), np.arange(1, 1001.0)[:, None])
