"""Methods from files of the user."""

from pathlib import Path
from typing import Any

import pytest
from jigstack.configs import ConfigError, load_config, registry, to_yaml

PLUGIN = """\
from pathlib import Path

from jigstack.configs import Options, register_pretext


class TwistOptions(Options):
    turns: int = 2


class Twist:
    pass


register_pretext("twist", options=TwistOptions, implementation=Twist)
with Path("loaded.txt").open("a") as file:
    file.write("x")
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(registry, "PRETEXTS", dict(registry.PRETEXTS))
    Path("my.py").write_text(PLUGIN)
    return tmp_path


def config(**changes: Any) -> dict[str, Any]:
    return {
        "name": "x",
        "plugins": ["my.py"],
        "data": {"id": "id", "train": ["t.csv"], "images": "i"},
        "pretext": [{"name": "p", "kind": "twist", "options": {"turns": 3}}],
        **changes,
    }


def test_a_plugin_brings_a_kind_with_checked_options():
    assert load_config(config()).pretext[0].options == {"turns": 3}
    assert registry.implementation("twist").__name__ == "Twist"
    with pytest.raises(ConfigError, match="did you mean: turns"):
        load_config(config(), ["pretext.p.options.turn=1"])


def test_an_unchanged_plugin_is_imported_once_and_a_changed_one_again():
    load_config(config())
    load_config(config())
    assert Path("loaded.txt").read_text() == "x"
    Path("my.py").write_text(PLUGIN.replace("turns: int = 2", "turns: int = 2\n    speed: int = 1"))
    assert load_config(config()).pretext[0].options == {"turns": 3, "speed": 1}
    assert Path("loaded.txt").read_text() == "xx"


def test_without_the_plugin_its_kind_is_unknown():
    with pytest.raises(
        ConfigError,
        match=r"pretext.0.kind\n  expected: one of jigsaw, tiles, .*, masked, simsiam_rows\n  received: \"twist\"",
    ):
        load_config(config(plugins=[]))


@pytest.mark.parametrize("file", ["manifest.json", "log.jsonl", "folds.parquet"])
def test_the_config_of_a_run_directory_loads_no_plugin_unless_allowed(file: str):
    """It may be a stranger's, and a plug-in is code."""
    run = Path("runs/x")
    run.mkdir(parents=True)
    (run / "config.yaml").write_text(
        "name: x\nplugins: [my.py]\ndata: {id: id, train: [t.csv], images: i}\npretext: [{name: p, kind: twist}]\n"
    )
    (run / file).touch()
    for source in (run, run / "config.yaml"):
        with pytest.raises(ConfigError) as caught:
            load_config(source)
        assert str(caught.value) == (
            "1 problem in runs/x/config.yaml\n"
            "\n"
            "runs/x/config.yaml:2: plugins\n"
            "  expected: none in the config of a run directory, which may be a stranger's\n"
            "  received: my.py\n"
            "  way out: read these files; if you trust them, give --allow-plugins (allow_plugins=True)"
        )
    assert not Path("loaded.txt").exists()
    assert load_config(run, allow_plugins=True).pretext[0].kind == "twist"


def test_a_config_with_plugins_survives_the_file():
    loaded = load_config(config())
    Path("again.yaml").write_text(to_yaml(loaded))
    assert load_config("again.yaml") == loaded


def test_a_missing_plugin_is_told():
    with pytest.raises(ConfigError) as caught:
        load_config(config(plugins=["nope.py"], pretext=[]))
    assert (
        "plugins.0\n"
        "  expected: an existing Python file, relative to the working directory\n"
        "  received: nope.py\n"
        f"  way out: the working directory is {Path.cwd()}"
    ) in str(caught.value)


def test_what_a_plugin_raises_is_told_with_its_line():
    Path("my.py").write_text("x = 1\n\nx.y()\n")
    with pytest.raises(ConfigError) as caught:
        load_config(config(pretext=[]))
    assert "received: AttributeError: 'int' object has no attribute 'y' (my.py:3)" in str(caught.value)
