"""Correlations against scipy's and numpy's, their derivatives against torch's autograd."""

import numpy as np
import pytest
import torch
from jigstack.scoring.losses import row_correlation_loss
from jigstack.scoring.pearson import (
    SHORT,
    column_correlations,
    derivatives,
    mean_correlation,
    row_correlations,
)
from scipy.stats import pearsonr

RNG = np.random.default_rng(0)
TRUTH = RNG.normal(size=(40, 7))
GUESS = 0.5 * TRUTH + RNG.normal(size=(40, 7)) + 3.0


def scipys(truth: np.ndarray, guess: np.ndarray) -> float:
    return pearsonr(truth, guess).correlation  # pyright: ignore[reportAttributeAccessIssue]


def with_gaps() -> np.ndarray:
    truth = TRUTH.copy()
    truth[np.random.default_rng(1).random(truth.shape) < 0.2] = np.nan
    return truth


def test_rows_correlate_as_scipy_says():
    wanted = [scipys(y, p) for y, p in zip(TRUTH, GUESS, strict=True)]
    np.testing.assert_allclose(row_correlations(TRUTH, GUESS), wanted, atol=1e-13)


def test_columns_correlate_as_numpy_says():
    wanted = [np.corrcoef(y, p)[0, 1] for y, p in zip(TRUTH.T, GUESS.T, strict=True)]
    np.testing.assert_allclose(column_correlations(TRUTH, GUESS), wanted, atol=1e-13)


def test_offsets_do_not_hide_that_two_rows_run_against_each_other():
    assert row_correlations(np.array([[1, 2, 3]]), np.array([[103, 102, 101]]))[0] == pytest.approx(-1.0)


@pytest.mark.parametrize(("scale", "offset"), [(1e-9, 0.0), (1e9, 0.0), (1.0, 1e6), (1e-3, 1e3)])
def test_scale_and_offset_of_the_predictions_do_not_matter(scale, offset):
    moved = row_correlations(TRUTH, scale * GUESS + offset)
    np.testing.assert_allclose(moved, row_correlations(TRUTH, GUESS), atol=1e-8)


def test_a_missing_cell_is_left_out_of_its_row():
    truth = with_gaps()
    present = np.isfinite(truth)
    wanted = [scipys(y[on], p[on]) for y, p, on in zip(truth, GUESS, present, strict=True)]
    np.testing.assert_allclose(row_correlations(truth, GUESS), wanted, atol=1e-12)


@pytest.mark.parametrize("value", [0.0, 0.1, -1e6])
def test_a_constant_prediction_correlates_with_nothing(value):
    assert row_correlations(TRUTH[:1], np.full((1, 7), value)).tolist() == [0.0]


@pytest.mark.parametrize("row", [np.full(7, 0.1), np.full(7, np.nan), [1.0] + [np.nan] * 6])
def test_a_row_without_a_spread_of_the_truth_is_left_out(row):
    found = row_correlations(np.stack([row, TRUTH[1]]), GUESS[:2])
    assert np.isnan(found[0])
    assert mean_correlation(found) == found[1]


def test_the_mean_of_nothing_is_undefined():
    assert np.isnan(mean_correlation(row_correlations(np.ones((3, 2)), TRUTH[:3, :2])))


def loss(truth: np.ndarray, guess: torch.Tensor) -> torch.Tensor:
    """The sum over the rows that count of 1 - r."""
    y = torch.from_numpy(truth)
    return torch.stack([row_correlation_loss(p[None], t[None]) for p, t in zip(guess, y, strict=True)]).sum()


def test_the_gradient_is_autograds_with_gaps_and_constant_rows():
    truth, guess = with_gaps(), GUESS.copy()
    truth[0], guess[1], guess[2] = 4.0, 4.0, 1e-5 * guess[2]
    leaf = torch.from_numpy(guess).requires_grad_()
    (wanted,) = torch.autograd.grad(loss(truth, leaf), leaf)
    gradient, _ = derivatives(truth, guess)
    np.testing.assert_allclose(gradient, wanted.numpy(), atol=1e-12)
    assert gradient[0].tolist() == [0.0] * 7
    assert np.abs(gradient[1]).max() > 0
    assert np.linalg.norm(gradient[1]) <= 1.001 / SHORT


def test_the_hessian_is_positive_and_nowhere_below_the_true_one():
    """At r = 1 / √3 the largest eigenvalue reaches it: no smaller multiple of the unit matrix would do."""
    _, hessian = derivatives(TRUTH, GUESS)
    assert (hessian > 0).all()
    share = []
    for y, p, h in zip(TRUTH, GUESS, hessian, strict=True):
        exact = torch.autograd.functional.hessian(
            lambda row, y=y: loss(y[None], row[None]), torch.from_numpy(p)
        )
        share.append(float(torch.linalg.eigvalsh(exact)[-1]) / h[0])
    assert max(share) <= 1.0
    assert max(share) > 0.98


def test_newton_steps_reach_the_truth_where_steps_of_the_gradient_do_not():
    steps = {"newton": 300 * GUESS, "gradient": 300 * GUESS}
    for _ in range(15):
        gradient, hessian = derivatives(TRUTH, steps["newton"])
        steps["newton"] = steps["newton"] - gradient / hessian
        steps["gradient"] = steps["gradient"] - derivatives(TRUTH, steps["gradient"])[0]
    before = mean_correlation(row_correlations(TRUTH, GUESS))
    newton, gradient = (mean_correlation(row_correlations(TRUTH, values)) for values in steps.values())
    assert newton > 0.999
    assert gradient == pytest.approx(before, abs=1e-3)


def test_a_cell_that_is_missing_has_no_weight():
    truth = with_gaps()
    gradient, hessian = derivatives(truth, GUESS)
    missing = np.isnan(truth)
    assert missing.any()
    assert (gradient[missing] == 0).all() and (hessian[missing] == 0).all()
    assert (hessian[~missing] > 0).all()


@pytest.mark.parametrize(
    ("truth", "guess", "message"),
    [
        (TRUTH, GUESS[:3], "of one shape"),
        (TRUTH[0], GUESS[0], "of one shape"),
        (TRUTH[:0], GUESS[:0], "N > 0"),
        (TRUTH[:, :1], GUESS[:, :1], "two or more columns"),
        (TRUTH, np.where(GUESS > 4, np.nan, GUESS), "finite predictions"),
        (np.where(TRUTH > 1, np.inf, TRUTH), GUESS, "finite or missing"),
    ],
)
@pytest.mark.parametrize("function", [row_correlations, derivatives])
def test_bad_input_is_named(function, truth, guess, message):
    with pytest.raises(ValueError, match=message):
        function(truth, guess)


def test_a_length_of_nothing_is_refused():
    with pytest.raises(ValueError, match="`shortest`: expected a length above 0, received 0"):
        derivatives(TRUTH, GUESS, shortest=0)
