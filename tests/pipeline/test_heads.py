"""A run with a head of every kind: each is scored in its own units, printed, and shown on the page."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jigstack
import numpy as np
import pandas as pd
import pytest
from jigstack.configs import UserError
from jigstack.datasets.predictions import Predictions

COLOURS = ("red", "green", "blue", "red")


@pytest.fixture
def dated(museum: Path, tmp_path: Path) -> Path:
    """The museum with dates of mixed precision, one of them wrong, and a list of names; both follow from the colour."""
    root = Path(shutil.copytree(museum, tmp_path / "dated"))
    train = pd.read_csv(root / "train.csv", dtype={"id": str})
    years = 1900 + 10 * train["target"]
    train["made"] = [f"{year}-05" if row % 2 else str(year) for row, year in enumerate(years)]
    train.loc[5, "made"] = "unknown"
    train.to_csv(root / "train.csv", index=False)
    rows = [(name, COLOURS[era]) for name, era in zip(train["id"], train["target"], strict=True)]
    rows += [(name, f"era {era}") for name, era in zip(train["id"], train["target"], strict=True)]
    rows = [row for row in rows if row[0] != "007"]
    pd.DataFrame(rows, columns=pd.Index(["id", "name"])).to_csv(root / "tags.csv", index=False)
    return root


MakeHeads = Callable[..., dict[str, Any]]


@pytest.fixture
def make_heads(make_config: Callable[..., dict[str, Any]], dated: Path) -> MakeHeads:
    """A config with four heads on one network; keyword arguments replace options of `tags`."""

    def make(**options: Any) -> dict[str, Any]:
        training = {"size": 32, "epochs": 12, "batch": 8, "lr": 3e-3}
        heads: dict[str, dict[str, Any]] = {
            "era": {"kind": "regression", "columns": ["target"]},
            "era_class": {"kind": "onehot", "columns": ["target"]},
            "year": {"kind": "date", "columns": ["made"], "options": {"invalid": "missing"}},
            "tags": {"kind": "word2vec", "columns": ["tags"], "options": {"vector_size": 6, **options}},
        }
        config = make_config(pretext=[], tasks={name: head | training for name, head in heads.items()})
        config["data"] |= {"root": str(dated), "lists": {"tags": "tags.csv"}}
        config["stack"]["target"]["models"] = ["ridge"]
        return config

    return make


def table(printed: str) -> dict[tuple[str, str], tuple[float, ...]]:
    """(head, measure) -> rows, constant, score."""
    lines = printed[printed.index("head alone") :].split("\n\n")[0].splitlines()[1:]
    cells = [re.split(r"  +", line) for line in lines]
    return {(cell[0], cell[1]): tuple(map(float, cell[2:5])) for cell in cells if len(cell) == 7}


def test_four_heads_learn_and_are_scored_in_their_own_units(make_heads: MakeHeads, capsys):
    result = jigstack.run(make_heads())
    printed = capsys.readouterr().out
    scores = table(printed)
    assert set(scores) == {
        ("era", "rmse"),
        ("era", "r2"),
        ("era_class", "accuracy"),
        ("year", "rmse, years"),
        ("year", "r2"),
        ("tags", "cosine"),
        ("tags", "r2"),
    }
    rows, constant, score = scores["year", "rmse, years"]
    assert rows == 59 and score < 0.7 * constant  # the row without a date is not scored
    rows, constant, score = scores["tags", "cosine"]
    assert rows == 59 and score > constant
    rows, constant, score = scores["era_class", "accuracy"]
    assert rows == 60 and score > constant
    assert re.search(r"year +rmse, years .* yes\n", printed)
    assert "tags: 5 names found by the nearest training rows hold" in printed
    assert "left out of 'made', since no dates of the years 1 to 2200: 1 values (005: 'unknown')" in printed
    assert "tags: 7 names in 59 rows" in printed

    predictions = Predictions.read(result.path / "predictions" / "tags.parquet")
    assert predictions.space == "embedding"
    assert predictions.columns == tuple(f"tags.w{place}" for place in range(6))
    lengths = np.linalg.norm(predictions.frame[list(predictions.columns)], axis=1)
    np.testing.assert_allclose(lengths, 1, rtol=1e-5)
    rungs = [rung.name for rung in result.ladders["target"].rungs]
    assert rungs == ["constant", "era", "era_class", "year~ridge", "tags~ridge", "mean", "ridge"]
    page = (result.path / "report.html").read_text()
    assert "Each head alone" in page and "tags: which names it recovers" in page and "era 0" in page


def test_a_part_of_the_folds_is_scored_too(make_heads: MakeHeads, capsys):
    config = make_heads()
    config["tasks"] = {"year": config["tasks"]["year"] | {"epochs": 1}}
    jigstack.run(config, folds=[0])
    assert 10 < table(capsys.readouterr().out)["year", "rmse, years"][0] < 30


def test_check_shows_the_names_and_what_is_left_out(make_heads: MakeHeads, capsys):
    jigstack.check(make_heads())
    printed = capsys.readouterr().out
    assert "tags: red 0." in printed and "(missing) 0.01667" in printed
    assert "1 values (005: 'unknown')" in printed


def test_a_changed_list_trains_again(make_heads: MakeHeads, dated: Path):
    config = make_heads()
    config["tasks"] = {name: config["tasks"][name] | {"epochs": 1} for name in ("year", "tags")}
    jigstack.run(config, quiet=True, until="finetune")
    path = dated / "tags.csv"
    path.write_text(path.read_text().replace("blue", "azure"))
    with pytest.raises(UserError, match=r"finetune/year\+tags/fold0: labels"):
        jigstack.run(config, quiet=True, until="finetune")


def test_names_that_are_neither_list_nor_column_or_both_are_refused(make_heads: MakeHeads, dated: Path):
    config = make_heads()
    config["tasks"]["tags"]["columns"] = ["tag"]
    with pytest.raises(UserError, match=r"tasks.tags.columns: expected lists .* received 'tag'.*'tags'\?"):
        jigstack.check(config, quiet=True)
    config = make_heads()
    config["data"]["lists"] = {"series": "tags.csv"}
    config["tasks"]["tags"]["columns"] = ["series"]
    with pytest.raises(UserError, match=r"'series', which is a list .* and a column of the table"):
        jigstack.check(config, quiet=True)
