"""Mistakes that only config and data together show are told before the first step."""

import json
from pathlib import Path

import jigstack
import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from jigstack.backbones import load_backbone
from jigstack.configs import UserError, load_config
from jigstack.configs.heads import Mix
from jigstack.datasets.images import ImageStore
from jigstack.pipeline.workspace import Workspace
from jigstack.training.augment import resize
from safetensors.torch import load_file


def test_a_stage_that_the_backbone_lacks_and_a_thaw_that_comes_too_late_are_told_before_training(make_config):
    config = make_config()
    config["tasks"]["era"]["freeze"] = ["Stem", "nowhere"]
    config["tasks"]["kind"]["unfreeze"] = {"after": 2, "every": 1}
    with pytest.raises(UserError) as caught:
        jigstack.run(config, quiet=True)
    first, second = str(caught.value).split("\n")
    assert first.startswith("tasks.era.freeze: expected stages of the backbone ['")
    assert first.endswith("'], received ['Stem', 'nowhere']. Did you mean 'stem'?")
    assert second.startswith("tasks.kind.unfreeze: expected all ") and "within the 2 epochs" in second


def test_heads_first_and_then_everything_runs_whole(make_config):
    config = make_config(pretext=[], stack={})
    for task in config["tasks"].values():
        task |= {"init": "scratch", "unfreeze": {"after": 1}, "schedule": "onecycle", "accumulate": 2}
    result = jigstack.run(config, quiet=True)
    assert len([name for name in result.computed if name.startswith("finetune")]) == 3


def test_a_run_writes_down_whether_it_mixes(make_config):
    config = make_config(pretext=[], stack={})
    era, kind = config["tasks"]["era"], config["tasks"]["kind"]
    config["tasks"] = {
        "long": era | {"init": "scratch", "epochs": 100},
        "short": era | {"init": "scratch", "epochs": 99},
        "asked": kind | {"init": "scratch", "augment": {"mix": {"mixup": 1.0, "cutmix": 0.0, "p": 1.0}}},
    }
    path = jigstack.run(config, smoke=True, quiet=True).path  # one epoch each, so that `auto` means none
    tasks = yaml.safe_load((path / "config.yaml").read_text())["tasks"]
    assert tasks["asked"]["augment"]["mix"] == {"mixup": 1.0, "cutmix": 0.0, "p": 1.0}
    assert tasks["long"]["augment"]["mix"] is None
    resolved = Workspace(load_config(config)).config.tasks
    assert {name: task.augment.mix for name, task in resolved.items()} == {
        "long": Mix(),
        "short": None,
        "asked": Mix(mixup=1.0, cutmix=0.0, p=1.0),
    }


def test_pretraining_fine_tuning_and_prediction_have_sizes_of_their_own(make_config):
    config = make_config(features={"views": "hflip", "size": 40})
    for task in config["tasks"].values():
        task["size"] = 24
    result = jigstack.run(config, quiet=True)
    card = json.loads((next(iter(result.path.parent.glob(".store/*/card.json")))).read_text())
    assert card["size"] == 64  # 1.3 times the largest, rounded up
    small = jigstack.run(config | {"features": {"views": "hflip"}, "name": "small"}, quiet=True)
    assert small.linked == [
        "pretrain/jig",
        "probe/jig",
        *(f"finetune/era+kind/fold{fold}" for fold in range(3)),
    ]
    assert {name.split("/")[0] for name in small.computed} == {"predict", "features", "stack"}
    one, other = (pd.read_parquet(run.path / "predictions" / "era.parquet") for run in (result, small))
    assert not one["era"].equals(other["era"])


@pytest.mark.parametrize("name", ["test_resnet", "test_vit"])
def test_a_network_pretrained_small_is_fine_tuned_on_larger_pictures(make_config, name: str):
    """Frozen, so that the checkpoint and the head can be put together by hand and asked again."""
    config = make_config(backbones={"img": {"name": name}}, stack={}, precision="fp32")
    for task in config["tasks"].values():
        task |= {"size": 64, "freeze": "all", "lr": 0.05}
    path = jigstack.run(config, quiet=True).path
    (folder,) = path.parent.glob(".store/*/")
    store = ImageStore(folder)
    assert store.size == 96  # 1.3 times 64, rounded up to 32
    backbone, card = load_backbone(path / "pretext/jig", size=64)
    assert card["size"] == backbone.size == 32
    answers = pd.read_parquet(path / "predictions/era.parquet")
    answers = answers[(answers["role"] == "oof") & (answers["fold"] == 0) & (answers["view"] == 0)]
    head = load_file(path / "transfer/era+kind/fold0/head.safetensors")
    era = json.loads((path / "transfer/era+kind/fold0/head.json").read_text())["targets"]["era"]

    def asked(size: int) -> np.ndarray:
        pictures = resize(store.gather(store.rows(np.asarray(answers["id"], dtype=object))), size)
        with torch.no_grad():
            features = backbone.eval()(backbone.normalise(pictures))  # (B, D)
        said = features @ head["heads.era.weight"].T + head["heads.era.bias"]
        return said[:, 0].numpy() * era["scale"] + era["mean"]

    np.testing.assert_allclose(answers["era"], asked(64), rtol=1e-4)
    assert np.abs(answers["era"] - asked(32)).max() > 0.01


def test_a_prediction_size_that_the_backbone_cannot_take_is_told(make_config):
    config = make_config(
        backbones={"img": {"name": "mixer_s32_224"}}, pretext=[], features={"views": "none", "size": 64}
    )
    for task in config["tasks"].values():
        task |= {"init": "scratch"}
    config["tasks"]["large"] = config["tasks"]["era"] | {"size": 48}
    with pytest.raises(UserError) as caught:
        jigstack.run(config, quiet=True)
    first, second = str(caught.value).split(
        "\nfeatures.size: "
    )  # told once a backbone and size, not once a task
    assert first.startswith(
        "features.size: expected a size that mixer_s32_224 of tasks era, kind takes, which is built for 32 pixels, "
        "received 64 ("
    )
    assert second.startswith(
        "expected a size that mixer_s32_224 of task large takes, which is built for 48 pixels"
    )


def test_a_backbone_that_cannot_go_from_the_pretexts_size_to_the_heads_is_told_before_any_training(
    make_config,
):
    config = make_config(backbones={"img": {"name": "mixer_s32_224"}})
    for task in config["tasks"].values():
        task["size"] = 64
    with pytest.raises(UserError) as caught:
        jigstack.run(config, quiet=True)
    told = "expected inputs that mixer_s32_224 takes, built for the 32 pixels that its first pretext shows it"
    assert [line.split(" pixels (")[0] for line in str(caught.value).split("\n") if ".size: " in line] == [
        f"tasks.{name}.size: {told}, received 64" for name in ("era", "kind")
    ]
    assert not (Path(config["runs"]) / "trial").exists()
