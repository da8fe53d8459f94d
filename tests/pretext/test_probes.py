"""Probes are scikit-learn's ridge and neighbours out of fold, and never look at the rows they score."""

import numpy as np
import pytest
import torch
from jigstack.pretext.probes import inner_splits, pixel_features, probe
from jigstack.scoring.ridge import PENALTIES
from sklearn.decomposition import PCA
from sklearn.linear_model import Ridge
from sklearn.metrics import r2_score, root_mean_squared_error
from sklearn.neighbors import KNeighborsRegressor
from sklearn.preprocessing import StandardScaler

N, D = 120, 10
RNG = np.random.default_rng(0)
X = RNG.normal(size=(N, D))
Y = (X[:, :1] * 30 + RNG.normal(size=(N, 1)) * 20) + 1900
FOLDS = np.arange(N) % 4


def out_of_fold(fold_fit) -> np.ndarray:
    guess = np.zeros_like(Y)
    for fold in range(4):
        guess[fold == FOLDS] = fold_fit(fold)
    return guess


def ridge(rows, penalty: float, queries) -> np.ndarray:
    scaler = StandardScaler().fit(X[rows])
    model = Ridge(alpha=penalty * len(X[rows])).fit(scaler.transform(X[rows]), Y[rows])
    return model.predict(scaler.transform(X[queries])).reshape(-1, 1)


def tuned(fold: int) -> np.ndarray:
    """The penalty of the least error on the other folds among themselves, then all of them."""
    others = [other for other in range(4) if other != fold]
    errors = [
        sum(
            (
                (ridge(np.isin(FOLDS, others) & (other != FOLDS), p, other == FOLDS) - Y[other == FOLDS]) ** 2
            ).sum()
            for other in others
        )
        for p in PENALTIES
    ]
    learned = Y[fold != FOLDS]
    guesses = ridge(fold != FOLDS, PENALTIES[int(np.argmin(errors))], fold == FOLDS)
    return guesses.clip(learned.min(axis=0), learned.max(axis=0))


def neighbours(fold: int) -> np.ndarray:
    twin = KNeighborsRegressor(20, metric="cosine", algorithm="brute")
    twin.set_params(weights=lambda distance: np.exp((1 - distance) / 0.1))
    return twin.fit(X[fold != FOLDS], Y[fold != FOLDS]).predict(X[fold == FOLDS])


def test_scores_of_values_are_scikit_learns_out_of_fold():
    scores = dict(probe(X, Y, "values", FOLDS))
    by_ridge, by_neighbours = out_of_fold(tuned), out_of_fold(neighbours)
    assert scores == pytest.approx(
        {
            "knn.rmse": root_mean_squared_error(Y, by_neighbours),
            "knn.r2": r2_score(Y, by_neighbours),
            "ridge.rmse": root_mean_squared_error(Y, by_ridge),
            "ridge.r2": r2_score(Y, by_ridge),
        },
        rel=1e-5,
    )


def test_classes_are_scored_by_accuracy_and_directions_by_cosine():
    codes = X[:, :3].argmax(axis=1)
    scores = dict(probe(X, np.eye(3)[codes], "classes", FOLDS))
    assert list(scores) == ["knn.accuracy", "ridge.accuracy"]
    assert min(scores.values()) > 0.6
    turned = X[:, :3] @ RNG.normal(size=(3, 3))
    scores = dict(probe(X, turned, "directions", FOLDS))
    assert scores["ridge.cosine"] == pytest.approx(1, abs=1e-4)
    assert 0.3 < scores["knn.cosine"] < 1


def test_labels_of_the_scored_rows_are_never_learned():
    """A target that is noise of its own in every row can be predicted by nothing but itself."""
    noise = RNG.normal(size=(N, 1))
    scores = dict(probe(np.eye(N), noise, "values", FOLDS))
    assert max(scores["knn.r2"], scores["ridge.r2"]) < 0.05


def test_rows_without_a_target_are_left_out():
    missing = Y.copy()
    missing[::3] = np.nan
    kept = np.arange(N) % 3 > 0
    assert dict(probe(X, missing, "values", FOLDS)) == pytest.approx(
        dict(probe(X[kept], Y[kept], "values", FOLDS[kept])), rel=1e-4
    )


def test_only_the_asked_folds_are_scored_and_unvalidated_rows_are_learned_from():
    folds = np.where(FOLDS == 3, -1, FOLDS)
    scores = dict(probe(X, Y, "values", folds, scored=[1]))
    guess = KNeighborsRegressor(20, metric="cosine", algorithm="brute")
    guess.set_params(weights=lambda distance: np.exp((1 - distance) / 0.1)).fit(X[folds != 1], Y[folds != 1])
    assert scores["knn.rmse"] == pytest.approx(
        root_mean_squared_error(Y[folds == 1], guess.predict(X[folds == 1])), rel=1e-5
    )


def test_wide_features_and_few_labels_give_the_same_as_the_long_way():
    wide = np.concatenate([X, RNG.normal(size=(N, 200))], axis=1)
    assert dict(probe(wide, Y, "values", FOLDS))["ridge.r2"] > 0.1
    few = dict(probe(X, Y, "values", FOLDS, labels=12, draws=np.random.default_rng(1)))
    again = dict(probe(X, Y, "values", FOLDS, labels=12, draws=np.random.default_rng(1)))
    every = dict(probe(X, Y, "values", FOLDS, labels=N, draws=np.random.default_rng(1)))
    assert few == again
    assert few["ridge.r2"] < every["ridge.r2"]
    assert every == pytest.approx(dict(probe(X, Y, "values", FOLDS)), rel=1e-6)


def test_with_two_folds_the_penalty_is_chosen_on_groups():
    groups = np.arange(N) // 10
    for folds in (groups % 2, np.where(groups % 2 == 0, 0, -1)):
        assert dict(probe(X, Y, "values", folds, groups=groups))["ridge.r2"] > 0.4
    for held in inner_splits(np.zeros(N, dtype=np.int64), groups):
        assert not set(groups[held]) & set(groups[~held])


def test_inner_splits_hold_every_fold_once_in_five_parts_at_most():
    folds = np.arange(48) % 12 - 1
    splits = inner_splits(folds, np.arange(48))
    assert len(splits) == 5
    assert np.sum(splits, axis=0).tolist() == (folds >= 0).astype(int).tolist()
    assert all(len(np.unique(folds[held])) < 4 for held in splits)
    assert inner_splits(np.full(4, -1), np.zeros(4, dtype=np.int64)) == []


def test_constant_targets_have_no_r2():
    assert list(dict(probe(X, np.ones((N, 1)), "values", FOLDS))) == ["knn.rmse", "ridge.rmse"]


def test_collapsed_features_predict_the_mean():
    scores = dict(probe(np.ones((N, D)), Y, "values", FOLDS))
    assert scores["ridge.r2"] == pytest.approx(0, abs=0.05)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"targets": Y[:5]}, r"received \(120, 10\), \(5, 1\)"),
        (
            {"kind": "ranks"},
            "`kind`: expected one of classes, values, directions, rows, columns, received 'ranks'",
        ),
        ({"features": np.full((N, D), np.nan)}, "`features`: expected finite"),
        ({"labels": 10}, "together with `draws`"),
        ({"folds": np.full(N, -1)}, "expected a fold with labelled rows to score"),
        ({"targets": np.full((N, 1), np.nan)}, "received 0 labelled rows"),
        ({"groups": np.arange(3)}, "`groups`"),
    ],
)
def test_bad_input_is_told(change: dict, message: str):
    with pytest.raises(ValueError, match=message):
        dict(probe(**{"features": X, "targets": Y, "kind": "values", "folds": FOLDS} | change))


@pytest.mark.parametrize(("count", "side"), [(24, 8), (200, 4)])
def test_pixel_features_are_scikit_learns_principal_components(count: int, side: int):
    images = torch.randint(0, 256, (count, 3, side, side), generator=torch.Generator().manual_seed(0))
    found = pixel_features(images.to(torch.uint8).split(7), side, 6).numpy()
    expected = PCA(6, svd_solver="full").fit_transform(images.flatten(1).numpy())
    assert found.shape == (count, 6)
    assert np.abs(found) == pytest.approx(np.abs(expected), rel=1e-3, abs=1e-2)


def test_pixel_features_shrink_large_pictures_to_axes_far_fewer_than_the_pictures():
    images = torch.zeros(12, 1, 64, 48, dtype=torch.uint8)
    images[4:8, :, :32] = 255
    images[8:, :, :, :24] = 200
    found = pixel_features([images])
    assert found.shape == (12, 3)
    assert torch.cdist(found[::4], found[::4]).fill_diagonal_(1e9).min() > 1000
    assert found[0] == pytest.approx(found[3], abs=1)


def test_pixel_features_need_pictures():
    with pytest.raises(ValueError, match="two inputs or more, received 1"):
        pixel_features([torch.zeros(1, 3, 8, 8)])
    with pytest.raises(ValueError, match=r"received \(5, 8, 8\)"):
        pixel_features(torch.zeros(2, 5, 8, 8))


def test_a_feature_that_lights_up_in_one_scored_row_alone_does_not_decide_the_score():
    """Almost dead on the learned rows: standardised, that row's value is enormous."""
    flicker = 1e-3 * np.random.default_rng(1).normal(size=(len(X), 1))
    flicker[5] = 1e3
    found = dict(probe(np.concatenate([X, flicker], axis=1), Y, "values", FOLDS))
    assert found["ridge.r2"] > 0  # -316,000 where predictions may leave the range
