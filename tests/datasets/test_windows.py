from pathlib import Path

import numpy as np
import pytest
from jigstack.configs.data import Decode
from jigstack.datasets.windows import read_array, suggest_window, to_bytes
from PIL import Image


def _save(folder: Path, values: np.ndarray, count: int = 1) -> list[Path]:
    paths = [folder / f"{i}.npy" for i in range(count)]
    for path in paths:
        np.save(path, values)
    return paths


def test_the_window_is_that_of_the_percentiles_to_three_digits(tmp_path: Path):
    rng = np.random.default_rng(0)
    arrays = [rng.normal(-40, 12, (50, 60)).astype(np.float32) for _ in range(8)]
    for i, array in enumerate(arrays):
        np.save(tmp_path / f"{i}.npy", array)
    low, high = suggest_window(tmp_path / f"{i}.npy" for i in range(8))
    exact = np.percentile(np.stack(arrays), [0.1, 99.9])
    assert (low, high) == (float(f"{exact[0]:.3g}"), float(f"{exact[1]:.3g}"))


def test_single_stray_values_do_not_widen_the_window(tmp_path: Path):
    values = np.tile(np.linspace(0, 100, 10_000), 2).reshape(100, 200)
    values[0, 0], values[1, 1], values[2, 2] = 1e9, np.nan, -np.inf
    assert suggest_window(_save(tmp_path, values)) == (0.1, 99.9)


def test_at_most_so_many_files_are_opened_and_they_are_spread(tmp_path: Path):
    paths = [tmp_path / f"{i}.npy" for i in range(100)]
    for i in (0, 25, 50, 75):  # the others do not exist: had they been chosen, these would not all be
        np.save(paths[i], np.full((4, 4), float(i)))
    low, high = suggest_window(paths, sample=4)
    assert low < 1 and high > 74
    np.save(paths[50], np.full((4, 4), 1e6))
    assert suggest_window(paths, sample=4)[1] > 9e5
    np.save(paths[51], np.full((4, 4), 1e9))
    assert suggest_window(paths, sample=4)[1] < 2e6


def test_of_a_large_file_a_part_stands_for_all_columns(tmp_path: Path):
    """Each 16th value would be of the first column of a file 16 wide."""
    values = np.tile(np.arange(16.0), (65_536, 1))
    assert suggest_window(_save(tmp_path, values)) == (0, 15)


def test_files_of_eight_bits_and_unreadable_ones_say_nothing(tmp_path: Path):
    Image.fromarray(np.full((8, 8), 200, np.uint8)).save(tmp_path / "grey.png")
    Image.fromarray(np.array([[1000, 3000]], np.uint16)).save(tmp_path / "wide.png")
    np.save(tmp_path / "bytes.npy", np.full((8, 8), 7, np.uint8))
    np.save(tmp_path / "vector.npy", np.arange(8.0))
    (tmp_path / "broken.tif").write_bytes(b"nothing")
    names = ["grey.png", "bytes.npy", "vector.npy", "broken.tif", "missing.png"]
    low, high = suggest_window([tmp_path / name for name in [*names, "wide.png"]])
    assert 1000 <= low < 1010 and 2990 < high <= 3000
    with pytest.raises(
        ValueError, match=r"paths: expected files of other than 8-bit values, received none among"
    ):
        suggest_window([tmp_path / name for name in names])
    with pytest.raises(ValueError, match="none among the 0 of 0"):
        suggest_window([])


@pytest.mark.parametrize("start", [0.0, 1e5, -3e-7])
@pytest.mark.parametrize("width", [1e-6, 1.0, 1e4])
def test_a_narrow_window_far_from_zero_keeps_the_digits_it_needs(tmp_path: Path, start: float, width: float):
    values = start + width * np.linspace(0, 1, 1000).reshape(20, 50)
    low, high = suggest_window(_save(tmp_path, values))
    assert abs(low - start) < 0.06 * width and abs(high - start - width) < 0.06 * width
    assert Decode(window=(low, high)).window == (low, high)


def test_a_flat_picture_still_gives_a_window_that_the_config_takes(tmp_path: Path):
    assert suggest_window(_save(tmp_path, np.full((4, 4), 7, np.int16))) == (7, 8)


def test_the_ends_of_the_window_become_black_and_white():
    values = np.array([-90, -80, -40, 0, 10], np.float16)
    assert to_bytes(values, (-80, 0), "float16").tolist() == [0, 0, 128, 255, 255]


def test_an_array_is_mapped_and_never_written(tmp_path: Path):
    (path,) = _save(tmp_path, np.zeros((3, 4, 5)))
    array = read_array(path)
    assert array.shape == (4, 5, 3) and not array.flags.writeable
