"""A tiny museum: 60 pictures in 20 groups whose colour tells the target, and a config that trains in a second."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

ROWS, TESTS, EXTRAS = 60, 12, 6


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
