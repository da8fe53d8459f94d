"""The `jigstack` command."""

import resource
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jigstack
import pytest
from jigstack import __version__
from jigstack.cli.commands import app
from typer.testing import CliRunner, Result

COMMANDS = [
    "run",
    "pretrain",
    "finetune",
    "features",
    "stack",
    "ablate",
    "check",
    "sample",
    "recipes",
    "recipes copy",
]
STAGES = ["run", "pretrain", "finetune", "features", "stack"]
HEAVY = ("torch", "pandas", "numpy", "yaml", "rich", "sklearn", "lightgbm")


def jigstack_command(*words: str) -> Result:
    return CliRunner().invoke(app, list(words))


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, tuple[Any, ...], dict[str, Any]]]:
    """What reaches the Python functions, which do nothing here; `check` finds errors in bad.yaml."""
    seen: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = []

    def stand_in(name: str) -> Any:
        def function(*values: Any, **options: Any) -> Any:
            seen.append((name, values, options))
            return SimpleNamespace(data=SimpleNamespace(failed=values[0] == "bad.yaml"))

        return function

    pipeline = SimpleNamespace(**{name: stand_in(name) for name in [*STAGES, "check", "sample"]})
    monkeypatch.setitem(sys.modules, "jigstack.pipeline", pipeline)  # pyright: ignore[reportArgumentType]
    monkeypatch.setattr(jigstack, "pipeline", pipeline, raising=False)
    return seen


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_imports_nothing_heavy_and_answers_at_once(command: str):
    """Under half a second of processor time, so that a busy machine does not count; the quickest of five."""
    code = (
        "import sys\n"
        f"sys.argv = ['jigstack', *{command.split()!r}, '--help']\n"
        "from jigstack.cli import main\n"
        "try:\n    main()\n"
        "finally:\n"
        f"    print('HEAVY', [name for name in {HEAVY!r} if name in sys.modules])\n"
    )
    seconds = []
    for _ in range(5):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
        assert ended.returncode == 0, ended.stderr
        assert ended.stdout.endswith("HEAVY []\n")
        if seconds[-1] < 0.5:
            break
    assert min(seconds) < 0.5


@pytest.mark.parametrize("command", COMMANDS)
def test_help_shows_an_example(command: str):
    result = jigstack_command(*command.split(), "--help")
    assert result.exit_code == 0
    assert f"    jigstack {command}" in result.output


def test_the_module_is_the_command():
    ended = subprocess.run(
        [sys.executable, "-m", "jigstack", "--version"], capture_output=True, text=True, check=True
    )
    assert ended.stdout == f"jigstack {__version__}\n"


@pytest.mark.parametrize("command", STAGES)
def test_a_stage_is_called_with_what_was_asked(command: str, calls: list[Any]):
    result = jigstack_command(
        command, "my.yaml", "seed=1", "tasks.era.lr=3e-4", "--smoke", "--replace", "--quiet"
    )
    assert result.exit_code == 0, result.output
    [(name, values, options)] = calls
    assert name == command
    assert values == ("my.yaml", ["seed=1", "tasks.era.lr=3e-4"])
    options.pop("folds", None)
    assert options == {"smoke": True, "replace": True, "allow_plugins": False, "quiet": True}


def test_folds_are_numbers(calls: list[Any]):
    assert jigstack_command("run", "my.yaml", "--folds", "2,0,2").exit_code == 0
    assert calls[0][2]["folds"] == (0, 2)
    result = jigstack_command("run", "my.yaml", "--folds", "0,x")
    assert result.exit_code == 2
    assert result.stderr == "error: --folds: expected numbers such as 0 or 0,2, received '0,x'\n"


def test_check_ends_with_2_when_it_found_errors(calls: list[Any]):
    assert jigstack_command("check", "bad.yaml").exit_code == 2


def test_check_and_sample_are_called_with_what_was_asked(calls: list[Any]):
    assert jigstack_command("check", "my.yaml", "seed=1").exit_code == 0
    assert jigstack_command("check", "my.yaml", "--shortcuts", "--epochs", "7").exit_code == 0
    assert jigstack_command("check", "my.yaml", "--shortcuts").exit_code == 0
    assert jigstack_command("sample", "emoji", "here").exit_code == 0
    plainly = {"find_lr": False, "shortcuts": None, "allow_plugins": False, "quiet": False}
    assert calls == [
        ("check", ("my.yaml", ["seed=1"]), plainly),
        ("check", ("my.yaml", ()), plainly | {"shortcuts": 7}),
        ("check", ("my.yaml", ()), plainly | {"shortcuts": 5}),
        ("sample", ("emoji", Path("here")), {}),
    ]


def test_epochs_of_no_jigsaw_are_refused(calls: list[Any]):
    alone = jigstack_command("check", "my.yaml", "--epochs", "7")
    assert alone.exit_code == 2 and "--epochs: expected --shortcuts" in alone.stderr
    assert jigstack_command("check", "my.yaml", "--shortcuts", "--epochs", "0").exit_code == 2
    assert calls == []


def test_a_missing_config_is_the_users_mistake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    result = jigstack_command("run", "nope.yaml")
    assert result.exit_code == 2
    assert result.stderr.startswith("error: 1 problem in nope.yaml\n")
    assert "Traceback" not in result.output


def test_recipes_are_listed_and_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    listed = jigstack_command("recipes")
    assert listed.exit_code == 0
    assert "quickstart" in listed.output
    copied = jigstack_command("recipes", "copy", "quickstart", "my.yaml")
    assert copied.output == "wrote my.yaml\nNext: jigstack run my.yaml\n"
    assert jigstack_command("recipes", "copy", "quickstart", "my.yaml").exit_code == 2
