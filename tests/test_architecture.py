"""The shape of the house: who imports whom, and what files are called."""

import ast
import configparser
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LAYERS = [
    "cli",
    "pipeline",
    "stacking",
    "transfer",
    "pretext",
    "training",
    "backbones",
    "datasets",
    "scoring",
    "configs",
]
SEEN_BY_CLI = {"cli", "pipeline", "configs"}
VAGUE = {"utils", "util", "helpers", "helper", "misc", "common", "base", "manager"}
NOT_IN_CONFIGS = {
    "torch",
    "torchvision",
    "timm",
    "numpy",
    "pandas",
    "sklearn",
    "lightgbm",
    "scipy",
    "lightning",
}

MODULES = sorted(path for layer in LAYERS for path in (ROOT / layer).rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("test_*.py"))


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def imports(path: Path) -> Iterator[tuple[str, int]]:
    """Each module a file imports, in full ("jigstack.datasets.folds" or "torch.nn"), and the line."""
    package = ["jigstack", *path.relative_to(ROOT).parent.parts]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield str(node.module), node.lineno
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1]
            if node.module:
                yield ".".join([*above, node.module]), node.lineno
            else:
                yield from ((".".join([*above, alias.name]), node.lineno) for alias in node.names)


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_imports_run_downwards_only(path: Path):
    layer = path.relative_to(ROOT).parts[0]
    allowed = SEEN_BY_CLI if layer == "cli" else set(LAYERS[LAYERS.index(layer) :])
    wrong = [
        f"line {line}: {module}"
        for module, line in imports(path)
        if module.startswith("jigstack.")
        and module.split(".")[1] in LAYERS
        and module.split(".")[1] not in allowed
    ]
    assert wrong == []


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_the_package_imports_itself_relatively(path: Path):
    """So that every editor resolves it, whatever the checkout is called."""
    tree = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    absolute = [
        node.lineno
        for node in tree
        if (
            isinstance(node, ast.ImportFrom)
            and node.level == 0
            and str(node.module).split(".")[0] == "jigstack"
        )
        or (isinstance(node, ast.Import) and any(a.name.split(".")[0] == "jigstack" for a in node.names))
    ]
    assert absolute == []


@pytest.mark.parametrize("path", sorted((ROOT / "configs").glob("*.py")), ids=name_of)
def test_configs_import_nothing_heavy(path: Path):
    assert [module for module, _ in imports(path) if module.split(".")[0] in NOT_IN_CONFIGS] == []


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_file_stays_short(path: Path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 450


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_file_has_a_noun_and_says_what_it_is(path: Path):
    assert path.stem not in VAGUE
    text = path.read_text(encoding="utf-8")
    assert not text.strip() or ast.get_docstring(ast.parse(text))


@pytest.mark.parametrize("path", [p for p in TESTS if p.parent != ROOT / "tests"], ids=name_of)
def test_a_test_file_stands_where_its_module_does(path: Path):
    """`test_public.py` is that of a folder's `__init__.py`."""
    folder = path.parent.relative_to(ROOT / "tests")
    module = path.stem.removeprefix("test_").replace("public", "__init__")
    assert (ROOT / folder / f"{module}.py").is_file()


def test_setup_lists_every_package():
    """The list is written by hand, as the repository root is the package."""
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    listed = set(setup["options"]["packages"].split())
    assert listed == {"jigstack", *(f"jigstack.{layer}" for layer in LAYERS)}
    found = {path.parent.relative_to(ROOT).as_posix().replace("/", ".") for path in MODULES}
    assert {f"jigstack.{folder}" for folder in found} == listed - {"jigstack"}


def test_importing_the_package_costs_nothing():
    code = "import sys, jigstack; print([m for m in ('torch', 'pandas', 'numpy', 'pydantic') if m in sys.modules])"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == "[]"
