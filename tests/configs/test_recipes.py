"""The shipped configs."""

from pathlib import Path

import pytest
from jigstack.configs import copy_recipe, list_recipes, load_config

RECIPES = sorted(list_recipes())


def test_recipes_are_listed_with_a_headline():
    listed = list_recipes()
    assert {"atmacup11", "quickstart"} <= set(listed)
    assert all(20 < len(headline) < 110 for headline in listed.values())


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_is_right_and_opens_with_command_time_and_score(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    path = copy_recipe(name)
    assert load_config(path).name == name
    opening = path.read_text().split("\n\n")[0].splitlines()
    assert all(line.startswith("#") for line in opening)
    assert all(
        any(line.startswith(f"# {word} ") for line in opening) for word in ("Command", "Time", "Score")
    )


def test_a_copy_goes_where_it_is_told(tmp_path: Path):
    assert copy_recipe("quickstart", tmp_path) == tmp_path / "quickstart.yaml"
    assert copy_recipe("quickstart", tmp_path / "new" / "my.yaml").exists()


def test_a_copy_never_overwrites(tmp_path: Path):
    path = tmp_path / "my.yaml"
    path.write_text("mine")
    with pytest.raises(ValueError, match="destination: expected a new file, received the existing "):
        copy_recipe("quickstart", path)
    assert path.read_text() == "mine"


def test_an_unknown_recipe_is_told_with_the_likely_one(tmp_path: Path):
    with pytest.raises(ValueError) as caught:
        copy_recipe("quikstart", tmp_path)
    assert "received 'quikstart'; did you mean 'quickstart'?" in str(caught.value)
