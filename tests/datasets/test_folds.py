import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jigstack.configs.data import Folds
from jigstack.datasets import splitting
from jigstack.datasets.folds import FoldPlan, make_plan
from sklearn.model_selection import KFold, StratifiedGroupKFold, StratifiedKFold


def _ids(n: int) -> list[str]:
    return [f"r{i:03d}" for i in range(n)]


def _series(values: object, n: int | None = None) -> pd.Series:
    array = np.asarray(values)
    return pd.Series(array, index=_ids(n or len(array)), name="column")


def _options(**values: object) -> Folds:
    needs = {"stratified": {"stratify": "s"}, "group": {"group": "g"}, "column": {"column": "c"}}
    needs["stratified_group"] = needs["stratified"] | needs["group"]
    return Folds.model_validate(needs.get(str(values.get("scheme")), {}) | values)


def _folds(plan: FoldPlan) -> list[list[str]]:
    return [plan.valid_ids(fold).tolist() for fold in range(plan.n)]


def test_kfold_and_stratified_match_scikit_learn():
    ids, strata = np.array(_ids(30)), _series(np.arange(30) % 3)
    twin = [ids[valid].tolist() for _, valid in KFold(5, shuffle=True, random_state=7).split(ids)]
    assert _folds(make_plan(ids, _options(scheme="kfold"), 7)) == twin
    splits = StratifiedKFold(5, shuffle=True, random_state=7).split(ids, strata.astype(str))
    plan = make_plan(ids, _options(scheme="stratified"), 7, stratify=strata)
    assert _folds(plan) == [ids[valid].tolist() for _, valid in splits]
    assert plan.balance()["share 1"].tolist() == pytest.approx([1 / 3] * 5)


def test_groups_are_counted_only_where_rows_share_one():
    alone = make_plan(_ids(6), _options(scheme="kfold", n=3), 0)
    assert not alone.has_groups and list(alone.balance()) == ["fold", "train", "valid", "out"]
    pairs = _series(np.arange(6) // 2)
    paired = make_plan(_ids(6), _options(scheme="group", n=3, group="g"), 0, group=pairs)
    assert paired.has_groups and paired.balance()["groups"].tolist() == [1, 1, 1]


def test_stratified_group_matches_scikit_learn():
    rng = np.random.default_rng(0)
    groups, strata = (
        _series(rng.integers(0, 40, 200).astype(str)),
        _series(rng.integers(0, 3, 200).astype(str)),
    )
    splits = StratifiedGroupKFold(4, shuffle=True, random_state=3).split(groups, strata, groups)
    plan = make_plan(groups.index, _options(scheme="stratified_group", n=4), 3, group=groups, stratify=strata)
    assert _folds(plan) == [groups.index[valid].tolist() for _, valid in splits]


def test_group_folds_balance_rows_and_depend_on_the_seed():
    groups = _series(np.repeat(np.arange(20), np.arange(1, 21)))
    plan = make_plan(groups.index, _options(scheme="group"), 0, group=groups)
    assert np.ptp(plan.balance()["valid"].to_numpy()) <= 2
    even = _series(np.arange(40) // 2)
    hashes = {make_plan(even.index, _options(scheme="group"), seed, group=even).hash for seed in (0, 1, 0)}
    assert len(hashes) == 2


@given(
    groups=st.lists(st.integers(0, 12), min_size=30, max_size=60).filter(lambda x: len(set(x)) >= 4),
    scheme=st.sampled_from(["group", "stratified_group", "holdout"]),
    seed=st.integers(0, 5),
    shuffle=st.randoms(use_true_random=False),
)
@settings(max_examples=40, deadline=None)
def test_groups_stay_together_every_row_is_validated_once_and_row_order_is_nothing(
    groups: list[int], scheme: str, seed: int, shuffle: object
):
    group = _series(groups)
    stratify = _series(np.arange(len(groups)) % 2) if scheme == "stratified_group" else None
    options = _options(scheme=scheme, n=2)
    try:
        plan = make_plan(group.index, options, seed, group=group, stratify=stratify)
    except ValueError as error:  # scikit-learn may leave a fold empty; it is said, never passed on
        assert "received an empty" in str(error)
        return
    for fold in range(plan.n):
        train, valid = plan.train_ids(fold), plan.valid_ids(fold)
        assert not set(plan.group_of(train)) & set(plan.group_of(valid))
        assert sorted([*train, *valid]) == group.index.tolist()
        fit, held = (
            plan.inner_split(train, 0.3, seed) if len(set(plan.group_of(train))) > 1 else (train[:0], train)
        )
        assert not set(plan.group_of(fit)) & set(plan.group_of(held))
        assert sorted([*fit, *held]) == train.tolist()
    fold_of = plan.fold_of(plan.ids)
    assert scheme == "holdout" or (fold_of >= 0).all()
    order = list(group.index)
    shuffle.shuffle(order)  # pyright: ignore[reportAttributeAccessIssue]
    turned = make_plan(
        order,
        options,
        seed,
        group=group.loc[order],
        stratify=None if stratify is None else stratify.loc[order],
    )
    assert turned.hash == plan.hash


@pytest.mark.parametrize("grouped", [False, True])
@pytest.mark.parametrize("stratified", [False, True])
@pytest.mark.parametrize("share", [0.2, 0.75])
def test_a_holdout_is_one_fold_of_about_the_share(grouped: bool, stratified: bool, share: float):
    n = 200
    group = _series(np.arange(n) // 2) if grouped else None
    stratify = _series(np.where(np.arange(n) % 10 < 3, "rare", "often")) if stratified else None
    plan = make_plan(_ids(n), _options(scheme="holdout", share=share), 0, group=group, stratify=stratify)
    assert plan.n == 1 and plan.valid_ids(0).size / n == pytest.approx(share, abs=0.06)
    assert set(plan.fold_of(plan.train_ids(0))) == {-1}
    if stratified:
        assert plan.balance()["share rare"].tolist()[0] == pytest.approx(0.3, abs=0.05)


def test_strata_of_one_row_do_not_stop_a_holdout():
    for values in (["a"] * 18 + ["b", "c"], ["a"] * 19 + ["b"]):
        plan = make_plan(_ids(20), _options(scheme="holdout"), 0, stratify=_series(values))
        assert len(plan.valid_ids(0)) == 4


def test_the_users_own_column_is_taken_as_it_is():
    column = _series([2.0, 10.0, float("nan"), -1.0, 2.0, 10.0])
    plan = make_plan(column.index, _options(scheme="column"), 0, column=column)
    assert plan.n == 2 and _folds(plan) == [["r000", "r004"], ["r001", "r005"]]
    assert plan.fold_of(_ids(6)).tolist() == [0, 1, -1, -1, 0, 1]
    assert plan.train_ids(0).tolist() == ["r001", "r002", "r003", "r005"]


def test_continuous_strata_are_cut_into_quantiles_and_missing_ones_stand_apart():
    values = np.random.default_rng(0).lognormal(size=100)
    values[:10] = np.nan
    plan = make_plan(_ids(100), _options(scheme="stratified", n=5, bins=5), 0, stratify=_series(values))
    balance = plan.balance()
    assert [c for c in balance if str(c).startswith("share")] == [
        *(f"share quantile {i}" for i in range(1, 6)),
        "share (missing)",
    ]
    assert balance["share (missing)"].tolist() == pytest.approx([0.1] * 5)
    assert balance["share quantile 3"].tolist() == pytest.approx([0.18] * 5, abs=0.06)
    dates = pd.Series(pd.date_range("2001-01-01", periods=100), index=_ids(100))
    assert (
        make_plan(_ids(100), _options(scheme="stratified"), 0, stratify=dates).balance()["valid"].tolist()
        == [20] * 5
    )


def test_rare_strata_are_shown_and_not_warned_about():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        make_plan(_ids(30), _options(scheme="stratified"), 0, stratify=_series([0] * 28 + [1, 2]))


def test_a_plan_reads_back_as_it_was_written(tmp_path: Path):
    groups = _series(np.arange(30) // 3)
    plan = make_plan(
        groups.index, _options(scheme="group"), 0, group=groups, stratify=_series(np.arange(30) % 2)
    )
    plan.write(tmp_path / "folds.parquet")
    read = FoldPlan.read(tmp_path / "folds.parquet")
    assert read.hash == plan.hash and (read.n, read.scheme) == (plan.n, plan.scheme)
    pd.testing.assert_frame_equal(read.rows.astype(object), plan.rows.astype(object))
    pd.testing.assert_frame_equal(read.groups.astype(object), plan.groups.astype(object))


def test_a_plan_that_was_changed_by_hand_is_refused(tmp_path: Path):
    path = tmp_path / "folds.parquet"
    make_plan(_ids(10), _options(), 0).write(path)
    table = pq.read_table(path)
    frame = table.to_pandas()
    frame["role"] = frame["role"].map({"train": "out", "valid": "valid"})
    metadata = table.schema.metadata
    changed = table.from_pandas(frame, preserve_index=False).replace_schema_metadata(metadata)
    pq.write_table(changed, path)
    with pytest.raises(ValueError, match="it was changed after it was written"):
        FoldPlan.read(path)
    pd.DataFrame({"id": [1]}).to_parquet(path)
    with pytest.raises(ValueError, match="expected a fold plan, received another parquet file"):
        FoldPlan.read(path)


def test_verify_refuses_what_later_stages_could_not_survive():
    groups = pd.DataFrame({"id": ["a", "b", "c"], "group": ["x", "x", "y"], "stratum": ["", "", ""]})

    def plan(*roles: str, n: int = 1) -> FoldPlan:
        ids = np.repeat(groups["id"].to_numpy(), n)
        return FoldPlan(
            pd.DataFrame({"id": ids, "fold": list(range(n)) * 3, "role": roles}), groups, n, "column"
        )

    assert plan("train", "train", "valid").verify().n == 1
    assert plan("out", "out", "valid", "valid", "train", "train", n=2).fold_of(["c"]).tolist() == [-1]
    with pytest.raises(ValueError, match=r"received 1 groups on both sides of fold 0 \('x'\)"):
        plan("train", "valid", "train").verify()
    with pytest.raises(
        ValueError, match=r"received an empty training part of fold 0\. The 3 rows have 2 groups"
    ):
        plan("valid", "valid", "valid").verify()
    with pytest.raises(ValueError, match=r"in at most one validation part, received 1 in several \('c'\)"):
        plan("train", "train", "train", "train", "valid", "valid", n=2).verify()
    with pytest.raises(ValueError, match="expected one row for each of 3 ids x 1 folds, received 2"):
        FoldPlan(plan("train", "train", "valid").rows.iloc[:2], groups, 1, "column").verify()
    with pytest.raises(ValueError, match="received others"):
        plan("train", "train", "vaild").verify()


def test_bad_input_says_what_to_do():
    groups = _series(np.arange(20) // 10)
    ids = _ids(20)
    with pytest.raises(ValueError, match=r"folds\.n: expected at most the 2 groups, received 5"):
        make_plan(ids, _options(scheme="group"), 0, group=groups)
    with pytest.raises(ValueError, match=r"folds\.n: expected at most the 4 rows, received 5"):
        make_plan(ids[:4], _options(), 0)
    with pytest.raises(ValueError, match=r"folds\.scheme: expected group or stratified_group"):
        make_plan(ids, _options(scheme="kfold"), 0, group=groups)
    with pytest.raises(ValueError, match=r"received none in 1 rows of 'column' \('r003'\)"):
        broken = groups.astype(float)
        broken["r003"] = np.nan
        make_plan(ids, _options(scheme="group", n=2), 0, group=broken)
    with pytest.raises(ValueError, match=r"received 'r000' more than once"):
        make_plan(["r000", "r000", "r001"], _options(n=2), 0)
    with pytest.raises(ValueError, match=r"group: expected a value for every id.*\('r019'\)"):
        make_plan(ids, _options(scheme="group", n=2), 0, group=groups.iloc[:-1])
    with pytest.raises(ValueError, match="received 20 strata that are all smaller"):
        make_plan(ids, _options(scheme="stratified"), 0, stratify=_series([f"s{i}" for i in range(20)]))
    with pytest.raises(
        ValueError, match=r"folds\.column: expected a fold for some rows of 'column', received none"
    ):
        make_plan(ids, _options(scheme="column"), 0, column=_series([""] * 20))
    with pytest.raises(ValueError, match="expected a series of folds for scheme: column"):
        make_plan(ids, _options(scheme="column"), 0)
    many = pd.Series(np.arange(60), index=_ids(60), name="column")
    with pytest.raises(ValueError, match="expected at most 50 different folds in 'column', received 60"):
        make_plan(_ids(60), _options(scheme="column"), 0, column=many)
    with pytest.raises(ValueError, match="at least two groups or rows for a hold-out, received the 1 groups"):
        make_plan(ids, _options(scheme="holdout"), 0, group=_series(["g"] * 20))
    plan = make_plan(ids, _options(), 0)
    with pytest.raises(
        ValueError, match=r"expected ids of the fold plan \(20 training rows\), received 1 others"
    ):
        plan.fold_of(["r000", "no"])
    with pytest.raises(ValueError, match="fold: expected 0 to 4, received 5"):
        plan.valid_ids(5)
    with pytest.raises(ValueError, match="expected at least two groups to split, received 1"):
        plan.inner_split(["r000"], 0.1, 0)


def test_a_scikit_learn_whose_stratified_groups_were_broken_is_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(splitting.sklearn, "__version__", "1.7.2")
    with pytest.raises(
        ValueError, match=r"expected scikit-learn 1\.8 or newer for stratified_group, received 1\.7\.2"
    ):
        make_plan(
            _ids(8),
            _options(scheme="stratified_group", n=2),
            0,
            group=_series(range(8)),
            stratify=_series([0, 1] * 4),
        )


def test_an_inner_split_is_repeatable_and_has_about_the_share():
    plan = make_plan(_ids(100), _options(), 0)
    ids = plan.train_ids(0)
    fit, held = plan.inner_split(ids, 0.1, 5)
    assert len(held) == 8 and len(fit) == 72
    again = plan.inner_split(ids[::-1], 0.1, 5)
    assert again[1].tolist() == held.tolist()
    assert plan.inner_split(ids, 0.1, 6)[1].tolist() != held.tolist()
