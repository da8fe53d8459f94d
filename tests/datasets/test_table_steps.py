"""Steps that prepare the numbers of a table, against scikit-learn's."""

from typing import Any

import numpy as np
import pytest
from jigstack.configs.steps import Log1pStep, PcaStep, QuantileStep, RowsStep, StandardStep, Step, SvdStep
from jigstack.datasets import table_steps
from jigstack.datasets.table_blocks import Blocks, Floats
from jigstack.datasets.table_steps import FittedStep, fit_step
from sklearn.decomposition import PCA, TruncatedSVD
from sklearn.impute import SimpleImputer
from sklearn.preprocessing import QuantileTransformer, StandardScaler

NAMES = [f"x{i}" for i in range(6)]
STEPS: list[Step] = [
    StandardStep(),
    QuantileStep(),
    Log1pStep(columns=("x1", "x3")),
    SvdStep(n=2),
    PcaStep(n=2, group=r"^(x)[0-3]"),
    RowsStep(),
    RowsStep(how="total"),
]


def numbers(rows: int = 200, width: int = 6, seed: int = 0, missing: float = 0.1) -> Floats:
    draws = np.random.default_rng(seed)
    values = draws.gamma(2.0, 3.0, (rows, 3)) @ draws.random((3, width)) + draws.random((rows, width))
    values[draws.random((rows, width)) < missing] = np.nan
    return values


def fitted(step: Step, values: Floats, size: int = 64) -> FittedStep:
    names = [f"x{i}" for i in range(values.shape[1])]
    return fit_step(step, names, Blocks.of(values, size), np.random.default_rng(0))


def test_standard_is_that_of_scikit_learn():
    values, new = numbers(), numbers(seed=1)
    twin: Any = StandardScaler().fit(values)
    expected = twin.transform(new)
    np.testing.assert_allclose(fitted(StandardStep(), values).apply(new), expected, rtol=1e-9)


@pytest.mark.parametrize("marks", [10, 1000])
def test_quantile_is_that_of_scikit_learn(marks: int):
    values, new = numbers(), numbers(seed=1) * 2
    values[:, 5] = np.round(values[:, 5] / 5)  # ties
    new[:, 5] = np.round(new[:, 5] / 5)
    twin: Any = QuantileTransformer(n_quantiles=min(marks, 200), output_distribution="normal").fit(values)
    found = fitted(QuantileStep(quantiles=marks), values).apply(new.copy())
    np.testing.assert_allclose(found, twin.transform(new), rtol=1e-6, atol=1e-9)


def test_log1p_is_numpys_and_refuses_what_has_no_logarithm():
    values = numbers()
    step = fitted(Log1pStep(columns=("x1",)), values)
    found = step.apply(values.copy())
    np.testing.assert_array_equal(found[:, 1], np.log1p(values[:, 1]))
    np.testing.assert_array_equal(found[:, [0, 2, 3, 4, 5]], values[:, [0, 2, 3, 4, 5]])
    for use in (step.apply, lambda block: fitted(Log1pStep(columns=("x1",)), block)):
        with pytest.raises(ValueError, match=r"above -1 for log1p, received down to -2 in 'x1'"):
            use(np.full((3, 6), -2.0))


@pytest.mark.parametrize("path", ["columns", "rows", "randomised"])
@pytest.mark.parametrize("kind", ["svd", "pca"])
def test_components_are_those_of_scikit_learn(kind: str, path: str, monkeypatch: pytest.MonkeyPatch):
    values, new = (numbers(30, 50, 0), numbers(9, 50, 1)) if path == "rows" else (numbers(), numbers(seed=1))
    if path == "randomised":
        monkeypatch.setattr(table_steps, "MOST_SIDE", 2)
    fill: Any = SimpleImputer().fit(values)
    twin: Any = TruncatedSVD(3, algorithm="arpack") if kind == "svd" else PCA(3, svd_solver="full")
    expected = twin.fit(fill.transform(values)).transform(fill.transform(new))
    components = twin.components_
    signs = np.sign(components[np.arange(3), np.abs(components).argmax(axis=1)])
    step = fitted(SvdStep(n=3) if kind == "svd" else PcaStep(n=3), values)
    np.testing.assert_allclose(step.apply(new), expected * signs, rtol=1e-6, atol=1e-8)
    assert step.names == (f"{kind}0", f"{kind}1", f"{kind}2")


def test_each_group_is_decomposed_by_itself_and_the_rest_stays():
    values = numbers(missing=0)
    names = ["chr1:a", "age", "chr2:a", "chr1:b", "chr2:b", "size"]
    step = fit_step(SvdStep(n=5, group=r"^(chr\w+):"), names, Blocks.of(values), np.random.default_rng(0))
    assert step.names == ("age", "size", "chr1.svd0", "chr1.svd1", "chr2.svd0", "chr2.svd1")
    found = step.apply(values.copy())
    np.testing.assert_array_equal(found[:, :2], values[:, [1, 5]])
    for start, places in ((2, [0, 3]), (4, [2, 4])):
        expected: Any = TruncatedSVD(1, algorithm="arpack").fit_transform(values[:, places])
        np.testing.assert_allclose(np.abs(found[:, [start]]), np.abs(expected), rtol=1e-6)
    assert step.lost == ("chr1:a", "chr1:b", "chr2:a", "chr2:b")


def test_there_are_no_more_components_than_the_rank():
    values = np.outer(np.arange(1.0, 21.0), [1.0, 2.0, 3.0])
    assert fitted(SvdStep(n=3), values).names == ("svd0",)
    assert fitted(PcaStep(n=3), np.ones((5, 3))).names == ()


def test_rows_are_brought_to_one_scale():
    values = numbers()
    found = fitted(RowsStep(), values).apply(values.copy())
    np.testing.assert_allclose(np.nanmean(found, axis=1), 0, atol=1e-12)
    np.testing.assert_allclose(np.nanstd(found, axis=1), 1)
    sums = np.nansum(values, axis=1)
    for total, expected in ((None, np.median(sums)), (10.0, 10.0)):
        found = fitted(RowsStep(how="total", total=total), values).apply(values.copy())
        np.testing.assert_allclose(np.nansum(found, axis=1), expected)
    assert fitted(RowsStep(how="total"), values).apply(np.zeros((1, 6))).tolist() == [[0.0] * 6]
    assert fitted(RowsStep(), values).apply(np.ones((1, 6))).tolist() == [[0.0] * 6]


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.kind)
def test_a_step_is_restored_from_its_state_and_treats_each_row_alone(step: Step):
    values, new = numbers(), numbers(seed=1)
    first = fitted(step, values)
    again = FittedStep.restore(*first.state())
    assert again.names == first.names and again.options == first.options
    found = first.apply(new.copy())
    np.testing.assert_array_equal(again.apply(new.copy()), found)
    np.testing.assert_allclose(np.concatenate([first.apply(new[:3]), first.apply(new[3:])]), found, rtol=1e-9)


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.kind)
def test_undoing_a_step_gives_back_what_it_has_not_lost(step: Step):
    values = numbers()
    first = fitted(step, values)
    back = first.undo(first.apply(values.copy()))
    lost = [NAMES.index(name) for name in first.lost]
    kept = [at for at in range(6) if at not in lost]
    np.testing.assert_allclose(back[:, kept], values[:, kept], rtol=1e-4)
    assert np.isnan(back[:, lost]).all()


def test_a_step_needs_columns_and_names_of_its_own():
    values = numbers()
    with pytest.raises(ValueError, match=r"received 'x9', which matches none of 'x0', .* 'x5'"):
        fitted(StandardStep(columns=("x9",)), values)
    with pytest.raises(ValueError, match=r"that the group '\^\(chr\)' of an svd matches, received 'x0'"):
        fitted(SvdStep(group="^(chr)"), values)
    with pytest.raises(ValueError, match=r"received 'x1' twice; give the pca a `name`"):
        fit_step(
            PcaStep(columns=("[a-e]",), name="x", n=2),
            ["a", "b", "c", "d", "e", "x1"],
            Blocks.of(values),
            np.random.default_rng(0),
        )
