"""A tiny museum of 60 pictures in 20 groups, and a tiny table of 90 rows: data and configs that train in a second."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

ROWS, TESTS, EXTRAS = 60, 12, 6
TABLE_ROWS, TABLE_TESTS, TABLE_MORE = 90, 30, 15


def paint(path: Path, target: int, rng: np.random.Generator) -> None:
    pixels = rng.integers(0, 80, (24, 20, 3), dtype=np.uint8)
    pixels[:12, :, target % 3] += np.uint8(60 + 40 * target)
    pixels[4 : 8 + 2 * target, 3:9] = 255
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(pixels).save(path)


@pytest.fixture(scope="session")
def museum(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data directory: train.csv, test.csv, photos/."""
    root = tmp_path_factory.mktemp("museum")
    rng = np.random.default_rng(0)
    ids = [f"{number:03d}" for number in range(ROWS + TESTS)]
    target = rng.integers(0, 4, ROWS + TESTS)
    for name, value in zip(ids, target, strict=True):
        paint(root / "photos" / f"{name}.png", int(value), rng)
    for number in range(EXTRAS):
        paint(root / "photos" / f"extra{number}.png", number % 4, rng)
    train = pd.DataFrame(
        {"id": ids[:ROWS], "target": target[:ROWS], "series": [f"s{number // 3}" for number in range(ROWS)]}
    )
    train.to_csv(root / "train.csv", index=False)
    pd.DataFrame({"id": ids[ROWS:]}).to_csv(root / "test.csv", index=False)
    return root


MakeConfig = Callable[..., dict[str, Any]]


@pytest.fixture
def make_config(museum: Path, tmp_path: Path) -> MakeConfig:
    """A config as a mapping; keyword arguments replace its top-level keys."""

    def make(**changes: Any) -> dict[str, Any]:
        config: dict[str, Any] = {
            "name": "trial",
            "runs": str(tmp_path / "runs"),
            "threads": 1,
            "device": "cpu",
            "data": {
                "root": str(museum),
                "id": "id",
                "train": ["train.csv"],
                "test": ["test.csv"],
                "unlabelled": ["photos/*.png"],
                "images": "photos/{id}.png",
            },
            "folds": {"scheme": "stratified_group", "n": 3, "group": "series", "stratify": "target"},
            "backbones": {"img": {"name": "test_resnet"}},
            "pretext": [{"name": "jig", "kind": "jigsaw", "size": 32, "epochs": 2, "batch": 16}],
            "tasks": {
                "era": {
                    "kind": "regression",
                    "columns": ["target"],
                    "init": "jig",
                    "size": 32,
                    "epochs": 2,
                    "batch": 16,
                },
                "kind": {
                    "kind": "onehot",
                    "columns": ["target"],
                    "init": "jig",
                    "size": 32,
                    "epochs": 2,
                    "batch": 16,
                },
            },
            "features": {"views": "hflip"},
            "stack": {"target": {"target": "target", "metric": "rmse"}},
        }
        return config | changes

    return make


@pytest.fixture(scope="session")
def factory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a table: train.csv with 90 rows, test.csv, more.csv without labels.

    The yield follows from heat and site; a tenth of the cells of `dust` is missing, and the test rows have a site of
    their own.
    """
    root = tmp_path_factory.mktemp("factory")
    rng = np.random.default_rng(0)
    count = TABLE_ROWS + TABLE_TESTS + TABLE_MORE
    heat, site = rng.normal(20, 5, count), rng.choice(["north", "south", "west"], count)
    frame = pd.DataFrame(
        {
            "id": [f"r{number:03d}" for number in range(count)],
            "heat": heat,
            "load": 3 * heat + rng.normal(0, 2, count),
            "dust": np.where(rng.random(count) < 0.1, np.nan, rng.gamma(2, 2, count)),
            "site": site,
            "batch": [f"b{number // 3}" for number in range(count)],
            "yield": heat / 5 + 2 * (site == "north") + rng.normal(0, 0.3, count),
        }
    )
    frame["grade"] = np.where(frame["yield"] > frame["yield"].median(), "good", "poor")
    train, test = frame.iloc[:TABLE_ROWS], frame.iloc[TABLE_ROWS : TABLE_ROWS + TABLE_TESTS].copy()
    test.loc[test.index[:2], "site"] = "moon"
    train.to_csv(root / "train.csv", index=False)
    given = ["id", "heat", "load", "dust", "site"]
    test.filter(given).to_csv(root / "test.csv", index=False)
    frame.filter(given).iloc[TABLE_ROWS + TABLE_TESTS :].to_csv(root / "more.csv", index=False)
    return root


@pytest.fixture
def make_table_config(factory: Path, tmp_path: Path) -> MakeConfig:
    """A config of tables as a mapping; keyword arguments replace its top-level keys."""

    def make(**changes: Any) -> dict[str, Any]:
        trained = {"epochs": 2, "batch": 16}
        config: dict[str, Any] = {
            "name": "trial",
            "runs": str(tmp_path / "runs"),
            "threads": 1,
            "device": "cpu",
            "data": {
                "root": str(factory),
                "id": "id",
                "train": ["train.csv"],
                "test": ["test.csv"],
                "unlabelled": ["more.csv"],
            },
            "folds": {"scheme": "group", "n": 3, "group": "batch"},
            "backbones": {
                "rows": {
                    "kind": "tabnet",
                    "options": {"n_d": 4, "n_a": 4, "steps": 2, "virtual_batch": 8},
                    "steps": [{"kind": "quantile", "columns": ["dust"]}],
                }
            },
            "pretext": [{"name": "mask", "kind": "masked", **trained}],
            "tasks": {
                "amount": {"kind": "regression", "columns": ["yield"], "init": "mask", **trained},
                "scratch": {"kind": "regression", "columns": ["yield"], **trained},
                "linear": {"kind": "onehot", "columns": ["grade"], "init": "mask", "learner": "ridge"},
            },
            "stack": {"yield": {"target": "yield", "metric": "rmse", "table": True}},
        }
        return config | changes

    return make
