"""TabNet with a head behaves as scikit-learn's estimators do, from scratch and from a pretrained backbone."""

import doctest
import importlib
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from jigstack.pretext import MaskedTablePretrainer
from jigstack.transfer import TabNetClassifier, TabNetRegressor
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.utils.estimator_checks import estimator_checks_generator, parametrize_with_checks

SMALL = {"steps": 1, "shared": 1, "independent": 1}
QUICK = {
    "check_classifiers_one_label",
    "check_complex_data",
    "check_dict_unchanged",
    "check_dont_overwrite_attributes",
    "check_estimator_sparse_tag",
    "check_estimators_unfitted",
    "check_fit2d_1sample",
    "check_fit2d_predict1d",
    "check_n_features_in",
    "check_parameters_default_constructible",
    "check_regressor_multioutput",
    "check_supervised_y_no_nan",
}
"""Checks of scikit-learn that every run of the tests makes; the slow ones make all."""


def classifier(**changes) -> TabNetClassifier:
    return TabNetClassifier(
        **({"epochs": 2, "batch": 32, "options": SMALL, "random_state": 0, "device": "cpu"} | changes)
    )


def regressor(**changes) -> TabNetRegressor:
    return TabNetRegressor(
        **({"epochs": 2, "batch": 32, "options": SMALL, "random_state": 0, "device": "cpu"} | changes)
    )


def table(rows: int = 60, seed: int = 0) -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
    """Rows with gaps; a class that `a` and `kind` tell, and two numbers that `a` tells."""
    draws = np.random.default_rng(seed)
    a, kind = draws.normal(size=rows), draws.choice(["left", "right"], rows)
    frame = pd.DataFrame({"a": a, "noise": draws.normal(size=rows), "kind": kind, "same": 1.0})
    frame.iloc[3:5, 1] = np.nan
    frame.iloc[5:7, 2] = None
    classes = np.where(a > 0.8, "high", np.where(kind == "left", "left", "other"))
    return frame, classes, np.column_stack([100 * a + 7, -a])


@pytest.fixture(scope="module")
def pretrained() -> MaskedTablePretrainer:
    start = MaskedTablePretrainer(epochs=2, batch=32, options=SMALL, random_state=0)
    return start.fit(table()[0])


def blank(estimator: Any) -> Any:
    """What `clone` makes, of which its stubs know little."""
    return clone(estimator)


def both(**changes):
    return pytest.mark.parametrize(
        "estimator", [classifier(**changes), regressor(**changes)], ids=["classifier", "regressor"]
    )


def fitted(estimator, rows: int = 60):
    frame, classes, numbers = table(rows)
    return estimator.fit(frame, classes if isinstance(estimator, TabNetClassifier) else numbers)


LEARNING = [classifier(epochs=8), regressor(epochs=20, lr=0.05, batch=16)]


ROUNDED = {
    "check_methods_subset_invariance": "float32: the last digit of a product of matrices depends on their shape, and "
    "the check compares to 1e-7; see test_a_row_is_predicted_alike_whatever_stands_beside_it"
}


@pytest.mark.slow
@parametrize_with_checks(LEARNING, expected_failed_checks=lambda estimator: ROUNDED)
def test_scikit_learn_finds_nothing_amiss(estimator, check):
    check(estimator)


@both(epochs=8)
def test_a_row_is_predicted_alike_whatever_stands_beside_it(estimator):
    rows = np.random.default_rng(0).normal(size=(40, 3))
    fitted = estimator.fit(rows, (rows[:, 0] > 0).astype(int))
    says = fitted.predict_proba if isinstance(estimator, TabNetClassifier) else fitted.predict
    alone = np.concatenate([says(rows[i : i + 1]) for i in range(len(rows))])
    np.testing.assert_allclose(alone, says(rows), rtol=1e-4, atol=1e-5)


@both(epochs=1)
def test_the_quick_checks_of_scikit_learn_pass(estimator):
    done: set[str] = set()
    checks: Any = estimator_checks_generator(estimator)
    for each, check in checks:
        if check.func.__name__ in QUICK:
            check(each)
            done.add(check.func.__name__)
    assert len(done) >= 9


def test_the_examples_hold():
    assert doctest.testmod(importlib.import_module("jigstack.transfer.estimator")).failed == 0


def test_classes_are_learned_and_called_as_they_were():
    frame, classes, _ = table(500)
    model = TabNetClassifier(epochs=30, batch=64, random_state=0).fit(frame, classes)
    assert model.classes_.tolist() == ["high", "left", "other"]
    others, truth, _ = table(300, seed=5)
    assert model.score(others, truth) > 0.85
    probabilities = model.predict_proba(others)
    assert probabilities.shape == (300, 3)
    assert np.allclose(probabilities.sum(1), 1, atol=1e-5)
    assert np.array_equal(model.classes_[probabilities.argmax(1)], model.predict(others))
    importances = model.feature_importances_
    assert importances.shape == (4,)
    assert importances.sum() == pytest.approx(1)
    assert importances[3] == 0  # a constant is not read
    assert min(importances[0], importances[2]) > importances[1]
    assert model.history_[-1]["loss"] < model.history_[0]["loss"]


def test_several_numbers_are_learned_in_their_units():
    frame, _, numbers = table(500)
    model = TabNetRegressor(epochs=30, batch=64, random_state=0).fit(frame, numbers)
    others, _, truth = table(300, seed=5)
    assert model.score(others, truth) > 0.8
    assert model.predict(others).shape == (300, 2)
    assert model.feature_importances_.argmax() == 0


def test_numbers_have_the_shape_in_which_they_were_given():
    frame, _, numbers = table()
    assert regressor().fit(frame, numbers[:, 0]).predict(frame).shape == (60,)
    assert regressor().fit(frame, numbers[:, :1]).predict(frame).shape == (60, 1)


@both()
def test_importance_is_the_mean_mask_of_the_rows_that_were_learned(estimator):
    model = fitted(estimator)
    rows = torch.from_numpy(model.schema_.encode(table()[0]))
    with torch.no_grad():
        expected = model.network_.backbone.importance(rows).mean(0)
    assert list(model.column_importances_) == [column.name for column in model.schema_.columns]
    assert list(model.column_importances_.values()) == pytest.approx(expected.tolist(), abs=1e-6)


def test_importance_of_columns_that_a_step_made_is_told_apart():
    frame, classes, _ = table()
    steps = [{"kind": "pca", "columns": ["a", "noise"], "n": 2}]
    filled = frame.fillna({"noise": 0.0})
    model = classifier(steps=steps).fit(filled, classes)
    assert sum(model.column_importances_.values()) == pytest.approx(1)
    assert not hasattr(model, "feature_importances_")
    with pytest.raises(AttributeError, match="which a step made; see column_importances_"):
        _ = model.feature_importances_


@both()
def test_the_same_random_state_gives_the_same_twice_and_another_does_not(estimator):
    frame = table()[0]
    first, second, other = (
        fitted(blank(estimator).set_params(random_state=k))._decoded(frame) for k in (0, 0, 1)
    )
    assert np.array_equal(first, second)
    assert not np.array_equal(first, other)


@both()
def test_torchs_own_draws_are_left_as_they_were(estimator):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    fitted(blank(estimator))
    assert torch.equal(torch.rand(3), expected)


@both(batch=1024)
def test_few_rows_one_row_gaps_and_unseen_categories_are_fine(estimator):
    model = fitted(blank(estimator), 9)
    odd = pd.DataFrame({"a": [np.nan, 1.0], "noise": np.nan, "kind": ["up", None], "same": [1.0, 2.0]})
    assert np.isfinite(model._decoded(odd)).all()
    assert len(model.predict(odd.iloc[:1])) == 1
    assert np.allclose(model._decoded(odd.iloc[:1]), model._decoded(odd)[:1], atol=1e-5)


@both()
def test_pickle_keeps_everything(estimator):
    model, frame = fitted(blank(estimator)), table()[0]
    again = pickle.loads(pickle.dumps(model))
    assert np.array_equal(again.predict(frame), model.predict(frame))
    assert again.column_importances_ == model.column_importances_


@both(freeze="all")
def test_it_starts_from_the_weights_of_the_pretrainer(estimator, pretrained, tmp_path: Path):
    pretrained.save(tmp_path)
    for start in (pretrained, tmp_path, str(tmp_path)):
        model = fitted(blank(estimator).set_params(pretrained=start, options=None))
        ours, theirs = model.network_.backbone.state_dict(), pretrained.backbone_.state_dict()
        assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
        assert model.schema_ == pretrained.schema_


def test_the_pretrainer_stays_as_it_was_while_a_head_learns(pretrained):
    before = {name: value.clone() for name, value in pretrained.backbone_.state_dict().items()}
    model = fitted(classifier(pretrained=pretrained, options=None))
    after = pretrained.backbone_.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert not torch.equal(
        next(model.network_.backbone.encoder.shared.parameters()),
        next(pretrained.backbone_.encoder.shared.parameters()),
    )


def test_a_clone_keeps_a_fitted_pretrainer_and_forgets_its_own_fit(pretrained):
    new = blank(fitted(classifier(pretrained=pretrained, options=None)))
    assert new.pretrained is pretrained
    with pytest.raises(NotFittedError):
        new.predict(table()[0])


def test_a_clone_has_a_pretrainer_of_its_own_where_that_is_not_fitted():
    start = MaskedTablePretrainer(epochs=1, options=SMALL)
    new = blank(classifier(pretrained=start, options=None))
    assert new.pretrained is not start
    assert new.pretrained.get_params() == start.get_params()


def test_a_pretrainer_that_is_not_fitted_learns_from_the_same_rows_first():
    frame, classes, _ = table()
    start = MaskedTablePretrainer(epochs=2, batch=32, options=SMALL, random_state=0)
    given = classifier(pretrained=start, options=None).fit(frame, classes)
    alone = classifier(pretrained=blank(start).fit(frame), options=None).fit(frame, classes)
    assert np.array_equal(given.predict_proba(frame), alone.predict_proba(frame))
    assert not hasattr(start, "backbone_")


def test_cross_validation_and_searches_take_it(pretrained):
    frame, classes, _ = table()
    scores = cross_val_score(classifier(pretrained=pretrained, options=None), frame, classes, cv=2)
    assert scores.shape == (2,)
    search = GridSearchCV(classifier(epochs=1), {"lr": [0.01, 0.02]}, cv=2).fit(frame, classes)
    assert search.best_params_["lr"] in (0.01, 0.02)


def test_columns_beside_those_of_the_pretrainer_are_not_read(pretrained):
    frame, classes, _ = table()
    model = classifier(pretrained=pretrained, options=None).fit(frame.assign(more=np.arange(60.0)), classes)
    assert model.feature_importances_[4] == 0
    with pytest.raises(ValueError, match=r"^X: expected the columns .* received one without 'a'"):
        classifier(pretrained=pretrained, options=None).fit(frame.drop(columns="a"), classes)


def test_epochs_are_told_as_often_as_asked(capsys):
    fitted(classifier(epochs=3, verbose=3))
    assert capsys.readouterr().out.startswith("epoch 3/3  loss ")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epochs": 0}, "parameter: epochs\n"),
        ({"freeze": ["steem"]}, "expected stages of the backbone"),
        ({"options": {"n_dd": 4}}, "parameter: options.n_dd\n"),
        ({"pretrained": "nowhere"}, "nowhere"),
    ],
)
def test_a_parameter_out_of_range_is_refused_by_fit(changes, message):
    if "pretrained" in changes:
        changes = {**changes, "options": None}
    with pytest.raises(ValueError, match=message):
        fitted(classifier(**changes))


@pytest.mark.filterwarnings("ignore:The number of unique classes")
@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (["up"] * 60, "^y: expected two or more classes, received one class, up; add rows of another"),
        (
            [f"name{row}" for row in range(60)],
            "^y: expected classes, received 60 different values in 60 rows; use TabNetRegressor",
        ),
    ],
)
def test_labels_that_are_no_classes_are_called_as_they_were_given(labels, message):
    with pytest.raises(ValueError, match=message):
        classifier().fit(table()[0], labels)


def test_cells_of_another_kind_than_in_fit_are_told_of_what_was_handed_in():
    frame, classes, _ = table()
    model = classifier(epochs=1).fit(frame, classes)
    with pytest.raises(ValueError, match=r"^X: expected numbers in 'a', received 1 other values"):
        model.predict_proba(frame.assign(a="often"))


def test_what_a_pretrainer_decides_is_not_given_twice(pretrained):
    with pytest.raises(ValueError, match="options: expected none with pretrained"):
        fitted(classifier(pretrained=pretrained))


def test_a_pretrainer_of_another_network_or_something_else_is_refused():
    other = MaskedTablePretrainer("mlp", epochs=1, lr=1e-3, options={"width": 8})
    with pytest.raises(ValueError, match="expected a backbone tabnet, received mlp"):
        fitted(classifier(pretrained=other, options=None))
    with pytest.raises(TypeError, match="expected a MaskedTablePretrainer, a folder or None, received 3"):
        fitted(classifier(pretrained=3, options=None))


@both()
def test_rows_with_another_number_of_columns_are_refused(estimator):
    numbers = np.random.default_rng(0).normal(size=(20, 3))
    model = blank(estimator).fit(numbers, np.arange(20) % 2)
    with pytest.raises(ValueError, match=r"X has 2 features, but .* is expecting 3 features"):
        model.predict(numbers[:, :2])
