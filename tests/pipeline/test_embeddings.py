"""Runs with frozen members: embedded once, scored and stacked like heads, shared between runs."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jigstack
import numpy as np
import pandas as pd
import pytest
import yaml
from jigstack.configs import ConfigError, UserError, load_config
from jigstack.datasets.folds import FoldPlan
from jigstack.datasets.predictions import Predictions
from jigstack.pipeline.embeddings import Embedding
from jigstack.pipeline.stages import Stages
from jigstack.pipeline.workspace import Workspace

MakeFrozen = Callable[..., dict[str, Any]]
SETUP = {"init": "jig", "size": 32}


@pytest.fixture
def furnished(museum: Path, tmp_path: Path) -> Path:
    """The museum with two table columns that train and test share; `width` follows from the target."""
    root = Path(shutil.copytree(museum, tmp_path / "furnished"))
    rng = np.random.default_rng(0)
    for name in ("train", "test"):
        frame = pd.read_csv(root / f"{name}.csv", dtype={"id": str})
        known = frame["target"] if "target" in frame else pd.Series(0, frame.index)
        frame["width"] = 10.0 * known + rng.normal(size=len(frame))
        frame["room"] = rng.choice(["hall", "attic"], len(frame))
        frame.to_csv(root / f"{name}.csv", index=False)
    return root


@pytest.fixture
def make_frozen(make_config: Callable[..., dict[str, Any]], furnished: Path) -> MakeFrozen:
    """One network and a frozen member of each learner; keyword arguments replace top-level keys."""

    def make(**changes: Any) -> dict[str, Any]:
        config = make_config()
        config["data"]["root"] = str(furnished)
        config["tasks"] = {
            "era": config["tasks"]["era"] | {"epochs": 1},
            "linear": {"kind": "regression", "columns": ["target"], "learner": "ridge", **SETUP},
            "near": {"kind": "onehot", "columns": ["target"], "learner": "knn", "table": True, **SETUP},
            "trees": {
                "kind": "regression",
                "columns": ["target"],
                "learner": "lightgbm",
                "table": True,
                **SETUP,
            },
        }
        return config | changes

    return make


def run(config: dict[str, Any], *overrides: str, **options: Any) -> Any:
    return jigstack.run(config, overrides, quiet=True, **options)


def of_kind(names: list[str], *kinds: str) -> list[str]:
    return [name for name in names if name.split("/")[0] in kinds]


def test_frozen_members_go_from_one_embedding_to_ladder_and_stack(make_frozen: MakeFrozen, capsys):
    result = jigstack.run(make_frozen())
    path = result.path
    assert of_kind(result.computed, "embed") == ["embed/jig.img.32"]
    assert of_kind(result.computed, "finetune") == [f"finetune/era/fold{fold}" for fold in range(3)]
    assert len(of_kind(result.computed, "frozen")) == 9

    values = np.load(path / "embeddings/jig.img.32/embeddings.npy")
    ids = pd.read_parquet(path / "embeddings/jig.img.32/ids.parquet")["id"]
    assert values.dtype == np.float32 and len(values) == len(ids) == 72 and ids.is_unique

    plan = FoldPlan.read(path / "folds.parquet")
    for task in ("linear", "near", "trees"):
        predictions = Predictions.read(path / "predictions" / f"{task}.parquet")
        predictions.verify(plan)
        assert set(predictions.oof()["id"]) == set(plan.ids) and len(predictions.test()) == 12 * 3
        assert (path / "features" / f"{task}.test.fold2.pkl").is_file()

    ladder = result.ladders["target"]
    rungs = {rung.name: rung for rung in ladder.rungs}
    assert list(rungs) == ["constant", "era", "linear", "near", "trees", "mean", "ridge", "lightgbm"]
    assert rungs["linear"].nested < 0.5 * rungs["constant"].nested
    assert rungs["linear"].in_sample is not None and rungs["linear"].submission is not None
    states = json.loads((path / "stack/target/model.json").read_text())["rungs"]
    stacked = {name.split(".")[0] for name in states["ridge"]["folds"]["0"]["features"]}
    assert stacked == {"era", "linear", "near", "trees"}
    assert set(pd.read_csv(path / "submissions/trees.csv")) == {"id", "target"}

    printed = capsys.readouterr().out
    assert all(name in printed[printed.index("head alone") :] for name in ("linear", "near", "trees"))
    assert "embed/jig.img.32 · 2 views · images · 72 of 72" in printed
    assert "frozen/trees/fold2 · lightgbm · 1 of 1" in printed
    cards = [
        json.loads((path / f"transfer/{name}/fold0/frozen.json").read_text()) for name in ("linear", "near")
    ]
    assert cards[1]["features"] == cards[0]["features"] + 2  # width, and whether the room is the hall


def test_a_second_run_keeps_everything_and_another_one_links_it(make_frozen: MakeFrozen):
    first = run(make_frozen())
    assert run(make_frozen()).computed == []
    assert run(yaml.safe_load((first.path / "config.yaml").read_text())).computed == []
    other = run(make_frozen(name="other"), "tasks.era.lr=3e-3")
    assert of_kind(other.linked, "embed", "frozen") == of_kind(first.computed, "embed", "frozen")
    assert not of_kind(other.computed, "embed", "frozen")
    name = "embeddings/jig.img.32/embeddings.npy"
    assert (other.path / name).stat().st_ino == (first.path / name).stat().st_ino


def test_what_changes_the_features_embeds_again_and_what_does_not_fits_again_at_most(make_frozen: MakeFrozen):
    run(make_frozen())
    again = run(make_frozen(), "data.columns=[room]")
    fitted = {f"frozen/{task}/fold{fold}" for task in ("near", "trees") for fold in range(3)}
    assert set(of_kind(again.computed, "embed", "frozen", "predict")) == fitted
    again = run(make_frozen(), "data.columns=[room]", "features.size=24")  # of networks
    assert of_kind(again.computed, "embed", "frozen") == [] != of_kind(again.computed, "predict")
    again = run(make_frozen(), "features.views=none")
    assert (
        of_kind(again.computed, "embed") == ["embed/jig.img.32"]
        and len(of_kind(again.computed, "frozen")) == 9
    )


def test_an_inductive_pretext_embeds_once_a_fold_and_no_fold_reads_another_ones(make_frozen: MakeFrozen):
    config = make_frozen()
    config["pretext"][0]["scope"] = "inductive"
    part = run(config, folds=[1])
    assert of_kind(part.computed, "embed") == ["embed/jig.img.32/fold1"]
    assert of_kind(part.computed, "frozen") == [
        f"frozen/{task}/fold1" for task in ("linear", "near", "trees")
    ]
    whole = run(config)
    assert of_kind(whole.computed, "embed") == ["embed/jig.img.32/fold0", "embed/jig.img.32/fold2"]
    stages = json.loads((whole.path / "manifest.json").read_text())["stages"]
    for fold in range(3):
        embedded = stages[f"embed/jig.img.32/fold{fold}"]
        assert stages[f"frozen/linear/fold{fold}"]["inputs"]["embedding"] == embedded["key"]
        assert embedded["inputs"]["init key"] == stages[f"pretrain/jig/fold{fold}"]["key"]
    assert len({stages[f"embed/jig.img.32/fold{fold}"]["key"] for fold in range(3)}) == 3


@pytest.mark.parametrize("scope", ["transductive", "inductive"])
def test_a_refit_learns_from_all_rows(make_frozen: MakeFrozen, scope: str):
    config = make_frozen(transfer={"final": "refit"})
    config["pretext"][0]["scope"] = scope
    del config["tasks"]["near"]
    result = run(config)
    predictions = Predictions.read(result.path / "predictions/linear.parquet")
    assert set(predictions.test()["fold"]) == {-1} and set(predictions.oof()["fold"]) == {0, 1, 2}
    assert json.loads((result.path / "transfer/linear/refit/frozen.json").read_text())["rows"] == 60
    assert ("embed/jig.img.32/refit" in result.computed) == (scope == "inductive")
    assert result.submission is not None


def test_random_weights_are_a_baseline_and_the_same_in_every_run(make_frozen: MakeFrozen, tmp_path: Path):
    def config(runs: str, **changes: Any) -> dict[str, Any]:
        made = make_frozen(runs=str(tmp_path / runs), pretext=[], **changes)
        made["tasks"] = {"linear": made["tasks"]["linear"] | {"init": "scratch"}}
        return made

    one, two, three = (run(config("a")), run(config("b")), run(config("c", seed=1)))
    name = "embeddings/scratch.img.32/embeddings.npy"
    values = [np.load(result.path / name) for result in (one, two, three)]
    assert np.array_equal(values[0], values[1]) and not np.allclose(values[0], values[2])
    assert not of_kind(one.computed, "pretrain", "finetune", "predict") and one.submission is not None
    written = yaml.safe_load((one.path / "config.yaml").read_text())
    assert (
        written["features"]["views"] == ["identity", "hflip"] and "epochs" not in written["tasks"]["linear"]
    )


def test_tasks_of_one_start_backbone_and_size_share_an_embedding_and_others_do_not(make_frozen: MakeFrozen):
    config = make_frozen(stack={})
    linear = config["tasks"]["linear"]
    config["tasks"] |= {
        "wide": linear | {"size": 40},
        "untrained": linear | {"init": "scratch"},
        "again": linear | {"kind": "onehot"},
    }
    result = run(config)
    assert of_kind(result.computed, "embed") == [
        "embed/jig.img.32",
        "embed/jig.img.40",
        "embed/scratch.img.32",
    ]
    again = run(make_frozen(stack={}))
    assert "embed/jig.img.32" in again.kept and not of_kind(again.computed, "embed")


def test_a_checkpoint_file_may_be_the_start(make_frozen: MakeFrozen):
    first = run(make_frozen(stack={}))
    config = make_frozen(name="other", pretext=[], stack={})
    file = str(first.path / "pretext/jig/backbone.safetensors")
    config["tasks"] = {"linear": config["tasks"]["linear"] | {"init": file}}
    second = run(config)
    assert len(of_kind(second.computed, "embed")) == 1
    name = Embedding(file, "img", 32).name
    assert name.startswith("file-") and name.endswith(".img.32")
    values = [
        np.load(path / "embeddings" / folder / "embeddings.npy")
        for path, folder in ((first.path, "jig.img.32"), (second.path, name))
    ]
    np.testing.assert_array_equal(*values)


def test_an_embedding_of_tables_has_no_size_in_its_name(make_table_config):
    stages = Stages(Workspace(load_config(make_table_config())))
    assert [(stage.name, stage.folder) for stage in stages.embed] == [
        ("embed/mask.rows", "embeddings/mask.rows")
    ]
    assert Embedding("jig", "img", 32).name == "jig.img.32"


def test_labels_without_a_meaning_are_not_learned(make_frozen: MakeFrozen, furnished: Path):
    path = furnished / "train.csv"
    train = pd.read_csv(path, dtype={"id": str})
    train["noise"] = np.random.default_rng(1).normal(size=len(train))
    train.to_csv(path, index=False)
    config = make_frozen(stack={"noise": {"target": "noise", "metric": "rmse", "models": ["ridge"]}})
    for task in ("era", "near"):
        del config["tasks"][task]
    for task in config["tasks"].values():
        task["columns"] = ["noise"]
    rungs = {rung.name: rung.nested for rung in run(config).ladders["noise"].rungs}
    assert min(rungs["linear"], rungs["trees"]) > 0.97 * rungs["constant"]


def test_a_row_whose_picture_is_broken_has_no_features(make_frozen: MakeFrozen, furnished: Path):
    for name in ("003", "065"):
        (furnished / "photos" / f"{name}.png").write_bytes(b"broken")
    result = run(make_frozen())
    ids = pd.read_parquet(result.path / "embeddings/jig.img.32/ids.parquet")["id"]
    assert len(ids) == 70 and not {"003", "065"} & set(ids)
    assert len(pd.read_csv(result.submission)) == 12


def test_batch_norms_that_stay_are_named_once_for_the_networks_and_once_for_the_features(
    make_frozen: MakeFrozen, capsys
):
    config = make_frozen(pretext=[], backbones={"img": {"name": "resnetv2_18"}}, stack={})
    config["tasks"] = {name: config["tasks"][name] | {"init": "scratch"} for name in ("era", "linear")}
    jigstack.run(config)
    said = [line.split(":")[0] for line in capsys.readouterr().out.splitlines() if "cannot be folded" in line]
    assert said == ["predict/era/fold0", "embed/scratch.img.32"]


def test_a_smoke_run_fits_frozen_members_too(make_frozen: MakeFrozen):
    path = run(make_frozen(), smoke=True).path
    assert run(yaml.safe_load((path / "config.yaml").read_text())).computed == []


def test_check_shows_what_embedding_costs(make_frozen: MakeFrozen, capsys):
    report = jigstack.check(make_frozen())
    assert report.cost.seconds["embed/jig.img.32"] > 0
    assert "embed/jig.img.32:" in capsys.readouterr().out


def test_options_that_a_frozen_task_does_not_read_are_refused(make_frozen: MakeFrozen):
    for flags, told in (
        (
            ("tasks.linear.epochs=3", "tasks.linear.lr=0.1"),
            r"tasks\.linear\n.*epochs, lr left out with learner: ridge, which trains no network and reads kind, ",
        ),
        (("tasks.linear.init=jigg",), r"tasks\.linear\.init\n.*a pretext \(jig\).*\n.*jigg"),
        (("tasks.linear.learner=kn",), r"tasks\.linear\.learner\n.*network, ridge, knn.*\n.*kn"),
    ):
        with pytest.raises(ConfigError, match=told):
            run(make_frozen(), *flags)


def test_a_frozen_task_may_not_read_in_the_table_what_it_learns(make_frozen: MakeFrozen, make_config):
    config = make_frozen()
    config["tasks"]["trees"] |= {"columns": ["width"]}
    config["data"]["columns"] = ["width", "room"]
    with pytest.raises(
        UserError, match=r"tasks.trees.table: expected data.columns without .* received width"
    ):
        run(config)
    config = make_frozen()
    config["data"]["root"] = make_config()["data"]["root"]  # whose tables share nothing but the id
    with pytest.raises(UserError, match=r"tasks.near: data.columns: expected table columns to learn from"):
        run(config)


def test_columns_that_are_left_out_of_the_table_are_named(make_frozen: MakeFrozen, furnished: Path, capsys):
    for name in ("train", "test"):
        frame = pd.read_csv(furnished / f"{name}.csv", dtype={"id": str})
        frame.assign(planet="Earth").to_csv(furnished / f"{name}.csv", index=False)
    jigstack.check(make_frozen())
    assert "1 table column left out of level 2 and frozen members (one value only" in capsys.readouterr().out
