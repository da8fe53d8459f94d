"""The masked pretext behaves as scikit-learn's estimators do, and is the one of a run."""

import doctest
import importlib
import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from jigstack.backbones import build_backbone, read_seen, save_backbone
from jigstack.configs.schema import Backbone, Pretext
from jigstack.datasets.frames import row_ids
from jigstack.datasets.table_rows import TableRows
from jigstack.datasets.table_schema import TableSchema
from jigstack.pretext import MaskedTablePretrainer
from jigstack.pretext.parts import PARTS
from jigstack.pretext.pretrain import PretrainWork, pretrain
from jigstack.training.device import machine_of_tables
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

SMALL = {"steps": 1, "shared": 1, "independent": 1}


def blank(estimator: Any) -> Any:
    """What `clone` makes, of which its stubs know little."""
    return clone(estimator)


def table(rows: int = 60, seed: int = 0) -> pd.DataFrame:
    """`b` repeats `a`, `kind` says its sign, `noise` has nothing to do with them; some cells are missing."""
    draws = np.random.default_rng(seed)
    a = draws.normal(size=rows)
    frame = pd.DataFrame(
        {"a": a, "b": 10 * a + 3, "kind": np.where(a > 0, "up", "down"), "noise": draws.normal(size=rows)},
        index=[f"row{k}" for k in range(rows)],
    )
    frame.iloc[3:5, 0] = np.nan
    frame.iloc[5:7, 2] = None
    return frame


def pretrainer(**changes) -> MaskedTablePretrainer:
    return MaskedTablePretrainer(
        **({"epochs": 2, "batch": 32, "options": SMALL, "random_state": 0, "device": "cpu"} | changes)
    )


@pytest.fixture(scope="module")
def fitted() -> MaskedTablePretrainer:
    return pretrainer().fit(table())


@pytest.fixture(scope="module")
def learned() -> MaskedTablePretrainer:
    """One that has learned that `b` repeats `a`."""
    return pretrainer(epochs=80, batch=128, ratio=0.4, options={}).fit(table(600))


ROUNDED = {
    "check_methods_subset_invariance": "float32: the last digit of a product of matrices depends on their shape"
}


@parametrize_with_checks([pretrainer(epochs=1)], expected_failed_checks=lambda estimator: ROUNDED)
def test_scikit_learn_finds_nothing_amiss(estimator, check):
    check(estimator)


def test_the_examples_hold():
    assert doctest.testmod(importlib.import_module("jigstack.pretext.estimator")).failed == 0


def test_it_learns_what_follows_from_what(learned):
    skill = learned.column_skill_
    assert list(skill) == ["a", "b", "noise", "kind"]
    assert skill["b"] > 0.5 and skill["kind"] > 0.3
    assert skill["noise"] < 0.2
    gaps = table(40, seed=9)
    truth, gaps["b"] = gaps["b"].copy(), np.nan
    filled = learned.impute(gaps)["b"]
    known = gaps["a"].notna()
    assert np.corrcoef(filled[known], truth[known])[0, 1] > 0.9
    assert learned.history_[-1]["loss"] < learned.history_[0]["loss"]
    assert len(learned.history_) == 80


def test_embeddings_are_the_backbones_and_float32(fitted):
    rows = torch.from_numpy(fitted.schema_.encode(table()))
    with torch.no_grad():
        expected = fitted.backbone_.eval()(rows).numpy()
    embedded = fitted.transform(table())
    assert embedded.shape == (60, fitted.backbone_.dim)
    assert embedded.dtype == np.float32
    assert np.array_equal(embedded, expected)


@pytest.mark.parametrize("backbone", ["mlp", "resmlp", "cnn1d"])
def test_every_backbone_of_tables_can_be_pretrained(backbone):
    options = {"hidden": 64, "channels": 8, "filters": 8} if backbone == "cnn1d" else {"width": 16}
    learned = pretrainer(backbone=backbone, options=options, epochs=1, lr=1e-3).fit(table())
    assert learned.transform(table()).shape == (60, learned.backbone_.dim)
    assert np.isfinite(learned.transform(table())).all()


def test_the_same_random_state_gives_the_same_twice_and_another_does_not():
    first, second, other = (pretrainer(random_state=k).fit_transform(table()) for k in (0, 0, 1))
    assert np.array_equal(first, second)
    assert not np.array_equal(first, other)


def test_a_generator_as_random_state_goes_on():
    state = np.random.RandomState(0)
    first, second = (pretrainer(random_state=state).fit_transform(table()) for _ in range(2))
    assert not np.array_equal(first, second)


def test_torchs_own_draws_are_left_as_they_were():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    pretrainer(epochs=1).fit(table())
    assert torch.equal(torch.rand(3), expected)


def test_an_array_and_a_frame_of_the_same_numbers_give_the_same():
    numbers = np.random.default_rng(0).normal(size=(40, 3))
    frame = pd.DataFrame(numbers, columns=["p", "q", "r"])
    one, other = pretrainer().fit(numbers), pretrainer().fit(frame)
    assert np.array_equal(one.transform(numbers), other.transform(frame))
    assert list(one.column_skill_) == ["x0", "x1", "x2"]
    assert list(one.impute(numbers).columns) == ["x0", "x1", "x2"]


def test_features_are_named_after_the_class(fitted):
    names = fitted.get_feature_names_out()
    assert names[0] == "maskedtablepretrainer0"
    assert len(names) == fitted.backbone_.dim


def test_set_output_gives_a_frame_with_the_index_of_the_rows():
    embedded = pretrainer().set_output(transform="pandas").fit(table()).transform(table())
    assert isinstance(embedded, pd.DataFrame)
    assert embedded.index.tolist() == table().index.tolist()


def test_a_clone_has_the_parameters_and_no_fit(fitted):
    new = blank(fitted)
    assert new.get_params() == fitted.get_params()
    with pytest.raises(NotFittedError):
        new.transform(table())


def test_it_stands_in_a_pipeline():
    pipeline = make_pipeline(pretrainer(epochs=1), StandardScaler())
    assert pipeline.fit_transform(table()).shape == (60, 8)


def test_no_gap_is_left_and_known_cells_are_as_they_were(fitted):
    given = table()
    filled = fitted.impute(given)
    assert filled.isna().sum().sum() == 0
    known = given.notna()
    pd.testing.assert_frame_equal(filled.where(known), given.where(known))
    assert set(filled["kind"]) == {"up", "down"}


def test_a_row_that_does_not_fit_together_scores_higher(learned):
    strange = table(200, seed=3)
    strange["b"] = -strange["b"]
    plain = learned.outlier_score(table(200, seed=3), draws=16)
    assert plain.shape == (200,)
    assert np.nanmean(learned.outlier_score(strange, draws=16)) > 2 * np.nanmean(plain)
    assert np.array_equal(plain, learned.outlier_score(table(200, seed=3), draws=16), equal_nan=True)


def test_one_row_gaps_only_and_unseen_categories_are_embedded(fitted):
    row = table().iloc[:1]
    assert np.allclose(fitted.transform(row), fitted.transform(table())[:1], atol=1e-6)
    odd = pd.DataFrame(
        {"a": [np.nan, 1.0], "b": [np.nan, 1.0], "kind": [None, "sideways"], "noise": [np.nan, 0.0]}
    )
    assert np.isfinite(fitted.transform(odd)).all()
    assert fitted.impute(odd)["kind"].tolist()[1] == "sideways"


def test_fewer_rows_than_a_batch_are_trained_on_together():
    assert np.isfinite(pretrainer(batch=1024).fit_transform(table(9))).all()


def test_numpys_numbers_are_parameters_too():
    pretrainer(epochs=np.int64(1), lr=np.float64(0.01), ratio=np.float32(0.5)).fit(table())


def test_the_rows_of_the_training_are_known_by_their_index(fitted):
    assert set(fitted.seen_ids_) < set(table().index)
    assert len(fitted.seen_ids_) == 57  # a twentieth is held out


def test_epochs_are_told_as_often_as_asked(capsys):
    pretrainer(epochs=4, verbose=2).fit(table())
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[0] for line in lines] == ["epoch 2/4", "epoch 4/4"]
    pretrainer(epochs=1).fit(table())
    assert capsys.readouterr().out == ""


def check_equal(one: MaskedTablePretrainer, other: MaskedTablePretrainer) -> None:
    assert np.array_equal(one.transform(table()), other.transform(table()))
    pd.testing.assert_frame_equal(one.impute(table()), other.impute(table()))
    assert np.array_equal(one.outlier_score(table()), other.outlier_score(table()), equal_nan=True)
    assert one.column_skill_ == other.column_skill_
    assert one.feature_names_in_.tolist() == other.feature_names_in_.tolist()


def test_pickle_keeps_everything(fitted):
    check_equal(fitted, pickle.loads(pickle.dumps(fitted)))


def test_what_is_saved_is_loaded(fitted, tmp_path: Path):
    fitted.save(tmp_path / "new" / "folder")
    loaded = MaskedTablePretrainer.load(tmp_path / "new" / "folder", "cpu")
    check_equal(fitted, loaded)
    ours, theirs = fitted.get_params(), loaded.get_params()
    assert {k for k in ours if ours[k] != theirs[k]} <= {"random_state", "steps"}
    assert loaded.seen_ids_ == sorted(fitted.seen_ids_)


def test_a_loaded_one_can_be_fitted_anew_as_it_was(tmp_path: Path):
    given = pretrainer(steps=[{"kind": "quantile", "columns": ["b"]}], kinds={"noise": "number"}).fit(table())
    given.save(tmp_path)
    again = blank(MaskedTablePretrainer.load(tmp_path, "cpu")).fit(table())
    check_equal(given, again)


def test_an_array_stays_without_names_when_it_is_loaded(tmp_path: Path):
    numbers = np.random.default_rng(0).normal(size=(20, 3))
    fitted = pretrainer().fit(numbers)
    fitted.save(tmp_path)
    loaded = MaskedTablePretrainer.load(tmp_path, "cpu")
    assert not hasattr(loaded, "feature_names_in_")
    assert np.array_equal(loaded.transform(numbers), fitted.transform(numbers))


def test_a_run_can_start_from_what_is_saved(fitted, tmp_path: Path):
    fitted.save(tmp_path)
    section = Backbone(kind="tabnet", options=SMALL, weights=str(tmp_path))
    started = build_backbone(section, TableSchema.load(tmp_path).columns, 0)
    for ours, theirs in zip(fitted.backbone_.parameters(), started.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    assert read_seen(tmp_path) == set(fitted.seen_ids_)


def run_of(frame: pd.DataFrame, folder: Path, **options) -> TableSchema:
    """The masked pretraining that a run would do."""
    schema = TableSchema.fit(frame, list(frame.columns))
    rows = TableRows(schema.encode(frame), row_ids(len(frame)), schema)
    given = {"epochs": 1, "batch": 32, "optimiser": "adamw", "lr": 0.01} | options
    section = Backbone(kind="tabnet", options=SMALL)
    work = PretrainWork(
        Pretext.model_validate({"name": "m", "kind": "masked"} | given),
        rows.owners,
        rows,
        section,
        None,
        None,
        machine_of_tables("cpu"),
        3,
    )
    pretrain(work, folder, "key", lambda record: None)
    return schema


def test_the_pretraining_of_a_run_does_all_that_a_fitted_one_does(tmp_path: Path):
    frame = table()
    schema = run_of(frame, tmp_path, epochs=2, options={"ratio": 0.4, "steps": 1, "width": 16})
    loaded = MaskedTablePretrainer.load(tmp_path, "cpu")
    assert loaded.transform(frame).shape == (60, 8)
    filled = loaded.impute(frame)
    assert filled.notna().to_numpy().all() and frame.isna().to_numpy().any()
    known = frame.notna()
    pd.testing.assert_frame_equal(filled.where(known), frame.where(known))
    assert np.isfinite(loaded.outlier_score(frame)).all()
    assert loaded.column_skill_ == json.loads((tmp_path / "columns.json").read_text())
    assert [len(loaded.history_), loaded.epochs, loaded.batch, loaded.lr] == [2, 2, 32, 0.01]
    assert loaded.ratio == 0.4 and loaded.seed_ == 3 and loaded.weight_decay == 0.0
    assert loaded.feature_names_in_.tolist() == list(schema.names)


def test_rows_for_a_runs_pretraining_may_have_more_columns_but_not_fewer(tmp_path: Path):
    frame = table()
    run_of(frame, tmp_path)
    loaded = MaskedTablePretrainer.load(tmp_path, "cpu")
    more = frame.assign(more=np.arange(60), nothing=np.nan)[["more", *frame.columns, "nothing"]]
    assert np.array_equal(loaded.transform(more), loaded.transform(frame))
    assert np.array_equal(loaded.outlier_score(more), loaded.outlier_score(frame))
    filled = loaded.impute(more)
    assert list(filled.columns) == list(more.columns)
    assert filled["nothing"].isna().to_numpy().all() and filled["more"].tolist() == list(range(60))
    pd.testing.assert_frame_equal(filled.filter(frame.columns), loaded.impute(frame))
    with pytest.raises(ValueError, match="The feature names should match"):
        loaded.transform(frame.drop(columns="b"))


def test_what_is_saved_of_a_runs_pretraining_is_loaded_as_it_was(tmp_path: Path):
    frame = table()
    run_of(frame, tmp_path / "run", options={"steps": 1, "width": 16})  # a decoder that is not the usual one
    loaded = MaskedTablePretrainer.load(tmp_path / "run", "cpu")
    loaded.save(tmp_path / "saved")
    again = MaskedTablePretrainer.load(tmp_path / "saved", "cpu")
    check_equal(loaded, again)
    assert np.array_equal(again.transform(frame.assign(more=1)), loaded.transform(frame))


def test_a_runs_checkpoint_without_a_decoder_embeds_and_says_what_it_cannot_do(tmp_path: Path):
    frame = table()
    run_of(frame, tmp_path)
    card = json.loads((tmp_path / "backbone.json").read_text())
    del card["parts"]  # as it was before decoders were kept
    (tmp_path / "backbone.json").write_text(json.dumps(card))
    loaded = MaskedTablePretrainer.load(tmp_path, "cpu")
    assert loaded.transform(frame).shape == (60, 8)
    assert loaded.column_skill_ == json.loads((tmp_path / "columns.json").read_text())
    for call in (loaded.impute, loaded.outlier_score):
        with pytest.raises(
            ValueError, match=r"expected a pretrainer with its decoder, .*pretrain again with masked"
        ):
            call(frame)


def test_a_fit_is_the_training_of_a_run(fitted, tmp_path: Path):
    """The same seed, rows and options through `pretrain` end in the same weights."""
    rows = TableRows(fitted.schema_.encode(table()), row_ids(60), fitted.schema_)
    options = Pretext(
        name="masked",
        kind="masked",
        epochs=2,
        batch=32,
        optimiser="adamw",
        lr=0.02,
        weight_decay=0.0,
        clip=1.0,
    )
    section = Backbone(kind="tabnet", options=SMALL)
    machine = machine_of_tables("cpu")
    work = PretrainWork(options, rows.owners, rows, section, None, None, machine, fitted.seed_)
    pretrain(work, tmp_path, "key", lambda record: None)
    trained = build_backbone(section.model_copy(update={"weights": str(tmp_path)}), rows.takes, 0)
    for ours, theirs in zip(
        fitted.backbone_.state_dict().values(), trained.state_dict().values(), strict=True
    ):
        assert torch.equal(ours, theirs)


def test_a_decoder_that_is_not_finite_is_refused(fitted, tmp_path: Path):
    broken = pickle.loads(pickle.dumps(fitted))
    next(broken.method_.decoder.parameters()).data.fill_(float("nan"))
    broken.save(tmp_path)
    with pytest.raises(ValueError, match=PARTS):
        MaskedTablePretrainer.load(tmp_path, "cpu")


def test_a_folder_that_was_copied_in_part_is_refused(fitted, tmp_path: Path):
    for name in (PARTS, "seen.parquet", "table.json", "backbone.json", "backbone.safetensors"):
        fitted.save(tmp_path)
        (tmp_path / name).unlink()
        with pytest.raises(ValueError, match=rf"{name}.*received"):
            MaskedTablePretrainer.load(tmp_path, "cpu")


def test_a_backbone_of_images_is_refused(tmp_path: Path):
    images = build_backbone(Backbone(name="resnet10t"), 3, 32)
    save_backbone(images, tmp_path, {}, [])
    assert json.loads((tmp_path / "backbone.json").read_text())["kind"] == "timm"
    with pytest.raises(ValueError, match="expected a backbone of tables, received one of images"):
        MaskedTablePretrainer.load(tmp_path, "cpu")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"backbone": "tabnte"}, "did you mean 'tabnet'"),
        ({"ratio": 1.5}, "parameter: ratio\n  expected: a number above 0 and below 1\n  received: 1.5"),
        ({"epochs": 0}, "parameter: epochs\n"),
        ({"lr": -1.0}, "parameter: lr\n"),
        ({"options": {"n_dd": 4}}, "parameter: options.n_dd\n.*\n.*\n  did you mean: n_d$"),
        ({"steps": [{"kind": "svdd"}]}, "parameter: steps.0.kind\n(.*\n)*.*svd"),
        ({"kinds": {"aa": "number"}}, "^kinds: .*'aa'"),
        ({"device": "cudo"}, "^device: expected auto, cpu, cuda, cuda:1 or mps, received 'cudo'"),
        ({"device": "cuda:7"} if not torch.cuda.is_available() else {"epochs": -1}, "device|epochs"),
    ],
)
def test_a_parameter_out_of_range_is_refused_by_fit(changes, message):
    with pytest.raises(ValueError, match=message):
        pretrainer(**changes).fit(table())


@pytest.mark.filterwarnings("ignore:X does not have valid feature names")
def test_rows_with_other_columns_are_refused(fitted):
    with pytest.raises(ValueError, match="The feature names should match"):
        fitted.transform(table().drop(columns="a"))
    with pytest.raises(ValueError, match="X has 2 features, but MaskedTablePretrainer is expecting 4"):
        fitted.transform(table().to_numpy()[:, :2])


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        ([1.0] * 8, "^X: expected columns to learn from, .*a has one value only"),
        ([np.inf, *range(7)], "^X: expected finite numbers"),
        ([["more"]] * 8, "^X: expected numbers, texts or dates in 'a'"),
    ],
)
def test_cells_that_cannot_be_learned_from_are_told_of_what_was_handed_in(cells, message):
    with pytest.raises(ValueError, match=message):
        pretrainer().fit(pd.DataFrame({"a": cells}))


def test_cells_of_another_kind_than_in_fit_are_told_of_what_was_handed_in(fitted):
    strange = table().assign(a="often")
    for call in (fitted.transform, fitted.impute, fitted.outlier_score):
        with pytest.raises(ValueError, match=r"^X: expected numbers in 'a', received 1 other values"):
            call(strange)


@pytest.mark.parametrize("names", [[10, 20, 30, 40], ["a", "b", "c", "d"]])
def test_filled_rows_have_the_columns_of_the_rows_given(names):
    """scikit-learn counts columns whose names are no texts; the user calls them as ever."""
    frame = table().set_axis(pd.Index(names), axis=1)
    filled = pretrainer(epochs=1).fit(frame).impute(frame)
    assert filled.columns.tolist() == names and filled.index.equals(frame.index)
    known = frame.notna().to_numpy()
    assert not known.all() and filled.notna().to_numpy().all()
    assert (filled.to_numpy()[known] == frame.to_numpy()[known]).all()
    assert pretrainer(epochs=1).fit(frame.to_numpy()).impute(frame.to_numpy()).columns[0] == "x0"


def test_three_rows_are_too_few():
    with pytest.raises(ValueError, match="a minimum of 4 is required by MaskedTablePretrainer"):
        pretrainer().fit(table(3))
