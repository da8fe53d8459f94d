"""Members on frozen features: their twins, what they must not see, and every kind of target."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from jigstack.configs.data import Folds
from jigstack.configs.schema import Task
from jigstack.datasets.folds import FoldPlan, make_plan
from jigstack.datasets.predictions import REFIT, Predictions
from jigstack.datasets.targets import code_target
from jigstack.stacking import TableColumns
from jigstack.stacking.frozen import FrozenWork, inner_splits, predict_frozen
from jigstack.transfer.embedding import Embeddings, JoinedEmbeddings
from sklearn.linear_model import Ridge
from sklearn.metrics.pairwise import cosine_similarity
from sklearn.neighbors import NearestNeighbors
from sklearn.preprocessing import StandardScaler

N, TESTS, D = 240, 30, 12
LEARNERS = ("ridge", "knn", "lightgbm")
MakeWork = Callable[..., FrozenWork]


@pytest.fixture
def frame() -> pd.DataFrame:
    """Labels that follow from the features, in groups of four."""
    rng = np.random.default_rng(1)
    x = features(N + TESTS)[:N]
    value = 3 * x[:, 0] - 2 * x[:, 1] + 0.3 * rng.normal(size=N) + 50
    style = np.array(["gothic", "baroque", "modern"])[np.argmax(x[:, :3], axis=1)]
    return pd.DataFrame(
        {
            "value": value,
            "other": 2 * x[:, 2] + 5,
            "style": style,
            "stars": np.digitize(x[:, 0], [-0.5, 0.5]) + 1,
            "made": [f"{1900 + round(10 * year)}-06-01" for year in x[:, 0]],
            "tags": [
                f"{name} {'wide' if wide > 0 else 'tall'}" for name, wide in zip(style, x[:, 3], strict=True)
            ],
            "group": [f"g{row // 4}" for row in range(N)],
        },
        index=pd.Index(names("a", N), name="id"),
    )


def names(letter: str, count: int) -> list[str]:
    return [f"{letter}{row:03d}" for row in range(count)]


def features(count: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(count, D)).astype(np.float32)


@pytest.fixture
def make_work(frame: pd.DataFrame) -> MakeWork:
    """Fold 0 of three; the embedding's rows are in another order than the tables'."""

    def make(
        learner: str = "ridge",
        kind: str = "regression",
        columns: tuple[str, ...] = ("value",),
        labels: pd.DataFrame = frame,
        table: TableColumns | None = None,
        lacking: tuple[str, ...] = (),
        plan: FoldPlan | None = None,
        fold: int = 0,
        **options: Any,
    ) -> FrozenWork:
        ids = np.array([*names("a", N), *names("t", TESTS)], dtype=object)
        order = np.random.default_rng(2).permutation(len(ids))
        order = order[~np.isin(ids[order], lacking)]
        task = Task.model_validate(
            {"kind": kind, "columns": list(columns), "learner": learner, "options": options}
        )
        return FrozenWork(
            task="x",
            learner=learner,
            target=code_target("x", task, labels.loc[:, list(columns)]),
            fold=fold,
            frame=labels,
            plan=plan
            or make_plan(labels.index, Folds(scheme="group", n=3, group="group"), 0, labels.loc[:, "group"]),
            embeddings=Embeddings(ids[order], features(N + TESTS)[order]),
            table=table,
            test_ids=np.array(names("t", TESTS), dtype=object),
            seed=0,
            threads=1,
        )

    return make


def oof(predictions: Predictions, column: str = "x") -> pd.Series:
    return pd.Series(predictions.oof().set_index("id")[column])


def out_of_fold_error(make_work: MakeWork, labels: pd.DataFrame, learner: str) -> tuple[float, float]:
    """RMSE of all folds' validation rows, and of the constant."""
    misses, usual = [], []
    for fold in range(3):
        work = make_work(learner, labels=labels, fold=fold)
        found = oof(predict_frozen(work)[0])
        truth = labels.loc[found.index, "value"]
        misses.append((found - truth).to_numpy())
        usual.append((labels.loc[work.training_ids(), "value"].mean() - truth).to_numpy())
    error, constant = (float(np.sqrt(np.mean(np.concatenate(part) ** 2))) for part in (misses, usual))
    return error, constant


def test_the_ridge_is_that_of_scikit_learn(make_work: MakeWork, frame: pd.DataFrame):
    work = make_work("ridge")
    predictions, card = predict_frozen(work)
    ids, x = work.training_ids(), features(N + TESTS)
    row = {name: place for place, name in enumerate([*names("a", N), *names("t", TESTS)])}
    scaler = StandardScaler().fit(x[[row[name] for name in ids]])
    penalty = card["settings"][0]["penalty"][0]
    twin = Ridge(alpha=penalty * len(ids)).fit(
        scaler.transform(x[[row[name] for name in ids]]), frame.loc[ids, "value"]
    )
    for part in (predictions.oof(), predictions.test(), predictions.insample()):
        expected = twin.predict(scaler.transform(x[[row[name] for name in part["id"]]]))
        np.testing.assert_allclose(part["x"], expected, rtol=1e-5)


def test_the_neighbours_are_those_of_scikit_learn(make_work: MakeWork, frame: pd.DataFrame):
    work = make_work("knn")
    found = oof(predict_frozen(work)[0])
    ids = work.training_ids()
    search = NearestNeighbors(n_neighbors=20, metric="cosine").fit(work.embeddings.of(ids))
    distances, rows = search.kneighbors(work.embeddings.of(found.index.to_numpy()))
    weights = np.exp((1 - distances) / 0.1)
    expected = (weights * frame.loc[ids, "value"].to_numpy()[rows]).sum(axis=1) / weights.sum(axis=1)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_of_several_embeddings_each_counts_alike_for_the_neighbours(make_work: MakeWork, frame: pd.DataFrame):
    """The similarity of two rows is the mean of the embeddings' cosines, however long or wide one of them is."""
    work = make_work("knn")
    ids = np.array([*names("a", N), *names("t", TESTS)], dtype=object)
    values = work.embeddings.of(ids)

    def predicted(scale: float, first: str = "a") -> pd.Series:
        parts = {
            "a": Embeddings(ids, values[:, :3] * np.float32(scale)),
            "b": Embeddings(ids[::-1], values[::-1, 3:]),
        }
        joined = JoinedEmbeddings(dict(sorted(parts.items(), reverse=first == "b")))
        return oof(predict_frozen(replace(work, embeddings=joined))[0])

    found, known = predicted(1.0), work.training_ids()
    bank, asked = work.embeddings.of(known), work.embeddings.of(found.index.to_numpy())
    similar = (
        cosine_similarity(asked[:, :3], bank[:, :3]) + cosine_similarity(asked[:, 3:], bank[:, 3:])
    ) / 2
    rows = np.argsort(-similar, axis=1)[:, :20]
    weights = np.exp(np.take_along_axis(similar, rows, axis=1) / 0.1)
    expected = (weights * frame.loc[known, "value"].to_numpy()[rows]).sum(axis=1) / weights.sum(axis=1)
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    for other in (predicted(1e4), predicted(1.0, "b")):
        np.testing.assert_allclose(other.loc[found.index], found, rtol=1e-4)
    alone = oof(predict_frozen(work)[0])
    assert not np.allclose(alone.loc[found.index], found, rtol=1e-3)


@pytest.mark.parametrize("learner", LEARNERS)
def test_a_member_learns_what_the_features_tell(make_work: MakeWork, frame: pd.DataFrame, learner: str):
    error, constant = out_of_fold_error(make_work, frame, learner)
    assert error < 0.7 * constant


@pytest.mark.parametrize("learner", LEARNERS)
def test_shuffled_labels_score_no_better_than_the_constant(
    make_work: MakeWork, frame: pd.DataFrame, learner: str
):
    shuffled = frame.assign(value=np.random.default_rng(5).permutation(frame["value"]))
    error, constant = out_of_fold_error(make_work, shuffled, learner)
    assert error > 0.98 * constant


@pytest.mark.parametrize("learner", LEARNERS)
def test_labels_of_validation_rows_have_no_part_in_their_predictions(
    make_work: MakeWork, frame: pd.DataFrame, learner: str
):
    work = make_work(learner)
    changed = frame.copy()
    changed.loc[work.plan.valid_ids(0), "value"] = 1e6
    pd.testing.assert_series_equal(
        oof(predict_frozen(work)[0]), oof(predict_frozen(make_work(learner, labels=changed))[0])
    )


def test_every_role_has_its_rows(make_work: MakeWork):
    work = make_work()
    predictions, card = predict_frozen(work)
    predictions.verify(work.plan)
    assert sorted(predictions.oof()["id"]) == sorted(work.plan.valid_ids(0))
    assert predictions.test()["id"].tolist() == names("t", TESTS)
    assert set(predictions.insample()["id"]) <= set(work.plan.train_ids(0))
    assert (predictions.views, set(predictions.frame["view"])) == (("mean",), {0})
    assert (card["rows"], card["features"], card["absent_classes"]) == (160, D, [])


def test_a_refit_learns_from_all_rows_and_predicts_the_test_rows_alone(make_work: MakeWork):
    predictions, card = predict_frozen(make_work(fold=REFIT))
    assert set(predictions.frame["role"]) == {"test"} and set(predictions.frame["fold"]) == {REFIT}
    assert card["rows"] == N


def test_rows_without_features_are_neither_learned_from_nor_predicted(make_work: MakeWork):
    whole = make_work()
    lost = (str(whole.plan.valid_ids(0)[0]), str(whole.plan.train_ids(0)[0]), "t000")
    predictions, card = predict_frozen(make_work(lacking=lost))
    assert not set(predictions.frame["id"]) & set(lost)
    assert len(predictions.oof()) == 79 and len(predictions.test()) == TESTS - 1 and card["rows"] == 159


def test_settings_are_chosen_on_the_other_folds_and_no_group_is_parted(make_work: MakeWork):
    work = make_work()
    ids = work.training_ids()
    splits = inner_splits(work.plan, ids, 0)
    assert [set(work.plan.fold_of(ids[held])) for _, held in splits] == [{1}, {2}]
    for fit, held in splits:
        assert sorted([*fit, *held]) == list(range(len(ids)))


def test_rows_that_no_fold_validates_are_always_fitted_on(make_work: MakeWork, frame: pd.DataFrame):
    own = pd.Series(np.arange(N) // 4 % 4 - 1, frame.index)  # -1: never validated
    plan = make_plan(frame.index, Folds(scheme="column", column="own"), 0, column=own)
    work = make_work(plan=plan)
    ids = work.training_ids()
    bare = set(np.flatnonzero(plan.fold_of(ids) == -1))
    splits = inner_splits(plan, ids, 0)
    assert len(bare) == 60 and len(splits) == 2
    assert all(bare <= set(fit) and bare.isdisjoint(held) for fit, held in splits)
    assert len(predict_frozen(work)[0].oof()) == 60


@pytest.mark.parametrize("scheme", ["holdout", "two folds"])
def test_where_no_two_folds_are_left_grouped_splits_choose(
    make_work: MakeWork, frame: pd.DataFrame, scheme: str
):
    options = (
        Folds(scheme="holdout", group="group")
        if scheme == "holdout"
        else Folds(scheme="group", n=2, group="group")
    )
    plan = make_plan(frame.index, options, 0, frame.loc[:, "group"])
    work = make_work(plan=plan)
    ids = work.training_ids()
    splits = inner_splits(plan, ids, 0)
    assert len(splits) == 4
    for fit, held in splits:
        groups = [set(plan.group_of(ids[part])) for part in (fit, held)]
        assert groups[0].isdisjoint(groups[1]) and len(fit) + len(held) == len(ids)
    assert oof(predict_frozen(work)[0]).notna().all()


@pytest.mark.parametrize("learner", LEARNERS)
def test_classes_are_probabilities(make_work: MakeWork, frame: pd.DataFrame, learner: str):
    predictions, _ = predict_frozen(make_work(learner, "onehot", ("style",)))
    chances = predictions.oof().set_index("id")[list(predictions.columns)]
    np.testing.assert_allclose(chances.sum(axis=1), 1, rtol=1e-5)
    labels = {column: label for label, column in predictions.classes["style"].items()}
    likeliest = chances.columns.to_numpy()[chances.to_numpy().argmax(axis=1)]
    right = np.array([labels[column] for column in likeliest]) == frame.loc[chances.index, "style"]
    assert right.mean() > 0.5 and predictions.space == "probability"


@pytest.mark.parametrize("learner", LEARNERS)
def test_smoothing_moves_probabilities_towards_equal_ones(make_work: MakeWork, learner: str):
    plain, smooth = (
        predict_frozen(make_work(learner, "onehot", ("style",), **options))[0].oof()
        for options in ({}, {"smoothing": 0.3})
    )
    columns = ["x.p0", "x.p1", "x.p2"]
    np.testing.assert_allclose(smooth[columns], 0.7 * plain[columns] + 0.1, rtol=1e-4)


def test_classes_that_are_numbers_have_an_expectation(make_work: MakeWork):
    found = predict_frozen(make_work("knn", "onehot", ("stars",)))[0].oof()
    np.testing.assert_allclose(
        found["x.expect"], found[["x.p0", "x.p1", "x.p2"]].to_numpy() @ [1, 2, 3], rtol=1e-5
    )


def test_a_class_that_no_training_row_has_is_named(make_work: MakeWork, frame: pd.DataFrame):
    rare = frame.copy()
    rare.loc[make_work().plan.valid_ids(0)[:2], "style"] = "rococo"
    predictions, card = predict_frozen(make_work("lightgbm", "onehot", ("style",), labels=rare))
    assert card["absent_classes"] == ["rococo"] and len(predictions.columns) == 4


@pytest.mark.parametrize("learner", LEARNERS)
def test_dates_and_names_decode(make_work: MakeWork, frame: pd.DataFrame, learner: str):
    dates = oof(predict_frozen(make_work(learner, "date", ("made",)))[0])
    years = frame.loc[dates.index, "made"].str[:4].astype(float)
    assert np.corrcoef(dates, years)[0, 1] > 0.7 and 1890 < dates.mean() < 1910
    words, _ = predict_frozen(make_work(learner, "word2vec", ("tags",), vector_size=3, epochs=5))
    lengths = np.linalg.norm(words.oof()[list(words.columns)], axis=1)
    np.testing.assert_allclose(lengths, 1, rtol=1e-5)


@pytest.mark.parametrize("learner", LEARNERS)
def test_columns_with_gaps_of_their_own_are_learned_one_by_one(
    make_work: MakeWork, frame: pd.DataFrame, learner: str
):
    gaps = frame.copy()
    gaps.loc[gaps.index[::3], "value"] = np.nan
    gaps.loc[gaps.index[1::3], "other"] = np.nan
    both, _ = predict_frozen(make_work(learner, columns=("value", "other"), labels=gaps))
    alone, _ = predict_frozen(make_work(learner, columns=("other",), labels=gaps))
    expected = oof(alone)
    if learner != "lightgbm":  # whose draws differ
        np.testing.assert_allclose(oof(both, "x.other"), expected, rtol=1e-5)
    truth = frame.loc[expected.index, "other"]
    assert np.corrcoef(oof(both, "x.other").loc[expected.index], truth)[0, 1] > 0.7


@pytest.mark.parametrize("learner", LEARNERS)
def test_columns_of_the_table_join_by_id(make_work: MakeWork, frame: pd.DataFrame, learner: str):
    rng = np.random.default_rng(3)
    tables = [
        pd.DataFrame({"hint": rng.normal(size=len(ids))}, index=pd.Index(ids, name="id"))
        for ids in (names("a", N)[::-1], names("t", TESTS))
    ]
    labels = frame.assign(value=10 * tables[0].loc[frame.index, "hint"])
    tables[0].loc["a007", "hint"] = np.nan
    table = TableColumns.encode(tables[0], tables[1], ["hint"])
    with_table, card = predict_frozen(make_work(learner, labels=labels, table=table))
    without, _ = predict_frozen(make_work(learner, labels=labels))
    truth = labels.loc[oof(without).index, "value"]
    errors = [float(((oof(each) - truth) ** 2).mean()) for each in (with_table, without)]
    assert errors[0] < 0.6 * errors[1] and card["features"] == D + 1


def test_too_few_labels_are_told_with_task_and_fold(make_work: MakeWork, frame: pd.DataFrame):
    plan = make_work().plan
    bare = frame.assign(value=np.nan)
    bare.loc[plan.train_ids(0)[0], "value"] = 1.0
    with pytest.raises(
        ValueError,
        match=r"task x, fold 0: expected at least two labelled, readable training rows, received 1",
    ):
        predict_frozen(make_work(labels=bare))
