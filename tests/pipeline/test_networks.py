"""Networks on the joined features of pictures and lines of one id, from the config to the scores."""

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jigstack
import numpy as np
import pandas as pd
import pytest
from jigstack.configs.errors import UserError
from jigstack.configs.load import load_config
from jigstack.configs.rates import suited
from jigstack.datasets.predictions import Predictions
from jigstack.pipeline.console import Console
from jigstack.pipeline.estimate import estimate
from jigstack.pipeline.finder import find_rates
from jigstack.pipeline.preflight import preflight
from jigstack.pipeline.stages import Stages
from jigstack.pipeline.variants import plan_rows
from jigstack.pipeline.workspace import Workspace
from jigstack.training.interrupt import Interrupted
from PIL import Image
from safetensors.numpy import load_file
from sklearn.metrics import r2_score

ROWS, TESTS, BROKEN = 150, 12, "r003"
CONSTANT = {"brightness": 0.0, "contrast": 0.0, "saturation": 0.0, "hue": 0.0}
Make = Callable[..., dict[str, Any]]


@pytest.fixture(scope="session")
def mill(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures whose brightness, and a table whose `heat`, are each one half of the yield; one picture is broken."""
    root = tmp_path_factory.mktemp("mill")
    rng = np.random.default_rng(0)
    light, heat = rng.uniform(-1, 1, (2, ROWS + TESTS))
    ids = [f"r{number:03d}" for number in range(ROWS + TESTS)]
    (root / "photos").mkdir()
    for name, value in zip(ids, light, strict=True):
        pixels = np.clip(128 + 90 * value + rng.normal(0, 5, (16, 16, 3)), 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(root / "photos" / f"{name}.png")
    (root / "photos" / f"{BROKEN}.png").write_bytes(b"no picture")
    frame = pd.DataFrame({"id": ids, "heat": heat, "load": rng.normal(size=len(ids)), "yield": light + heat})
    frame.iloc[:ROWS].sample(frac=1, random_state=1).to_csv(root / "train.csv", index=False)
    frame.iloc[ROWS:].drop(columns="yield").to_csv(root / "test.csv", index=False)
    return root


@pytest.fixture
def make(mill: Path, tmp_path: Path) -> Make:
    """A config whose head reads both; keyword arguments replace its top-level keys."""

    def config(**changes: Any) -> dict[str, Any]:
        trained = {"epochs": 12, "batch": 16, "lr": 0.003}
        head = {"kind": "regression", "columns": ["yield"], "size": 32, "augment": {"colour": CONSTANT}}
        return {
            "name": "trial",
            "runs": str(tmp_path / "runs"),
            "threads": 1,
            "device": "cpu",
            "data": {
                "root": str(mill),
                "id": "id",
                "train": ["train.csv"],
                "test": ["test.csv"],
                "images": "photos/{id}.png",
            },
            "folds": {"scheme": "kfold", "n": 2},
            "backbones": {
                "img": {"name": "test_resnet"},
                "rows": {"kind": "mlp", "options": {"width": 16, "depth": 1}},
            },
            "pretext": [
                {"name": "jig", "kind": "jigsaw", "backbone": "img", "size": 32, "epochs": 1, "batch": 16},
                {"name": "mask", "kind": "masked", "backbone": "rows", "epochs": 1, "batch": 16},
            ],
            "tasks": {"both": head | trained | {"init": ["jig", "mask"]}},
            "features": {"views": "hflip"},
        } | changes

    return config


def r2(path: Path, task: str, frame: pd.DataFrame) -> float:
    """Of the out-of-fold predictions of a task, each row's views averaged."""
    predictions = Predictions.read(path / "predictions" / f"{task}.parquet")
    rows = predictions.frame.query("role == 'oof'")
    guesses = rows.pivot_table(index="id", values=list(predictions.columns), aggfunc="mean")
    truth = frame.set_index("id").loc[guesses.index, "yield"]
    return float(r2_score(truth.to_numpy(), guesses.to_numpy()[:, 0]))


def test_a_head_on_joined_features_beats_those_of_each_backbone(make: Make, mill: Path):
    both = make()["tasks"]["both"]
    line = {key: value for key, value in both.items() if key not in ("size", "augment")}
    ridge = {"kind": "regression", "columns": ["yield"], "size": 32, "learner": "ridge"}
    tasks = {
        "both": both,
        "picture": both | {"init": "jig"},
        "line": line | {"init": "mask"},
        "frozen": ridge | {"init": ["jig", "mask"]},
        "frozen_picture": ridge | {"init": "jig"},
        "frozen_line": {"kind": "regression", "columns": ["yield"], "init": "mask", "learner": "ridge"},
    }
    tasks = {name: task | {"folds": [0]} for name, task in tasks.items()}
    path = jigstack.run(make(tasks=tasks), quiet=True).path
    frame = pd.read_csv(mill / "train.csv")
    scores = {task: r2(path, task, frame) for task in tasks}
    assert scores["both"] > max(scores["picture"], scores["line"]) + 0.1, scores
    assert scores["frozen"] > max(scores["frozen_picture"], scores["frozen_line"]) + 0.1, scores
    assert (path / "transfer/both/fold0/rows/table.json").is_file()
    for task in ("both", "frozen"):
        predictions = Predictions.read(path / "predictions" / f"{task}.parquet")
        assert BROKEN not in set(predictions.frame["id"])
        assert len(set(predictions.frame.query("role == 'test'")["id"])) == TESTS
    assert Predictions.read(path / "predictions" / "both.parquet").views == ("identity", "hflip")


def test_an_interrupted_joined_head_goes_on_to_the_same_bits(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    both = make()["tasks"]["both"] | {"epochs": 2, "folds": [0]}
    tasks = {"both": both | {"init": "scratch", "backbone": ["rows", "img"]}}
    small = {"pretext": [], "tasks": tasks}
    whole = jigstack.run(make(runs=str(tmp_path / "whole"), **small), quiet=True, until="finetune").path
    config = make(runs=str(tmp_path / "stopped"), **small)

    def epoch(self: Console, name: str, record: Any, unit: str = "images") -> None:
        if record.kind == "epoch":
            signal.raise_signal(signal.SIGINT)

    with monkeypatch.context() as patch:
        patch.setattr(Console, "epoch", epoch)
        with pytest.raises(Interrupted):
            jigstack.run(config, quiet=True, until="finetune")
    resumed = jigstack.run(config, quiet=True, until="finetune").path
    file = "transfer/both/fold0/head.safetensors"
    first, again = load_file(whole / file), load_file(resumed / file)
    assert first.keys() == again.keys() and all(np.array_equal(first[key], again[key]) for key in first)


def test_the_key_of_a_joined_head_holds_both_checkpoints_and_what_both_read(make: Make):
    def keys(*flags: str) -> dict[str, str]:
        return {stage.name: stage.key for stage in Stages(Workspace(load_config(make(), flags)))}

    plain = keys()
    for changed in ("pretext.jig.epochs=2", "pretext.mask.epochs=2", "backbones.rows.columns=[heat]"):
        found = keys(changed)
        assert found["finetune/both/fold0"] != plain["finetune/both/fold0"]
        assert found["predict/both/fold0"] != plain["predict/both/fold0"]


def test_auto_gives_the_smallest_rate_and_no_mix_and_the_backbones_of_the_starts(make: Make):
    config = Workspace(load_config(make(), ["tasks.both.lr=auto"])).config
    both = config.tasks["both"]
    assert both.backbone == ["img", "rows"] and both.init == ["jig", "mask"]
    assert both.rates() == suited("adamw", ["timm", "mlp"], 16) and both.augment.mix is None
    scratch = ["tasks.both.init=scratch", "tasks.both.backbone=[img, rows]", "tasks.both.epochs=200"]
    both = Workspace(load_config(make(), scratch)).config.tasks["both"]
    assert both.init == ["scratch", "scratch"] and both.augment.mix is None


def test_what_stops_before_training_is_told(make: Make):
    flags = ["tasks.both.freeze=[img, rows.blck]"]
    with pytest.raises(UserError, match=r"tasks.both.freeze: .*rows.blck"):
        preflight(Workspace(load_config(make(), flags)))
    known = ["data.columns=[heat, load]", "tasks.both.columns=[load]"]
    with pytest.raises(UserError, match="its backbone rows does not read, received load"):
        preflight(Workspace(load_config(make(), known)))
    preflight(Workspace(load_config(make(), ["tasks.both.freeze=[img]", "features.size=48"])))


def test_what_a_joined_run_costs_and_bears_can_be_measured(make: Make):
    stages = Stages(Workspace(load_config(make())))
    cost = estimate(stages, stages)
    assert cost.seconds["finetune/both/fold0"] > 0 and cost.seconds["predict/both/fold0"] > 0
    [(name, keys, rate, _)] = [each for each in find_rates(stages) if each[0].startswith("finetune")]
    assert keys == ["tasks.both.lr"] and rate == 0.003 and name.count("from random weights") == 2


@pytest.mark.parametrize(("neighbours", "searched"), [(0, False), (3, True)])
def test_looking_for_near_rows_is_among_the_costs(
    make_table_config: Make, monkeypatch: pytest.MonkeyPatch, neighbours: int, searched: bool
):
    monkeypatch.setattr(
        "jigstack.pretext.simsiam_rows.seconds_to_compare",
        lambda values, columns, k, count: 1e6 if (len(values), k, count) == (8192, 3, 135) else 0.0,
    )
    rows = [{"name": "mask", "kind": "simsiam_rows", "options": {"width": 16, "neighbours": neighbours}}]
    stages = Stages(Workspace(load_config(make_table_config(pretext=rows))))
    seconds = estimate(stages, stages.pretrain).seconds["pretrain/mask"]
    assert 0 < seconds % 1e6 < 1e5 and (seconds > 1e6) == searched


def test_an_ablation_of_a_joined_head_is_refused_with_the_way_out(make: Make):
    with pytest.raises(UserError, match=r"head: expected one of a single backbone, .* received 'both'"):
        plan_rows(load_config(make()), "both", None)
