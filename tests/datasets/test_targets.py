"""Targets: there and back, for every kind."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from jigstack.configs.heads import OnehotOptions
from jigstack.configs.schema import Task
from jigstack.datasets.onehot import class_label
from jigstack.datasets.targets import (
    KINDS,
    OnehotTarget,
    RegressionTarget,
    Target,
    code_target,
    restore_target,
)
from jigstack.scoring import METRICS
from jigstack.scoring.losses import BATCH_LOSSES
from sklearn.preprocessing import OneHotEncoder, StandardScaler

FRAME = pd.DataFrame(
    {
        "year": [1886.0, 1900.0, np.nan, 1942.0],
        "era": [0, 1, 1, 3],
        "kind": ["b", "a", None, "c"],
        "word": ["x", "1", "2", "3"],
        "made": ["1886", "May 1900", None, "1942-03-01"],
        "names": [("oil", "canvas"), ("ink",), None, ("oil", "paper")],
    },
    index=pd.Index(["007", "8", "9", "x"], name="id"),
)


def regression(*columns: str, **options: object) -> RegressionTarget:
    return code_target("head", Task(kind="regression", columns=list(columns), options=options), FRAME)  # pyright: ignore[reportReturnType]


def onehot(column: str, **options: object) -> OnehotTarget:
    return code_target("head", Task(kind="onehot", columns=[column], options=options), FRAME)  # pyright: ignore[reportReturnType]


def coded(kind: str, column: str, **options: object) -> Target:
    return code_target("head", Task(kind=kind, columns=[column], options=options), FRAME)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(
    "target",
    [
        regression("year"),
        regression("year", "era"),
        regression("year", "era", loss="pearson"),
        regression("year", loss="pearson", centre="column"),
        onehot("era"),
        onehot("kind", smoothing=0.1),
        coded("date", "made"),
        coded("date", "year"),
        coded("word2vec", "names", loss="cosine"),
        coded("word2vec", "names", loss="squared", weighting="idf"),
    ],
)
def test_every_target_keeps_the_contract(target):
    """Widths agree, decoded columns are named, the state survives JSON."""
    fitted = target.fit(FRAME)
    encoded = fitted.encode(FRAME)
    assert encoded.dtype == np.float32 and encoded.shape == (4, fitted.width)
    decoded = fitted.decode(np.nan_to_num(encoded))
    assert decoded.dtype == np.float32 and decoded.shape == (4, len(fitted.columns))
    assert restore_target(json.loads(json.dumps(fitted.state()))) == fitted
    named = {name for parts in fitted.decodes.values() for name in parts} | {
        n for c in fitted.classes.values() for n in c.values()
    }
    assert named <= set(fitted.columns)
    assert type(fitted) is KINDS[fitted.kind]
    truth = target.truth(FRAME)
    missing = np.isnan(encoded).any(axis=1)
    assert truth.dtype == np.float64 and truth.shape[1] <= len(fitted.columns)
    np.testing.assert_array_equal(np.isnan(truth).any(axis=1), missing)
    assert fitted.measures.keys() <= METRICS.keys()
    assert fitted.start.dtype == np.float32 and fitted.start.shape == (fitted.width,)
    if fitted.kind != "onehot" and fitted.space != "pearson":  # logits; patterns without level and spread
        np.testing.assert_allclose(decoded[~missing], truth[~missing], rtol=1e-5, atol=1e-6)


def test_a_regression_target_is_scaled_like_scikit_learns_scaler():
    known = FRAME.filter(["year", "era"]).dropna()
    fitted = regression("year", "era").fit(known)
    np.testing.assert_allclose(fitted.encode(known), StandardScaler().fit_transform(known), rtol=1e-6)


@given(arrays.arrays(np.float32, (6, 2), elements=st.floats(-1e4, 1e4, width=32)))
def test_decoding_undoes_encoding(values: np.ndarray):
    frame = pd.DataFrame(values, columns=["a", "b"])
    fitted = RegressionTarget("head", ("a", "b")).fit(frame)
    np.testing.assert_allclose(fitted.decode(fitted.encode(frame)), values, rtol=1e-4, atol=1e-2)


CELLS = np.random.default_rng(0).normal([0.0, 5.0, -2.0], [1.0, 3.0, 0.2], (30, 3))


def correlated(**options: object) -> RegressionTarget:
    frame = pd.DataFrame(CELLS, columns=["a", "b", "c"])
    task = Task(kind="regression", columns=list(frame), options={"loss": "pearson", **options})
    target = code_target("head", task, frame).fit(frame)
    assert isinstance(target, RegressionTarget)
    return target


def test_the_correlation_loss_of_rows_is_the_metric_of_the_tables_own_numbers():
    """Columns that are scaled one by one would lie differently to each other."""
    target = correlated()
    outputs = np.random.default_rng(1).normal(size=CELLS.shape).astype(np.float32)
    encoded = target.encode(pd.DataFrame(CELLS, columns=["a", "b", "c"]))
    loss = BATCH_LOSSES[target.loss](torch.from_numpy(outputs), torch.from_numpy(encoded))
    assert float(loss) == pytest.approx(
        1 - METRICS["pearson"].function(CELLS, target.decode(outputs)), abs=1e-5
    )


def test_a_head_of_row_patterns_starts_from_the_means_of_the_columns():
    target = correlated()
    means = CELLS.mean(axis=0)
    assert np.corrcoef(target.decode(target.start[None])[0], means)[0, 1] == pytest.approx(1.0)
    np.testing.assert_allclose(target.start * target.scale + target.mean, means, rtol=1e-5)


def test_every_decoded_row_has_the_same_level_and_spread_but_a_constant_one():
    target = correlated()
    outputs = np.array([[1, 2, 4], [-300, 500, 100], [7, 7, 7]], np.float32)
    decoded = target.decode(outputs)
    np.testing.assert_allclose(decoded.mean(axis=1), CELLS.mean(), rtol=1e-5)
    np.testing.assert_allclose(
        decoded.std(axis=1), [*[CELLS.std(axis=1).mean()] * 2, 0.0], rtol=1e-5, atol=1e-6
    )


def test_columns_that_are_correlated_one_by_one_are_standardised_one_by_one():
    target = correlated(centre="column")
    encoded = target.encode(pd.DataFrame(CELLS, columns=["a", "b", "c"]))
    np.testing.assert_allclose(encoded, StandardScaler().fit_transform(CELLS), rtol=1e-5, atol=1e-6)
    assert (target.loss, target.space) == ("column_correlation", "value")
    assert list(target.measures) == ["pearson_columns", "rmse", "r2"]


def test_one_column_has_no_correlation_within_a_row():
    with pytest.raises(
        ValueError, match=r"two or more columns with loss: pearson.*\['year'\].*centre: column"
    ):
        regression("year", loss="pearson")


def test_rows_that_are_all_constant_teach_no_correlation():
    frame = pd.DataFrame({"a": [1.0, 2.0, np.nan], "b": [1.0, 2.0, 3.0]})
    with pytest.raises(ValueError, match=r"different values .* none in this fold"):
        RegressionTarget("head", ("a", "b"), loss="row_correlation").fit(frame)


def test_years_keep_their_digits():
    """float32 alone has steps of 1/8192 near 1915; scaled in float64 first, a day is still a day."""
    years = pd.DataFrame({"year": [1915.0, 1915.0 + 1 / 365, 1916.0]})
    fitted = RegressionTarget("head", ("year",)).fit(years)
    assert np.diff(fitted.encode(years)[:2, 0])[0] * fitted.scale[0] == pytest.approx(1 / 365, rel=1e-3)


def test_the_statistics_are_those_of_the_given_rows_only():
    assert regression("era").fit(FRAME.iloc[:2]).mean == (0.5,)


def test_a_constant_column_stays_finite():
    frame = pd.DataFrame({"year": [2000.0, 2000.0]})
    fitted = RegressionTarget("head", ("year",)).fit(frame)
    assert (
        np.isfinite(fitted.encode(frame)).all()
        and fitted.decode(np.zeros((1, 1), np.float32))[0, 0] == 2000.0
    )


def test_a_row_without_label_is_nan():
    assert np.isnan(regression("year").fit(FRAME).encode(FRAME)[2]).all()
    assert np.isnan(onehot("kind").fit(FRAME).encode(FRAME)[2]).all()


def test_a_range_clips_what_is_decoded():
    fitted = regression("era", range=(0.0, 3.0)).fit(FRAME)
    assert fitted.decode(np.array([[-9.0], [9.0]], np.float32)).ravel().tolist() == [0.0, 3.0]


def test_onehot_is_scikit_learns_encoding():
    fitted = onehot("era").fit(FRAME)
    twin = OneHotEncoder(sparse_output=False).fit_transform(FRAME[["era"]])
    np.testing.assert_array_equal(fitted.encode(FRAME), twin)


def test_the_classes_do_not_depend_on_the_rows_of_a_fold():
    """A class absent from a fold's training part keeps its column and is named."""
    target = onehot("era")
    assert target.fit(FRAME.iloc[:3]).columns == target.fit(FRAME).columns
    assert target.absent(FRAME.iloc[:3]) == ["3"]


def test_numbers_sort_as_numbers_and_decode_to_their_expectation():
    frame = pd.DataFrame({"grade": [10, 2, 1]})
    target = OnehotTarget.code("head", ["grade"], OnehotOptions(), frame)
    assert target.labels == ("1", "2", "10")
    decoded = target.decode(np.log(np.array([[0.5, 0.25, 0.25]], np.float32)))
    np.testing.assert_allclose(decoded[0], [0.5, 0.25, 0.25, 3.5], rtol=1e-6)
    assert target.decodes == {"grade": {"head.expect": 1.0}}


def test_text_classes_have_no_expectation():
    target = onehot("kind")
    assert target.labels == ("a", "b", "c") and target.decodes == {} and len(target.columns) == 3


def test_smoothing_keeps_rows_summing_to_one():
    encoded = onehot("era", smoothing=0.3).encode(FRAME)
    np.testing.assert_allclose(encoded.sum(axis=1), 1.0, rtol=1e-6)
    assert encoded.max() == pytest.approx(0.8) and encoded.min() == pytest.approx(0.1)


def test_three_spellings_of_a_class_are_one():
    assert {class_label(3), class_label(3.0), class_label("3"), class_label(np.int64(3))} == {"3"}


def test_text_in_a_regression_column_is_named_with_its_rows():
    with pytest.raises(
        ValueError,
        match=r"task head: expected numbers in column 'word', received 1 other values \(007: 'x'\)",
    ):
        regression("word")


def test_a_onehot_head_of_two_columns_is_refused():
    with pytest.raises(ValueError, match="expected one column for a onehot head"):
        code_target("head", Task(kind="onehot", columns=["era", "kind"]), FRAME)


def test_a_single_class_is_refused():
    with pytest.raises(ValueError, match=r"expected at least two classes in column 'era', received \['0'\]"):
        code_target("head", Task(kind="onehot", columns=["era"]), FRAME.iloc[:1])


def test_an_ordinal_head_needs_numbers():
    with pytest.raises(
        ValueError, match=r"ordinal needs classes that are numbers, received \['a', 'b', 'c'\]"
    ):
        onehot("kind", ordinal=True)


def test_a_fold_without_labels_is_named():
    with pytest.raises(
        ValueError, match=r"task head: expected labelled training rows in \['year'\], received none"
    ):
        regression("year").fit(FRAME.iloc[2:3])
