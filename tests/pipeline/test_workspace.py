"""What a run reads: tables without pictures, the columns that stand for features, and the rows of a short trial."""

import shutil
from pathlib import Path

import jigstack
import numpy as np
import pandas as pd
import pytest
from jigstack.configs import load_config
from jigstack.configs.errors import UserError
from jigstack.datasets.files import read_json
from jigstack.datasets.tables import check_tables
from jigstack.pipeline import workspace as module
from jigstack.pipeline.workspace import Workspace


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


def test_nothing_to_do_is_told(clinic: Path):
    with pytest.raises(UserError, match="a pretext, a task or a stack with table: true, received none"):
        jigstack.run(config(clinic) | {"stack": {}}, quiet=True)


def test_table_columns_join_the_heads_of_pictures_and_no_training_is_done_again(make_config, museum: Path):
    root = museum
    train = pd.read_csv(root / "train.csv", dtype={"id": str})
    test = pd.read_csv(root / "test.csv", dtype={"id": str})
    rng = np.random.default_rng(0)
    train.assign(hint=train["target"] + rng.normal(0, 0.1, len(train))).to_csv(
        root / "train_hint.csv", index=False
    )
    test.assign(hint=1.5).to_csv(root / "test_hint.csv", index=False)
    plain = make_config()
    plain["data"] |= {"train": ["train_hint.csv"], "test": ["test_hint.csv"]}
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
