from pathlib import Path

import pytest
from jigstack.datasets.samples import SAMPLES


@pytest.mark.parametrize("name", sorted(SAMPLES))
def test_every_sample_leaves_a_folder_with_other_files_alone(tmp_path: Path, name: str):
    (tmp_path / "mine.txt").touch()
    with pytest.raises(ValueError, match="folder: expected a new or empty folder"):
        SAMPLES[name].make(tmp_path, None)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


@pytest.mark.parametrize("name", sorted(SAMPLES))
def test_every_sample_finds_itself_done(tmp_path: Path, name: str):
    """No registry is asked: the files' names are enough."""
    for file in ("train.csv", "test.csv", "LICENSES.txt"):
        (tmp_path / file).touch()
    assert SAMPLES[name].make(tmp_path, None) == tmp_path
    assert {path.stat().st_size for path in tmp_path.iterdir()} == {0}
