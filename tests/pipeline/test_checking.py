"""`check` names what is wrong before anything is trained."""

import re
import shutil
from pathlib import Path

import jigstack
import numpy as np
import pandas as pd
import pytest
from jigstack.configs.errors import UserError
from PIL import Image


@pytest.fixture
def flawed(museum: Path, tmp_path: Path) -> Path:
    """The museum with a broken, an empty and a missing picture, and the same picture in two groups and in the test."""
    root = tmp_path / "flawed"
    shutil.copytree(museum, root)
    photos = root / "photos"
    (photos / "000.png").write_bytes(b"not a picture")
    (photos / "001.png").write_bytes(b"")
    (photos / "002.png").unlink()
    for name in ("020", "030", "065"):
        shutil.copy(photos / "010.png", photos / f"{name}.png")
    return root


def test_check_names_broken_empty_missing_and_repeated_pictures(
    make_config, flawed: Path, capsys: pytest.CaptureFixture
):
    report = jigstack.check(make_config(data=make_config()["data"] | {"root": str(flawed)}))
    codes = {finding.code for finding in report.data.findings}
    assert {
        "images-broken",
        "images-empty",
        "images-missing",
        "duplicates-across-folds",
        "duplicates-of-test",
    } <= codes
    by_code = {finding.code: finding for finding in report.data.findings}
    assert by_code["images-broken"].ids == ("000",) and by_code["images-missing"].ids == ("002",)
    printed = capsys.readouterr().out
    assert "000" in printed and "shares" not in printed and "cost of a whole run" in printed
    assert "target: " in printed and "fold" in printed


def test_check_of_arrays_without_a_window_says_which_to_write(
    make_config, museum: Path, tmp_path: Path, capsys: pytest.CaptureFixture
):
    root = tmp_path / "arrays"
    shutil.copytree(museum, root)
    for path in (root / "photos").glob("*.png"):
        np.save(path.with_suffix(".npy"), np.asarray(Image.open(path)).astype(np.float32) / 255)
        path.unlink()
    files = {"root": str(root), "images": "photos/{id}.npy", "unlabelled": ["photos"]}
    config = make_config(data=make_config()["data"] | files)
    report = jigstack.check(config)
    assert report.data.failed and report.data.counts["unreadable images"] == 78
    printed = capsys.readouterr().out
    assert "can be read. Set data.decode.window.\n" in printed and "all 78" not in printed
    override = re.search(r"on the command line (data\.decode\.window=\[\S+\])\.\n", printed)
    assert override is not None
    again = jigstack.check(config, [override[1]])
    assert not again.data.failed and again.data.counts["unreadable images"] == 0


def test_check_of_clean_data_finds_no_error_and_estimates_every_stage(
    make_config, capsys: pytest.CaptureFixture
):
    report = jigstack.check(make_config())
    assert not report.data.failed
    assert set(report.cost.seconds) == {
        "pretrain/jig",
        *(f"{stage}/era+kind/fold{fold}" for stage in ("finetune", "predict") for fold in range(3)),
    }
    assert all(seconds > 0 for seconds in report.cost.seconds.values())
    assert report.cost.memory > 1e7 and report.cost.disk > 78 * 3 * 64**2
    assert "no errors" in capsys.readouterr().out


def test_check_leaves_no_run_directory(make_config):
    config = make_config()
    jigstack.check(config, quiet=True)
    assert not (Path(config["runs"]) / "trial").exists()


def test_no_readable_picture_at_all_is_an_error(make_config, museum: Path, tmp_path: Path):
    root = tmp_path / "empty"
    (root / "photos").mkdir(parents=True)
    for name in ("train.csv", "test.csv"):
        shutil.copy(museum / name, root / name)
    Image.new("RGB", (8, 8)).save(root / "photos" / "extra.png")
    data = make_config()["data"] | {"root": str(root)}
    assert jigstack.check(make_config(data=data), quiet=True).data.failed
    with pytest.raises(ValueError, match="expected at least 4 readable images, received 1"):
        jigstack.run(make_config(data=data), quiet=True)


def test_a_column_that_is_not_there_is_named_with_the_key(make_config, museum: Path):
    folds = {"scheme": "group", "n": 3, "group": "serie"}
    with pytest.raises(ValueError, match=r"folds.group: .*'serie'.*series"):
        jigstack.check(make_config(folds=folds), quiet=True)


def test_a_data_root_that_is_not_there_is_named_whole(make_config):
    data = make_config()["data"] | {"root": "nowhere/at/all"}
    with pytest.raises(ValueError, match=r"data.root: expected a directory, received '.*/nowhere/at/all'"):
        jigstack.check(make_config(data=data), quiet=True)


def test_ids_keep_their_zeros(make_config, museum: Path):
    assert pd.read_csv(museum / "train.csv", dtype=str)["id"].tolist()[0] == "000"
    report = jigstack.check(make_config(), quiet=True)
    assert not [finding for finding in report.data.findings if finding.code == "images-missing"]


def test_check_draws_the_learning_rates_and_finds_them_when_asked(make_config, capsys: pytest.CaptureFixture):
    config = make_config()
    config["tasks"]["kind"] |= {"schedule": "onecycle", "unfreeze": {"after": 1}}
    report = jigstack.check(config, find_lr=True)
    printed = capsys.readouterr().out
    assert "learning rate of pretrain/jig: cosine, peak 0.001, about" in printed
    assert "learning rate of finetune/kind: onecycle" in printed
    marked = "\n     ^\n  ^ the heads alone in epoch 1; from epoch 2 also "  # below the third of four updates
    assert marked in printed
    assert "loss of finetune/era (from random weights: " in printed
    assert set(report.rates) == {"pretext.0.lr", "tasks.era.lr", "tasks.kind.lr"}
    assert "suggested: pretext.0.lr=" in printed
    joint = make_config(name="joint", pretext=[])
    for task in joint["tasks"].values():
        task["init"] = "scratch"
    rates = jigstack.check(joint, find_lr=True).rates
    assert rates["tasks.era.lr"] == rates["tasks.kind.lr"]  # or the heads would part
    assert "suggested: tasks.era.lr=" in (said := capsys.readouterr().out) and " tasks.kind.lr=" in said
    assert all(1e-7 <= rate <= 0.1 for rate in report.rates.values())
    runs = Path(config["runs"])
    assert [path.name for path in runs.iterdir()] == [".store"]  # nothing but the decoded images


def test_dates_written_as_text_are_compared_with_the_files_too(make_config, tmp_path: Path):
    """150 days of as many files, whose widths grow with the days."""
    days = pd.date_range("1900-01-01", periods=150, freq="40D")
    ids = [f"{number:03d}" for number in range(150)]
    pd.DataFrame({"id": ids, "painted": days.strftime("%Y-%m-%d")}).to_csv(
        tmp_path / "train.csv", index=False
    )
    for number, name in enumerate(ids):
        Image.new("RGB", (20 + number, 20)).save(tmp_path / f"{name}.png")
    config = make_config(pretext=[], stack={}, folds={"n": 3})
    config["data"] = {"root": str(tmp_path), "id": "id", "train": ["train.csv"], "images": "{id}.png"}
    config["tasks"] = {"day": {"kind": "date", "columns": ["painted"], "size": 32}}
    found = [
        each for each in jigstack.check(config, quiet=True).data.findings if each.code.startswith("metadata")
    ]
    assert len(found) == 1 and "painted" in found[0].message


def test_check_of_a_table_speaks_of_rows_and_their_cost(
    make_table_config, factory: Path, capsys: pytest.CaptureFixture
):
    report = jigstack.check(make_table_config())
    printed = capsys.readouterr().out
    assert (
        not report.data.failed and {"pretrain/mask", "finetune/scratch/fold2"} <= report.cost.seconds.keys()
    )
    assert "90 train rows, 30 test rows, 15 unlabelled rows" in printed and "image" not in printed
    rates = jigstack.check(make_table_config(), find_lr=True, quiet=True).rates
    assert {"pretext.0.lr", "tasks.amount.lr", "tasks.scratch.lr"} <= rates.keys()
    assert not Path(make_table_config()["runs"], "trial").exists()


def test_check_tells_of_the_checkpoints_that_a_run_starts_from(
    make_table_config, capsys: pytest.CaptureFixture
):
    network = {"rows": {"kind": "mlp", "options": {"width": 16, "depth": 1}}}
    stages = [{"name": "mask", "kind": "masked", "epochs": 1, "batch": 16}]
    before = make_table_config(name="before", backbones=network, pretext=stages, tasks={}, stack={})
    file = jigstack.pretrain(before, quiet=True).path / "pretext/mask/backbone.safetensors"
    head = {"kind": "regression", "columns": ["yield"], "init": str(file), "epochs": 1, "batch": 16}
    parts = {"pretext": [], "tasks": {"amount": head}, "stack": {}}
    jigstack.check(make_table_config(backbones=network, **parts))
    assert f"tasks.amount.init: {file} saw 9" in capsys.readouterr().out
    other = {"rows": {"kind": "mlp", "options": {"width": 32, "depth": 1}}}
    with pytest.raises(
        UserError, match=r"tasks.amount.init: .*with options \{'width': 32\}, received \{'width': 16\}"
    ):
        jigstack.check(make_table_config(backbones=other, **parts))
