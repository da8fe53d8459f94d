"""From a folder that nobody has described to a config that runs."""

import shutil
from pathlib import Path

import jigstack
import numpy as np
import pandas as pd
import pytest
from jigstack.configs import load_config
from jigstack.configs.errors import UserError


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_a_folder_of_pictures_becomes_a_config_that_runs(
    museum: Path, tmp_path: Path, capsys: pytest.CaptureFixture
):
    path = jigstack.init(museum, "museum.yaml", preset="quick")
    said = capsys.readouterr().out
    assert "images: photos/{id}.png" in said and "group: series" in said and "wrote museum.yaml" in said
    config = load_config(path)
    assert config.data.unlabelled == ["photos/*.png"] and config.folds.group == "series"
    assert list(config.tasks) == ["target", "target_class"] and config.tasks["target"].init == "jig"
    assert config.stack["target"].range == (0, 3)
    text = path.read_text()
    assert "# rows of one series stay together: 20 values in 60 rows" in text
    small = ["pretext.jig.epochs=1", "backbones.img.name=test_resnet", "threads=1"]
    epochs = [f"tasks.{name}.epochs=1" for name in config.tasks]
    result = jigstack.run(path, [*small, *epochs], quiet=True)
    assert result.submission is not None
    assert list(pd.read_csv(result.submission).columns) == ["id", "target"]


@pytest.mark.parametrize("preset", ["quick", "good", "best"])
def test_every_preset_gives_a_config_that_loads_and_larger_ones_ask_for_more(museum: Path, preset: str):
    config = load_config(jigstack.init(museum, preset=preset, quiet=True))
    expected = {"quick": (3, 1), "good": (5, 1), "best": (5, 2)}[preset]
    assert (config.folds.n, config.transfer.seeds) == expected
    assert config.tasks["target"].size <= 32  # the photos have 20 x 24 pixels


def test_tables_alone_become_a_config_of_columns(tmp_path: Path):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"id": range(90), "age": rng.normal(size=90), "city": rng.choice(["a", "b"], 90)})
    data = tmp_path / "some data"
    data.mkdir()
    frame[:60].assign(y=frame["age"] > 0).to_csv(data / "train.csv", index=False)
    frame[60:].to_csv(data / "test.csv", index=False)
    path = jigstack.init(data, quiet=True)
    assert path == Path("some_data.yaml")
    config = load_config(path)
    assert config.data.images is None and config.stack["y"].table and config.stack["y"].metric == "auc"
    assert config.backbones["rows"].kind == "resmlp" and config.pretext[0].kind == "masked"
    assert config.tasks["y"].init == "mask"
    assert config.tasks["scratch"].init == "scratch" and config.tasks["scratch"].folds == [0]
    short = ["pretext.mask.epochs=1", "tasks.y.epochs=1", "tasks.scratch.epochs=1"]
    result = jigstack.run(path, ["threads=1", "folds.n=3", *short], quiet=True)
    assert result.ladders["y"].rungs[-1].nested > 0.9


def test_rows_without_labels_join_the_pretraining_of_a_table_and_not_that_of_pictures(
    museum: Path, tmp_path: Path, capsys: pytest.CaptureFixture
):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"id": range(120), "age": rng.normal(size=120), "size": rng.normal(size=120)})
    data = tmp_path / "data"
    data.mkdir()
    frame[:60].assign(y=frame["age"]).to_csv(data / "train.csv", index=False)
    frame[60:90].to_csv(data / "test.csv", index=False)
    frame[90:].to_csv(data / "unlabeled.csv", index=False)
    frame[90:].assign(id=range(200, 230)).drop(columns="size").to_csv(
        data / "unlabelled_part.csv", index=False
    )
    path = jigstack.init(data)
    said = capsys.readouterr().out
    assert "30 rows without labels join the pretraining" in said
    assert "unlabelled_part.csv is not used\n    lacks 'size'" in said
    config = load_config(path)
    assert config.data.unlabelled == ["unlabeled.csv"]
    result = jigstack.run(path, ["threads=1"], smoke=True, quiet=True)
    seen = set(pd.read_parquet(result.path / "pretext" / "mask" / "seen.parquet")["id"])
    assert len(seen & set(map(str, range(90, 120)))) > 20

    pictures = tmp_path / "pictures"
    shutil.copytree(museum, pictures)
    frame[90:].assign(id=[f"u{place}" for place in range(30)]).to_csv(
        pictures / "unlabelled.csv", index=False
    )
    assert load_config(jigstack.init(pictures)).data.unlabelled == ["photos/*.png"]
    assert "unlabelled.csv is not used" in capsys.readouterr().out


def test_odd_names_survive_as_yaml(tmp_path: Path):
    rng = np.random.default_rng(0)
    data = tmp_path / "data"
    data.mkdir()
    names = ["yes", "1e3", "a: b", "#c", "null", "Größe", "{x}", 'quo"te']
    frame = pd.DataFrame({"no": range(60), **{name: rng.normal(size=60) for name in names}})
    frame.assign(target=rng.normal(size=60)).to_csv(data / "train.csv", index=False)
    assert load_config(jigstack.init(data, quiet=True)).data.id == "no"
    frame.assign(age=rng.normal(size=60)).to_csv(data / "train.csv", index=False)
    pd.DataFrame({"no": range(60, 70), "age": 1.0}).to_csv(data / "test.csv", index=False)
    stacks = load_config(jigstack.init(data, "odd.yaml", quiet=True)).stack
    assert sorted(column for stack in stacks.values() for column in stack.columns) == sorted(names)


def test_class_probabilities_of_a_sample_submission_are_scored_by_logloss(museum: Path, tmp_path: Path):
    data = tmp_path / "data"
    data.mkdir()
    (data / "photos").symlink_to(museum / "photos")
    train = pd.read_csv(museum / "train.csv", dtype=str)
    train["kind"] = ["abcc"[int(value)] for value in train["target"]]
    train.drop(columns="target").to_csv(data / "train.csv", index=False)
    test = pd.read_csv(museum / "test.csv", dtype=str)
    test.to_csv(data / "test.csv", index=False)
    test.assign(a=0.2, b=0.3, c=0.5).to_csv(data / "sample_submission.csv", index=False)
    config = load_config(jigstack.init(data, quiet=True))
    assert (
        config.data.sample_submission == "sample_submission.csv" and config.stack["kind"].metric == "logloss"
    )


def test_a_file_that_is_there_and_an_unknown_preset_are_refused(museum: Path):
    Path("mine.yaml").write_text("precious")
    with pytest.raises(UserError, match=r"destination: expected a new file, received the existing mine.yaml"):
        jigstack.init(museum, "mine.yaml")
    assert Path("mine.yaml").read_text() == "precious"
    with pytest.raises(
        UserError, match="preset: expected one of quick, good, best, received 'bset'; did you mean 'best'"
    ):
        jigstack.init(museum, preset="bset")


def test_data_that_no_config_can_run_is_told_and_the_config_is_kept(museum: Path, tmp_path: Path):
    data = tmp_path / "data"
    data.mkdir()
    (data / "photos").symlink_to(museum / "photos")
    train = pd.read_csv(museum / "train.csv", dtype=str)
    train.to_csv(data / "train.csv", index=False)
    train.filter(["id"]).head(3).to_csv(data / "test.csv", index=False)
    with pytest.raises(
        UserError, match=r"(?s)wrote data.yaml, which needs a change .*data.test: expected ids that do"
    ):
        jigstack.init(data, quiet=True)
    assert load_config("data.yaml").data.id == "id"


def test_nothing_to_predict_and_nothing_to_learn_from_are_told(museum: Path, tmp_path: Path):
    data = tmp_path / "data"
    data.mkdir()
    train = pd.read_csv(museum / "train.csv", dtype=str)
    train.to_csv(data / "train.csv", index=False)
    pd.DataFrame({"id": [f"x{k}" for k in range(9)]}).to_csv(data / "test.csv", index=False)
    with pytest.raises(ValueError, match=r"expected pictures in .* or columns that train and test share"):
        jigstack.init(data)
    train[["id"]].assign(title=[f"a {k} b" for k in range(60)]).to_csv(data / "train.csv", index=False)
    with pytest.raises(ValueError, match=r"expected a column to predict, .* received title"):
        jigstack.init(data)


def test_heads_of_lists_and_classes_keep_out_of_the_way_of_columns_with_their_names(
    museum: Path, tmp_path: Path
):
    data = tmp_path / "data"
    data.mkdir()
    (data / "photos").symlink_to(museum / "photos")
    train = pd.read_csv(museum / "train.csv", dtype=str)
    train.assign(names=list("abc") * 20, target_class=list("xy") * 30).to_csv(data / "train.csv", index=False)
    (data / "test.csv").write_text((museum / "test.csv").read_text())
    pd.DataFrame({"id": train["id"], "name": ["red", "blue", "green"] * 20}).to_csv(
        data / "tags.csv", index=False
    )
    tasks = load_config(jigstack.init(data, quiet=True)).tasks
    assert {name: task.kind for name, task in tasks.items()} == {
        "target": "regression",
        "target_class_": "onehot",
        "names": "onehot",
        "target_class": "onehot",
        "names_": "word2vec",
    }
