"""Copies that were scaled, compressed or brightened are found; other pictures are not."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jigstack.configs.data import Decode, Folds
from jigstack.datasets.duplicates import Prints, check_near_duplicates, count_sets, near_pairs, thumbnails_of
from jigstack.datasets.folds import make_plan
from jigstack.datasets.images import build_store
from jigstack.datasets.pictures import PictureFiles, Pictures
from jigstack.datasets.tables import Table
from PIL import Image, ImageEnhance
from scipy.fft import dct


def picture(seed: int) -> Image.Image:
    """Shapes on a coloured ground, different for each seed."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 255, (6, 6, 3), np.uint8)).resize(
        (96, 96), Image.Resampling.BICUBIC
    )
    fine = Image.fromarray(rng.integers(0, 255, (24, 24, 3), np.uint8)).resize(
        (96, 96), Image.Resampling.BICUBIC
    )
    return Image.blend(coarse, fine, 0.4)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixty pictures; 3 is a small JPEG of 2, 40 a brighter 10, t0 a compressed 20, and 50 to 52 are nearly black."""
    root = tmp_path_factory.mktemp("pictures")
    for number in range(60):
        picture(number).save(root / f"{number}.png")
    picture(2).resize((64, 64)).save(root / "3.png")
    ImageEnhance.Brightness(picture(10)).enhance(0.9).save(root / "40.png")
    picture(20).save(root / "t0.jpg", quality=60)
    picture(99).save(root / "t1.jpg")
    for number in (50, 51, 52):
        Image.new("RGB", (96, 96), (number - 50, 0, 0)).save(root / f"{number}.png")
    return root


@pytest.fixture(scope="module")
def pictures(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Pictures:
    ids = [path.stem for path in sorted(folder.iterdir())]
    paths = [str(path) for path in sorted(folder.iterdir())]
    return Pictures(build_store(ids, paths, tmp_path_factory.mktemp("store"), 96, Decode()))


def table(ids: list[str], **columns: list) -> Table:
    return Table(pd.DataFrame(columns, index=pd.Index(ids, name="id")), "id")


TRAIN = [str(number) for number in range(60)]


def test_copies_are_found_across_folds_groups_and_test_and_nothing_else_is(pictures: Pictures):
    groups = pd.Series([number // 2 for number in range(60)], index=TRAIN)
    plan = make_plan(np.array(TRAIN, dtype=object), Folds(scheme="group", n=3, group="g"), 0, group=groups)
    told: list[tuple[int, int]] = []
    found = check_near_duplicates(
        table(TRAIN), table(["t0", "t1"]), pictures, plan, lambda done, total: told.append((done, total))
    )
    by_code = {finding.code: finding for finding in found}
    apart = plan.fold_of(["10"])[0] != plan.fold_of(["40"])[0]
    assert ("near-duplicates-across-folds" in by_code) == apart
    assert set(by_code["near-duplicates-across-groups"].ids) == {"10", "40"}
    assert set(by_code["near-duplicates-of-test"].ids) == {"20", "t0"}
    assert set(by_code["near-duplicates-in-train"].ids) == {"2", "3"}
    assert (
        "1 pair of nearly equal images in 1 set straddle groups"
        in by_code["near-duplicates-across-groups"].message
    )
    assert "'10 ~ 40'" in by_code["near-duplicates-across-groups"].message
    assert told[-1][0] == told[-1][1] == 62


def test_without_a_plan_copies_in_train_are_a_note(pictures: Pictures):
    codes = {
        finding.code: finding.severity for finding in check_near_duplicates(table(TRAIN), None, pictures)
    }
    assert codes == {"near-duplicates-in-train": "note"}


def test_files_of_equal_content_are_left_to_the_exact_check(folder: Path, tmp_path: Path):
    path = str(folder / "5.png")
    paths = [path, path, str(folder / "6.png")]
    pictures = Pictures(build_store(["a", "b", "c"], paths, tmp_path, 96, Decode()))
    assert check_near_duplicates(table(["a", "b", "c"]), None, pictures) == []


def test_alike_pictures_of_one_row_are_no_finding_and_those_of_two_rows_are_one_pair(
    folder: Path, tmp_path: Path
):
    """2 and 3 show the same, as do 10 and 40: first each pair in one row, then each across two rows."""
    names = np.array(["2", "3", "10", "40", "30"], dtype=object)
    store = build_store(names, [str(folder / f"{name}.png") for name in names], tmp_path, 96, Decode())
    column = pd.Series({"a": 0, "b": 1, "c": 1})
    train = table(["a", "b", "c"], fold=[0, 1, 1])
    plan = make_plan(train.ids, Folds(scheme="column", column="fold"), 0, column=column)

    def found(owners: list[str]) -> list[tuple[str, tuple[str, ...], str]]:
        files = PictureFiles(store.ids, np.array(owners, dtype=object), store.paths)
        findings = check_near_duplicates(train, None, Pictures(store, files), plan)
        return [(each.code, each.ids, each.message) for each in findings]

    assert found(["a", "a", "b", "b", "c"]) == []
    ((code, ids, message),) = found(["a", "b", "a", "b", "c"])
    assert code == "near-duplicates-across-folds" and ids == ("a", "b")
    assert message.startswith("1 pair of nearly equal images")


def test_the_hash_is_that_of_one_picture_written_out(pictures: Pictures):
    rows, store = np.arange(4), pictures.store
    thumbnails = thumbnails_of(store, rows)
    for row, bits in zip(rows, Prints.of(thumbnails).bits, strict=True):
        grey = store.gather(np.array([row]))[0].numpy().astype(float).mean(0)
        small = grey.reshape(32, 3, 32, 3).mean((1, 3))
        low = np.asarray(dct(dct(small, axis=0), axis=1))[:8, :8].ravel()[1:]
        assert np.array_equal(bits > 0, low > np.median(low))


@given(st.integers(0, 50), st.floats(0.3, 1.0), st.floats(-40, 40))
def test_contrast_and_brightness_do_not_change_the_prints(seed: int, contrast: float, brightness: float):
    thumbnails = np.random.default_rng(seed).uniform(0, 255, (3, 32, 32)).astype(np.float32)
    plain, changed = (
        Prints.of(thumbnails),
        Prints.of(thumbnails * np.float32(contrast) + np.float32(brightness)),
    )
    assert (plain.bits == changed.bits).mean() > 0.99
    np.testing.assert_allclose(plain.details, changed.details, atol=1e-3)


def test_blocks_find_what_comparing_all_pairs_finds():
    rng = np.random.default_rng(0)
    thumbnails = rng.uniform(0, 255, (1100, 32, 32)).astype(np.float32)
    thumbnails[700] = thumbnails[3] + 2
    thumbnails[1099] = thumbnails[600] * 0.9
    assert near_pairs(Prints.of(thumbnails)).tolist() == [[3, 700], [600, 1099]]


def test_sets_hang_together_by_pairs():
    assert count_sets([("a", "b"), ("b", "c"), ("x", "y")]) == 2
