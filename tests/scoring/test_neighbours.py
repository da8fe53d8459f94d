"""Weighted neighbours are lightly's for classes and scikit-learn's for values."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from jigstack.scoring import neighbours as module
from jigstack.scoring.neighbours import neighbours
from lightly.utils.benchmarking.knn import knn_predict
from sklearn.neighbors import KNeighborsRegressor

RNG = np.random.default_rng(0)
BANK, QUERIES = RNG.normal(size=(150, 12)).astype(np.float32), RNG.normal(size=(40, 12)).astype(np.float32)


@pytest.mark.parametrize("k", [1, 20, 150])
def test_the_most_probable_class_is_lightlys(k: int):
    labels = RNG.integers(0, 4, 150)
    found = neighbours(BANK, np.eye(4)[labels], QUERIES, k)
    unit, stored = F.normalize(torch.tensor(QUERIES), dim=1), F.normalize(torch.tensor(BANK), dim=1)
    expected = knn_predict(unit, stored.T, torch.tensor(labels), 4, knn_k=k, knn_t=0.1)[:, 0]
    assert found.argmax(axis=1).tolist() == expected.tolist()
    assert found.sum(axis=1) == pytest.approx(1)


@pytest.mark.parametrize("temperature", [0.1, 1.0])
def test_values_are_scikit_learns_weighted_mean(temperature: float):
    values = RNG.normal(1900, 50, size=(150, 2))
    twin = KNeighborsRegressor(7, metric="cosine", algorithm="brute")
    twin.set_params(weights=lambda distance: np.exp((1 - distance) / temperature))
    twin.fit(BANK, values)
    expected = twin.predict(QUERIES)
    assert neighbours(BANK, values, QUERIES, 7, temperature) == pytest.approx(expected, rel=1e-6)


def test_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch):
    values = RNG.normal(size=(150, 2))
    whole = neighbours(BANK, values, QUERIES)
    monkeypatch.setattr(module, "CELLS", 450)
    assert neighbours(BANK, values, QUERIES) == pytest.approx(whole, abs=1e-6)


def test_of_fewer_rows_than_neighbours_all_count():
    values = RNG.normal(size=(5, 1))
    assert neighbours(BANK[:5], values, QUERIES, 20) == pytest.approx(
        neighbours(BANK[:5], values, QUERIES, 5)
    )


def test_the_length_of_a_feature_does_not_count_and_a_small_temperature_does_not_overflow():
    values = RNG.normal(size=(150, 1))
    longer = neighbours(BANK * 100, values, QUERIES * 3, 3, 1e-4)
    assert longer == pytest.approx(neighbours(BANK, values, QUERIES, 3, 1e-4), abs=1e-2)
    nearest = (F.normalize(torch.tensor(QUERIES)) @ F.normalize(torch.tensor(BANK)).T).argmax(1)
    assert np.median(np.abs(longer[:, 0] - values[nearest, 0])) < 1e-6


def test_no_queries_give_no_rows():
    assert neighbours(BANK, np.eye(150), QUERIES[:0]).shape == (0, 150)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"bank": BANK[:0], "targets": np.eye(3)[:0]}, "N > 0"),
        ({"targets": np.eye(149)}, r"received \(150, 12\), \(149, 149\)"),
        ({"queries": QUERIES[:, :5]}, r"\(40, 5\)"),
        ({"k": 0}, "received k=0"),
        ({"temperature": 0.0}, "temperature=0"),
        ({"targets": np.full((150, 1), np.nan)}, "`targets`: expected finite"),
    ],
)
def test_bad_input_is_told(change: dict, message: str):
    with pytest.raises(ValueError, match=message):
        neighbours(**{"bank": BANK, "targets": np.eye(150), "queries": QUERIES} | change)
