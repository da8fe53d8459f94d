"""Ridge, boosting and the nesting around them."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jigstack.stacking.boosting import Boosting
from jigstack.stacking.design import build_design
from jigstack.stacking.level2 import Parts, seeded
from jigstack.stacking.ridge import Ridge
from jigstack.transfer.features import aggregate
from sklearn.linear_model import Ridge as SklearnRidge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler


def data(n=120, d=4, k=2, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, d)) * [1, 10, 0.1, 5][:d] + 3
    return x, x @ rng.normal(size=(d, k)) + rng.normal(size=(n, k)), [f"f{j}" for j in range(d)]


@pytest.mark.parametrize("penalty", [1e-4, 0.1, 10.0])
@pytest.mark.parametrize("rows", [120, 3], ids=["more rows than columns", "more columns than rows"])
def test_ridge_matches_sklearn(penalty, rows):
    x, y, names = data(rows)
    ours = Ridge(False).fit(x, y, names, {"penalty": [penalty, penalty]})
    twin = make_pipeline(StandardScaler(), SklearnRidge(alpha=penalty * len(x))).fit(x, y)
    new = data(seed=1)[0]
    width = np.ptp(y, axis=0)
    limited = np.clip(twin.predict(new), y.min(axis=0) - width, y.max(axis=0) + width)
    assert np.allclose(ours.predict(new), limited)
    if rows == 120:
        assert np.allclose(limited, twin.predict(new))


def test_ridge_draws_a_line_on_but_not_to_the_end_of_the_world():
    x = np.arange(10.0)[:, None]
    model = Ridge(False).fit(x, 2 * x, ["a"], {"penalty": [1e-9]})
    assert np.allclose(model.predict(np.array([[12.0], [-3.0], [1e6], [-1e6]])), [[24], [-6], [36], [-18]])


def outlying(relation, seed=0, n=600, table=True):
    """Columns with long tails, the target a function of them, and inner splits."""
    rng = np.random.default_rng(seed)
    x = rng.standard_t(2, size=(n, 3))
    y = relation(x).sum(axis=1, keepdims=True) + 0.1 * rng.normal(size=(n, 1))
    part = np.arange(n) % 3
    splits = [(np.flatnonzero(part != k), np.flatnonzero(part == k)) for k in range(3)]
    return x, y, [f"{'table' if table else 'tables'}.d{j}" for j in range(3)], splits


def test_ridge_draws_in_the_tails_of_table_columns_where_that_predicts_better():
    x, y, names, splits = outlying(np.arctan)
    assert Ridge(False).tune(x, y, names, splits)["tail"] == 0.005
    of_two_units = np.c_[y, 1e6 * np.random.default_rng(1).normal(size=len(y))]
    assert Ridge(False).tune(x, of_two_units, names, splits)["tail"] == 0.005, "in units of their variance"
    x, y, names, splits = outlying(lambda x: x)
    assert Ridge(False).tune(x, y, names, splits)["tail"] is None


def test_ridge_leaves_what_heads_say_as_it_is():
    x, y, names, splits = outlying(np.arctan, table=False)
    setting = Ridge(False).tune(x, y, names, splits)
    assert "tail" not in setting
    assert np.isinf(Ridge(False).fit(x, y, names, setting).bounds).all()


def test_tails_are_quantiles_of_the_training_rows_alone_and_missing_values_stay_the_mean():
    x, y, names, _ = outlying(np.arctan)
    x[:5, 1] = np.nan
    x[:, 2] = np.nan
    setting = {"penalty": [1e-3], "tail": 0.005}
    model = Ridge(False).fit(x, y, names, setting)
    low = np.nanquantile(x[:, :2], 0.005, axis=0, method="lower")
    high = np.nanquantile(x[:, :2], 0.995, axis=0, method="higher")
    assert np.array_equal(model.bounds[:, :2], [low, high])
    assert np.isinf(model.bounds[:, 2]).all()
    twin = Ridge(False).fit(np.clip(x, *model.bounds), y, names, {"penalty": [1e-3]})
    far = np.array([[1e9, np.nan, 3.0], [-1e9, 1e9, np.nan]])
    assert np.allclose(model.predict(far), twin.predict(np.clip(far, *model.bounds)))
    assert json.loads(json.dumps(model.state(), allow_nan=False))["bounds"][0][2] is None


def test_ridge_leaves_constant_columns_out_and_takes_missing_values_for_the_mean():
    x, y, names = data()
    wider = np.c_[x, np.full(len(x), 7.0)]
    plain = Ridge(False).fit(x, y, names, {"penalty": [0.1, 0.1]})
    wide = Ridge(False).fit(wider, y, [*names, "constant"], {"penalty": [0.1, 0.1]})
    assert np.allclose(wide.predict(np.c_[x, np.full(len(x), 99.0)]), plain.predict(x))
    gap = x.copy()
    gap[0, 1] = np.nan
    centre = x.copy()
    centre[0, 1] = x[:, 1].mean()
    assert np.allclose(plain.predict(gap), plain.predict(centre))


def test_ridge_without_any_feature_predicts_the_mean():
    y = np.arange(6.0)[:, None]
    model = Ridge(False).fit(np.ones((6, 2)), y, ["a", "b"], {"penalty": [1.0]})
    assert np.allclose(model.predict(np.ones((2, 2))), 2.5)


def test_ridge_picks_a_strong_penalty_for_noise_and_a_weak_one_for_signal():
    rng = np.random.default_rng(0)
    x, y, names = data(n=300, k=1)
    splits = [(np.arange(150), np.arange(150, 300))]
    signal = Ridge(False).tune(x, y, names, splits)["penalty"][0]
    noise = Ridge(False).tune(x, rng.normal(size=(300, 1)), names, splits)["penalty"][0]
    assert signal < 0.1 < noise


def test_ridge_probabilities_are_probabilities():
    x, _, names = data()
    y = np.eye(3)[np.random.default_rng(0).integers(0, 3, len(x))]
    model = Ridge(True).fit(x, y, names, {"penalty": [1e-4] * 3})
    chances = model.predict(x * 100)
    assert chances.min() > 0
    assert chances.sum(axis=1) == pytest.approx(1)


@settings(max_examples=20, deadline=None)
@given(st.floats(0.1, 10), st.floats(-100, 100))
def test_ridge_does_not_care_for_the_units_of_a_feature(scale, shift):
    x, y, names = data()
    setting = {"penalty": [0.3, 0.3]}
    plain = Ridge(False).fit(x, y, names, setting).predict(x)
    turned = Ridge(False).fit(x * scale + shift, y, names, setting).predict(x * scale + shift)
    assert np.allclose(plain, turned, atol=1e-6)


def test_boosting_parameters_are_shallow_and_repeatable():
    parameters = Boosting(False, False, 2, 5).parameters(1000, 1)
    assert parameters["min_data_in_leaf"] == 20
    assert Boosting(False, False, 2, 5).parameters(60, 1)["min_data_in_leaf"] == 5
    assert (parameters["deterministic"], parameters["force_row_wise"], parameters["num_threads"]) == (
        True,
        True,
        2,
    )
    assert parameters["max_depth"] <= 3
    assert Boosting(False, True, 1, 0).parameters(60, 1)["objective"] == "regression_l1"
    assert Boosting(True, False, 1, 0).parameters(60, 2)["objective"] == "binary"
    assert Boosting(True, False, 1, 0).parameters(60, 3)["num_class"] == 3


def test_boosting_stops_at_once_on_noise_and_takes_missing_values():
    rng = np.random.default_rng(0)
    x, y, names = data(n=300, k=1)
    x[rng.random(x.shape) < 0.1] = np.nan
    splits = [(np.arange(150), np.arange(150, 300))]
    boosting = Boosting(False, False, 1, 0)
    signal = boosting.tune(x, y, names, splits)["rounds"][0]
    noise = boosting.tune(x, rng.normal(size=(300, 1)), names, splits)["rounds"][0]
    assert noise < 0.3 * signal
    assert np.isfinite(boosting.fit(x, y, names, {"rounds": [signal]}).predict(x)).all()


def test_boosting_knows_a_class_that_its_rows_lack():
    x, _, names = data()
    y = np.eye(4)[np.random.default_rng(0).integers(0, 3, len(x))]  # class 3 never occurs
    model = Boosting(True, False, 1, 0).fit(x, y, names, {"rounds": [5]})
    assert model.predict(x).shape == (len(x), 4)
    assert model.predict(x)[:, 3].max() < 0.01


def test_boosting_without_any_feature_predicts_the_mean():
    y = np.arange(20.0)[:, None]
    model = Boosting(False, False, 1, 0).fit(np.ones((20, 2)), y, ["a", "b"], {"rounds": [3]})
    assert model.predict(np.ones((2, 2))) == pytest.approx(9.5)


@pytest.mark.parametrize("folds", [{"n_folds": 4}, {"n_folds": 2}, {"scheme": "holdout", "share": 0.5}])
def test_inner_splits_hold_no_row_of_the_part_and_part_no_group(world, folds):
    w = world(n=200, **folds)
    ids = np.array([i for i in w.train.index if w.plan.fold_of([i])[0] >= 0], dtype=str)
    parts = Parts.build(w.plan, ids, seeded(0, "parts"))
    groups = w.plan.group_of(ids)
    for k in [*parts.names, None]:
        splits = parts.inner(k)
        assert len(splits) >= 2
        for fit, held in splits:
            rows = np.concatenate([fit, held])
            assert len(set(rows)) == len(rows) == (parts.part != (-1 if k is None else k)).sum()
            assert not set(groups[fit]) & set(groups[held])
    for k in parts.names:
        assert not set(groups[parts.part == k]) & set(groups[parts.part != k])
    if folds.get("scheme") != "holdout":
        assert (parts.part == w.plan.fold_of(ids)).all()


def test_one_group_is_not_enough_for_level_2(world):
    w = world(n=20, scheme="holdout", share=0.25)
    with pytest.raises(ValueError, match="two groups or more"):
        Parts.build(w.plan, w.plan.valid_ids(0)[:2].astype(str), seeded(0, "parts"))


def test_a_seed_is_a_function_of_its_names():
    first, second, other = (seeded(0, name).integers(2**40) for name in ("a", "a", "b"))
    assert first == second != other


def test_the_design_takes_features_only(world):
    w = world(n=60, n_test=10)
    features = aggregate(w.task("era"), ["mean"])
    ids, test_ids = w.train.index.to_numpy().astype(str), w.test.index.to_numpy().astype(str)
    with pytest.raises(TypeError, match=r"must be Features.*received DataFrame"):
        build_design([features.training()], w.plan, ids, test_ids)  # pyright: ignore[reportArgumentType]
    assert build_design([features], w.plan, ids, test_ids).x.shape == (60, 1)


def test_the_design_refuses_relabelled_and_missing_rows(world):
    w = world(n=60, n_test=10)
    features = aggregate(w.task("era"), ["mean"])
    ids, none = w.train.index.to_numpy().astype(str), np.array([], dtype=str)
    moved = features.frame.assign(fold=np.where(features.frame["role"] == "oof", 0, features.frame["fold"]))
    with pytest.raises(ValueError, match="those rows are in-sample and must not train level 2"):
        build_design([type(features)(moved, "era", features.names, features.plan)], w.plan, ids, none)
    lacking = features.frame.loc[features.frame["id"] != "a0000"]
    with pytest.raises(ValueError, match="no out-of-fold row for ids 'a0000'"):
        build_design([type(features)(lacking, "era", features.names, features.plan)], w.plan, ids, none)


def test_the_tasks_must_share_their_fold_models_on_test_rows(world):
    w = world(n=60, n_test=10)
    parts = [aggregate(task, ["mean"]) for task in (w.task("era"), w.task("year", refit=True))]
    ids, test_ids = w.train.index.to_numpy().astype(str), w.test.index.to_numpy().astype(str)
    with pytest.raises(ValueError, match="must come from the same fold models"):
        build_design(parts, w.plan, ids, test_ids)
