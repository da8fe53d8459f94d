"""A pretraining that is watched: collapse stops it, probes come at their epochs, the best one can be kept."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from jigstack.backbones import load_backbone
from jigstack.backbones.table_backbone import TableBackbone
from jigstack.backbones.table_build import build_table_backbone
from jigstack.configs import registry
from jigstack.configs.data import Decode, Folds
from jigstack.configs.masked import MaskedOptions
from jigstack.configs.pretext import JigsawOptions
from jigstack.configs.schema import Backbone, Pretext, Probe, Task
from jigstack.datasets.files import read_json
from jigstack.datasets.folds import make_plan
from jigstack.datasets.images import build_store
from jigstack.datasets.pictures import Pictures
from jigstack.datasets.table_rows import TableRows
from jigstack.datasets.table_schema import TableSchema
from jigstack.datasets.targets import code_target
from jigstack.pretext.collapse import Collapsed
from jigstack.pretext.jigsaw import Jigsaw
from jigstack.pretext.masked import MaskedTable
from jigstack.pretext.neighbours import nearest_rows
from jigstack.pretext.parts import PARTS, load_parts
from jigstack.pretext.pretrain import (
    PretrainWork,
    StoredInputs,
    best_epoch,
    compared_rows,
    keep_snapshot,
    pretrain,
    skill_of_columns,
    snapshot_file,
    split_held,
)
from jigstack.pretext.probing import probe_rows
from jigstack.training.device import Machine
from jigstack.training.interrupt import Interrupted
from PIL import Image
from safetensors.torch import load_file

N = 40


class Squeezed(Jigsaw):
    """A pretext whose best answer is the same features for every picture, as SimSiam's without its stop-gradient."""

    def forward(self, views: Any) -> Any:
        return self.backbone(views["boards"])

    def loss(self, outputs: Any, views: Any) -> dict[str, torch.Tensor]:
        z = torch.nn.functional.normalize(outputs.float(), dim=1)
        return {"loss": (z[:, None] - z[None]).square().mean() * z.shape[1]}

    def measure(self, outputs: Any, views: Any) -> dict[str, float]:
        z = torch.nn.functional.normalize(outputs.float(), dim=1)
        return {"z_std": float(z.std(dim=0, correction=0).mean() * z.shape[1] ** 0.5)}

    def preview(self, batch: torch.Tensor, generator: torch.Generator) -> Image.Image:
        return Image.new("L", (4, 4))


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Pictures:
    folder = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    ids = np.array([f"r{number:02d}" for number in range(N)], dtype=object)
    paths = np.array([str(folder / f"{name}.png") for name in ids], dtype=object)
    for number, path in enumerate(paths):
        pixels = rng.integers(0, 200, (24, 24, 3), dtype=np.uint8)
        pixels[: 12 + number % 3 * 4, :, number % 3] = 255
        Image.fromarray(pixels).save(path)
    return Pictures(build_store(ids, paths, folder / "store", 40, Decode()))


def work_on(pictures: Pictures, fold: int | None = None, **options: Any) -> PretrainWork:
    frame = pd.DataFrame({"colour": np.arange(N) % 3}, index=pd.Index(pictures.owners, name="id"))
    plan = make_plan(frame.index, Folds(n=4), 0)
    target = code_target("tone", Task(kind="onehot", columns=["colour"]), frame)
    given = {"name": "jig", "kind": "jigsaw", "size": 32, "batch": 8, "epochs": 5, "scope": "transductive"}
    given |= {"optimiser": "adamw", "lr": 1e-3, "weight_decay": 0.05}
    return PretrainWork(
        options=Pretext(**given | options),
        ids=pictures.owners if fold is None else plan.train_ids(fold),
        inputs=pictures,
        backbone=Backbone(name="test_resnet"),
        checkpoint=None,
        fold=fold,
        machine=Machine("cpu", "fp32", False, 1),
        seed=0,
        probes=probe_rows({"tone": target}, frame, plan, pictures, Probe(), 0, fold),
        probe_every=2,
    )


def silent(record: Any) -> None:
    pass


def scalars(folder: Path) -> list[dict[str, float]]:
    return [each["scalars"] for each in json.loads((folder / "history.json").read_text())]


@pytest.fixture
def squeezing(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Options of a training that collapses at once."""
    entry = registry.Entry(options=JigsawOptions, implementation=Squeezed)
    monkeypatch.setattr(registry, "PRETEXTS", {**registry.PRETEXTS, "squeezed": entry})
    return {"kind": "squeezed", "lr": 0.5, "warmup": 0.0, "epochs": 30}


def test_a_collapse_stops_the_training_with_advice_and_keeps_the_checkpoint(
    pictures: Pictures, squeezing: dict[str, Any], tmp_path: Path
):
    said: list[str] = []
    seen = []
    work = work_on(pictures, **squeezing)
    with pytest.raises(Collapsed, match=r"it has collapsed.*Try lr: 0.17 \(now 0.5\), batch: 64 \(now 8\)"):
        pretrain(work, tmp_path, "key", seen.append, say=said.append)
    assert len(seen) < 30
    assert all(record.scalars["held_z_std"] < 0.1 for record in seen[-3:])
    assert (tmp_path / "last.ckpt").exists() and not (tmp_path / "backbone.json").exists()
    assert len(said) == 2 and "Try" not in said[0] and "Try" in said[1]

    with pytest.raises(Collapsed):  # the same command again trains no further
        pretrain(work, tmp_path, "key", seen.append, say=said.append)
    assert len(said) == 2

    lenient = replace(
        work, options=work.options.model_copy(update={"collapse": "warn", "epochs": len(seen) + 1})
    )
    pretrain(lenient, tmp_path, "key", silent, say=said.append)
    assert (tmp_path / "backbone.json").exists()
    assert len(scalars(tmp_path)) == len(seen) + 1


def test_every_epoch_has_the_spread_of_the_features_and_some_have_probes(pictures: Pictures, tmp_path: Path):
    pretrain(work_on(pictures), tmp_path, "key", silent)
    history = scalars(tmp_path)
    assert all(0.01 < each["feature_std"] < 1 < each["feature_rank"] for each in history)
    probed = [number for number, each in enumerate(history, 1) if "probe.tone.ridge.accuracy" in each]
    assert probed == [2, 4, 5]
    assert history[4]["probe.tone.knn.accuracy"] > 0.5
    assert not any("snapshot" in each for each in history)
    assert not list(tmp_path.glob("snapshot-*"))


def test_probes_change_no_weight(pictures: Pictures, tmp_path: Path):
    work = work_on(pictures, epochs=3)
    pretrain(work, tmp_path / "probed", "key", silent)
    pretrain(replace(work, probes=None), tmp_path / "bare", "key", silent)
    one, two = (load_file(tmp_path / name / "backbone.safetensors") for name in ("probed", "bare"))
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert not any(name.startswith("probe") for each in scalars(tmp_path / "bare") for name in each)


@pytest.mark.parametrize("fold", [None, 1])
def test_the_snapshot_of_the_best_probe_is_kept_also_by_a_resumed_training(
    pictures: Pictures, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fold: int | None
):
    """With an order of scores of our own, the second of three probes wins; the weights are those of that epoch."""
    work = work_on(pictures, fold, snapshot="probe")
    inner = []

    def judged(scores: dict[str, float]) -> float:
        inner.append(scores)
        return {1: 0.2, 2: 0.9, 0: 0.5}[len(inner) % 3]

    monkeypatch.setattr("jigstack.pretext.pretrain.summary", judged)
    pretrain(work, tmp_path / "whole", "key", silent)
    assert [each.get("snapshot") for each in scalars(tmp_path / "whole")] == [None, 0.2, None, 0.9, 0.5]
    assert read_json(tmp_path / "whole" / "backbone.json")["snapshot"] == 4
    assert not list((tmp_path / "whole").glob("snapshot-*"))

    records: list[Any] = []
    with pytest.raises(Interrupted):
        pretrain(work, tmp_path / "parts", "key", records.append, lambda: len(records) > 3)
    assert (tmp_path / "parts" / "snapshot-4.safetensors").exists()
    pretrain(work, tmp_path / "parts", "key", silent)
    whole, parts = (load_file(tmp_path / name / "backbone.safetensors") for name in ("whole", "parts"))
    assert all(torch.equal(whole[name], parts[name]) for name in whole)
    assert scalars(tmp_path / "whole") == scalars(tmp_path / "parts")

    last = work_on(pictures, fold)
    pretrain(last, tmp_path / "last", "key", silent)
    others = load_file(tmp_path / "last" / "backbone.safetensors")
    assert not all(torch.equal(whole[name], others[name]) for name in whole)
    load_backbone(tmp_path / "whole")


def test_a_snapshot_of_a_pretext_that_predicts_cells_is_of_its_decoder_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """The first of two probes wins: all that is kept is what one epoch of the same schedule left."""
    draws = np.random.default_rng(0)
    frame = pd.DataFrame({"a": draws.normal(size=40)}, index=[f"r{number}" for number in range(40)])
    frame["b"] = 2 * frame["a"]
    schema = TableSchema.fit(frame, ["a", "b"])
    inputs = TableRows(schema.encode(frame), frame.index.tolist(), schema)
    options = Pretext(name="m", kind="masked", epochs=2, batch=16, optimiser="adamw", lr=0.01)
    section = Backbone(kind="mlp", options={"width": 8, "depth": 1})
    machine = Machine("cpu", "fp32", False, 1)
    work = PretrainWork(options, inputs.owners, inputs, section, None, None, machine, 0, None, 1)
    states = []

    def worse_and_worse(work: Any, method: Any, folder: Path, epoch: int) -> dict[str, float]:
        keep_snapshot(method, work.options.kind, snapshot_file(folder, epoch))
        return {"snapshot": -float(epoch)}

    monkeypatch.setattr("jigstack.pretext.pretrain.probe_scores", worse_and_worse)

    def note(record: Any) -> None:
        tensors = load_file(snapshot_file(tmp_path, record.epoch))
        states.append({name.removeprefix("pretext:"): value for name, value in tensors.items()})

    pretrain(work, tmp_path, "key", note)
    kept = load_file(tmp_path / PARTS)
    assert read_json(tmp_path / "backbone.json")["snapshot"] == 1
    assert all(torch.equal(value, states[0][name]) for name, value in kept.items())
    assert not all(torch.equal(value, states[1][name]) for name, value in kept.items())
    backbone = load_file(tmp_path / "backbone.safetensors")
    assert backbone.keys().isdisjoint(kept) and all(
        torch.equal(value, states[0][name]) for name, value in backbone.items()
    )
    method = MaskedTable(load_backbone(tmp_path)[0], MaskedOptions())
    load_parts(method, tmp_path, read_json(tmp_path / "backbone.json")["parts"])
    held = split_held(work)[1]
    skills = skill_of_columns(method.eval(), StoredInputs(inputs, held), machine, 0)
    assert skills == read_json(tmp_path / "columns.json")


def test_a_resumed_training_on_near_rows_does_not_look_for_them_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """They wait in the folder until the training is finished, and are those of its key."""
    frame = pd.DataFrame(
        np.random.default_rng(0).normal(size=(60, 3)), columns=list("abc"), index=[f"r{n}" for n in range(60)]
    )
    schema = TableSchema.fit(frame, list("abc"))
    inputs = TableRows(schema.encode(frame), frame.index.tolist(), schema)
    options = Pretext(
        name="s",
        kind="simsiam_rows",
        epochs=3,
        batch=16,
        optimiser="sgd",
        options={"neighbours": 3, "width": 8},
    )
    section = Backbone(kind="mlp", options={"width": 8, "depth": 1})
    machine = Machine("cpu", "fp32", False, 1)
    work = PretrainWork(options, inputs.owners, inputs, section, None, None, machine, 0)
    searched = []

    def search(*args: Any, **more: Any) -> torch.Tensor:
        searched.append(len(args[0]))
        return nearest_rows(*args, **more)

    monkeypatch.setattr("jigstack.pretext.simsiam_rows.nearest_rows", search)
    pretrain(work, tmp_path / "whole", "key", silent)
    assert searched == [57, 57]  # those of the trained rows, and of the held ones
    records: list[Any] = []
    with pytest.raises(Interrupted):
        pretrain(work, tmp_path / "parts", "key", records.append, lambda: len(records) > 0)
    assert len(searched) == 4 and (tmp_path / "parts/nearest.safetensors").is_file()
    pretrain(work, tmp_path / "parts", "key", silent)
    assert len(searched) == 4
    assert not [path for path in tmp_path.rglob("*") if "nearest" in path.name]
    whole, parts = (load_file(tmp_path / name / "backbone.safetensors") for name in ("whole", "parts"))
    assert all(torch.equal(whole[name], parts[name]) for name in whole)


def test_of_equal_probes_the_first_is_best():
    history = [{"epoch": n, "scalars": {"snapshot": score}} for n, score in ((2, 0.5), (4, 0.7), (5, 0.7))]
    assert best_epoch([{"epoch": 1, "scalars": {}}, *history]) == 4
    assert best_epoch([{"epoch": 1, "scalars": {}}]) is None


def test_few_held_out_rows_are_joined_by_trained_ones():
    seen, held = np.arange(100, 300).astype(object), np.arange(10).astype(object)
    rows = compared_rows(seen, held)
    assert len(rows) == len(set(rows)) == 64
    assert compared_rows(seen, np.arange(90).astype(object)).tolist() == list(range(90))
    assert len(compared_rows(seen[:5], held)) == 15


def test_the_skill_of_columns_is_told_by_a_pretext_that_predicts_cells_alone():
    torch.manual_seed(0)
    numbers = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
    frame = pd.DataFrame(numbers, columns=list("abc"), index=[f"r{number}" for number in range(40)])
    schema = TableSchema.fit(frame, list("abc"))
    source = StoredInputs(
        TableRows(schema.encode(frame), frame.index.tolist(), schema), frame.index.to_numpy()
    )
    backbone = build_table_backbone("mlp", schema.columns, {"width": 8})
    assert isinstance(backbone, TableBackbone)
    method = MaskedTable(backbone, MaskedOptions())
    machine = Machine("cpu", "fp32", False, 1)
    found = skill_of_columns(method, source, machine, 0)
    assert list(found) == ["a", "b", "c"] and all(-1 < skill < 0.2 for skill in found.values())
    assert (
        skill_of_columns(method, source, machine, 0) == found != skill_of_columns(method, source, machine, 1)
    )
    assert skill_of_columns(torch.nn.Identity(), source, machine, 0) == {}
