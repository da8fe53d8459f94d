"""Which columns count in the networks of a run: written, told in a few lines, drawn in the report."""

import shutil
import signal
from pathlib import Path

import jigstack
import numpy as np
import pandas as pd
import pytest
from jigstack.configs.errors import UserError
from jigstack.configs.load import load_config
from jigstack.pipeline.commands import run
from jigstack.pipeline.console import Console
from jigstack.pipeline.estimate import estimate
from jigstack.pipeline.importance import NAMED, SHOWN, Importance, bars, half, lines_of, read_importance
from jigstack.pipeline.manifest import Job, Stage
from jigstack.pipeline.stages import Stages
from jigstack.pipeline.workspace import Workspace

TRAINED = {"epochs": 2, "batch": 16}
MLP = {"kind": "mlp", "options": {"width": 16, "depth": 1}}


def of(count: int) -> Importance:
    return Importance(
        "net", {f"c{number:03d}": 1 - number / 100 for number in range(count)}, 3, backbone="rows"
    )


def test_half_of_the_attention_is_counted_from_the_largest_share():
    assert half([0.5, 0.3, 0.2]) == 1
    assert half([0.4, 0.2, 0.2, 0.2]) == 2
    assert half([]) == 0


def test_a_few_lines_name_the_largest():
    title, named = lines_of(
        Importance("price", {"heat": 0.75, "load": 0.25, "dust": 0.0}, 3, backbone="rows")
    )
    assert title.startswith(
        "attention of price (rows). Half of it is on 1 of 3 (share of TabNet's masks on rows"
    )
    assert title.endswith("mean over 3 folds)") and named == "  most: heat 0.75, load 0.25, dust 0"
    title, _ = lines_of(Importance("price", {"heat": 0.5, "dust": -0.01}, 1, measure="rmse"))
    assert title.startswith(
        "columns of price, shuffled. 1 of 2 help (how much worse the rmse of held-out rows is"
    )
    assert "mean over" not in title
    assert lines_of(of(NAMED + 1))[1] == "  most: c000 1, c001 0.99, c002 0.98, c003 0.97, c004 0.96"


def test_bars_are_as_long_as_their_part_of_the_largest_and_the_rest_is_counted():
    cut = bars(of(SHOWN + 50))
    assert len(cut) == SHOWN + 1 and cut[-1] == {"rest": 50, "span": "0.21 to 0.7"}
    assert cut[0] == {"name": "c000", "value": 1.0, "width": 100.0}
    odd = bars(Importance("net", {"a": 0.2, "b": 0.05, "c": -1.0, "d": float("nan")}, 1, measure="r2"))
    assert [bar["width"] for bar in odd] == [100.0, 25.0, 0.0, 0]
    assert [bar["width"] for bar in bars(Importance("net", {"a": -0.2, "b": -0.3}, 1, measure="r2"))] == [
        0.0,
        0.0,
    ]


def test_columns_with_odd_names_are_read_as_they_were_written(tmp_path: Path):
    """`NA` is no gap, `007` no number, and a comma ends no cell."""
    stage = Stage(Job("importance", "net"), "transfer/net", {}, ["attention.csv", "permutation.net.csv"])
    (tmp_path / stage.folder).mkdir(parents=True)
    names = ["NA", "007", 'a, "b"']
    table = pd.DataFrame(
        {"backbone": "null", "column": names, "mean": [0.5, 0.25, 0.25], "fold0": [0.5, 0.25, 0.25]}
    )
    table.to_csv(tmp_path / stage.folder / "attention.csv", index=False)
    (found,) = read_importance(tmp_path, [stage])
    assert (found.backbone, found.folds, list(found.values)) == ("null", 1, names)


def test_folds_without_labels_are_not_counted(tmp_path: Path):
    files = ["permutation.a.csv", "permutation.b.csv"]
    stage = Stage(Job("importance", "a+b"), "transfer/a+b", {}, files)
    (tmp_path / stage.folder).mkdir(parents=True)
    table = pd.DataFrame(
        {"measure": "rmse", "column": ["heat"], "mean": [0.5], "fold0": [0.5], "fold1": [np.nan]}
    )
    table.to_csv(tmp_path / stage.folder / files[0], index=False)
    table.assign(mean=np.nan, fold0=np.nan).to_csv(tmp_path / stage.folder / files[1], index=False)
    known, unknown = read_importance(tmp_path, [stage])
    assert (known.folds, unknown.folds) == (1, 0)
    assert lines_of(unknown) == [
        "columns of b, shuffled. Not known, as no row that a fold holds out has a label"
    ]


def test_a_run_writes_tells_and_draws_the_attention_of_its_tabnets(
    make_table_config, capsys: pytest.CaptureFixture
):
    result = jigstack.run(make_table_config())
    printed = capsys.readouterr().out
    for name in ("amount", "scratch"):
        assert printed.count(f"attention of {name} (rows). Half of it is on") == 1
        table = pd.read_csv(result.path / f"transfer/{name}/attention.csv")
        assert list(table) == ["backbone", "column", "mean", "fold0", "fold1", "fold2"]
        assert set(table["column"]) == {"heat", "load", "dust", "site"} and set(table["backbone"]) == {"rows"}
        np.testing.assert_allclose(table.filter(like="fold").sum(), 1, rtol=1e-5)
        np.testing.assert_allclose(table["mean"], table.filter(like="fold").mean(axis=1), atol=1e-6)
        assert table["mean"].is_monotonic_decreasing
    assert "importance/linear" not in result.computed  # a ridge on frozen features has no masks of its own
    report = (result.path / "report.html").read_text()
    assert report.count("attention of scratch (rows): which columns count") == 1
    again = run(make_table_config())
    assert again.computed == [] and "attention of" not in capsys.readouterr().out


def test_a_joint_network_has_one_attention_and_a_shuffle_for_each_head(make_table_config):
    tasks = {
        "amount": {"kind": "regression", "columns": ["yield"], **TRAINED, "epochs": 20},
        "grade": {"kind": "onehot", "columns": ["grade"], **TRAINED, "epochs": 20},
    }
    transfer = {"joint": True, "importance": ["attention", "permutation"]}
    config = make_table_config(pretext=[], tasks=tasks, transfer=transfer)
    path = run(config, until="features").path
    found = sorted(each.name for each in (path / "transfer/amount+grade").glob("*.csv"))
    assert found == ["attention.csv", "permutation.amount.csv", "permutation.grade.csv"]
    for name, measure in (("amount", "rmse"), ("grade", "logloss")):
        table = pd.read_csv(path / f"transfer/amount+grade/permutation.{name}.csv")
        assert list(table) == ["measure", "column", "mean", "fold0", "fold1", "fold2"]
        assert set(table["measure"]) == {measure}
        drops = table.set_index("column")["mean"]
        assert drops.to_dict()[drops.index[0]] > 0 and drops.index[0] != "dust"


def test_other_networks_are_asked_by_shuffling_only_on_request(
    make_table_config, capsys: pytest.CaptureFixture
):
    tasks = {"amount": {"kind": "regression", "columns": ["yield"], **TRAINED}}
    config = make_table_config(backbones={"rows": MLP}, pretext=[], tasks=tasks)
    plain = run(config)
    assert not [name for name in plain.computed if name.startswith("importance")]
    assert not (plain.path / "transfer/amount/permutation.amount.csv").exists()
    asked = run(config | {"transfer": {"importance": ["permutation"]}})
    assert [name for name in asked.computed if name != "importance/amount"] == []
    assert "columns of amount, shuffled." in capsys.readouterr().out
    assert "columns of amount, shuffled: which columns count" in (asked.path / "report.html").read_text()


def test_nothing_is_asked_of_networks_of_a_list_without_ways_or_of_a_refit_alone(make_table_config):
    config = make_table_config(stack={}, transfer={"importance": [], "final": "both"})
    assert not [name for name in run(config, until="features").computed if name.startswith("importance")]
    both = run(config | {"transfer": {"final": "both"}}, until="features")
    table = pd.read_csv(both.path / "transfer/scratch/attention.csv")
    assert list(table)[3:] == [
        "fold0",
        "fold1",
        "fold2",
    ]  # of a refit no row is left that it has not learned from


def test_a_stopped_shuffling_ends_with_its_column_and_is_done_anew(
    make_table_config, monkeypatch: pytest.MonkeyPatch
):
    shuffled: list[str] = []

    def counting(console: Console, what: str, done: int, total: int) -> None:
        if "importance" in what:
            shuffled.append(what)
            signal.raise_signal(signal.SIGINT)

    tasks = {"amount": {"kind": "regression", "columns": ["yield"], **TRAINED}}
    transfer = {"importance": ["permutation"]}
    config = make_table_config(backbones={"rows": MLP}, pretext=[], tasks=tasks, transfer=transfer)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Console, "counting", counting)
        run(config, until="features")
    assert len(shuffled) == 1
    again = run(config, until="features")
    assert "importance/amount" in again.computed and "finetune/amount/fold0" in again.kept
    assert (again.path / "transfer/amount/permutation.amount.csv").exists()


def test_some_folds_tell_of_themselves_and_all_of_all(make_table_config):
    config = make_table_config(pretext=[], tasks={"scratch": make_table_config()["tasks"]["scratch"]})
    first = run(config, folds=[1])
    assert list(pd.read_csv(first.path / "transfer/scratch/attention.csv"))[2:] == ["mean", "fold1"]
    run(config)
    assert list(pd.read_csv(first.path / "transfer/scratch/attention.csv"))[3:] == ["fold0", "fold1", "fold2"]


def test_a_changed_cell_of_a_held_row_is_looked_at_again(make_table_config, factory: Path, tmp_path: Path):
    root = tmp_path / "data"
    shutil.copytree(factory, root)
    config = make_table_config()
    config = make_table_config(
        data=config["data"] | {"root": str(root)}, pretext=[], tasks={"scratch": config["tasks"]["scratch"]}
    )
    before = pd.read_csv(run(config).path / "transfer/scratch/attention.csv")
    rows = pd.read_csv(root / "train.csv")
    rows.loc[0, "heat"] += 100
    rows.to_csv(root / "train.csv", index=False)
    again = run(config, replace=True)
    assert "importance/scratch" in again.computed
    assert not before.equals(pd.read_csv(again.path / "transfer/scratch/attention.csv"))


def test_shuffling_is_refused_where_no_network_reads_one_table(make_config, make_table_config):
    flag = ["transfer.importance=[permutation]"]
    with pytest.raises(UserError, match="attention alone, as no task trains a network of one table"):
        load_config(make_config(), flag)
    frozen = {"linear": make_table_config()["tasks"]["linear"]}
    with pytest.raises(UserError, match="attention alone"):
        load_config(make_table_config(tasks=frozen), flag)
    load_config(make_table_config(), flag)


def test_the_estimate_counts_a_prediction_for_each_column(make_table_config):
    config = make_table_config(pretext=[], tasks={"scratch": make_table_config()["tasks"]["scratch"]})
    costs = {}
    for ways in (["attention"], ["permutation"]):
        stages = Stages(Workspace(load_config(config | {"transfer": {"importance": ways}})))
        costs[ways[0]] = estimate(stages, stages).seconds
    assert "importance/scratch" not in costs["attention"]
    shuffled = costs["permutation"]
    predicted = sum(value for name, value in shuffled.items() if name.startswith("predict/"))
    # 90 held rows of 4 columns, against 90 held rows and thrice 30 test rows.
    assert shuffled["importance/scratch"] == pytest.approx(predicted * 4 * 90 / 180)
