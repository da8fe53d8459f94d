"""What a run reads: rows of several images and of one, tables without pictures, columns as features, a short trial."""

import html
import json
import shutil
from pathlib import Path
from typing import Any

import jigstack
import numpy as np
import pandas as pd
import pytest
from jigstack.configs import load_config
from jigstack.configs.errors import UserError
from jigstack.datasets.files import content_digests, digest, read_json
from jigstack.datasets.predictions import Predictions
from jigstack.datasets.tables import check_tables
from jigstack.pipeline import workspace as module
from jigstack.pipeline.workspace import Workspace
from jigstack.pretext.pretrain import StoredInputs
from jigstack.transfer.features import load_feature_pickle
from PIL import Image

COUNTS = (1, 2, 5)
"""Images of the rows 000, 001, 002, then again."""
VIEWS = ("front", "back", "left", "right", "top")


@pytest.fixture
def viewed(museum: Path, tmp_path: Path) -> Path:
    """The museum with a views.csv: the photo of each row and brighter ones of it.

    004 has a broken second image, 005 five broken ones; 006 and the test row 061 stand in no line, and zoo in no table.
    """
    root = Path(shutil.copytree(museum, tmp_path / "viewed"))
    lines = []
    for number in range(72):
        name = f"{number:03d}"
        for view in range(COUNTS[number % 3]):
            path = root / "views" / f"{name}-{view}.png"
            path.parent.mkdir(exist_ok=True)
            pixels = np.asarray(Image.open(root / "photos" / f"{name}.png"))
            Image.fromarray((pixels * (1 - 0.15 * view)).astype(np.uint8)).save(path)
            lines.append((name, f"views/{path.name}", VIEWS[view]))
    for broken in ("004-1", *(f"005-{view}" for view in range(5))):
        (root / "views" / f"{broken}.png").write_bytes(b"broken")
    lines.append(("zoo", "views/000-0.png", ""))
    frame = pd.DataFrame(lines, columns=pd.Index(["id", "path", "view"]))
    frame[~frame["id"].isin(["006", "061"])].to_csv(root / "views.csv", index=False)
    return root


def config_of(make_config: Any, root: Path, **changes: Any) -> dict[str, Any]:
    data = {"root": str(root), "images": "views.csv", "unlabelled": ["photos/extra*.png"]}
    return make_config(data=make_config()["data"] | data, **changes)


def expected_images() -> dict[str, int]:
    """How many readable images the rows have."""
    counts = {f"{number:03d}": COUNTS[number % 3] for number in range(72)}
    return counts | {"004": 1, "005": 0, "006": 0, "061": 0}


def test_rows_of_several_images_go_from_a_list_to_a_submission(
    make_config, viewed: Path, capsys: pytest.CaptureFixture
):
    changes = ["transfer.seeds=2", "transfer.final=both", "features.size=40"]
    result = jigstack.run(config_of(make_config, viewed), changes)
    printed = capsys.readouterr().out
    assert "60 train rows, 12 test rows with 189 images, 6 more images" in printed
    assert "8 images are not readable" in printed and "1 ids of the list stand in no row" in printed
    assert "1 test rows could not be read and get the constant: 061" in printed.replace("'", "")
    counts = {name: count for name, count in expected_images().items() if count}

    seen = pd.read_parquet(result.path / "pretext/jig/seen.parquet")["id"]
    assert {name for name in seen if not name.startswith("photos/")} <= set(counts)
    predictions = Predictions.read(result.path / "predictions/era.parquet")
    assert predictions.images == 5
    sizes = predictions.oof().groupby("id").size().to_dict() | {
        name: count // 4 for name, count in predictions.test().groupby("id").size().items()
    }
    assert sizes == {name: 2 * count for name, count in counts.items()}  # two views each
    pickled = load_feature_pickle(result.path / "features/era.train.pkl")
    assert {name: len(arrays) for name, arrays in pickled.items()} == {
        name: 2 * counts[name] for name in counts if name < "060"
    }
    features = pd.read_parquet(result.path / "features/era.parquet").query("role == 'oof'").set_index("id")
    for name in ("000", "001", "002"):
        assert features.loc[name, "era.d0.var"] == pytest.approx(np.var(pickled[name]), rel=1e-3, abs=1e-9)
        assert features.loc[name, "era.d0.max"] == np.max(pickled[name])
    submission = pd.read_csv(str(result.submission), dtype={"id": str})
    assert len(submission) == 12 and not submission["target"].isna().to_numpy().any()
    assert jigstack.run(config_of(make_config, viewed), changes, quiet=True).computed == []

    (viewed / "views" / "071-4.png").unlink()  # of a test row: nothing but the pretext saw it
    again = jigstack.run(config_of(make_config, viewed), changes, quiet=True, replace=True)
    assert "pretrain/jig" in again.computed and "predict/era+kind/fold0" in again.computed


def test_pretraining_sees_every_image_of_its_rows(make_config, viewed: Path):
    workspace = Workspace(load_config(config_of(make_config, viewed)))
    pictures = workspace.pictures()
    rows = np.array([name for name, count in expected_images().items() if count])
    images = StoredInputs(pictures, rows)
    assert len(images) == sum(expected_images().values())
    assert len(set(pictures.store.digests[images.positions].tolist())) == len(images)


def test_two_processes_give_the_bits_of_one(make_config, viewed: Path, tmp_path: Path):
    tasks = {name: task | {"init": "scratch"} for name, task in make_config()["tasks"].items()}
    tables = []
    for number, processes in enumerate((1, 2)):
        config = config_of(make_config, viewed, runs=str(tmp_path / str(number)), pretext=[], tasks=tasks)
        result = jigstack.run(config | {"processes": processes, "threads": processes}, quiet=True)
        tables.append(pd.read_parquet(result.path / "predictions/era.parquet"))
    pd.testing.assert_frame_equal(tables[0], tables[1])


def test_a_trial_of_few_rows_keeps_their_images_and_says_nothing_of_the_others(
    make_config, viewed: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
):
    monkeypatch.setattr("jigstack.pipeline.workspace.SMOKE_ROWS", {"train": 24, "test": 6, "unlabelled": 3})
    result = jigstack.run(config_of(make_config, viewed), smoke=True)
    oof = Predictions.read(result.path / "predictions/era.parquet").oof()
    counts = expected_images()
    assert 20 < len(set(oof["id"])) <= 27
    assert oof.groupby("id").size().to_dict() == {name: 2 * counts[name] for name in oof["id"]}
    assert "stand in no row" not in capsys.readouterr().out


def test_check_counts_rows_and_images_apart_and_names_what_is_wrong(
    make_config, viewed: Path, capsys: pytest.CaptureFixture
):
    shutil.copy(viewed / "views/010-0.png", viewed / "views/020-3.png")
    report = jigstack.check(config_of(make_config, viewed), ["features.size=40"])
    assert {name: report.data.counts[name] for name in ("train rows", "test rows", "images")} == {
        "train rows": 60,
        "test rows": 12,
        "images": 195,
    }
    assert report.data.counts["unreadable images"] == 6
    assert report.data.counts["rows with several images"] == 47
    assert report.data.counts["rows without a readable image"] == 3
    found = {finding.code: finding for finding in report.data.findings}
    assert found["images-broken"].ids == (
        "004/back",
        *(f"005/{view}" for view in VIEWS),
    )
    assert found["rows-without-image"].ids == ("006", "061") and found["rows-unreadable"].ids == ("005",)
    assert found["image-ids-unknown"].ids == ("zoo",)
    shared = [found[code] for code in found if code.startswith("duplicates")]
    assert [finding.ids for finding in shared] == [("010", "020")]
    assert report.cost.disk > 195 * 3 * 64**2 and not report.data.failed
    assert "47 rows with several images" in capsys.readouterr().out


def test_a_list_of_one_image_a_row_gives_what_a_pattern_gives(make_config, museum: Path, tmp_path: Path):
    root = Path(shutil.copytree(museum, tmp_path / "museum"))
    ids = [f"{number:03d}" for number in range(72)]
    listed = pd.DataFrame({"id": ids, "path": [f"photos/{name}.png" for name in ids]})
    listed.sample(frac=1.0, random_state=0).to_csv(root / "views.csv", index=False)
    one = jigstack.run(make_config(runs=str(tmp_path / "pattern")), quiet=True)
    other = jigstack.run(config_of(make_config, root, runs=str(tmp_path / "list")), quiet=True)
    for name in (
        "predictions/era.parquet",
        "features/kind.test.fold1.pkl",
        "submission.csv",
        "pretext/jig/seen.parquet",
    ):
        assert (one.path / name).read_bytes() == (other.path / name).read_bytes(), name


def test_rows_of_one_image_keep_the_keys_that_they_had(make_config):
    """Written out as it was before rows could have several: a changed key would train everything again."""
    result = jigstack.pretrain(make_config(), quiet=True)
    workspace = Workspace(load_config(make_config()))
    ids = [f"{number:03d}" for number in range(72)]
    extras = [f"photos/extra{number}.png" for number in range(6)]
    root = Path(make_config()["data"]["root"])
    files = [*(str(root / "photos" / f"{name}.png") for name in ids), *(str(root / name) for name in extras)]
    contents = dict(zip([*ids, *extras], content_digests(files), strict=True))
    decode = workspace.config.data.decode
    assert workspace.store().ids.tolist() == [*ids, *extras]
    assert workspace.store().key == digest("images", 2, [*ids, *extras], list(contents.values()), 64, decode)
    expected = digest([[name, contents[name]] for name in sorted(contents)], decode, 64)
    manifest = json.loads((result.path / "manifest.json").read_text())
    assert manifest["stages"]["pretrain/jig"]["inputs"]["images"] == expected
    assert workspace.summary == "60 train rows, 12 test rows, 6 more images"


def test_mistakes_of_the_list_file_come_before_any_work(make_config, viewed: Path):
    frame = pd.read_csv(viewed / "views.csv", dtype=str)
    frame.rename(columns={"path": "file"}).to_csv(viewed / "views.csv", index=False)
    with pytest.raises(
        ValueError, match=r"views.csv: expected the columns 'id' and 'path', received .*'file'"
    ):
        jigstack.run(config_of(make_config, viewed), quiet=True)
    assert not (Path(make_config()["runs"]) / "trial").exists()


@pytest.fixture
def clinic(tmp_path: Path) -> Path:
    """Tables without pictures: two numbers, a class and a group; the outcome follows from age and city."""
    rng = np.random.default_rng(0)
    n = 120
    frame = pd.DataFrame(
        {
            "id": [f"p{k:03d}" for k in range(n)],
            "age": rng.normal(50, 10, n).round(1),
            "noise": rng.normal(size=n).round(3),
            "city": rng.choice(["Kyoto", "Lima", "Oslo"], n),
            "ward": rng.integers(0, 12, n),
        }
    )
    frame["cost"] = frame["age"] + 20 * (frame["city"] == "Lima") + rng.normal(size=n)
    frame["ill"] = np.where(frame["cost"] > frame["cost"].median(), "yes", "no")
    folder = tmp_path / "clinic"
    folder.mkdir()
    frame[:90].to_csv(folder / "train.csv", index=False)
    frame[90:].drop(columns=["cost", "ill"]).to_csv(folder / "test.csv", index=False)
    frame[90:].to_csv(folder / "truth.csv", index=False)
    return folder


def config(clinic: Path, **data: object) -> dict:
    return {
        "name": "clinic",
        "runs": str(clinic / "runs"),
        "threads": 1,
        "data": {"root": str(clinic), "id": "id", "train": ["train.csv"], "test": ["test.csv"], **data},
        "folds": {"scheme": "group", "n": 3, "group": "ward"},
        "stack": {
            "cost": {"target": "cost", "table": True},
            "ill": {"target": "ill", "metric": "auc", "table": True},
        },
    }


def test_tables_without_pictures_go_to_a_submission(clinic: Path, capsys: pytest.CaptureFixture):
    result = jigstack.run(config(clinic))
    assert "90 train rows, 30 test rows, no images" in capsys.readouterr().out
    assert result.computed == ["stack/cost", "stack/ill"]
    resolved = (result.path / "config.yaml").read_text()
    assert load_config(result.path / "config.yaml").data.columns == ["age", "noise", "city"], resolved
    ladder = result.ladders["cost"]
    assert ladder.rungs[-1].nested < 0.5 * ladder.rungs[0].nested
    assert result.submission is not None
    submitted, truth = (pd.read_csv(path) for path in (result.submission, clinic / "truth.csv"))
    assert list(submitted.columns) == ["id", "cost", "ill"]
    assert np.sqrt(((submitted["cost"] - truth["cost"]) ** 2).mean()) < 0.6 * truth["cost"].std()
    again = jigstack.run(result.path)
    assert again.computed == [] and again.kept == ["stack/cost", "stack/ill"]


def test_check_looks_at_tables_without_pictures(clinic: Path, capsys: pytest.CaptureFixture):
    report = jigstack.check(config(clinic))
    assert not report.data.failed and "images" not in report.data.counts
    assert "no errors" in capsys.readouterr().out


def test_a_run_its_report_and_check_name_what_a_network_of_the_table_leaves_out(
    clinic: Path, capsys: pytest.CaptureFixture
):
    rows = pd.read_csv(clinic / "train.csv", dtype={"age": str}).assign(country="Japan")
    rows.loc[3, "age"] = "about fifty"
    rows.to_csv(clinic / "train.csv", index=False)
    pd.read_csv(clinic / "test.csv").assign(country="Japan").to_csv(clinic / "test.csv", index=False)
    network = {
        **config(clinic, columns=["age", "noise", "ward", "country"]),
        "backbones": {"rows": {"kind": "mlp", "options": {"width": 8, "depth": 1}}},
        "tasks": {"cost": {"kind": "regression", "columns": ["cost"], "epochs": 1, "batch": 32}},
        "stack": {},
    }
    left_out = "backbones.rows leaves out 'ward' (is the group of the folds); 'country' (has one value only)"
    warning = (
        "warning: 'age' is read as text for the sake of 'about fifty', while its other values are numbers"
    )
    jigstack.check(network)
    for printed in (capsys.readouterr().out, jigstack.run(network).path and capsys.readouterr().out):
        assert left_out in printed and warning in printed
    report = html.unescape((clinic / "runs" / "clinic" / "report.html").read_text())
    assert left_out in report and warning in report


def test_columns_are_named_or_matched_by_patterns(clinic: Path):
    result = jigstack.run(config(clinic, columns=["a*", "city", "age"]), quiet=True)
    assert load_config(result.path).data.columns == ["age", "city"]
    names = read_json(result.path / "stack" / "cost" / "model.json")["readable"]
    assert list(names.values()) == ["age", "city = Kyoto", "city = Lima", "city = Oslo"]


def test_a_changed_cell_or_column_stacks_again(clinic: Path):
    jigstack.run(config(clinic), quiet=True)
    frame = pd.read_csv(clinic / "test.csv")
    frame.loc[0, "age"] += 1
    frame.to_csv(clinic / "test.csv", index=False)
    assert jigstack.run(config(clinic), quiet=True).computed == ["stack/cost", "stack/ill"]
    assert jigstack.run(config(clinic), quiet=True).computed == []
    assert jigstack.run(config(clinic, columns=["age"]), quiet=True).computed == ["stack/cost", "stack/ill"]


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("tasks.era.columns=[yaer]", "tasks.era.columns: expected one of 'id', "),
        ("stack.target.target=targit", "stack.target.target: expected one of 'id', "),
        ("folds.group=artst", "folds.group: expected one of 'id', "),
    ],
)
def test_a_column_that_is_not_there_is_told_with_its_key_alone(make_config, override: str, told: str):
    with pytest.raises(UserError) as caught:
        Workspace(load_config(make_config(), [override]))
    assert str(caught.value).startswith(told)


@pytest.mark.parametrize(
    ("columns", "told"),
    [
        (
            ["cost"],
            "known for new rows, received 'cost' .*stack.cost.target: level 2 would read what it has to",
        ),
        (["*"], "received '(cost|ill)' .by '\\*'., which is stack"),
        (["agee"], "data.columns: expected columns of the train table.*received 'agee'; did you mean 'age'"),
        (["extra"], "share, received 'extra' .by 'extra'., which the test table lacks"),
        ([], "data.columns: expected table columns to learn from, received none"),
    ],
)
def test_columns_that_cannot_be_features_are_told(clinic: Path, columns: list[str], told: str):
    frame = pd.read_csv(clinic / "train.csv")
    frame.assign(extra=frame["age"]).to_csv(clinic / "train.csv", index=False)
    with pytest.raises(UserError, match=told):
        jigstack.run(config(clinic, columns=columns), quiet=True)


def test_labels_are_kept_without_the_columns_that_are_only_read(make_table_config):
    """Rows are picked from them in every fold, and a table may have thousands of columns."""
    workspace = Workspace(load_config(make_table_config()))
    assert set(workspace.frame) == {"yield", "grade"}
    assert list(workspace.frame.index) == list(workspace.train.frame.index)


def test_nothing_to_do_is_told(clinic: Path):
    with pytest.raises(UserError, match="a pretext, a task or a stack with table: true, received none"):
        jigstack.run(config(clinic) | {"stack": {}}, quiet=True)


def test_table_columns_join_the_heads_of_pictures_and_no_training_is_done_again(
    make_config, museum: Path, tmp_path: Path
):
    root = shutil.copytree(museum, tmp_path / "museum")  # others look at all files of the museum
    train = pd.read_csv(root / "train.csv", dtype={"id": str})
    test = pd.read_csv(root / "test.csv", dtype={"id": str})
    rng = np.random.default_rng(0)
    train.assign(hint=train["target"] + rng.normal(0, 0.1, len(train))).to_csv(
        root / "train_hint.csv", index=False
    )
    test.assign(hint=1.5).to_csv(root / "test_hint.csv", index=False)
    plain = make_config()
    plain["data"] |= {"root": str(root), "train": ["train_hint.csv"], "test": ["test_hint.csv"]}
    first = jigstack.run(plain, quiet=True)
    joined = plain | {"stack": {"target": {"target": "target", "table": True}}}
    second = jigstack.run(joined, quiet=True)
    assert second.computed == ["stack/target"]
    rungs = {rung.name: rung.nested for rung in second.ladders["target"].rungs}
    assert (
        rungs["table~ridge"]
        < 0.3
        < {rung.name: rung.nested for rung in first.ladders["target"].rungs}["ridge"]
    )


def test_a_smoke_run_asks_no_list_for_the_rows_it_left_out_itself(
    make_config, museum: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """But an id that no table ever had is still told."""
    for rows in ("train", "test"):
        monkeypatch.setitem(module.SMOKE_ROWS, rows, 10)
    root = Path(shutil.copytree(museum, tmp_path / "listed"))
    ids = [
        *pd.read_csv(root / "train.csv", dtype=str)["id"],
        *pd.read_csv(root / "test.csv", dtype=str)["id"],
    ]
    listed = pd.DataFrame({"id": [*ids, "nobody"], "name": "red"})
    listed.to_csv(root / "tags.csv", index=False)
    data = make_config()["data"] | {"root": str(root), "lists": {"tags": "tags.csv"}}
    workspace = Workspace(load_config(make_config(data=data)), smoke=True)
    kept = [*workspace.train.ids, *workspace.test.ids]
    assert 20 <= len(kept) < 30
    assert set(workspace.train.lists["tags"]["id"]) == {*kept, "nobody"}
    found = {finding.code: finding.ids for finding in check_tables(workspace.train, workspace.test)}
    assert found == {"list-ids-unknown": ("nobody",)}


def test_a_smoke_run_of_large_groups_keeps_some_rows_of_each(clinic: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(module.SMOKE_ROWS, "train", 24)
    frame = pd.read_csv(clinic / "train.csv")
    frame.assign(ward=frame.index % 4).to_csv(clinic / "train.csv", index=False)
    workspace = Workspace(load_config(config(clinic)), smoke=True)
    assert workspace.train.column("ward").value_counts().to_dict() == dict.fromkeys(range(4), 6)
    assert jigstack.run(config(clinic), smoke=True, quiet=True).submission is not None
