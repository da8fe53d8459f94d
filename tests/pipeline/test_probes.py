"""The table of frozen features after pretraining: what stands in it, when it is made again, what it never touches."""

import json
from pathlib import Path
from typing import Any

import jigstack
import pytest
from jigstack.configs import ConfigError, load_config
from jigstack.pipeline.probes import MEASURED, WARNING, average
from jigstack.pipeline.stages import Stages
from jigstack.pipeline.workspace import Workspace

ONE = {"era.knn.r2": 0.2, "era.ridge.r2": 0.4}


def keys(config: dict[str, Any], *overrides: str) -> dict[str, str]:
    return {stage.name: stage.key for stage in Stages(Workspace(load_config(config, overrides)))}


def table(path: Path) -> dict[str, Any]:
    return json.loads((path / "probes.json").read_text())


def test_pretraining_ends_with_a_table_of_what_the_features_are_worth(
    make_config, capsys: pytest.CaptureFixture
):
    result = jigstack.pretrain(make_config(probe={"every": 1}))
    assert result.computed == ["pretrain/jig", "probe/jig"]
    found = table(result.path / "pretext/jig")
    assert list(found["scores"]) == ["raw pixels", "random init", "jig"]
    names = {
        f"{task}.{way}.{name}" for way in ("knn", "ridge") for task, name in (("era", "r2"), ("era", "rmse"))
    }
    assert all(
        set(scores) == names | {"kind.knn.accuracy", "kind.ridge.accuracy"}
        for scores in found["scores"].values()
    )
    assert found["rows"] == {"era": 60, "kind": 60}
    # The last epoch was tested on the same rows, with the same weights.
    last = json.loads((result.path / "pretext/jig/history.json").read_text())[-1]["scalars"]
    for name, value in found["scores"]["jig"].items():
        assert last[f"probe.{name}"] == pytest.approx(value, rel=1e-3)
    printed = capsys.readouterr().out
    assert "epoch 1 · probe: era knn rmse" in printed
    assert "spread 0." in printed and "probes of jig, out of fold" in printed and WARNING in printed
    assert MEASURED in printed
    assert "probe.era" not in printed


def test_what_was_measured_on_pictures_is_not_told_of_tables(
    make_table_config, capsys: pytest.CaptureFixture
):
    jigstack.pretrain(make_table_config())
    printed = capsys.readouterr().out
    assert "probes of mask, out of fold" in printed and WARNING in printed
    assert "painting" not in printed and "pixels" not in printed


def test_the_weights_that_it_started_from_stand_beside_it(make_config):
    first = jigstack.pretrain(make_config(name="first"), quiet=True)
    backbones = {"img": {"name": "test_resnet", "weights": str(first.path / "pretext/jig")}}
    second = jigstack.pretrain(make_config(name="second", backbones=backbones), quiet=True)
    scores = table(second.path / "pretext/jig")["scores"]
    assert list(scores) == ["raw pixels", "random init", "weights it started from", "jig"]
    before = table(first.path / "pretext/jig")["scores"]
    assert scores["weights it started from"] == before["jig"]
    assert scores["random init"] == before["random init"]


def test_one_checkpoint_a_fold_is_probed_on_its_own_fold(make_config, capsys: pytest.CaptureFixture):
    config = make_config()
    config["pretext"][0]["scope"] = "inductive"
    result = jigstack.pretrain(config)
    assert [name for name in result.computed if name.startswith("probe/")] == [
        f"probe/jig/fold{k}" for k in range(3)
    ]
    parts = [table(result.path / f"pretext/jig/fold{k}") for k in range(3)]
    assert [part["fold"] for part in parts] == [0, 1, 2]
    assert len({part["scores"]["raw pixels"]["era.ridge.rmse"] for part in parts}) == 3
    printed = capsys.readouterr().out
    assert printed.count("mean over the folds") == 1
    mean = sum(part["scores"]["jig"]["kind.ridge.accuracy"] for part in parts) / 3
    line = next(line for line in printed.splitlines() if line.startswith("jig "))
    assert f"{mean:.4f}" in line


def test_options_of_the_probes_and_the_watch_never_train_again(make_config):
    before = keys(make_config())
    after = keys(make_config(), "probe.every=3", "probe.neighbours=5", "pretext.jig.collapse=warn")
    assert before["pretrain/jig"] == after["pretrain/jig"]
    assert {name for name in before if before[name] != after[name]} == {"probe/jig"}


def test_a_snapshot_chosen_by_labels_depends_on_them(make_config):
    chosen = "pretext.jig.snapshot=probe"
    last, probe = keys(make_config()), keys(make_config(), chosen)
    assert last["pretrain/jig"] != probe["pretrain/jig"]
    for change in ("probe.every=3", "probe.neighbours=5", "folds.n=4"):
        assert keys(make_config(), chosen, change)["pretrain/jig"] != probe["pretrain/jig"]
    without = {name: task for name, task in make_config()["tasks"].items() if name == "era"}
    assert keys(make_config(tasks=without), chosen)["pretrain/jig"] != probe["pretrain/jig"]
    assert keys(make_config(tasks=without))["pretrain/jig"] == last["pretrain/jig"]


def test_without_tasks_nothing_is_probed(make_config):
    result = jigstack.pretrain(make_config(tasks={}, stack={}), quiet=True)
    assert result.computed == ["pretrain/jig"]


def test_a_second_run_probes_nothing_and_another_number_of_neighbours_probes_only(make_config):
    jigstack.pretrain(make_config(), quiet=True)
    assert jigstack.pretrain(make_config(), quiet=True).computed == []
    assert jigstack.pretrain(make_config(), ["probe.neighbours=3"], quiet=True).computed == ["probe/jig"]


def test_the_mean_over_the_folds_keeps_what_all_rows_have():
    tables = [{"a": ONE, "b": {"era.knn.r2": 0.5}}, {"a": {"era.knn.r2": 0.6}, "b": {"era.knn.r2": 0.7}}]
    assert average(tables) == {
        "a": {"era.knn.r2": pytest.approx(0.4)},
        "b": {"era.knn.r2": pytest.approx(0.6)},
    }
    assert average([{}]) == {}


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("probe.every=-1", "probe.every"),
        ("probe.rows=3", "probe.rows"),
        ("probe.neighbors=3", "did you mean: neighbours"),
        ("pretext.jig.collapse=ignore", "pretext.jig.collapse"),
        ("pretext.jig.snapshot=best", "pretext.jig.snapshot"),
    ],
)
def test_wrong_options_are_told(make_config, override: str, told: str):
    with pytest.raises(ConfigError, match=told):
        load_config(make_config(), [override])
