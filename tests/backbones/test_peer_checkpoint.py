"""A file of pytorch-tabnet becomes a checkpoint: the same features, and the start of a run."""

import zipfile
from pathlib import Path
from typing import Any

import jigstack
import numpy as np
import pandas as pd
import pytest
import torch
from jigstack.backbones import load_backbone, read_seen
from jigstack.backbones.peer_checkpoint import convert_peer
from jigstack.backbones.tabnet_peer import read_peer
from jigstack.configs.errors import UserError
from jigstack.datasets.table_schema import TableSchema
from jigstack.pretext import MaskedTablePretrainer
from jigstack.transfer import TabNetClassifier as OurClassifier
from pytorch_tabnet.pretraining import TabNetPretrainer
from pytorch_tabnet.tab_model import TabNetClassifier, TabNetRegressor
from safetensors.torch import load_file

COLUMNS = ["heat", "site", "load", "grade", "dust"]
SITES, GRADES = ["north", "south", "west"], ["a", "b", "c", "d"]
CATEGORIES = {"cat_idxs": [1, 3], "cat_dims": [3, 4], "cat_emb_dim": 2}
OPTIONS = {"n_d": 6, "n_a": 5, "n_steps": 2, "verbose": 0, "device_name": "cpu", "seed": 3}
HOW = {"max_epochs": 3, "batch_size": 128, "virtual_batch_size": 32, "drop_last": False}
pytestmark = pytest.mark.filterwarnings("ignore")


def table(count: int = 256, seed: int = 0) -> pd.DataFrame:
    """Numbers far from mean 0 and standard deviation 1, categories as the numbers of their levels."""
    rng = np.random.default_rng(seed)
    heat = rng.normal(300, 20, count)
    columns = {
        "heat": heat,
        "site": rng.integers(0, 3, count),
        "load": 1e-3 * rng.gamma(2, 2, count),
        "grade": rng.integers(0, 4, count),
        "dust": rng.normal(-5, 0.1, count),
    }
    return pd.DataFrame(columns, index=pd.Index([f"r{n:03d}" for n in range(count)], name="id"))


def label(frame: pd.DataFrame) -> np.ndarray:
    return np.where((frame["heat"] > 300) == (frame["site"] > 0), "yes", "no")


def saved(kind: str, folder: Path, **options: Any) -> tuple[Any, Path]:
    """A model of pytorch-tabnet, trained for some steps and saved by itself."""
    x = table().to_numpy(dtype=np.float32)
    given = {**OPTIONS, **CATEGORIES, **options}
    if kind == "pretrainer":
        model = TabNetPretrainer(**given)
        model.fit(x, **HOW)
    elif kind == "regressor":
        model = TabNetRegressor(**given)
        model.fit(x, table()[["heat", "dust"]].to_numpy(dtype=np.float32), **HOW)
    else:
        model = TabNetClassifier(**given)
        model.fit(x, label(table()), **HOW)
    return model, Path(model.save_model(str(folder / kind)))


def steps_of(model: Any, x: torch.Tensor) -> list[torch.Tensor]:
    """What pytorch-tabnet's encoder hands to its last layers, step by step."""
    network = model.network.eval()
    encoder = network.encoder if hasattr(network, "encoder") else network.tabnet.encoder
    with torch.no_grad():
        return encoder(network.embedder(x))[0]


CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "pretrainer": ("pretrainer", {}),
    "classifier": ("classifier", {}),
    "regressor, entmax": ("regressor", {"mask_type": "entmax"}),
    "numbers alone": ("classifier", {"cat_idxs": [], "cat_dims": [], "cat_emb_dim": 1}),
    "only layers of a step": ("pretrainer", {"n_shared": 0, "n_independent": 2}),
    "levels that no row has": ("classifier", {"cat_dims": [5, 9]}),
}


@pytest.mark.parametrize("case", CASES)
def test_the_checkpoint_sees_in_rows_what_pytorch_tabnet_does(case: str, tmp_path: Path):
    kind, options = CASES[case]
    model, file = saved(kind, tmp_path, **options)
    folder = tmp_path / "new" / "folder"
    section = convert_peer(file, table(), folder)
    backbone, card = load_backbone(folder)
    assert section["kind"] == "tabnet" and card["options"].items() >= section["options"].items()
    rows = table(100, seed=1)  # others than those that taught means and levels
    with torch.no_grad():
        encoded = backbone.eval().encode(torch.from_numpy(TableSchema.load(folder).encode(rows)))
    theirs = steps_of(model, torch.from_numpy(rows.to_numpy(dtype=np.float32)))
    assert len(encoded.steps) == len(theirs) == 2
    for step, expected in zip(encoded.steps, theirs, strict=True):
        torch.testing.assert_close(step.relu(), expected, atol=2e-4, rtol=1e-3)
    assert float(encoded.features.std()) > 0.01


def test_it_attends_to_the_columns_that_pytorch_tabnet_explains(tmp_path: Path):
    model, file = saved("classifier", tmp_path, cat_idxs=[], cat_dims=[], cat_emb_dim=1)
    convert_peer(file, table(), tmp_path / "ours")
    backbone, _ = load_backbone(tmp_path / "ours")
    explained, _ = model.explain(table().to_numpy(dtype=np.float32))
    with torch.no_grad():
        shares = backbone.eval().importance(
            torch.from_numpy(TableSchema.load(tmp_path / "ours").encode(table()))
        )
    expected = explained / explained.sum(1, keepdims=True)
    seen = explained.sum(1) > 0  # of a row that no step adds to, it explains nothing
    np.testing.assert_allclose(shares.numpy()[seen], expected[seen], atol=1e-3)


def test_what_a_pretrainer_hid_is_hidden_the_same_way(tmp_path: Path):
    model, file = saved("pretrainer", tmp_path)
    convert_peer(file, table(), tmp_path / "ours")
    backbone, _ = load_backbone(tmp_path / "ours")
    rows = table(64, seed=1)
    hidden = torch.rand(64, 5, generator=torch.Generator().manual_seed(0)) < 0.4  # in the table's order
    network = model.network.eval()
    with torch.no_grad():
        embedded = network.embedder(torch.from_numpy(rows.to_numpy(dtype=np.float32)))
        width = hidden.float() @ network.embedder.embedding_group_matrix
        steps, _ = network.encoder(embedded * (width == 0), prior=(~hidden).float())
        ours = backbone.eval().encode(
            torch.from_numpy(TableSchema.load(tmp_path / "ours").encode(rows)),
            hidden[:, [COLUMNS.index(column.name) for column in backbone.columns]],
        )
    for step, expected in zip(ours.steps, steps, strict=True):
        torch.testing.assert_close(step.relu(), expected, atol=2e-4, rtol=1e-3)


def test_a_gap_is_the_mean_to_a_classifier_and_what_it_was_shown_to_a_pretrainer(tmp_path: Path):
    for kind in ("classifier", "pretrainer"):
        convert_peer(saved(kind, tmp_path)[1], table(), tmp_path / kind)
        backbone, _ = load_backbone(tmp_path / kind)
        schema = TableSchema.load(tmp_path / kind)
        blank, embedded = backbone.input.blank.detach(), backbone.input.embeddings[0].weight.detach()
        means = table()[["heat", "load", "dust"]].mean().to_numpy()
        shown = blank.numpy() * schema.scale + schema.centre
        np.testing.assert_allclose(shown, means if kind == "classifier" else 0, rtol=1e-5, atol=1e-4)
        for column, first in zip(schema.columns[3:], backbone.input.embeddings[0].offsets, strict=True):
            masked, unknown, missing, *levels = embedded[int(first) : int(first) + column.size]
            mean = torch.tensor(column.shares) @ torch.stack(levels)
            torch.testing.assert_close(unknown, mean)
            expected = mean if kind == "classifier" else torch.zeros(2)
            torch.testing.assert_close(masked, expected)
            torch.testing.assert_close(missing, expected)


def test_values_of_categories_are_found_by_the_order_of_their_numbers(tmp_path: Path):
    _, file = saved("classifier", tmp_path)
    convert_peer(file, table(), tmp_path / "numbers")
    named = table().assign(
        site=[SITES[number] for number in table()["site"]],
        grade=[GRADES[number] for number in table()["grade"]],
    )
    convert_peer(file, named, tmp_path / "names", levels={"site": SITES, "grade": np.array(GRADES)})
    found = []
    for folder, frame in (("numbers", table()), ("names", named)):
        backbone, _ = load_backbone(tmp_path / folder)
        with torch.no_grad():
            found.append(backbone.eval()(torch.from_numpy(TableSchema.load(tmp_path / folder).encode(frame))))
    torch.testing.assert_close(found[0], found[1])


def test_a_column_that_hardly_varied_in_its_training_is_rescaled_too(tmp_path: Path):
    """Its variance then is nearly all epsilon, of which a standardised column has another share."""
    _, file = saved("classifier", tmp_path, cat_idxs=[], cat_dims=[], cat_emb_dim=1)
    peer = read_peer(file)
    peer.encoder.initial_norm.running_var[:] = 1e-9  # pyright: ignore[reportOptionalMemberAccess]
    rows = table(50, seed=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("jigstack.backbones.peer_checkpoint.read_peer", lambda file: peer)
        convert_peer(file, table(), tmp_path / "ours")
    backbone, _ = load_backbone(tmp_path / "ours")
    assert float(backbone.encoder.initial_norm.running_var.min()) == 0
    with torch.no_grad():
        ours = backbone.eval()(torch.from_numpy(TableSchema.load(tmp_path / "ours").encode(rows)))
        theirs = peer.encoder(torch.from_numpy(rows.to_numpy(dtype=np.float32))).features
    torch.testing.assert_close(ours, theirs, rtol=1e-2, atol=1e-2)


def test_files_and_tables_that_do_not_fit_are_refused_and_nothing_is_written(tmp_path: Path):
    file = saved("classifier", tmp_path)[1]

    def refused(why: str, file: Path = file, frame: pd.DataFrame | None = None, **options: Any) -> None:
        with pytest.raises(ValueError, match=why):
            convert_peer(file, table() if frame is None else frame, tmp_path / "no", **options)
        assert not (tmp_path / "no").exists()

    broken = tmp_path / "broken.zip"
    broken.write_bytes(file.read_bytes()[:2000])
    refused("broken.zip: expected a zip that pytorch-tabnet's save_model wrote", broken)
    with zipfile.ZipFile(file) as archive, zipfile.ZipFile(tmp_path / "hurt.zip", "w") as hurt:
        hurt.writestr("model_params.json", archive.read("model_params.json"))
        hurt.writestr("network.pt", archive.read("network.pt")[:-200])
    refused("hurt.zip: expected a zip that pytorch-tabnet", tmp_path / "hurt.zip")
    refused("expected the 5 columns that .* in their order, received 4", frame=table().drop(columns="dust"))
    refused("expected the 5 columns .*received 6", frame=table().assign(more=1.0))
    refused("expected columns that vary, .*received load has one value only", frame=table().assign(load=1.0))
    wrong = table().assign(site=table()["site"] + 1)
    refused("expected in 'site' the numbers 0 to 2, or levels=.*received '3'", frame=wrong)
    refused("levels: expected 3 of 'site', received 2", levels={"site": ["x", "y"]})
    refused(r"expected in 'site' values that stand in levels, received", levels={"site": ["x", "y", "z"]})
    refused("levels: expected categories of .*'site', 'grade'.*received 'heat'", levels={"heat": ["x"]})
    refused("grouped_features", saved("classifier", tmp_path, grouped_features=[[0, 2]])[1])
    refused("embeddings of one width, .*\\[1, 2\\]", saved("classifier", tmp_path, cat_emb_dim=[1, 2])[1])


def test_the_rows_it_saw_are_told_if_they_are_known(tmp_path: Path):
    file = saved("classifier", tmp_path)[1]
    convert_peer(file, table(), tmp_path / "ours", seen=table().index)
    assert read_seen(tmp_path / "ours") == set(table().index)
    convert_peer(file, table(), tmp_path / "ours")
    assert not (tmp_path / "ours/seen.parquet").exists()


def test_the_estimators_take_it(tmp_path: Path):
    _, file = saved("pretrainer", tmp_path)
    convert_peer(file, table(), tmp_path / "ours")
    pretrainer = MaskedTablePretrainer.load(tmp_path / "ours", "cpu")
    assert pretrainer.seen_ids_ is None and pretrainer.transform(table()).shape == (256, 6)
    model = OurClassifier(pretrained=tmp_path / "ours", epochs=1, device="cpu", random_state=0)
    assert model.fit(table(), label(table())).predict(table()).shape == (256,)


def config_of(root: Path, section: dict[str, Any], start: Path, **changes: Any) -> dict[str, Any]:
    frame = table().assign(answer=label(table()))
    frame.to_csv(root / "train.csv")
    table(40, seed=1).rename(index=lambda name: f"t{name}").to_csv(root / "test.csv")
    trained = {"kind": "onehot", "columns": ["answer"], "init": str(start), "epochs": 1, "batch": 64}
    return {
        "name": "trial",
        "runs": str(root / "runs"),
        "threads": 1,
        "device": "cpu",
        "data": {"root": str(root), "id": "id", "train": ["train.csv"], "test": ["test.csv"]},
        "folds": {"n": 2},
        "backbones": {"rows": section},
        "tasks": {"answer": {**trained, "freeze": "all"}},
        "stack": {"answer": {"target": "answer", "metric": "accuracy"}},
    } | changes


@pytest.mark.parametrize("kind", ["pretrainer", "classifier"])
def test_a_run_starts_from_it(kind: str, tmp_path: Path, capsys: pytest.CaptureFixture):
    _, file = saved(kind, tmp_path)
    start = tmp_path / "peer"
    section = convert_peer(file, table(), start)
    result = jigstack.run(config_of(tmp_path, section, start))
    printed = capsys.readouterr().out
    assert (
        "has no seen.parquet: which rows it saw is not known" in printed and "attention of answer" in printed
    )
    head = load_file(result.path / "transfer/answer/fold1/head.safetensors")
    theirs = load_file(start / "backbone.safetensors")
    for name, value in theirs.items():
        assert torch.equal(head[f"backbone.{name}"], value), name
    for name in ("table.json", "table.safetensors"):
        assert (result.path / "transfer/answer/fold0" / name).read_bytes() == (start / name).read_bytes()
    assert result.submission is not None


def test_frozen_members_of_a_run_learn_from_pytorch_tabnet_s_features(tmp_path: Path):
    model, file = saved("classifier", tmp_path)
    section = convert_peer(file, table(), tmp_path / "peer")
    task = {"kind": "onehot", "columns": ["answer"], "init": str(tmp_path / "peer"), "learner": "ridge"}
    config = config_of(tmp_path, section, tmp_path / "peer", tasks={"answer": task}, stack={})
    path = jigstack.run(config, quiet=True, until="features").path
    ids = pd.read_parquet(next((path / "embeddings").glob("*/ids.parquet")))["id"]
    values = np.load(next((path / "embeddings").glob("*/embeddings.npy")))
    rows = table().reindex(ids).dropna().to_numpy(dtype=np.float32)
    expected = torch.stack(steps_of(model, torch.from_numpy(rows))).sum(0).numpy()
    np.testing.assert_allclose(values[ids.isin(table().index.tolist())], expected, atol=5e-4, rtol=1e-3)
    assert expected.std() > 0.01


def test_a_masked_pretraining_goes_on_from_it(tmp_path: Path):
    _, file = saved("pretrainer", tmp_path)
    section = convert_peer(file, table(), tmp_path / "peer")
    pretext = {"name": "mask", "kind": "masked", "init": str(tmp_path / "peer"), "epochs": 1, "batch": 64}
    config = config_of(tmp_path, section, tmp_path / "peer", pretext=[pretext], tasks={}, stack={})
    path = jigstack.run(config, quiet=True, until="pretrain").path
    after, before = (
        load_file(folder / "backbone.safetensors") for folder in (path / "pretext/mask", tmp_path / "peer")
    )
    assert after.keys() == before.keys() and not torch.equal(after["input.blank"], before["input.blank"])
    moved = [float((after[name] - before[name]).abs().max()) for name in after if name.endswith("weight")]
    assert 0 < max(moved) < 0.5  # a few steps from where it began


def test_a_run_takes_it_as_a_pretext_if_the_rows_it_saw_are_known(tmp_path: Path):
    _, file = saved("pretrainer", tmp_path)
    ids = [*table().index, *(f"t{name}" for name in table(40, seed=1).index)]
    section = convert_peer(file, table(), tmp_path / "peer", seen=ids)
    pretext = {"name": "peer", "kind": "masked", "reuse": str(tmp_path / "peer")}
    config = config_of(tmp_path, section, Path("peer"), pretext=[pretext], stack={})
    path = jigstack.run(config, quiet=True, until="finetune").path
    assert load_file(path / "pretext/peer/backbone.safetensors").keys()
    (tmp_path / "peer/seen.parquet").unlink()
    with pytest.raises(UserError, match=r"peer\.reuse: expected a checkpoint that tells which rows it saw"):
        jigstack.run(config | {"runs": str(tmp_path / "others")}, quiet=True)


def test_a_run_whose_backbone_or_columns_are_others_says_so(tmp_path: Path):
    _, file = saved("classifier", tmp_path)
    section = convert_peer(file, table(), tmp_path / "peer")
    other = section | {"options": section["options"] | {"n_d": 8}}
    with pytest.raises(ValueError, match=r"expected a backbone with options .*'n_d': 8"):
        jigstack.run(config_of(tmp_path, other, tmp_path / "peer"), quiet=True)
    narrow = config_of(tmp_path, section | {"columns": ["heat", "site"]}, tmp_path / "peer")
    with pytest.raises(
        UserError, match=r"tasks\.answer\.init: expected a checkpoint whose columns the backbone reads"
    ):
        jigstack.run(narrow, quiet=True)


def test_an_array_has_no_names_for_its_columns(tmp_path: Path):
    with pytest.raises(TypeError, match=r"frame: expected a DataFrame, .* received ndarray; make one"):
        convert_peer(tmp_path / "any.zip", np.zeros((2, 2)), tmp_path / "ours")  # pyright: ignore[reportArgumentType]
