"""Features: view statistics of each fold model, and pickles that cannot run code."""

import collections
import dataclasses
import json
import os
import pickle
import subprocess

import numpy as np
import pandas as pd
import pytest
from jigstack.datasets.predictions import Predictions
from jigstack.transfer.features import Features, aggregate, load_feature_pickle, write_feature_pickles

STATS = ["mean", "var", "max", "min"]


def simulated(n=200, views=8, folds=3, seed=0, own=1.0):
    """Each fold model has its own error in every view: the views of one model scatter, their average scatters less."""
    rng = np.random.default_rng(seed)
    table = []
    for role, names in (("oof", [f"a{i:03d}" for i in range(n)]), ("test", [f"t{i:03d}" for i in range(n)])):
        for i, name in enumerate(names):
            for fold in [i % folds] if role == "oof" else range(folds):
                values = rng.normal(size=(views, 2)) * own
                table += [(name, role, fold, v, *values[v]) for v in range(views)]
    frame = pd.DataFrame(table, columns=["id", "role", "fold", "view", "p0", "p1"])
    return Predictions(frame, "era", ("p0", "p1"), "value", "plan", tuple(f"view{v}" for v in range(views)))


def test_statistics_match_pandas():
    predictions = simulated(n=20)
    features = aggregate(predictions, STATS)
    grouped = predictions.frame.groupby(["id", "role", "fold"])
    found = features.frame.set_index(["id", "role", "fold"])
    assert len(found.columns) == 8
    for j, column in enumerate(("p0", "p1")):
        for stat in STATS:
            # pandas divides by V - 1 unless told otherwise.
            expected = (
                grouped[column].agg(lambda v: v.var(ddof=0)) if stat == "var" else grouped[column].agg(stat)
            )
            assert np.allclose(found.loc[expected.index, f"era.d{j}.{stat}"], expected, atol=1e-6), stat
    assert features.names["era.d1.var"] == "era: p1, var over 8 views"


def ragged(n=24, views=4, folds=3, seed=0):
    """Of the rows number 0, 1, 2, .. the first owns one image, the next two, then five, then one again."""
    rng = np.random.default_rng(seed)
    table = []
    for role, names in (("oof", [f"a{i:03d}" for i in range(n)]), ("test", [f"t{i:03d}" for i in range(n)])):
        for i, name in enumerate(names):
            for fold in [i % folds] if role == "oof" else range(folds):
                for view in range(views * (1, 2, 5)[i % 3]):
                    table.append((name, role, fold, view, *rng.normal(size=2)))
    frame = pd.DataFrame(table, columns=["id", "role", "fold", "view", "p0", "p1"])
    names = tuple(f"view{v}" for v in range(views))
    return Predictions(frame, "era", ("p0", "p1"), "value", "plan", names, images=5)


def test_statistics_are_taken_over_all_views_of_all_images_of_a_row():
    predictions = ragged()
    mixed = dataclasses.replace(predictions, frame=predictions.frame.sample(frac=1.0, random_state=0))
    features = aggregate(mixed, STATS).frame.set_index(["id", "role", "fold"])
    assert len(features) == 24 + 24 * 3
    functions = {"mean": np.mean, "var": np.var, "max": np.max, "min": np.min}
    for key, rows in predictions.frame.groupby(["id", "role", "fold"]):
        values = rows[["p0", "p1"]].to_numpy(np.float64).T
        expected = [functions[stat](column) for column in values for stat in STATS]
        np.testing.assert_allclose(features.loc[key].to_numpy(), expected, rtol=1e-6)
    names = aggregate(mixed, ["max"]).names
    assert names["era.d0.max"] == "era: p0, max over 4 views of 1 to 5 images"


def test_pickles_of_several_images_hold_one_image_after_the_other(tmp_path):
    predictions = ragged()
    train, *tests = write_feature_pickles(predictions, tmp_path)
    opened = load_feature_pickle(train)
    assert [len(opened[name]) for name in ("a000", "a001", "a002", "a003")] == [4, 8, 20, 4]
    rows = predictions.oof().query("id == 'a002'").sort_values("view")[["p0", "p1"]].to_numpy()
    np.testing.assert_array_equal(np.stack(opened["a002"]), rows)
    assert list(opened) == [f"a{i:03d}" for i in np.argsort(np.arange(24) % 3, kind="stable")]
    assert len(load_feature_pickle(tests[1])["t002"]) == 20
    assert json.loads(train.with_suffix(".json").read_text())["images"] == 5


def test_the_order_of_rows_does_not_matter():
    predictions = simulated(n=20)
    mixed = predictions.frame.sample(frac=1.0, random_state=0)
    turned = Predictions(mixed, "era", ("p0", "p1"), "value", "plan", predictions.views)
    pd.testing.assert_frame_equal(aggregate(turned, STATS).frame, aggregate(predictions, STATS).frame)


def test_one_view_has_no_variance():
    features = aggregate(simulated(n=5, views=1), ["var"])
    assert features.frame["era.d0.var"].to_numpy().max() == 0


def test_test_rows_look_like_out_of_fold_rows():
    """Averaging the fold models view by view first, a known mistake, shrinks the spread on the test rows alone."""
    predictions = simulated()
    features = aggregate(predictions, STATS)
    trained_on = features.training()
    for fold in features.test_folds:
        applied_to = features.test(fold)
        for stat in STATS:
            ours, expected = (rows[f"era.d0.{stat}"].to_numpy().mean() for rows in (applied_to, trained_on))
            assert ours == pytest.approx(expected, abs=0.2), stat

    test = predictions.test().sort_values(["id", "view", "fold"])
    mistaken = (
        test["p0"].to_numpy().reshape(-1, 8, 3).mean(axis=2)
    )  # (ids, V): averaged over fold models first
    honest = {stat: trained_on[f"era.d0.{stat}"].to_numpy().mean() for stat in STATS}
    assert mistaken.var(axis=1).mean() < 0.45 * honest["var"]  # a third, with three fold models
    assert mistaken.max(axis=1).mean() < honest["max"] - 0.4
    assert mistaken.min(axis=1).mean() > honest["min"] + 0.4


def test_in_sample_rows_never_become_features():
    predictions = simulated(n=9)
    extra = predictions.frame[predictions.frame["id"] == "a001"].assign(role="insample", fold=0)
    with_them = Predictions(
        pd.concat([predictions.frame, extra], ignore_index=True),
        "era",
        ("p0", "p1"),
        "value",
        "plan",
        predictions.views,
    )
    pd.testing.assert_frame_equal(aggregate(with_them, STATS).frame, aggregate(predictions, STATS).frame)


def test_in_sample_rows_are_refused_by_the_type():
    features = aggregate(simulated(n=9), STATS)
    with pytest.raises(ValueError, match=r"received \['insample'\].*trusts whichever head overfits"):
        Features(features.frame.assign(role="insample"), "era", features.names, "plan")


def test_an_id_with_two_training_rows_is_refused():
    features = aggregate(simulated(n=9), STATS)
    doubled = pd.concat([features.frame, features.frame.head(1).assign(fold=2)])
    with pytest.raises(ValueError, match=r"each id stands once among the 'oof' rows.*a000"):
        Features(doubled, "era", features.names, "plan")


def test_the_columns_must_be_those_named():
    features = aggregate(simulated(n=9), STATS)
    with pytest.raises(ValueError, match="`frame` must have the columns"):
        Features(features.frame.drop(columns="era.d0.max"), "era", features.names, "plan")


@pytest.mark.parametrize("stats", [[], ["median"], ["mean", "mean"]])
def test_unknown_statistics_are_refused(stats):
    with pytest.raises(ValueError, match="`stats` must be one or more different names"):
        aggregate(simulated(n=3), stats)


def test_a_written_file_reads_back_the_same(tmp_path):
    features = aggregate(simulated(n=9), STATS)
    features.write(tmp_path / "era.parquet")
    again = Features.read(tmp_path / "era.parquet")
    pd.testing.assert_frame_equal(again.frame, features.frame)
    assert (again.task, again.names, again.plan) == (features.task, features.names, features.plan)
    features.frame.to_parquet(tmp_path / "plain.parquet")
    with pytest.raises(ValueError, match="expected a features file of jigstack"):
        Features.read(tmp_path / "plain.parquet")


def test_pickles_hold_a_list_of_arrays_for_each_id_and_a_card(tmp_path):
    predictions = simulated(n=9)
    paths = write_feature_pickles(predictions, tmp_path)
    assert [path.name for path in paths] == ["era.train.pkl", *(f"era.test.fold{k}.pkl" for k in range(3))]
    train = load_feature_pickle(paths[0])
    assert len(train["a004"]) == 8
    rows = predictions.oof().query("id == 'a004' and view == 3")
    assert train["a004"][3].tolist() == rows[["p0", "p1"]].to_numpy().ravel().tolist()
    card = json.loads((tmp_path / "era.test.fold1.json").read_text())
    assert (card["fold"], card["columns"], card["plan"], card["rows"]) == (1, ["p0", "p1"], "plan", 9)


class Command:
    def __reduce__(self):
        return os.system, ("true",)


class Builtin:
    def __reduce__(self):
        return eval, ("1",)


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (Command(), "system"),
        (Builtin(), "eval"),
        ([np.array([Command()], dtype=object)], "system"),
        (subprocess.Popen, "Popen"),
        (collections.Counter(), "Counter"),
    ],
)
def test_a_pickle_with_code_is_not_opened(tmp_path, content, named):
    (tmp_path / "x.pkl").write_bytes(pickle.dumps(content))
    with pytest.raises(ValueError, match=f"expected arrays and plain containers only, received .*{named}"):
        load_feature_pickle(tmp_path / "x.pkl")


@pytest.mark.parametrize("protocol", range(3, 6))
def test_arrays_and_plain_containers_are_opened(tmp_path, protocol):
    content = {
        "a": [np.arange(3.0), (1, 2.5, "x", None, True)],
        "b": {1, 2},
        "c": np.float32(3),
        "d": np.arange(2, dtype=">f4"),
    }
    (tmp_path / "x.pkl").write_bytes(pickle.dumps(content, protocol=protocol))
    opened = load_feature_pickle(tmp_path / "x.pkl")
    assert opened["a"][0].tolist() == [0, 1, 2]
    assert opened["b"] == {1, 2}
    assert opened["c"] == 3
    assert opened["d"].tolist() == [0, 1]


def test_a_structured_array_is_not_opened(tmp_path):
    (tmp_path / "x.pkl").write_bytes(pickle.dumps(np.zeros(2, dtype=[("a", "f4"), ("b", "O")])))
    with pytest.raises(ValueError, match="expected arrays of numbers, text or plain containers"):
        load_feature_pickle(tmp_path / "x.pkl")
