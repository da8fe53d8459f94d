"""How much each column counts: on rows that the fold did not learn from, and as scikit-learn counts it."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from jigstack.configs.data import Folds
from jigstack.configs.heads import HeadAugment
from jigstack.configs.schema import Backbone, Task, Transfer
from jigstack.datasets.folds import make_plan
from jigstack.datasets.joined import JoinedInputs
from jigstack.datasets.table_rows import TableRows
from jigstack.datasets.table_schema import TableSchema
from jigstack.datasets.targets import code_target
from jigstack.training.device import Machine
from jigstack.transfer import importance
from jigstack.transfer.finetune import FoldWork, finetune_fold, load_networks
from jigstack.transfer.importance import (
    across_folds,
    fold_attention,
    fold_permutation,
    mean_attention,
    measure_of,
    write_table,
)
from sklearn.base import BaseEstimator
from sklearn.inspection import permutation_importance

ROWS = 400
COLUMNS = ["strong", "weak", "noise", "site"]
CPU = Machine(device="cpu", precision="fp32", channels_last=False, threads=1)


def frame() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    strong, weak, noise = rng.normal(size=(3, ROWS))
    site = rng.choice(["north", "south"], ROWS)
    value = 2 * strong + 0.5 * weak + (site == "north")
    labels = {"value": value, "kind": np.where(value > 0, "high", "low")}
    columns = {"strong": strong, "weak": weak, "noise": noise, "site": site}
    return pd.DataFrame(columns | labels, index=pd.Index([f"r{n:03d}" for n in range(ROWS)], name="id"))


def work_of(kind: str = "tabnet", seeds: int = 1, **tasks: dict[str, Any]) -> FoldWork:
    """Fold 0 of four."""
    rows = frame()
    shared: dict[str, Any] = {"epochs": 15, "batch": 32, "augment": HeadAugment(mix=None)}
    asked = tasks or {"value": {"kind": "regression", "columns": ["value"]}}
    heads = {name: Task(**(shared | options)) for name, options in asked.items()}
    schema = TableSchema.fit(rows, COLUMNS)
    options = {"tabnet": {"virtual_batch": 16, "n_d": 4, "n_a": 4}, "mlp": {"width": 32, "depth": 1}}
    return FoldWork(
        network="net",
        tasks=heads,
        targets={name: code_target(name, task, rows, 0) for name, task in heads.items()},
        fold=0,
        frame=rows,
        plan=make_plan(rows.index, Folds(n=4), 0),
        inputs=TableRows(schema.encode(rows), rows.index.tolist(), schema),
        backbone=Backbone.model_validate({"kind": kind, "options": options[kind]}),
        checkpoint=None,
        transfer=Transfer(joint=False, seeds=seeds),
        machine=CPU,
        seed=0,
    )


def trained(work: FoldWork, folder: Path) -> FoldWork:
    finetune_fold(work, folder, "key", lambda record: None)
    return work


def with_other_training_rows(work: FoldWork) -> FoldWork:
    """The same, but for what stands in the rows that the fold learned from, and for their labels."""
    assert isinstance(work.inputs, TableRows)
    values, rows = work.inputs.store.values.clone(), work.frame.copy()
    learned = work.plan.train_ids(work.fold)
    values[work.inputs.store.rows(learned)] = 0.0
    rows.loc[learned, "value"] = 1e6
    inputs = TableRows(values, work.inputs.owners, work.inputs.schema)
    return dataclasses.replace(work, inputs=inputs, frame=rows)


def test_attention_is_the_mean_aggregate_mask_of_the_held_rows_over_the_seeds(tmp_path: Path):
    work = trained(work_of(seeds=2), tmp_path)
    found = fold_attention(work, tmp_path, ["rows"])
    held = work.inputs.store.gather(work.inputs.first(work.plan.valid_ids(0)))
    with torch.no_grad():
        shares = [
            network.backbone.eval().importance(held).mean(0) for network in load_networks(tmp_path, work)
        ]
    expected = dict(zip(COLUMNS, torch.stack(shares).mean(0).tolist(), strict=True))
    assert found == {"rows": pytest.approx(expected, abs=1e-6)}
    assert sum(found["rows"].values()) == pytest.approx(1)
    assert max(found["rows"], key=lambda name: found["rows"][name]) == "strong"


def test_rows_that_the_fold_learned_from_have_no_part_in_it(tmp_path: Path):
    work = trained(work_of(), tmp_path)
    other = with_other_training_rows(work)
    assert fold_attention(other, tmp_path, ["rows"]) == fold_attention(work, tmp_path, ["rows"])
    assert fold_permutation(other, tmp_path) == fold_permutation(work, tmp_path)


def test_of_many_rows_the_seed_draws_some(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    work = trained(work_of(), tmp_path)
    whole = fold_attention(work, tmp_path, ["rows"])["rows"]
    seen: list[int] = []
    monkeypatch.setattr(importance, "ATTENDED", 20)

    def count(backbone: Any, source: Any, rows: Any, machine: Machine) -> Any:
        seen.append(len(rows))
        return mean_attention(backbone, source, rows, machine)

    monkeypatch.setattr(importance, "mean_attention", count)
    few = fold_attention(work, tmp_path, ["rows"])["rows"]
    assert seen == [20] and few != whole
    assert few == fold_attention(work, tmp_path, ["rows"])["rows"]
    assert few != fold_attention(dataclasses.replace(work, seed=1), tmp_path, ["rows"])["rows"]


class Predictor(BaseEstimator):
    """A network as scikit-learn knows models: rows as the network reads them, to numbers."""

    def __init__(self, network: Any) -> None:
        self.network = network

    def fit(self, x: Any, y: Any) -> "Predictor":
        return self

    def predict(self, x: Any) -> np.ndarray:
        with torch.no_grad():
            outputs = self.network.eval().view_outputs(torch.from_numpy(x), ["identity"])["value"]
        return self.network.targets["value"].decode(outputs[:, 0].numpy())


@pytest.mark.parametrize("kind", ["tabnet", "mlp"])
def test_shuffled_columns_cost_what_scikit_learn_says(kind: str, tmp_path: Path):
    work = trained(work_of(kind), tmp_path)
    told: list[tuple[int, int]] = []
    (found,) = fold_permutation(work, tmp_path, lambda done, total: told.append((done, total))).values()
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]
    held = work.plan.valid_ids(0)
    (network,) = load_networks(tmp_path, work)
    twin: Any = permutation_importance(
        Predictor(network).fit(None, None),
        work.inputs.store.gather(work.inputs.first(held)).numpy(),
        work.frame.loc[held, "value"].to_numpy(),
        scoring="neg_root_mean_squared_error",
        n_repeats=50,
        random_state=0,
    )
    for place, column in enumerate(found):
        # One draw among fifty of the same kind.
        assert abs(found[column] - twin.importances_mean[place]) <= 4 * twin.importances_std[place] + 1e-6
    assert max(found, key=lambda name: found[name]) == "strong"
    assert found["strong"] > 5 * abs(found["noise"])


def test_the_sample_is_left_as_it_was(tmp_path: Path):
    work = trained(work_of(), tmp_path)
    assert isinstance(work.inputs, TableRows)
    before = work.inputs.store.values.clone()
    fold_permutation(work, tmp_path)
    assert torch.equal(work.inputs.store.values, before)


def test_each_head_is_judged_on_its_own_labelled_rows_by_its_own_measure(tmp_path: Path):
    """Of classes the logloss, and nothing is known of a head without labels among the held rows."""
    work = work_of(
        value={"kind": "regression", "columns": ["value"]},
        grade={"kind": "onehot", "columns": ["kind"]},
        none={"kind": "regression", "columns": ["strong"]},
    )
    held = work.plan.valid_ids(0)
    work.frame.loc[held, "strong"] = np.nan
    work.frame.loc[held[::2], "kind"] = None
    found = fold_permutation(trained(work, tmp_path), tmp_path)
    assert {name: measure_of(target) for name, target in work.targets.items()} == {
        "value": "rmse",
        "grade": "logloss",
        "none": "rmse",
    }
    assert found["grade"]["strong"] > 0 < found["value"]["strong"]
    assert np.isnan(list(found["none"].values())).all()


def test_of_joined_backbones_each_tabnet_has_its_own_attention(tmp_path: Path):
    work = work_of()
    assert isinstance(work.inputs, TableRows) and isinstance(work.backbone, Backbone)
    mlp = Backbone.model_validate({"kind": "mlp", "options": {"width": 8, "depth": 1}})
    parts = {"first": work.inputs, "second": work.inputs, "third": work.inputs}
    sections = {"first": work.backbone, "second": mlp, "third": work.backbone}
    joined = dataclasses.replace(work, inputs=JoinedInputs(parts), backbone=sections)
    found = fold_attention(trained(joined, tmp_path), tmp_path, list(parts))
    assert list(found) == ["first", "third"] and found["first"] != found["third"]
    assert [sum(shares.values()) for shares in found.values()] == [pytest.approx(1)] * 2


def test_a_network_without_masks_has_no_attention(tmp_path: Path):
    assert fold_attention(trained(work_of("mlp"), tmp_path), tmp_path, ["rows"]) == {}


def test_folds_stand_side_by_side_and_an_unread_column_counts_nothing(tmp_path: Path):
    parts = {
        "fold0": {"b": 0.75, "a,1": 0.25},
        "fold1": {"b": 0.25, "c": 0.75},
        "fold2": {"b": 0.5, "c": np.nan},
    }
    table = across_folds("backbone", "rows", parts)
    assert list(table) == ["backbone", "column", "mean", "fold0", "fold1", "fold2"]
    assert table["column"].tolist() == ["b", "c", "a,1"]
    assert table["mean"].tolist() == pytest.approx([0.5, 0.375, 0.25 / 3])
    assert table["fold1"].tolist() == [0.25, 0.75, 0.0]
    write_table(table, tmp_path / "attention.csv")
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "attention.csv"), table, rtol=1e-5)
