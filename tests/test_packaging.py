"""What is installed: the right files, at versions that were tested."""

import configparser
import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).parents[1]
FOLDERS = [
    "backbones",
    "cli",
    "configs",
    "datasets",
    "pipeline",
    "pretext",
    "scoring",
    "stacking",
    "training",
    "transfer",
]
SHIPPED = {".py", ".yaml", ".j2", ".typed"}


def sources() -> set[str]:
    """Every file that belongs into the package, relative to the repository."""
    top = {path.name for path in ROOT.glob("*.py")} | {"py.typed"}
    return top | {
        path.relative_to(ROOT).as_posix()
        for folder in FOLDERS
        for path in (ROOT / folder).rglob("*")
        if path.suffix in SHIPPED
    }


def test_nothing_in_a_package_folder_is_left_out():
    """A new kind of data file needs a line under package_data."""
    files = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*") if path.is_file()]
    assert {path.suffix for path in files if "__pycache__" not in path.parts} <= SHIPPED


def test_every_requirement_has_a_tested_version():
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    extras = setup["options.extras_require"]
    wanted = [setup["options"]["install_requires"], extras["dev"], extras["bench"]]
    lines = [line for text in wanted for line in text.splitlines() if line.strip()]
    pinned = dict(
        line.split("==")
        for line in (ROOT / "constraints.txt").read_text().lower().splitlines()
        if not line.startswith("#")
    )
    for requirement in map(Requirement, lines):
        version = pinned[re.sub(r"[-_.]+", "-", requirement.name).lower()]
        assert requirement.specifier.contains(Version(version)), requirement


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with wheel and sdist, built from a copy of what git knows, so that no build leftovers slip in."""
    copy, out = tmp_path_factory.mktemp("copy"), tmp_path_factory.mktemp("dist")
    names = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    for name in names.stdout.decode().split("\0"):
        if name and (ROOT / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            (copy / name).write_bytes((ROOT / name).read_bytes())
    # The wheel is built from the sdist, which proves that the sdist is whole.
    subprocess.run(
        [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), str(copy)],
        check=True,
        capture_output=True,
    )
    return out


@pytest.mark.slow
def test_the_wheel_holds_every_module_and_recipe_and_no_tests(built: Path):
    with zipfile.ZipFile(next(built.glob("*.whl"))) as wheel:
        names = {name for name in wheel.namelist() if ".dist-info/" not in name}
        metadata = [name.split("/", 1)[1] for name in wheel.namelist() if ".dist-info/" in name]
    assert names == {f"jigstack/{name}" for name in sources()}
    assert "licenses/LICENSE" in metadata
    assert "entry_points.txt" in metadata


@pytest.mark.slow
def test_the_sdist_holds_what_a_build_needs_and_no_tests(built: Path):
    with tarfile.open(next(built.glob("*.tar.gz"))) as sdist:
        names = {name.split("/", 1)[1] for name in sdist.getnames() if "/" in name}
    assert sources() <= names
    assert {"setup.cfg", "pyproject.toml", "LICENSE", "README.md", "constraints.txt"} <= names
    assert not {name for name in names if name.split("/")[0] in ("tests", "benchmarks", "data", "runs")}


@pytest.mark.slow
def test_an_installed_wheel_runs_without_the_repository(built: Path, tmp_path: Path):
    target = tmp_path / "site"
    wheel = next(built.glob("*.whl"))
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(target), str(wheel)],
        check=True,
        capture_output=True,
    )
    code = (
        f"import sys; sys.path.insert(0, {str(target)!r}); import jigstack; print(jigstack.__file__)\n"
        "from jigstack.configs import copy_recipe, load_config\n"
        "print(load_config(copy_recipe('quickstart')).name)\n"
        "print(jigstack.run.__module__)\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    place, recipe, module = ended.stdout.splitlines()
    assert Path(place) == target / "jigstack" / "__init__.py"
    assert recipe == "quickstart"
    assert module.startswith("jigstack.pipeline")
    assert (target / "bin" / "jigstack").exists()
