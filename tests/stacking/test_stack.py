"""The ladder on simulated members whose truth is known."""

import dataclasses
import json

import lightgbm as lgb
import numpy as np
import pandas as pd
import pytest
from jigstack.stacking import Ladder
from sklearn.linear_model import Ridge as SklearnRidge
from sklearn.metrics import root_mean_squared_error


def rmse_on_test(world, ladder, rung):
    return root_mean_squared_error(world.test["target"], ladder.test(rung)["target"])


def test_the_rungs_stand_in_their_order(world, tmp_path):
    w = world()
    tasks = [w.task("era"), w.task("year", decodes=False), w.task("style", shared=0.8)]
    ladder = w.stack(tmp_path, tasks, models=["lightgbm", "ridge"])
    assert [rung.name for rung in ladder.rungs] == [
        "constant", "era", "year~ridge", "style", "mean", "ridge", "lightgbm",
    ]  # fmt: skip
    assert ladder.scored == ladder.labelled == 300


def test_heads_and_constant_score_the_same_nested_and_out_of_fold(world, tmp_path):
    w = world()
    task = w.task("era")
    ladder = w.stack(tmp_path, [task])
    rung = ladder.rung("era")
    means = task.oof().groupby("id")["era"].mean()
    assert rung.nested == rung.out_of_fold
    assert rung.nested == pytest.approx(
        root_mean_squared_error(w.train["target"], means[w.train.index]), rel=1e-6
    )
    constants = pd.Series(index=w.train.index, dtype=float)
    for fold in range(3):
        constants[w.plan.valid_ids(fold)] = w.train.loc[w.plan.train_ids(fold), "target"].mean()
    assert ladder.rung("constant").nested == pytest.approx(
        root_mean_squared_error(w.train["target"], constants)
    )
    assert rung.low < rung.nested < rung.high
    assert list(rung.folds) == [0, 1, 2]


def test_the_constant_for_mae_is_the_median(world, tmp_path):
    w = world()
    ladder = w.stack(tmp_path, [w.task("era")], metric="mae")
    median = np.mean([w.train.loc[w.plan.train_ids(fold), "target"].median() for fold in range(3)])
    assert ladder.test("constant")["target"].to_numpy() == pytest.approx(median)


def test_the_submission_estimate_is_near_the_truth_where_out_of_fold_is_far_off(world, tmp_path, monkeypatch):
    """Fold models with large errors of their own: their average is much better than any one of them."""
    monkeypatch.setattr("jigstack.stacking.stack.RESAMPLES", 10)
    estimated, out_of_fold, true = {}, {}, {}
    for seed in range(6):
        w = world(seed, n=1500, n_test=1500)
        tasks = [w.task("era", shared=0.4, own=0.8), w.task("year", shared=0.5, own=0.9, decodes=False)]
        ladder = w.stack(tmp_path, tasks)
        for rung in ladder.rungs[1:]:
            truth, predicted = w.test["target"], ladder.test(rung.name)["target"]
            estimated.setdefault(rung.name, []).append(rung.submission)
            out_of_fold.setdefault(rung.name, []).append(rung.nested)
            true.setdefault(rung.name, []).append(root_mean_squared_error(truth, predicted))
    for name in ("era", "year~ridge", "ridge"):
        off = np.array(estimated[name]) - true[name]
        naive = np.array(out_of_fold[name]) - true[name]
        error = off.std(ddof=1) / np.sqrt(len(off))
        assert abs(off.mean()) < 3 * error, name
        assert abs(naive.mean()) > max(6 * error, 3 * abs(off.mean())), name


def test_the_estimate_of_r2_belongs_to_that_of_rmse(world, tmp_path):
    w = world()
    task = w.task("era", own=0.8)
    rmse, r2 = (w.stack(tmp_path, [task], metric=metric).rung("era").submission for metric in ("rmse", "r2"))
    assert r2 == pytest.approx(1 - rmse**2 / w.train["target"].var(ddof=0))


def test_no_submission_estimate_for_one_model_or_other_metrics(world, tmp_path):
    w = world()
    assert w.stack(tmp_path, [w.task("era")], metric="mae").rung("era").submission is None
    single = w.task("era", folds=[0, 1, 2])
    frame = single.frame[(single.frame["role"] != "test") | (single.frame["fold"] == 0)]
    frame = frame.assign(fold=np.where(frame["role"] == "test", -1, frame["fold"]))
    refit = type(single)(frame, "era", ("era",), "value", single.plan, single.views, {"target": {"era": 1.0}})
    ladder = w.stack(tmp_path, [refit])
    assert ladder.rung("era").submission is None
    assert ladder.rung("era").averaged == 1
    assert ladder.rung("ridge").submission is not None  # three level-2 models are still averaged


def test_a_refit_is_averaged_into_the_test_rows_and_never_scored(world, tmp_path):
    w = world()
    ladder = w.stack(tmp_path, [w.task("era", refit=True)])
    assert ladder.rung("era").averaged == 4
    assert ladder.rung("ridge").averaged == 3 * 4
    assert list(ladder.rung("era").folds) == [0, 1, 2]


def test_level_2_on_in_sample_features_looks_far_better_than_the_truth(world, tmp_path):
    """The known mistake, in plain scikit-learn and LightGBM; our types refuse its rows (see below)."""
    w = world(n=600, n_test=600)
    rng = w.rng
    truth, test_truth = w.train["target"].to_numpy(), w.test["target"].to_numpy()
    honest_train, honest_test = (y + 0.7 * rng.normal(size=len(y)) for y in (truth, test_truth))
    # A head that has memorised its training rows and knows nothing else.
    overfit_train, overfit_test = truth + 0.3 * rng.normal(size=600), 1.5 + rng.normal(size=600)
    x, x_test = np.c_[honest_train, overfit_train], np.c_[honest_test, overfit_test]
    for model in (
        SklearnRidge().fit(x, truth),
        lgb.LGBMRegressor(n_estimators=100, max_depth=3, verbosity=-1, n_jobs=1).fit(x, truth),
    ):
        seen = root_mean_squared_error(truth, np.asarray(model.predict(x)))
        unseen = root_mean_squared_error(test_truth, np.asarray(model.predict(x_test)))
        assert seen < 0.35
        assert unseen > 3 * seen
    # The same two heads out-of-fold: the score is the truth.
    memory = w.task("memory", shared=0.0, own=0.0, view=0.0, views=1)
    noise = memory.frame.assign(memory=1.5 + rng.normal(size=len(memory.frame)))
    ladder = w.stack(
        tmp_path, [w.task("honest", shared=0.7, own=0.0), _with(memory, noise)], models=["ridge", "lightgbm"]
    )
    for name in ("ridge", "lightgbm"):
        assert ladder.rung(name).nested == pytest.approx(rmse_on_test(w, ladder, name), abs=0.06)


def _with(predictions, frame):
    names = ("task", "columns", "space", "plan", "views", "decodes", "classes")
    return type(predictions)(frame=frame, **{name: getattr(predictions, name) for name in names})


def test_in_sample_rows_called_out_of_fold_are_refused(world, tmp_path):
    """Fold model 1's predictions for rows it was trained on, under the role 'oof'."""
    w = world()
    task = w.task("era")
    frame = task.frame.copy()
    frame.loc[frame["role"] == "oof", "fold"] = (frame.loc[frame["role"] == "oof", "fold"] + 1) % 3
    with pytest.raises(ValueError, match=r"a fold model that does not validate them.*in-sample"):
        w.stack(tmp_path, [_with(task, frame)])


def test_in_sample_rows_are_shown_and_not_trained_upon(world, tmp_path):
    w = world()
    task = w.task("era", insample=True)
    without = _with(task, task.frame[task.frame["role"] != "insample"])
    shown, hidden = (w.stack(tmp_path / str(i), [part]) for i, part in enumerate((task, without)))
    assert shown.rung("era").in_sample < 0.5 * shown.rung("era").nested
    assert hidden.rung("era").in_sample is None
    assert shown.rung("ridge") == hidden.rung("ridge")


def test_rows_that_no_fold_validates_are_counted_and_not_scored(world, tmp_path):
    w = world(scheme="column", column="fold", group=None)
    ladder = w.stack(tmp_path, [w.task("era")])
    assert (ladder.labelled, ladder.scored) == (300, 240)
    assert "60 of 300 labelled rows are validated in no fold" in ladder.notes[0]
    assert set(ladder.nested("era").index) == set(w.train.index[60:])


def test_rows_that_a_member_lacks_are_counted_and_not_scored(world, tmp_path):
    w = world()
    ladder = w.stack(tmp_path, [w.task("era", drop=["a0007", "t0003"]), w.task("style")])
    assert ladder.scored == 299
    assert any("'a0007'" in note for note in ladder.notes)
    assert ladder.test("ridge").index[ladder.test("ridge").isna()["target"]].tolist() == ["t0003"]
    assert ladder.test("constant").notna().all().all()


@pytest.mark.parametrize("folds", [{"n_folds": 2}, {"scheme": "holdout", "share": 0.4}])
def test_few_folds_are_enough(world, tmp_path, folds):
    """Two folds, or the one of a hold-out, still give nested values near the truth on the test rows."""
    w = world(n=500, n_test=500, **folds)
    ladder = w.stack(tmp_path, [w.task("era"), w.task("style", shared=0.8)], models=["ridge", "lightgbm"])
    for name in ("ridge", "lightgbm"):
        assert ladder.rung(name).nested == pytest.approx(rmse_on_test(w, ladder, name), abs=0.08)
        assert ladder.rung(name).nested < ladder.rung("style").nested
    if folds.get("scheme") == "holdout":
        assert len(ladder.rung("ridge").folds) == 5
        assert ladder.scored < 300


def test_a_task_of_one_fold_is_compared_and_not_stacked(world, tmp_path):
    w = world()
    ladder = w.stack(tmp_path, [w.task("era", shared=0.4), w.task("era_scratch", shared=0.9, folds=[0])])
    assert [rung.name for rung in ladder.rungs] == ["constant", "era", "ridge"]
    (line,) = ladder.comparisons
    assert (line.task, line.against, line.rows) == ("era_scratch", "era", len(w.plan.valid_ids(0)))
    assert list(line.folds) == [0]
    assert line.gain == pytest.approx(line.against_score - line.score)
    assert line.low < line.gain < line.high < 0


def test_a_whole_task_left_out_by_name_is_compared_over_its_folds(world, tmp_path):
    w = world()
    ladder = w.stack(tmp_path, [w.task("era"), w.task("scratch", shared=0.6)], members=["era"])
    (line,) = ladder.comparisons
    assert list(line.folds) == [0, 1, 2]
    assert all(first > second for first, second in line.folds.values())


def test_submit_best_takes_the_nested_winner_and_says_when_stacking_gains_nothing(world, tmp_path):
    w = world(n=120)
    good = w.task("good", shared=0.2, own=0.05)
    ladder = w.stack(tmp_path, [good], models=["lightgbm"])
    assert ladder.chosen == ladder.best == "good"
    assert "the stackers do not win" in ladder.sentence
    assert "It beats the constant" in ladder.sentence


def test_the_sentence_names_winner_gain_and_interval(world, tmp_path):
    w = world(n=600)
    ladder = w.stack(
        tmp_path, [w.task("era", shared=0.7), w.task("style", shared=0.7), w.task("bad", shared=3.0)]
    )
    assert ladder.best == "ridge"
    assert ladder.sentence.startswith("ridge wins nested: rmse ")
    assert "the best head" in ladder.sentence
    assert "the mean of the heads" in ladder.sentence
    assert "95 % interval" in ladder.sentence


def test_noise_does_not_beat_the_constant(world, tmp_path):
    w = world(n=150)
    task = w.task("noise")
    noise = task.frame.assign(noise=1.2 + 0.01 * w.rng.normal(size=len(task.frame)))
    ladder = w.stack(tmp_path, [_with(task, noise)], models=["ridge", "lightgbm"])
    assert "Nothing beats the constant" in ladder.sentence or "not beat the constant" in ladder.sentence


def test_a_named_rung_is_submitted_and_its_distance_told(world, tmp_path):
    w = world()
    ladder = w.stack(tmp_path, [w.task("era"), w.task("style", shared=0.9)], submit="style")
    assert ladder.chosen == "style"
    assert "Submitted, as asked: style" in ladder.sentence


def test_the_choice_of_the_rung_is_nested_too(world, tmp_path):
    w = world()
    ladder = w.stack(tmp_path, [w.task("era"), w.task("style")])
    assert set(ladder.choices) == {0, 1, 2}
    best = ladder.rung(ladder.best).nested
    assert ladder.choice >= best - 1e-9 or len(set(ladder.choices.values())) > 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"submit": "lightbgm", "models": ["lightgbm"]}, "`stack.submit`.*Did you mean 'lightgbm'"),
        ({"members": ["eras"]}, "`stack.members`.*Did you mean 'era'"),
        ({"members": ["part"]}, r"folds \[0\] only; a member needs all of \[0, 1, 2\]"),
        ({"target": "targt"}, "`stack.target`.*Did you mean 'target'"),
        ({"target": ["target", "era"], "metric": "auc"}, "one column, without a range"),
        ({"target": "target", "metric": "qwk"}, "whole numbers"),
        ({"target": "word"}, "metric rmse needs numbers.*'a0000'"),
    ],
)
def test_mistakes_are_named_before_anything_is_fitted(world, tmp_path, options, message):
    w = world(n=60, n_test=10)
    w.train["word"] = "x"
    with pytest.raises(ValueError, match=message):
        w.stack(tmp_path, [w.task("era"), w.task("part", folds=[0])], **options)


def test_predictions_of_another_plan_are_refused(world, tmp_path):
    w, other = world(0, n=60), world(3, n=60)
    with pytest.raises(ValueError, match="expected one fold plan"):
        w.stack(tmp_path, [w.task("era"), other.task("style")])


@pytest.mark.parametrize("metric", ["accuracy", "logloss", "auc", "f1"])
def test_class_heads_are_stacked_by_every_class_metric(world, tmp_path, metric):
    w = world(n=240, n_test=60)
    ladder = w.stack(
        tmp_path,
        [w.classes("kind"), w.task("era")],
        target="era",
        metric=metric,
        models=["ridge", "lightgbm"],
    )
    assert [rung.name for rung in ladder.rungs] == ["constant", "kind", "era~ridge", "ridge", "lightgbm"]
    assert ladder.outputs == ("0", "1", "2", "3")
    chances = ladder.test("lightgbm").to_numpy()
    assert chances.sum(axis=1) == pytest.approx(1, abs=1e-5)
    better = 1 if ladder.greater_is_better else -1
    assert better * ladder.rung("lightgbm").nested > better * ladder.rung("constant").nested
    assert all(rung.submission is None for rung in ladder.rungs)


def test_two_classes_are_binary(world, tmp_path):
    w = world(n=240, n_test=60)
    w.train["era"] = np.where(w.train["era"] > 1, "new", "old")
    ladder = w.stack(tmp_path, [w.task("era")], target="era", metric="auc", models=["ridge", "lightgbm"])
    assert ladder.outputs == ("new", "old")
    assert ladder.rung("lightgbm").nested > 0.9
    assert "objective=binary" in (tmp_path / "stack/main/fold0/era.txt").read_text()


def test_classes_that_differ_from_the_heads_are_an_error(world, tmp_path):
    w = world(n=60)
    with pytest.raises(ValueError, match=r"expected probabilities of the classes \['0', '1', '2', '3'\]"):
        w.stack(tmp_path, [w.classes("kind", labels=("0", "1", "2"))], target="era", metric="logloss")


def test_qwk_is_submitted_in_known_classes(world, tmp_path):
    w = world(n=150, n_test=50)
    w.train["target"] = w.train["era"]
    ladder = w.stack(tmp_path, [w.task("era")], metric="qwk")
    assert set(ladder.test("ridge")["target"]) <= {0.0, 1.0, 2.0, 3.0}
    assert ladder.rung("constant").nested < 0.05
    assert ladder.rung("era").nested > 0.6


def test_predictions_stay_in_the_range(world, tmp_path):
    w = world(n=150, n_test=100)
    ladder = w.stack(tmp_path, [w.task("era", shared=1.0)], range=[0, 3], models=["ridge", "lightgbm"])
    for rung in ladder.rungs:
        for values in (ladder.test(rung.name), ladder.nested(rung.name)):
            assert values.to_numpy().min() >= 0
            assert values.to_numpy().max() <= 3


def test_several_columns_have_one_model_each(world, tmp_path):
    w = world(n=150, n_test=50)
    w.train["other col/umn"] = 2 * w.train["target"] + 1
    ladder = w.stack(
        tmp_path,
        [w.task("era")],
        target=["target", "other col/umn"],
        models=["ridge", "lightgbm"],
        members=[],
    )
    assert [rung.name for rung in ladder.rungs] == ["constant", "era~ridge", "ridge", "lightgbm"]
    folder = tmp_path / "stack/main"
    assert {path.name for path in (folder / "fold1").iterdir()} == {"target.txt", "other_col_umn.txt"}
    model = json.loads((folder / "model.json").read_text())
    assert len(model["rungs"]["lightgbm"]["folds"]["0"]["rounds"]) == 2
    assert ladder.rung("ridge").nested < 0.6 * ladder.rung("constant").nested


def test_several_columns_are_stacked_by_correlation(world, tmp_path):
    """The constant, the columns' means, correlates with a row; within a column it correlates with nothing."""
    w = world(n=150, n_test=50)
    w.train["up"], w.train["down"] = 2 * w.train["target"] + 1, 4 - w.train["target"]
    columns = ["target", "up", "down"]
    for metric in ("pearson", "pearson_columns"):
        ladder = w.stack(
            tmp_path, [w.task("era")], target=columns, metric=metric, models=["ridge", "lightgbm"]
        )
        constant, ridge = ladder.rung("constant"), ladder.rung("ridge")
        guess = ladder.nested("constant")
        truth = w.train.loc[guess.index, columns]
        rows = [np.corrcoef(y, p)[0, 1] for y, p in zip(truth.to_numpy(), guess.to_numpy(), strict=True)]
        assert constant.nested == pytest.approx(np.mean(rows) if metric == "pearson" else 0.0)
        assert ridge.nested > constant.nested and ridge.low < ridge.nested < ridge.high
        assert all(rung.submission is None for rung in ladder.rungs)


def test_the_files_say_what_was_fitted(world, tmp_path):
    w = world(n=150, n_test=30)
    ladder = w.stack(tmp_path, [w.task("era"), w.task("style", views=1)], models=["ridge", "lightgbm"])
    folder = tmp_path / "stack/main"
    model = json.loads((folder / "model.json").read_text())
    fitted = model["rungs"]["lightgbm"]["folds"]["2"]
    booster = lgb.Booster(model_file=str(folder / "fold2/target.txt"))
    assert booster.num_trees() == fitted["rounds"][0]
    assert booster.feature_name() == fitted["features"]
    assert "style.d0.var" not in fitted["features"]  # one view has no variance
    assert model["readable"]["era.d0.mean"] == "era: era, mean over 4 views"
    importance = pd.read_parquet(folder / "importance.parquet")
    assert list(importance.columns) == ["feature", "readable", "gain_mean", "gain_sd"]
    assert importance["feature"].iloc[0].endswith((".mean", ".max", ".min"))
    again = Ladder.read(folder)
    assert again.rungs == ladder.rungs
    assert again.sentence == ladder.sentence
    pd.testing.assert_frame_equal(again.test("ridge"), ladder.test("ridge"))


def test_the_same_seed_gives_the_same_bits_whatever_the_order_of_rows(world, tmp_path):
    w = world(n=150, n_test=30)
    task = w.task("era")
    turned = _with(task, task.frame.iloc[::-1].reset_index(drop=True))
    first, second, third = (
        w.stack(tmp_path / str(i), [part], models=["ridge", "lightgbm"])
        for i, part in enumerate((task, task, turned))
    )
    assert first.rungs == second.rungs == third.rungs
    assert first.predictions.equals(third.predictions)
    texts = [(tmp_path / str(i) / "stack/main/fold0/target.txt").read_text() for i in (0, 1)]
    assert texts[0] == texts[1]


def test_no_test_rows_is_fine(world, tmp_path):
    w = world(n=90, n_test=10)
    ladder = w.stack(tmp_path, [w.task("era")], test=False)
    assert ladder.rung("era").submission is None
    assert ladder.test("ridge").empty


def test_the_table_marks_the_chosen_rung(world, tmp_path):
    w = world(n=90, n_test=10)
    ladder = w.stack(tmp_path, [w.task("era")], submit="era")
    lines = ladder.table()
    assert [line["rung"] for line in lines] == ["constant", "era *", "ridge"]
    assert all(list(line) == list(lines[0]) for line in lines)
    with pytest.raises(ValueError, match="Did you mean 'ridge'"):
        ladder.rung("rigde")


def test_the_mean_of_heads_by_correlation_is_that_of_their_patterns(world, tmp_path):
    """A head whose rows lie and spread widely, of which the correlation sees nothing, weighs no more than another."""
    w = world(n=150, n_test=30)
    columns = ["target", "up", "down"]
    w.train["up"], w.train["down"] = w.rng.normal(size=(2, len(w.train)))
    guesses = {}

    def head(name, wide):
        base = w.task(name, views=1)
        known = w.train[columns].reindex(base.frame["id"]).fillna(0.0).to_numpy()
        values = known + 0.7 * w.rng.normal(size=known.shape)
        draws = w.rng.uniform(1.0, 2.0, (len(values), 2))
        values = values * draws[:, :1] ** wide + wide * draws[:, 1:]
        names = [f"{name}.{column}" for column in columns]
        frame = base.frame[["id", "role", "fold", "view"]].assign(**dict(zip(names, values.T, strict=True)))
        guesses[name] = frame.set_index(["id", "role"])[names]
        return dataclasses.replace(
            base,
            frame=frame,
            columns=tuple(names),
            decodes={c: {n: 1.0} for c, n in zip(columns, names, strict=True)},
        )

    ladder = w.stack(tmp_path, [head("one", 0), head("two", 12)], target=columns, metric="pearson")
    mean = ladder.nested("mean")
    rows = [guesses[name].xs("oof", level="role").loc[mean.index].to_numpy() for name in ("one", "two")]
    patterns = np.sum([(row - row.mean(1, keepdims=True)) / row.std(1, keepdims=True) for row in rows], 0)
    for said, wanted in zip(mean.to_numpy(), patterns, strict=True):
        assert np.corrcoef(said, wanted)[0, 1] == pytest.approx(1.0)
    np.testing.assert_allclose(
        mean.mean(axis=1), (rows[0].mean(1) + rows[1].mean(1)) / 2, rtol=1e-4, atol=1e-3
    )
    heads = [ladder.rung(name).nested for name in ("one", "two")]
    assert ladder.rung("mean").nested > max(heads) + 0.03
