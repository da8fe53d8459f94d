"""Table columns as level-2 features."""

import numpy as np
import pandas as pd
import pytest
from jigstack.stacking import TABLE, TableColumns
from jigstack.stacking.columns import MOST_LEVELS
from sklearn.linear_model import Ridge
from sklearn.preprocessing import OneHotEncoder, StandardScaler


def table(letter: str = "a", n: int = 60, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "age": rng.normal(40, 10, n),
            "rooms": pd.array(rng.integers(1, 9, n), dtype="Int64"),
            "garden": rng.random(n) < 0.5,
            "city": rng.choice(["Kyoto", "Lima", "Oslo"], n),
            "street": [f"street {k}" for k in rng.integers(0, 30, n)],
            "planet": "Earth",
        },
        index=pd.Index([f"{letter}{k:03d}" for k in range(n)], name="id"),
    )


def test_numbers_stay_and_classes_become_one_column_each():
    train, test = table(), table("t", 9, 1)
    found = TableColumns.encode(train, test, ["age", "rooms", "garden", "city"])
    assert list(found.names.values()) == [
        "age",
        "rooms",
        "garden",
        "city = Kyoto",
        "city = Lima",
        "city = Oslo",
    ]
    assert list(found.names) == [f"{TABLE}.d{j}" for j in range(6)]
    assert found.train.to_numpy().dtype == np.float32
    np.testing.assert_allclose(found.test["table.d0"], test["age"], rtol=1e-6)
    np.testing.assert_array_equal(found.test["table.d1"], test["rooms"].astype(float))
    np.testing.assert_array_equal(found.test["table.d2"], test["garden"].astype(float))
    twin = OneHotEncoder(sparse_output=False).fit(train[["city"]]).transform(test[["city"]])
    np.testing.assert_array_equal(found.test.iloc[:, 3:], twin)


def test_text_of_many_values_becomes_the_share_of_all_rows_with_the_same_value():
    train, test = table(), table("t", 9, 1)
    test.iloc[0, test.columns.get_loc("street")] = "a street of no train row"
    found = TableColumns.encode(train, test, ["street"])
    assert len(set(train["street"])) > MOST_LEVELS
    assert list(found.names.values()) == ["street, share of the rows with its value"]
    both = [*train["street"], *test["street"]]  # validation rows are seen as test rows are
    expected = [both.count(name) / len(both) for name in test["street"]]
    np.testing.assert_allclose(found.test["table.d0"], expected, rtol=1e-6)
    np.testing.assert_allclose(found.test.loc["t000"], [1 / len(both)], rtol=1e-6)


def test_missing_values_and_classes_that_train_lacks_are_accepted():
    train, test = table(), table("t", 9, 1)
    train.iloc[3, 0], test.iloc[0, 0] = np.nan, np.nan
    train.iloc[4, 3], test.iloc[1, 3] = None, "Paris"
    found = TableColumns.encode(train, test, ["age", "city"])
    assert np.isnan(found.train["table.d0"].iloc[3]) and np.isnan(found.test["table.d0"].iloc[0])
    assert found.train.iloc[4, 1:].tolist() == [0, 0, 0] == found.test.iloc[1, 1:].tolist()
    assert np.isfinite(found.train.iloc[:, 1:]).to_numpy().all()


def test_two_classes_share_one_column_unless_some_are_missing():
    train = table()
    train["side"] = ["left", "right"] * 30
    assert list(TableColumns.encode(train, train, ["side"]).names.values()) == ["side = right"]
    train.iloc[0, -1] = None
    assert list(TableColumns.encode(train, train, ["side"]).names.values()) == ["side = left", "side = right"]


def test_columns_that_tell_nothing_are_left_out_and_named():
    train = table()
    train["empty"] = np.nan
    train["remark"] = [f"row {place}" for place in range(len(train))]
    found = TableColumns.encode(train, train.iloc[:0], ["age", "planet", "empty", "remark"])
    assert found.dropped == ("planet", "empty", "remark")
    assert found.notes == [
        "3 table columns left out of level 2 and frozen members (one value only, or another text in every row): "
        "'planet', 'empty', 'remark'."
    ]
    assert list(found.names.values()) == ["age"]


def test_labels_have_no_part_in_the_features():
    """The function never receives one, and rows of one fold do not move when another fold's rows do not."""
    train = table()
    found = TableColumns.encode(train, train.iloc[:0], ["age", "city", "street"])
    shuffled = TableColumns.encode(train.iloc[::-1], train.iloc[:0], ["age", "city", "street"])
    pd.testing.assert_frame_equal(found.train, shuffled.train.loc[found.train.index])


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda t: t.drop(columns="age"), "received 'age', which test lacks"),
        (
            lambda t: t.assign(age="old"),
            r"expected numbers in 'age', as train has, received text in test \('old'\)",
        ),
        (lambda t: t.assign(age=np.inf), r"finite numbers in 'age', received infinite ones for ids 't000'"),
    ],
)
def test_a_column_that_test_does_not_have_like_train_is_told(change, told: str):
    with pytest.raises(ValueError, match=told):
        TableColumns.encode(table(), change(table("t", 9, 1)), ["age", "city"])


def test_no_column_or_none_that_varies_is_told():
    with pytest.raises(ValueError, match="received none: beside the id"):
        TableColumns.encode(table(), table(), [])
    with pytest.raises(ValueError, match=r"two values or more, received 1 that are constant \('planet'\)"):
        TableColumns.encode(table(), table(), ["planet"])


def test_a_row_is_handed_out_under_the_fold_that_validates_it(world):
    made = world(scheme="column", column="fold", group=None)  # a fifth of the rows is in no fold
    made.train["age"] = made.rng.normal(size=len(made.train))
    made.test["age"] = made.rng.normal(size=len(made.test))
    features = TableColumns.encode(made.train, made.test, ["age"]).features(made.plan, [0, 2])
    rows = features.training()
    np.testing.assert_array_equal(rows["fold"], made.plan.fold_of(rows.index.to_numpy()))
    assert len(rows) == (made.plan.fold_of(made.plan.ids) >= 0).sum() < len(made.train)
    assert features.test_folds == [0, 2]
    for fold in (0, 2):
        np.testing.assert_allclose(
            features.test(fold)["table.d0"].loc[made.test.index], made.test["age"], rtol=1e-6
        )


def test_a_table_alone_is_stacked_like_a_ridge_on_its_columns(world, tmp_path):
    made = world()
    for frame in (made.train, made.test):
        frame["hint"] = frame["target"] + made.rng.normal(size=len(frame))
    table = TableColumns.encode(made.train, made.test, ["hint"])
    ladder = made.stack(tmp_path, [], table=table)
    assert [rung.name for rung in ladder.rungs] == ["constant", "ridge"]
    penalty = made.states(tmp_path)["ridge"]["folds"]
    predicted = ladder.nested("ridge")
    for fold in range(made.plan.n):
        fit, held = made.plan.train_ids(fold), made.plan.valid_ids(fold)
        scaler = StandardScaler().fit(made.train.loc[fit, ["hint"]])
        alpha = penalty[str(fold)]["setting"]["penalty"][0] * len(fit)
        twin = Ridge(alpha=alpha).fit(
            scaler.transform(made.train.loc[fit, ["hint"]]), made.train.loc[fit, "target"]
        )
        expected = twin.predict(scaler.transform(made.train.loc[held, ["hint"]]))
        np.testing.assert_allclose(predicted.loc[held, "target"], expected, rtol=1e-5)
    assert ladder.rungs[1].averaged == made.plan.n  # one test prediction for each level-2 model


def test_a_table_beside_heads_helps_them_and_has_a_rung_of_its_own(world, tmp_path):
    made = world()
    for frame in (made.train, made.test):
        frame["hint"] = frame["target"] + made.rng.normal(scale=0.5, size=len(frame))
        frame["planet"] = "Earth"
    table = TableColumns.encode(made.train, made.test, ["hint", "planet"])
    without = made.stack(tmp_path, [made.task("era")])
    ladder = made.stack(tmp_path, [made.task("era")], table=table)
    assert [rung.name for rung in ladder.rungs] == ["constant", "era", "table~ridge", "ridge"]
    assert ladder.rungs[-1].nested < 0.9 * without.rungs[-1].nested
    assert "1 table column left out of level 2" in ladder.notes[0]
    assert made.stack(tmp_path, [made.task("era")], table=table, submit="table~ridge").chosen == "table~ridge"


def test_columns_that_say_nothing_give_nothing(world, tmp_path):
    made = world(n=400)
    for frame in (made.train, made.test):
        for column in "abcdefgh":
            frame[column] = made.rng.normal(size=len(frame))
    table = TableColumns.encode(made.train, made.test, list("abcdefgh"))
    constant, ridge = made.stack(tmp_path, [], table=table).rungs
    assert ridge.nested > 0.99 * constant.nested
