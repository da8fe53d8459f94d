"""The closed-form ridge is scikit-learn's, from rows or from sums over them, at every penalty."""

import numpy as np
import pytest
from jigstack.scoring.ridge import PENALTIES, Basis, Moments, best_penalty, varying
from sklearn.linear_model import Ridge


def rows(n: int, d: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n, d)) * rng.uniform(0.5, 2, d) + rng.normal(size=d)
    return x, x[:, :2] @ rng.normal(size=(2, 3)) + rng.normal(size=(n, 3))


def twin(x: np.ndarray, y: np.ndarray, penalty: float, queries: np.ndarray) -> np.ndarray:
    mean, scale = x.mean(axis=0), x.std(axis=0)
    scale[scale == 0] = 1.0
    model = Ridge(alpha=penalty * len(x)).fit((x - mean) / scale, y)
    return model.predict((queries - mean) / scale)


@pytest.mark.parametrize(("n", "d"), [(50, 8), (20, 60)])
@pytest.mark.parametrize("penalty", PENALTIES[::4])
def test_it_is_scikit_learns_with_more_rows_or_more_features(n: int, d: int, penalty: float):
    x, y = rows(n + 7, d)
    expected = twin(x[:n], y[:n], penalty, x[n:])
    assert Basis.of(x[:n], y[:n]).predict(x[n:], penalty) == pytest.approx(expected, abs=1e-7)
    by_sums = Basis.of_moments(Moments.of(x[:n], y[:n]))
    assert by_sums.predict(x[n:], penalty) == pytest.approx(expected, abs=1e-6)


def test_sums_without_those_of_some_rows_are_the_sums_of_the_others():
    x, y = rows(60, 5)
    left = Moments.of(x, y) - Moments.of(x[:15], y[:15])
    expected = Basis.of(x[15:], y[15:]).predict(x[:15], 0.1)
    assert Basis.of_moments(left).predict(x[:15], 0.1) == pytest.approx(expected, abs=1e-9)


def test_errors_at_all_penalties_are_those_of_its_predictions():
    x, y = rows(40, 6)
    basis = Basis.of(x[:30], y[:30])
    expected = [((basis.predict(x[30:], p) - y[30:]) ** 2).sum(axis=0) for p in PENALTIES]
    assert basis.errors(x[30:], y[30:]) == pytest.approx(np.array(expected))


def test_the_least_error_wins_and_of_equals_the_stronger_penalty():
    errors = np.ones((len(PENALTIES), 2))
    errors[3, 1] = 0.5
    assert best_penalty(errors).tolist() == [PENALTIES[-1], PENALTIES[3]]


def test_a_constant_feature_has_no_weight_whether_from_rows_or_sums():
    x, y = rows(30, 4)
    x[:, 2] = 1.25
    for basis in (Basis.of(x, y), Basis.of_moments(Moments.of(x, y))):
        assert (basis.weights(0.1)[2] == 0).all()
        moved = x.copy()
        moved[:, 2] += 100
        assert basis.predict(moved, 0.1) == pytest.approx(twin(x, y, 0.1, x), abs=1e-7)


def test_a_missing_value_counts_as_the_mean():
    x, y = rows(30, 4)
    x[3, 1] = np.nan
    basis = Basis.of(x, y)
    filled = np.where(np.isnan(x), basis.mean, x)
    assert basis.predict(x, 0.1) == pytest.approx(basis.predict(filled, 0.1))


def test_a_column_that_differs_in_the_last_digit_only_is_constant():
    x = np.float32(1915) + np.zeros((3, 2), dtype=np.float32)
    x[0, 0] = np.nextafter(np.float32(1915), np.float32(2000))
    x[1, 1] = np.float32(1916)
    assert varying(x.astype(np.float64)).tolist() == [False, True]
