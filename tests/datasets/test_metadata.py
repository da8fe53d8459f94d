"""Whether files tell the target before they are decoded."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from jigstack.configs.data import Decode, Folds
from jigstack.datasets.folds import FoldPlan, make_plan
from jigstack.datasets.images import build_store
from jigstack.datasets.metadata import check_metadata, read_metadata
from jigstack.datasets.pictures import PictureFiles, Pictures
from jigstack.datasets.tables import Table
from PIL import Image

N = 240
IDS = [f"{number:03d}" for number in range(N)]
GROUPS = pd.Series([number // 2 for number in range(N)], index=IDS)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Pictures, np.ndarray]:
    """Noise of one of four widths, as PNG or JPEG."""
    root, rng = tmp_path_factory.mktemp("files"), np.random.default_rng(0)
    widths = rng.integers(0, 4, N)
    paths = []
    for name, width in zip(IDS, widths, strict=True):
        path = root / (f"{name}.png" if rng.random() < 0.5 else f"{name}.jpg")
        pixels = rng.integers(0, 255, (20, 20 + 2 * int(width), 3), np.uint8)
        Image.fromarray(pixels).save(path)
        paths.append(str(path))
    return Pictures(build_store(IDS, paths, tmp_path_factory.mktemp("store"), 32, Decode())), widths


def plan() -> FoldPlan:
    return make_plan(np.array(IDS, dtype=object), Folds(scheme="group", n=3, group="g"), 0, group=GROUPS)


def table(**columns: np.ndarray | list) -> Table:
    return Table(pd.DataFrame(columns, index=pd.Index(IDS, name="id")), "id")


def test_headers_are_read_as_they_are(made: tuple[Pictures, np.ndarray]):
    pictures, widths = made
    found = read_metadata(pictures, IDS)
    assert found["width"].tolist() == [20 + 2 * width for width in widths]
    assert set(found["height"]) == {20} and len(set(found["format"])) == 2
    assert found["bytes"].tolist() == [Path(path).stat().st_size for path in pictures.store.paths]


def test_the_header_of_an_array_is_its_shape_and_type(tmp_path: Path):
    arrays = {
        "a": np.zeros((8, 12), np.uint8),
        "b": np.zeros((3, 6, 9), np.uint8),
        "c": np.zeros((8, 12), np.float32),
    }
    for name, array in arrays.items():
        np.save(tmp_path / f"{name}.npy", array)
    paths = [str(tmp_path / f"{name}.npy") for name in arrays]
    store = build_store(list(arrays), paths, tmp_path / "store", 8, Decode(window=(0, 1)))
    found = read_metadata(Pictures(store), list(arrays))
    assert found[["height", "width"]].to_numpy().tolist() == [[8, 12], [6, 9], [8, 12]]
    assert len(set(found["format"])) == 1 and len(set(found["mode"])) == 2


def test_of_several_images_the_first_that_can_be_read_counts(
    made: tuple[Pictures, np.ndarray], tmp_path: Path
):
    pictures, widths = made
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"broken")
    paths = [str(broken), *pictures.store.paths[:3]]
    store = build_store(list("pqrs"), paths, tmp_path / "store", 32, Decode())
    files = PictureFiles(store.ids, np.array(["a", "a", "a", "b"], dtype=object), store.paths)
    found = read_metadata(Pictures(store, files), ["b", "a"])
    assert found["width"].to_dict() == {"b": 20 + 2 * widths[2], "a": 20 + 2 * widths[0]}


def test_a_target_that_follows_the_width_is_told_with_the_figures(made: tuple[Pictures, np.ndarray]):
    pictures, widths = made
    noise = np.random.default_rng(1).normal(0, 0.3, N)
    train = table(era=widths + noise, kind=["wide" if width > 1 else "narrow" for width in widths])
    era, kind = check_metadata(train, pictures, plan(), {"era": "number", "kind": "class"})
    assert era.code == "metadata-predicts-target" and era.severity == "warning"
    constant = (widths + noise).std()
    assert f"against {constant:.2f}" in era.message
    assert "alone predict era: rmse 0.2" in era.message
    assert "width alone" in era.message or "aspect alone" in era.message
    assert "alone predict kind: accuracy 1.000" in kind.message


def test_a_target_that_files_do_not_tell_gives_no_warning(made: tuple[Pictures, np.ndarray]):
    pictures, widths = made
    train = table(era=np.random.default_rng(2).permutation(widths).astype(float), text=["x"] * N)
    assert check_metadata(train, pictures, plan(), {"era": "number", "text": "class"}) == []


def test_a_gain_that_groups_alone_explain_is_none(made: tuple[Pictures, np.ndarray]):
    """Every group has a value of its own: rows of one group on both sides of a split would give it away."""
    pictures, _ = made
    values = np.random.default_rng(3).normal(size=N // 2)[GROUPS.to_numpy()]
    assert check_metadata(table(era=values), pictures, plan(), {"era": "number"}) == []


def test_few_rows_and_missing_labels_are_passed_over(made: tuple[Pictures, np.ndarray]):
    pictures, widths = made
    era = widths.astype(float)
    era[50:] = np.nan
    assert check_metadata(table(era=era), pictures, plan(), {"era": "number"}) == []
