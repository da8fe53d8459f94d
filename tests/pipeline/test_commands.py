"""The whole run: what is done again, what is shared, what is refused."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import jigstack
import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from jigstack.configs import ConfigError, UserError
from jigstack.datasets.folds import FoldPlan
from jigstack.datasets.predictions import Predictions
from jigstack.pretext import MaskedTablePretrainer
from jigstack.transfer.features import load_feature_pickle
from safetensors.numpy import load_file as load_arrays
from safetensors.torch import load_file


def run(config: dict[str, Any], *overrides: str, **options: Any) -> Any:
    return jigstack.run(config, overrides, quiet=True, **options)


def copied(museum: Path, tmp_path: Path) -> Path:
    """A copy of the data that a test may change."""
    return Path(shutil.copytree(museum, tmp_path / "museum"))


def weights(path: Path) -> dict[str, torch.Tensor]:
    return load_file(path)


def same_weights(one: Path, other: Path) -> bool:
    first, second = weights(one), weights(other)
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def test_one_command_goes_from_images_to_a_submission(make_config, capsys: pytest.CaptureFixture):
    result = jigstack.run(make_config())
    path = result.path
    for name in (
        "config.yaml",
        "manifest.json",
        "log.jsonl",
        "folds.parquet",
        "report.html",
        "pretext/jig/backbone.safetensors",
        "pretext/jig/backbone.json",
        "pretext/jig/seen.parquet",
        "pretext/jig/preview.png",
        "transfer/era+kind/fold0/head.safetensors",
        "transfer/era+kind/fold2/history.json",
        "predictions/era.parquet",
        "features/kind.parquet",
        "features/era.train.pkl",
        "features/era.test.fold1.pkl",
        "features/era.test.fold1.json",
        "stack/target/ladder.json",
        "stack/target/model.json",
        "stack/target/fold0/target.txt",
        "stack/target/importance.parquet",
        "submissions/ridge.csv",
    ):
        assert (path / name).is_file(), name
    assert not list(path.rglob("last.ckpt")) and not list(path.rglob("*.tmp*"))
    assert "auto" not in yaml.safe_dump(yaml.safe_load((path / "config.yaml").read_text())).split()
    assert result.submission == path / "submission.csv"
    submission = pd.read_csv(path / "submission.csv", dtype={"id": str})
    assert submission["id"].tolist() == [f"{number:03d}" for number in range(60, 72)]
    assert not submission["target"].isna().to_numpy().any()
    printed = capsys.readouterr().out
    assert (
        "nested" in printed and "submission" in printed and "epoch 2/2" in printed and "images/s" in printed
    )
    lines = [json.loads(line) for line in (path / "log.jsonl").read_text().splitlines()]
    assert {"done", "finished"} <= {line.get("event") for line in lines}
    assert any("held_tile_accuracy" in line.get("scalars", {}) for line in lines)

    plan = FoldPlan.read(path / "folds.parquet")
    predictions = Predictions.read(path / "predictions" / "era.parquet")
    predictions.verify(plan)
    assert set(predictions.oof()["id"]) == set(plan.ids) and len(predictions.test()) == 12 * 3 * 2
    pickled = load_feature_pickle(path / "features" / "era.train.pkl")
    assert len(pickled) == 60 and [array.shape for array in pickled["000"]] == [(1,), (1,)]


def test_a_second_run_does_nothing_and_says_so(make_config):
    first = run(make_config())
    before = {path: path.stat().st_mtime_ns for path in first.path.rglob("*.safetensors")}
    second = run(make_config())
    assert second.computed == [] and len(second.kept) == len(first.computed)
    assert before == {path: path.stat().st_mtime_ns for path in first.path.rglob("*.safetensors")}


def test_changing_only_the_stack_stacks_again_and_nothing_else(make_config):
    run(make_config())
    again = run(make_config(), "stack.target.models=[ridge]")
    assert again.computed == ["stack/target"]


def test_changing_only_the_views_predicts_again_but_trains_nothing(make_config):
    run(make_config())
    again = run(make_config(), "features.views=none")
    assert {name.split("/")[0] for name in again.computed} == {"predict", "features", "stack"}


def test_three_head_configs_need_one_pretraining(make_config):
    first = run(make_config(name="one"))
    for name, lr in (("two", 3e-4), ("three", 3e-3)):
        other = run(make_config(name=name), f"tasks.era.lr={lr}", f"tasks.kind.lr={lr}")
        assert other.linked == ["pretrain/jig", "probe/jig"]
        backbone = "pretext/jig/backbone.safetensors"
        assert (other.path / backbone).stat().st_ino == (first.path / backbone).stat().st_ino


def test_the_same_seed_gives_the_same_bits_and_another_seed_others(make_config, tmp_path: Path):
    one = run(make_config(runs=str(tmp_path / "a")))
    two = run(make_config(runs=str(tmp_path / "b")))
    three = run(make_config(runs=str(tmp_path / "c"), seed=1))
    head = "transfer/era+kind/fold1/head.safetensors"
    assert same_weights(one.path / head, two.path / head)
    assert not same_weights(one.path / head, three.path / head)
    assert (one.path / "submission.csv").read_bytes() == (two.path / "submission.csv").read_bytes()


def test_finished_training_is_not_replaced_unasked(make_config):
    first = run(make_config())
    head = first.path / "transfer/era+kind/fold0/head.safetensors"
    before = head.read_bytes()
    with pytest.raises(UserError, match=r"tasks.era.epochs: 2 → 3.*\n(.*\n)*.*Add --replace"):
        run(make_config(), "tasks.era.epochs=3", "tasks.kind.epochs=3")
    assert head.read_bytes() == before
    again = run(make_config(), "tasks.era.epochs=3", "tasks.kind.epochs=3", replace=True)
    assert "finetune/era+kind/fold0" in again.computed and "pretrain/jig" not in again.computed
    assert head.read_bytes() != before


def test_replacing_a_linked_result_leaves_the_other_run_alone(make_config):
    one, two = run(make_config(name="one")), run(make_config(name="two"))
    backbone = one.path / "pretext/jig/backbone.safetensors"
    before = backbone.read_bytes()
    run(make_config(name="two"), "pretext.jig.epochs=1", replace=True)
    assert backbone.read_bytes() == before != (two.path / "pretext/jig/backbone.safetensors").read_bytes()


def test_a_damaged_output_is_made_again(make_config):
    first = run(make_config())
    (first.path / "predictions" / "era.parquet").unlink()
    assert run(make_config()).computed == ["features/era"]


def test_two_processes_do_not_work_in_one_run(make_config):
    from jigstack.pipeline.run_directory import RunDirectory

    config = make_config()
    with (
        RunDirectory(Path(config["runs"]) / "trial").locked(),
        pytest.raises(UserError, match=rf"in which process {os.getpid()} works"),
    ):
        run(config)


def test_stages_can_be_run_one_by_one(make_config):
    assert jigstack.pretrain(make_config(), quiet=True).computed == ["pretrain/jig", "probe/jig"]
    assert {name.split("/")[0] for name in jigstack.finetune(make_config(), quiet=True).computed} == {
        "finetune"
    }
    assert {name.split("/")[0] for name in jigstack.features(make_config(), quiet=True).computed} == {
        "predict",
        "features",
    }
    assert jigstack.stack(make_config(), quiet=True).computed == ["stack/target"]


def test_some_folds_give_a_first_look_and_the_rest_goes_on(make_config, capsys: pytest.CaptureFixture):
    first = run(make_config(), folds=[0])
    assert [name for name in first.computed if name.startswith("finetune")] == ["finetune/era+kind/fold0"]
    assert "out-of-fold rmse" in capsys.readouterr().out and first.submission is None
    whole = run(make_config())
    assert "finetune/era+kind/fold0" in whole.kept and whole.submission is not None
    with pytest.raises(UserError, match=r"--folds: expected numbers from 0 to 2, received \[7\]"):
        run(make_config(), folds=[7])


def test_a_smoke_run_is_short_and_keeps_out_of_the_way(make_config):
    result = run(make_config(), smoke=True)
    assert result.path.name == "trial-smoke" and result.submission is not None
    history = json.loads((result.path / "transfer/era+kind/fold0/history.json").read_text())
    assert [len(entries) for entries in history.values()] == [1]


def test_separate_networks_and_averaged_seeds_and_a_refit(make_config):
    result = run(
        make_config(),
        "transfer.joint=false",
        "transfer.seeds=2",
        "transfer.final=both",
        "tasks.kind.folds=[0]",
    )
    path = result.path
    assert (path / "transfer/era/refit/head.seed1.safetensors").is_file()
    assert (path / "transfer/kind/fold0").is_dir() and not (path / "transfer/kind/fold1").exists()
    predictions = Predictions.read(path / "predictions/era.parquet")
    assert set(predictions.test()["fold"]) == {-1, 0, 1, 2} and -1 not in set(predictions.oof()["fold"])
    ladder = result.ladders["target"]
    assert [pair.task for pair in ladder.comparisons] == ["kind"]
    assert not same_weights(
        path / "transfer/era/fold0/head.safetensors", path / "transfer/era/fold0/head.seed1.safetensors"
    )


def test_a_refit_alone_feeds_the_test_rows(make_config):
    result = run(make_config(), "transfer.final=refit")
    assert set(Predictions.read(result.path / "predictions/era.parquet").test()["fold"]) == {-1}
    assert result.submission is not None


def test_early_stopping_looks_at_inner_rows_only(make_config):
    changes = [f"tasks.{name}.early_stopping={{share: 0.3, patience: 1}}" for name in ("era", "kind")]
    result = run(make_config(), *changes, *(f"tasks.{name}.epochs=4" for name in ("era", "kind")))
    card = json.loads((result.path / "transfer/era+kind/fold0/head.json").read_text())
    plan = FoldPlan.read(result.path / "folds.parquet")
    assert card["rows"] < len(plan.train_ids(0))
    history = json.loads((result.path / "transfer/era+kind/fold0/history.json").read_text())["0"]
    assert all("held_loss" in entry["scalars"] for entry in history)


def test_a_run_directory_is_a_config_that_finds_everything_done(make_config):
    first = run(make_config())
    again = jigstack.run(first.path, quiet=True)
    assert again.computed == [] and len(again.kept) == len(first.computed)


def test_folds_that_no_task_trains_are_left_out(make_config):
    tasks = {
        **make_config()["tasks"],
        "look": make_config()["tasks"]["era"] | {"init": "scratch", "folds": [0]},
    }
    result = run(make_config(tasks=tasks), folds=[1])
    assert "features/look" not in result.computed and "features/era" in result.computed


def test_the_order_of_the_test_rows_is_the_order_of_the_submission(make_config, museum: Path, tmp_path: Path):
    root = copied(museum, tmp_path)
    config = make_config(data=make_config()["data"] | {"root": str(root)})
    first = pd.read_csv(run(config).submission, dtype={"id": str})
    table = pd.read_csv(root / "test.csv", dtype=str)
    table[::-1].to_csv(root / "test.csv", index=False)
    again = run(config)
    assert again.computed == ["stack/target"]
    second = pd.read_csv(again.submission, dtype={"id": str})
    assert second["id"].tolist() == first["id"].tolist()[::-1]


def test_nothing_of_an_older_stack_stays_beside_a_new_one(make_config):
    first = run(make_config())
    assert (first.path / "submissions/lightgbm.csv").is_file()
    run(make_config(), "stack.target.models=[ridge]")
    assert not (first.path / "submissions/lightgbm.csv").exists()
    assert not list((first.path / "stack/target").glob("fold*/*.txt"))


def test_a_linked_stack_has_all_its_files(make_config):
    one, two = run(make_config(name="one")), run(make_config(name="two"))
    assert "stack/target" in two.linked
    files = {path.relative_to(one.path) for path in (one.path / "stack").rglob("*") if path.is_file()}
    assert files == {path.relative_to(two.path) for path in (two.path / "stack").rglob("*") if path.is_file()}
    assert Path("stack/target/fold0/target.txt") in files


def test_an_unreadable_neighbour_disturbs_nobody_and_an_unreadable_manifest_is_named(make_config):
    config = make_config()
    neighbour = Path(config["runs"]) / "neighbour"
    neighbour.mkdir(parents=True)
    (neighbour / "manifest.json").write_text("{}")
    result = run(config)
    (result.path / "manifest.json").write_text('{"stages": {"pretrain/jig": 3}}')
    with pytest.raises(UserError, match=r"manifest.json: expected the manifest of a run.*remove the file"):
        run(config)


def test_a_checkpoint_file_is_asked_what_it_saw(make_config, capsys: pytest.CaptureFixture):
    """Like `reuse`: a head may not start from a network that saw validation rows but no test rows."""
    fair, unfair = (
        jigstack.pretrain(make_config(name=scope), [f"pretext.jig.scope={scope}"], quiet=True).path
        / "pretext/jig"
        for scope in ("transductive", "asymmetric")
    )

    def from_file(path: Path, name: str) -> dict[str, Any]:
        tasks = {key: task | {"init": str(path)} for key, task in make_config()["tasks"].items()}
        return make_config(name=name, pretext=[], tasks=tasks)

    jigstack.finetune(from_file(fair, "one"))
    assert "saw 95% of the train rows and" in capsys.readouterr().out.replace("97%", "95%").replace(
        "93%", "95%"
    )
    with pytest.raises(UserError, match="expected a checkpoint that saw train and test rows alike"):
        run(from_file(unfair, "two"))
    (unfair / "seen.parquet").unlink()
    jigstack.finetune(from_file(unfair, "three"))
    assert "has no seen.parquet: which rows it saw is not known" in capsys.readouterr().out


def test_a_damaged_checkpoint_is_named_with_the_way_out(make_config):
    config = make_config()
    folder = Path(config["runs"]) / "trial/pretext/jig"
    folder.mkdir(parents=True)
    (folder / "last.ckpt").write_bytes(b"half a checkpoint")
    with pytest.raises(
        ValueError, match=r"last.ckpt: expected a checkpoint, received a damaged file.*remove it"
    ):
        run(config)


def test_what_only_the_data_can_tell_is_told_before_the_training_and_all_at_once(make_config, museum: Path):
    stack = {
        "one": {"target": "series", "metric": "rmse"},
        "two": {"target": "target", "metric": "rmse", "submit": "mean"},
        "three": {"target": "target", "metric": "mae"},
    }
    tasks = {"era": make_config()["tasks"]["era"]}
    data = make_config()["data"] | {"sample_submission": "nosuch.csv"}
    with pytest.raises(UserError) as caught:
        run(make_config(stack=stack, tasks=tasks, data=data))
    told = str(caught.value)
    assert "stack.one: " in told and "needs numbers" in told
    assert "stack.two.submit: expected one of best, constant, era, lightgbm, ridge, received 'mean'" in told
    assert "received 'target' in 2" in told
    assert "nosuch.csv', which does not exist" in told
    assert not (Path(make_config()["runs"]) / "trial").exists()


def test_a_transductive_pretext_cannot_start_from_an_inductive_one(make_config):
    pretext = [
        make_config()["pretext"][0] | {"scope": "inductive"},
        make_config()["pretext"][0] | {"name": "next", "init": "jig", "scope": "transductive"},
    ]
    with pytest.raises(UserError, match=r"pretext.next.scope: expected inductive, like jig"):
        run(make_config(pretext=pretext))


def test_many_tasks_with_long_names_share_a_folder_that_file_systems_allow(make_config):
    tasks = {f"{'x' * 70}{number}": task for number, task in enumerate([make_config()["tasks"]["era"]] * 4)}
    result = jigstack.finetune(make_config(tasks=tasks), quiet=True)
    assert all(len(path.name) < 130 for path in (result.path / "transfer").iterdir())


@pytest.mark.parametrize(
    ("freeze", "pretext"),
    [
        ("all", {}),
        ("[stem]", {}),
        ("all", {"kind": "tiles"}),
        ("all", {"kind": "tiles", "options": {"target": "permutations", "permutations": 10}}),
    ],
    ids=["all", "stem", "all-tiles", "all-orders"],
)
def test_frozen_stages_keep_their_weights_and_statistics(make_config, freeze: str, pretext: dict[str, Any]):
    """Every tensor, batch statistics too, in all folds; also the whole way from the tiles pretext to a submission."""
    config = make_config()
    config["pretext"][0] |= pretext
    result = run(config, f"tasks.era.freeze={freeze}", f"tasks.kind.freeze={freeze}")
    folder = result.path / "pretext/jig"
    before = weights(folder / "backbone.safetensors")
    assert {name.split(".")[-1] for name in before} >= {"weight", "bias", "running_mean", "running_var"}
    for fold in range(3):
        after = weights(result.path / f"transfer/era+kind/fold{fold}/head.safetensors")
        assert {name for name in after if name.startswith("backbone.net.")} == {
            f"backbone.net.{name}" for name in before
        }
        moved = {
            name for name, value in before.items() if not torch.equal(value, after[f"backbone.net.{name}"])
        }
        if freeze == "all":
            assert not moved
        else:
            assert moved and not [name for name in moved if name.startswith(("conv1", "bn1", "stem"))]
    assert (folder / "preview.png").is_file() and result.submission is not None
    if pretext:
        assert (
            json.loads((folder / "backbone.json").read_text())["size"] == 9
        )  # a tile: (32 - 2 gaps of 2) / 3
        lines = [json.loads(line) for line in (result.path / "log.jsonl").read_text().splitlines()]
        assert any("held_board_accuracy" in line.get("scalars", {}) for line in lines)


def test_an_unknown_stage_to_freeze_is_named(make_config):
    with pytest.raises(
        ValueError, match=r"freeze: expected stages of the backbone \[.*\], received \['layer9'\]"
    ):
        run(make_config(), "tasks.era.freeze=[layer9]", "tasks.kind.freeze=[layer9]")


def test_views_that_training_never_showed_are_warned_of(make_config, capsys: pytest.CaptureFixture):
    jigstack.run(make_config(), ["features.views=[identity, rot90]"], until="pretrain")
    printed = capsys.readouterr().out
    assert "warning: features.views contains rot90, which the training of era never shows" in printed
    jigstack.run(make_config(name="turned"), ["features.views=hflip"], until="pretrain")
    assert "never shows" not in capsys.readouterr().out


def test_a_class_absent_from_a_folds_training_part_is_named_and_keeps_its_column(
    make_config, museum: Path, tmp_path: Path, capsys: pytest.CaptureFixture
):
    root = copied(museum, tmp_path)
    table = pd.read_csv(root / "train.csv", dtype={"id": str})
    table["rare"] = ["odd" if series == "s0" else "usual" for series in table["series"]]
    table.to_csv(root / "train.csv", index=False)
    tasks = {
        "rare": make_config()["tasks"]["kind"] | {"columns": ["rare"]},
        "era": make_config()["tasks"]["era"],
    }
    result = jigstack.run(make_config(tasks=tasks, data=make_config()["data"] | {"root": str(root)}))
    assert "no training row of rare has class odd" in capsys.readouterr().out
    assert Predictions.read(result.path / "predictions/rare.parquet").columns == ("rare.p0", "rare.p1")


def test_without_test_rows_every_fold_is_pretrained_without_its_validation_groups(make_config, museum: Path):
    data = make_config()["data"] | {"test": [], "unlabelled": []}
    result = run(make_config(data=data))
    assert result.submission is None
    plan = FoldPlan.read(result.path / "folds.parquet")
    for fold in range(3):
        seen = set(pd.read_parquet(result.path / f"pretext/jig/fold{fold}/seen.parquet")["id"])
        assert seen and not seen & set(plan.valid_ids(fold)) and seen <= set(plan.train_ids(fold))


def test_seeing_validation_rows_but_no_test_rows_has_to_be_asked_for_by_name(
    make_config, capsys: pytest.CaptureFixture
):
    data = make_config()["data"] | {"test": []}
    with pytest.raises(UserError, match="would be seen in pretraining but the rows to predict would not"):
        run(make_config(data=data), "pretext.jig.scope=transductive")
    run(make_config(data=data), "pretext.jig.scope=asymmetric")
    assert "these scores may flatter" in capsys.readouterr().out


def test_a_finished_checkpoint_is_reused_as_it_is(make_config):
    first = run(make_config(name="one"))
    second = run(make_config(name="two"), f"pretext.jig.reuse={first.path}", "tasks.era.lr=3e-4")
    assert same_weights(
        first.path / "pretext/jig/backbone.safetensors", second.path / "pretext/jig/backbone.safetensors"
    )


def test_a_checkpoint_that_saw_only_train_rows_is_not_reused_unasked(make_config):
    first = run(make_config(name="one"), "pretext.jig.scope=asymmetric")
    with pytest.raises(UserError, match="expected a checkpoint that saw train and test rows alike"):
        run(make_config(name="two"), f"pretext.jig.reuse={first.path}")


def test_a_checkpoint_of_another_network_is_not_reused(make_config):
    first = jigstack.pretrain(make_config(name="one"), quiet=True)
    with pytest.raises(
        UserError, match=r"expected a checkpoint of \{'kind': 'timm', 'name': 'test_convnext'"
    ):
        run(
            make_config(name="two", backbones={"img": {"name": "test_convnext"}}),
            f"pretext.jig.reuse={first.path}",
        )


def test_a_broken_image_is_skipped_counted_and_named(
    make_config, museum: Path, tmp_path: Path, capsys: pytest.CaptureFixture
):
    root = copied(museum, tmp_path)
    (root / "photos/000.png").write_bytes(b"not a picture")
    (root / "photos/061.png").unlink()
    result = run(make_config(data=make_config()["data"] | {"root": str(root)}))
    oof = Predictions.read(result.path / "predictions/era.parquet").oof()
    assert "000" not in set(oof["id"]) and len(set(oof["id"])) == 59
    submission = pd.read_csv(result.submission, dtype={"id": str}).set_index("id")
    assert len(submission) == 12 and not submission["target"].isna().to_numpy().any()
    assert "1 test rows could not be read and get the constant: 061" in capsys.readouterr().out.replace(
        "'", ""
    )


def test_ids_in_train_and_test_are_an_error(make_config, museum: Path, tmp_path: Path):
    root = copied(museum, tmp_path)
    pd.DataFrame({"id": ["000", "061"]}).to_csv(root / "test.csv", index=False)
    with pytest.raises(UserError, match=r"received 1 that do \(000\)"):
        run(make_config(data=make_config()["data"] | {"root": str(root)}))


def test_the_mistakes_of_a_config_are_all_told_at_once(make_config):
    with pytest.raises(ConfigError, match="2 problems"):
        run(make_config(tusks={}), "tasks.era.lr=fast")


def test_a_target_that_is_no_column_is_named(make_config):
    with pytest.raises(UserError, match=r"stack.target.target: .*targit"):
        run(make_config(), "stack.target.target=targit")


COMMAND = "import sys, jigstack; jigstack.run(sys.argv[1])"


def start_process(config: dict[str, Any], folder: Path) -> tuple[subprocess.Popen, Path]:
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(config))
    run_path = Path(config["runs"]) / config["name"]
    process = subprocess.Popen(
        [sys.executable, "-c", COMMAND, str(path)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    return process, run_path


def wait_for(path: Path, process: subprocess.Popen, seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not path.exists():
        assert process.poll() is None, f"ended before {path.name} was there"
        assert time.monotonic() < end, f"no {path} after {seconds} s"
        time.sleep(0.002)


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_a_killed_run_goes_on_and_ends_with_the_bits_of_one_that_was_not(
    make_config, tmp_path: Path, how: int
):
    """Killed in pretraining and again in fine-tuning; a new process each time."""
    many = {"tasks": {name: task | {"epochs": 12} for name, task in make_config()["tasks"].items()}}
    whole = run(make_config(runs=str(tmp_path / "whole"), **many), "pretext.jig.epochs=12")
    config = make_config(runs=str(tmp_path / "killed"), **many)
    config["pretext"][0]["epochs"] = 12
    for checkpoint in ("pretext/jig/last.ckpt", "transfer/era+kind/fold1/last.ckpt"):
        process, path = start_process(config, tmp_path)
        wait_for(path / checkpoint, process)
        process.send_signal(how)
        process.communicate(timeout=120)
        assert process.returncode != 0
        if how != signal.SIGKILL:
            assert (path / checkpoint).exists()
    resumed = run(config)
    assert "pretrain/jig" in resumed.kept and "finetune/era+kind/fold0" in resumed.kept
    for name in (
        "pretext/jig/backbone.safetensors",
        *(f"transfer/era+kind/fold{fold}/head.safetensors" for fold in range(3)),
    ):
        assert same_weights(whole.path / name, resumed.path / name)
    assert (whole.path / "submission.csv").read_bytes() == (resumed.path / "submission.csv").read_bytes()
    history = json.loads((resumed.path / "transfer/era+kind/fold1/history.json").read_text())["0"]
    assert [entry["epoch"] for entry in history] == list(range(1, 13))


@pytest.mark.slow
def test_a_new_process_gives_the_same_bits(make_config, tmp_path: Path):
    here = run(make_config(runs=str(tmp_path / "here")))
    process, path = start_process(make_config(runs=str(tmp_path / "there")), tmp_path)
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output.decode()
    head = "transfer/era+kind/fold2/head.safetensors"
    assert same_weights(here.path / head, path / head)
    np.testing.assert_array_equal(
        (here.path / "submission.csv").read_bytes(), (path / "submission.csv").read_bytes()
    )


@pytest.mark.parametrize("kind", ["simsiam", "dino", "lejepa"])
def test_joint_embeddings_train_on_grey_pictures_one_a_fold_and_in_a_chain(make_config, kind: str):
    config = make_config()
    shared = {"size": 32, "epochs": 1, "batch": 16, "scope": "inductive"}
    config["pretext"] = [
        {"name": "first", "kind": "jigsaw", **shared},
        {"name": "second", "kind": kind, "init": "first", **shared},
    ]
    config["data"]["decode"] = {"channels": 1}
    config["tasks"] = {"era": config["tasks"]["era"] | {"init": "second", "epochs": 1}}
    path = jigstack.pretrain(config, quiet=True).path
    plan = pd.read_parquet(path / "folds.parquet")
    for fold in range(3):
        folder = path / "pretext" / "second" / f"fold{fold}"
        card = json.loads((folder / "backbone.json").read_text())
        assert (card["pretext"]["init"], card["fold"], card["channels"]) == ("first", fold, 1)
        valid = plan.loc[(plan["fold"] == fold) & (plan["role"] == "valid"), "id"]
        assert len(valid) and not set(valid) & set(pd.read_parquet(folder / "seen.parquet")["id"])


def table_means(folder: Path) -> np.ndarray:
    """What a schema took for the mean of each number."""
    assert (folder / "table.json").is_file()
    return load_arrays(folder / "table.safetensors")["centre"]


def test_one_command_goes_from_a_table_to_a_submission(
    make_table_config, factory: Path, capsys: pytest.CaptureFixture
):
    result = jigstack.run(make_table_config())
    path, printed = result.path, capsys.readouterr().out
    for name in (
        "pretext/mask/backbone.safetensors",
        "pretext/mask/table.json",
        "pretext/mask/table.safetensors",
        "pretext/mask/preview.png",
        "transfer/amount/fold0/table.json",
        "transfer/scratch/fold2/head.safetensors",
        "embeddings/mask.rows/embeddings.npy",
        "features/amount.train.pkl",
        "features/linear.test.fold1.pkl",
    ):
        assert (path / name).is_file(), name
    assert "images" not in printed and "image" not in (path / "log.jsonl").read_text().replace(
        "images_per", ""
    )
    assert "predict/amount/fold1 · rows · 30 of 30" in printed and "batch norm" not in printed
    assert "90 train rows, 30 test rows, 15 unlabelled rows; 3 folds" in printed and "cpu, fp32" in printed
    skills = json.loads((path / "pretext/mask/columns.json").read_text())
    assert list(skills) == ["heat", "load", "dust", "site"] and all(skill < 1 for skill in skills.values())
    submission = pd.read_csv(path / "submission.csv", dtype={"id": str})
    assert submission["id"].tolist() == pd.read_csv(factory / "test.csv")["id"].tolist()
    assert not submission["yield"].isna().to_numpy().any()
    ladder = result.ladders["yield"]
    rungs = {rung.name: rung.nested for rung in ladder.rungs}
    assert {"amount", "scratch", "linear~ridge", "table~ridge", "lightgbm"} <= rungs.keys()
    assert rungs["linear~ridge"] < rungs["constant"]  # the frozen features know of the heat
    seen = set(pd.read_parquet(path / "pretext/mask/seen.parquet")["id"])
    ids = {*pd.read_csv(factory / "test.csv")["id"], *pd.read_csv(factory / "more.csv")["id"]}
    assert len(seen & ids) > 30 and len(seen) > 120
    levels = json.loads((path / "pretext/mask/table.json").read_text())["columns"][3]["levels"]
    assert "moon" in levels  # of the test rows, which a transductive pretext reads

    pickled = load_feature_pickle(path / "features" / "amount.train.pkl")
    assert len(pickled) == 90 and [array.shape for array in pickled["r000"]] == [(1,)]
    plan = FoldPlan.read(path / "folds.parquet")
    predictions = Predictions.read(path / "predictions/amount.parquet")
    predictions.verify(plan)
    assert len(predictions.oof()) == 90 and len(predictions.test()) == 30 * 3

    again = run(make_table_config())
    assert again.computed == [] and len(again.kept) == len(result.computed)
    assert jigstack.run(path, quiet=True).computed == []  # its own config is read back


def test_a_longer_pretraining_tells_which_columns_follow_from_others(make_table_config):
    """`load` is three times the heat and noise; dust follows from nothing."""
    backbones = {"rows": {"kind": "mlp", "options": {"width": 32, "depth": 2}}}
    pretext = [make_table_config()["pretext"][0] | {"epochs": 60, "lr": 0.01, "options": {"ratio": 0.3}}]
    config = make_table_config(backbones=backbones, pretext=pretext, tasks={}, stack={})
    path = run(config, until="pretrain").path
    skills = json.loads((path / "pretext/mask/columns.json").read_text())
    assert min(skills["load"], skills["heat"]) > 0.8 > 0.5 > skills["dust"]


def test_dates_and_names_are_learned_from_lines_of_a_table(make_table_config, factory: Path, tmp_path: Path):
    root = tmp_path / "dated"
    shutil.copytree(factory, root)
    rows = pd.read_csv(root / "train.csv")
    rows["since"] = [f"{1900 + round(10 * value)}-05-01" for value in rows["yield"]]
    rows.to_csv(root / "train.csv", index=False)
    names = rows.melt("id", ["site", "grade"], value_name="name")
    names.loc[:, ["id", "name"]].to_csv(root / "tags.csv", index=False)
    data = make_table_config()["data"] | {"root": str(root), "lists": {"tags": "tags.csv"}}
    data["columns"] = ["heat", "load", "dust", "site"]
    trained = {"init": "mask", "epochs": 30, "batch": 16, "folds": [0]}
    tasks = {
        "since": {"kind": "date", "columns": ["since"], **trained},
        "tags": {"kind": "word2vec", "columns": ["tags"], "options": {"vector_size": 4}, **trained},
    }
    network = {"kind": "resmlp", "options": {"width": 32, "depth": 1}}
    config = make_table_config(data=data, backbones={"rows": network}, tasks=tasks, stack={})
    path = run(config, until="features").path
    frame = Predictions.read(path / "predictions/since.parquet").frame.query("role == 'oof'").set_index("id")
    years = rows.set_index("id").loc[frame.index, "since"].str[:4].astype(float)
    assert np.corrcoef(frame.iloc[:, -1], years)[0, 1] > 0.8
    tags = Predictions.read(path / "predictions/tags.parquet")
    assert len(tags.columns) == 4 and np.isfinite(tags.frame[list(tags.columns)].to_numpy()).all()


def test_a_finished_checkpoint_of_a_table_is_reused_with_its_schema_and_decoder(
    make_table_config, factory: Path
):
    first = run(make_table_config(name="one"))
    second = run(make_table_config(name="two"), f"pretext.mask.reuse={first.path}", "tasks.amount.epochs=1")
    assert "finetune/amount/fold0" in second.computed
    manifest = json.loads((second.path / "manifest.json").read_text())["stages"]["pretrain/mask"]
    names = ["backbone.safetensors", "table.json", "table.safetensors", "pretext.safetensors", "columns.json"]
    for name in names:
        assert (second.path / "pretext/mask" / name).read_bytes() == (
            first.path / "pretext/mask" / name
        ).read_bytes()
        assert f"pretext/mask/{name}" in manifest["outputs"]
    learned, given = (MaskedTablePretrainer.load(run.path / "pretext/mask", "cpu") for run in (first, second))
    rows = pd.read_csv(factory / "train.csv", index_col="id")
    assert rows["dust"].isna().to_numpy().any() and given.impute(rows)["dust"].notna().to_numpy().all()
    pd.testing.assert_frame_equal(given.impute(rows), learned.impute(rows))
    assert np.array_equal(given.outlier_score(rows), learned.outlier_score(rows), equal_nan=True)
    assert given.column_skill_ == learned.column_skill_
    tasks = {"amount": make_table_config()["tasks"]["amount"] | {"init": str(first.path), "epochs": 1}}
    third = run(make_table_config(name="three", pretext=[], tasks=tasks), until="finetune")
    assert not (third.path / "pretext").exists()
    assert np.array_equal(
        table_means(third.path / "transfer/amount/fold0"), table_means(first.path / "pretext/mask")
    )


@pytest.mark.parametrize("way", ["reuse", "init", "weights"])
def test_a_checkpoint_that_reads_a_column_to_be_learned_is_not_taken(make_table_config, way: str):
    """Its schema would put the target among the inputs."""
    first = run(make_table_config(name="one"), until="pretrain")
    backbones = make_table_config()["backbones"]
    only = {name: part | {"columns": ["heat"], "steps": []} for name, part in backbones.items()}
    task = {"kind": "regression", "columns": ["load"], "epochs": 1}
    changes = {
        "reuse": {"pretext": [make_table_config()["pretext"][0] | {"reuse": str(first.path)}]},
        "init": {"pretext": []},
        "weights": {"pretext": []},
    }[way]
    if way == "weights":
        only = {name: part | {"weights": str(first.path)} for name, part in only.items()}
    task |= {"reuse": {"init": "mask"}, "init": {"init": str(first.path)}, "weights": {}}[way]
    config = make_table_config(name="two", backbones=only, tasks={"known": task}, stack={}, **changes)
    with pytest.raises(UserError, match=r"also reads .*'load'"):
        run(config)


@pytest.mark.parametrize("way", ["reuse", "init", "weights"])
def test_a_checkpoint_whose_steps_are_not_those_of_the_config_is_not_taken_and_its_own_are_told(
    make_table_config, way: str, capsys: pytest.CaptureFixture
):
    first = run(make_table_config(name="one"), until="pretrain")
    pretext, task = make_table_config()["pretext"][0], make_table_config()["tasks"]["scratch"]
    for name, steps in (("two", [{"kind": "standard"}]), ("three", [])):
        rows = make_table_config()["backbones"]["rows"] | {"steps": steps}
        rows |= {"weights": str(first.path / "pretext/mask")} if way == "weights" else {}
        stages = [pretext | {"reuse": str(first.path)}] if way == "reuse" else []
        start = {"reuse": {"init": "mask"}, "init": {"init": str(first.path)}, "weights": {}}[way]
        config = make_table_config(
            name=name, backbones={"rows": rows}, pretext=stages, tasks={"amount": task | start}, stack={}
        )
        if steps:
            key = {
                "reuse": "pretext.mask.reuse",
                "init": "tasks.amount.init",
                "weights": "backbones.rows.weights",
            }
            with pytest.raises(
                UserError, match=rf"{key[way]}: steps: .*{{kind: standard}}.*columns: \[dust\]"
            ):
                run(config)
        else:
            capsys.readouterr()
            assert jigstack.finetune(config).computed
            assert "its own steps, [{kind: quantile, columns: [dust]}], hold" in capsys.readouterr().out


def test_another_run_takes_a_finished_pretrainings_decoder_by_a_hard_link(make_table_config):
    first = run(make_table_config(name="one"), until="pretrain").path
    second = run(make_table_config(name="two"), until="pretrain")
    assert second.computed == []
    one, two = (path / "pretext/mask/pretext.safetensors" for path in (first, second.path))
    assert one.samefile(two)
    one.unlink()  # a file that is gone is trained anew, as a backbone is
    assert run(make_table_config(name="one"), until="pretrain", replace=True).kept != []
    assert one.is_file()


def test_heads_of_tables_read_as_their_pretext_did_and_from_scratch_as_all_rows_teach(make_table_config):
    path = run(make_table_config(), until="finetune").path
    pretext = table_means(path / "pretext/mask")
    assert np.array_equal(table_means(path / "transfer/amount/fold1"), pretext)
    # All rows, train, test and unlabelled, taught both: validation and test rows are treated alike.
    assert np.array_equal(table_means(path / "transfer/scratch/fold1"), pretext)
    assert not np.array_equal(
        load_file(path / "transfer/amount/fold1/head.safetensors")["backbone.input.blank"],
        load_file(path / "transfer/scratch/fold1/head.safetensors")["backbone.input.blank"],
    )


def test_an_inductive_pretext_of_tables_is_taught_by_the_rows_outside_its_fold_alone(
    make_table_config, factory: Path
):
    """Weights, means and levels: nothing of a fold's validation rows is in them."""
    data = make_table_config()["data"] | {"test": [], "unlabelled": []}
    backbones = {"rows": {"kind": "mlp", "options": {"width": 16, "depth": 1, "numbers": "plain"}}}
    path = run(make_table_config(data=data, backbones=backbones)).path
    plan = FoldPlan.read(path / "folds.parquet")
    frame = pd.read_csv(factory / "train.csv", index_col="id")[["heat", "load", "dust"]]
    for fold in range(3):
        known = frame.loc[plan.train_ids(fold)]
        folder = path / f"pretext/mask/fold{fold}"
        assert set(pd.read_parquet(folder / "seen.parquet")["id"]) <= set(plan.train_ids(fold))
        np.testing.assert_allclose(table_means(folder), known.mean().to_numpy())
        for name in ("amount", "scratch"):
            np.testing.assert_array_equal(
                table_means(path / f"transfer/{name}/fold{fold}"), table_means(folder)
            )
    assert len({table_means(path / f"pretext/mask/fold{fold}").tobytes() for fold in range(3)}) == 3
    assert (path / "embeddings/mask.rows/fold2/embeddings.npy").is_file()


@pytest.mark.parametrize(
    ("kind", "pretext"),
    [
        ("tabnet", {}),
        ("mlp", {}),
        ("tabnet", {"kind": "simsiam_rows", "options": {"width": 16}}),
        ("resmlp", {}),
        ("cnn1d", {}),
        ("mlp", {"kind": "simsiam_rows", "options": {"width": 16, "neighbours": 3, "corruption": 0.2}}),
    ],
)
def test_an_interrupted_run_on_a_table_goes_on_to_the_same_bits(
    make_table_config, tmp_path: Path, kind: str, pretext: dict, monkeypatch: pytest.MonkeyPatch
):
    """Stopped once in the pretraining and once in a head, each after an epoch."""
    from jigstack.training.interrupt import Interrupted

    options = {
        "tabnet": make_table_config()["backbones"]["rows"]["options"],
        "mlp": {"width": 16, "depth": 2},
        "resmlp": {"width": 16, "depth": 2, "residual_dropout": 0.1},
        "cnn1d": {"hidden": 32, "channels": 8, "filters": 8},
    }[kind]
    changes = {
        "backbones": {"rows": {"kind": kind, "options": options}},
        "pretext": [make_table_config()["pretext"][0] | pretext],
    }
    config = make_table_config(runs=str(tmp_path / "stopped"), **changes)
    whole = run(make_table_config(runs=str(tmp_path / "whole"), **changes))
    for stage in ("pretrain/mask", "finetune/amount/fold1"):
        with monkeypatch.context() as patch:
            stop_after_an_epoch_of(stage, patch)
            with pytest.raises(Interrupted):
                run(config)
    path = Path(config["runs"]) / "trial"
    assert (path / "transfer/amount/fold1/last.ckpt").is_file()
    resumed = run(config)
    assert "pretrain/mask" in resumed.kept and "finetune/amount/fold0" in resumed.kept
    names = ["pretext/mask/backbone.safetensors"]
    names += [
        f"transfer/{task}/fold{fold}/head.safetensors" for task in ("amount", "scratch") for fold in range(3)
    ]
    for name in names:
        assert same_weights(whole.path / name, path / name), name
    assert (whole.path / "submission.csv").read_bytes() == (path / "submission.csv").read_bytes()


def stop_after_an_epoch_of(stage: str, patch: pytest.MonkeyPatch) -> None:
    """Ask to stop as a signal would, as soon as a training of this name has told of an epoch."""
    from jigstack.pipeline.console import Console

    def epoch(self: Console, name: str, record: Any, unit: str = "images") -> None:
        if name == stage and record.kind == "epoch":
            signal.raise_signal(signal.SIGINT)

    patch.setattr(Console, "epoch", epoch)


def test_pictures_and_a_table_in_one_run_are_stacked_together(make_config, museum: Path, tmp_path: Path):
    root = copied(museum, tmp_path)
    rng = np.random.default_rng(0)
    for name in ("train.csv", "test.csv"):
        frame = pd.read_csv(root / name, dtype={"id": str})
        values = rng.normal(0, 0.5, len(frame))
        if "target" in frame:
            values += frame["target"].to_numpy()
        frame.assign(width=values, height=rng.normal(size=len(frame))).to_csv(root / name, index=False)
    shared = {"kind": "regression", "columns": ["target"], "size": 32, "epochs": 1, "batch": 16}
    table = {name: value for name, value in shared.items() if name != "size"}
    pretext = make_config()["pretext"][0] | {"backbone": "img", "epochs": 1}
    config = make_config(
        data=make_config()["data"] | {"root": str(root)},
        backbones={
            "img": {"name": "test_resnet"},
            "rows": {"kind": "mlp", "options": {"width": 16, "depth": 1}},
        },
        pretext=[pretext, {"name": "mask", "kind": "masked", "backbone": "rows", "epochs": 1, "batch": 16}],
        tasks={"look": shared | {"init": "jig"}, "sizes": table | {"init": "mask"}},
    )
    result = run(config)
    assert {"look", "sizes", "mean", "ridge", "lightgbm"} <= {
        rung.name for rung in result.ladders["target"].rungs
    }
    views = {
        task: Predictions.read(result.path / f"predictions/{task}.parquet").views
        for task in ("look", "sizes")
    }
    assert views == {"look": ("identity", "hflip"), "sizes": ("identity",)}
    assert result.submission is not None and run(config).computed == []


def test_a_changed_cell_trains_what_reads_it_again_and_a_changed_label_only_heads(
    make_table_config, factory: Path, tmp_path: Path
):
    root = Path(shutil.copytree(factory, tmp_path / "factory"))
    config = make_table_config(data=make_table_config()["data"] | {"root": str(root)}, stack={})
    run(config)
    frame = pd.read_csv(root / "train.csv")
    frame.loc[3, "yield"] += 1
    frame.to_csv(root / "train.csv", index=False)
    again = run(config, replace=True)
    assert "pretrain/mask" in again.kept and "finetune/amount/fold0" in again.computed
    more = pd.read_csv(root / "more.csv")
    more.loc[3, "load"] += 1
    more.to_csv(root / "more.csv", index=False)
    assert {"pretrain/mask", "finetune/scratch/fold0"} <= set(run(config, replace=True).computed)


def test_what_a_backbone_of_tables_does_not_find_is_said_before_any_training(
    make_table_config, factory: Path
):
    backbones = {"rows": {"kind": "mlp", "columns": ["heet"]}}
    with pytest.raises(UserError, match=r"backbones.rows: columns: .*received 'heet'; did you mean 'heat'\?"):
        run(make_table_config(backbones=backbones))
    data = make_table_config()["data"]
    with pytest.raises(UserError, match=r"data.unlabelled: .*received 30 in test.csv that do"):
        run(make_table_config(data=data | {"unlabelled": ["test.csv"]}))
    with pytest.raises(UserError, match=r"data.kinds: .*received 'sight'; did you mean 'site'\?"):
        run(make_table_config(data=data | {"kinds": {"sight": "category"}}))
    step = {"kind": "svd", "columns": ["site"]}
    with pytest.raises(UserError, match=r"backbones.rows: .*site"):
        run(make_table_config(backbones={"rows": {"kind": "mlp", "steps": [step]}}))
    assert not (Path(make_table_config()["runs"]) / "trial").exists()


def test_a_network_of_tables_does_not_read_what_its_task_has_to_predict(make_table_config):
    tasks = {"next": {"kind": "regression", "columns": ["load"], "epochs": 1, "batch": 16}}
    config = make_table_config(tasks=tasks, stack={}, pretext=[])
    config["data"]["columns"] = ["heat", "load", "dust", "site"]
    with pytest.raises(
        UserError, match=r"tasks.next.columns: .*its backbone rows does not read, received load"
    ):
        run(config)
    config["backbones"]["rows"] = {"kind": "mlp", "columns": ["heat", "site"], "options": {"width": 8}}
    assert run(config, until="finetune").computed


def test_weights_that_a_backbone_of_tables_is_given_bring_their_schema(make_table_config, factory: Path):
    """Of one half of the rows, whose means are others than those of the run's own."""
    data = make_table_config()["data"] | {"test": [], "unlabelled": []}
    first = run(make_table_config(name="one", data=data), until="pretrain").path / "pretext/mask/fold0"
    (first / "seen.parquet").unlink()  # or it is refused: it saw most train rows and no test rows
    rows = make_table_config()["backbones"]["rows"] | {"weights": str(first)}
    tasks = {"amount": make_table_config()["tasks"]["scratch"]}
    second = run(make_table_config(backbones={"rows": rows}, pretext=[], tasks=tasks), until="finetune")
    for fold in range(3):
        assert np.array_equal(table_means(second.path / f"transfer/amount/fold{fold}"), table_means(first))


@pytest.mark.parametrize("scope", ["transductive", "inductive"])
def test_a_table_takes_seeds_a_refit_thawing_early_stopping_and_other_learners(make_table_config, scope: str):
    given = make_table_config()
    options = {"unfreeze": {"after": 1, "every": 0}, "early_stopping": {"share": 0.3, "patience": 1}}
    tasks = {
        "amount": given["tasks"]["amount"] | options,
        "near": given["tasks"]["linear"] | {"learner": "knn"},
        "trees": given["tasks"]["linear"] | {"learner": "lightgbm", "table": True},
    }
    pretext = [given["pretext"][0] | {"scope": scope, "snapshot": "probe"}]
    config = make_table_config(
        tasks=tasks, pretext=pretext, transfer={"seeds": 2, "final": "both"}, probe={"every": 1}
    )
    result = run(config)
    assert (result.path / "transfer/amount/refit/head.seed1.safetensors").is_file()
    assert set(Predictions.read(result.path / "predictions/trees.parquet").test()["fold"]) == {-1, 0, 1, 2}
    assert (result.path / "pretext/mask/refit/table.json").is_file() == (scope == "inductive")
    assert run(config).computed == []


def test_fold_models_of_a_table_side_by_side_are_those_of_one_after_the_other(
    make_table_config, tmp_path: Path
):
    one = run(make_table_config(runs=str(tmp_path / "one")), until="finetune").path
    both = make_table_config(runs=str(tmp_path / "both"), processes=2, threads=2)
    two = run(both, until="finetune").path
    for fold in range(3):
        head = f"transfer/scratch/fold{fold}/head.safetensors"
        assert same_weights(one / head, two / head)


def test_a_smoke_run_of_a_table_is_short(make_table_config):
    result = run(make_table_config(), smoke=True)
    assert result.path.name == "trial-smoke" and result.submission is not None
