"""What a run has finished: stage -> key, outputs, seconds, versions."""

import importlib.metadata
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from .._version import __version__
from ..configs.errors import UserError
from ..datasets.files import content_digests, digest, read_json, write_json

FILE = "manifest.json"


@dataclass(frozen=True)
class Job:
    """A unit of work: with the resolved config it says everything. `fold` is None where a stage has none."""

    stage: str
    name: str
    fold: int | None = None


@dataclass(frozen=True)
class Stage:
    """A job with the values it reads and the files it writes.

    Attributes:
        folder: where its outputs lie, relative to the run.
        inputs: flat name -> value of everything that decides the result; upstream stages stand here by their keys.
        outputs: file names relative to `folder`; one with a `*` stands for any number of files.
        training: finished results are hours of work and are replaced only on request.
    """

    job: Job
    folder: str
    inputs: Mapping[str, Any]
    outputs: Sequence[str]
    training: bool = False

    @property
    def name(self) -> str:
        """E.g. `finetune/era/fold0`."""
        parts = [self.job.stage, self.job.name]
        return "/".join(parts if self.job.fold is None else [*parts, fold_folder(self.job.fold)])

    @property
    def key(self) -> str:
        """The name of the result: equal inputs, equal key."""
        return digest(self.inputs)


@dataclass(frozen=True)
class Entry:
    """One finished stage; an output is {path: {size: bytes, sha256: the first 32 digits}}.

    `training` says whether it is hours of work, or only taken from elsewhere; None where an older version wrote it.
    """

    key: str
    inputs: dict[str, Any]
    outputs: dict[str, dict[str, Any]]
    seconds: float
    device: str
    finished: str
    versions: dict[str, str] = field(default_factory=lambda: versions())
    training: bool | None = None


class Manifest:
    """The finished stages of a run directory, as a file that is always whole."""

    def __init__(self, run: Path) -> None:
        self.run = run
        path = run / FILE
        try:
            stored = read_json(path) if path.exists() else {"stages": {}}
            self.entries = {name: Entry(**values) for name, values in stored["stages"].items()}
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise UserError(
                f"{path}: expected the manifest of a run, received something else ({error!r}); remove the file to do "
                "the stages again, or give the run another name"
            ) from error

    def done(self, stage: Stage) -> bool:
        """Whether the stage is finished with this key and its files are all there in full size."""
        entry = self.entries.get(stage.name)
        return entry is not None and entry.key == stage.key and self.intact(entry)

    def intact(self, entry: Entry) -> bool:
        """Whether the files of an entry are all there in full size."""
        return all(
            (path := self.run / name).is_file() and path.stat().st_size == output["size"]
            for name, output in entry.outputs.items()
        )

    def record(self, stage: Stage, seconds: float, device: str) -> None:
        """Note a finished stage.

        Raises:
            FileNotFoundError: it did not write an output that it announced.
        """
        paths = self._written(stage)
        digests = content_digests([self.run / path for path in paths])
        outputs = {
            path: {"size": (self.run / path).stat().st_size, "sha256": sha}
            for path, sha in zip(paths, digests, strict=True)
        }
        finished = datetime.now(UTC).isoformat(timespec="seconds")
        self.entries[stage.name] = Entry(
            stage.key,
            dict(stage.inputs),
            outputs,
            round(seconds, 3),
            device,
            finished,
            training=stage.training,
        )
        self.write()

    def forget(self, stage: Stage) -> None:
        """Strike a stage out before it is done again, its files too: old ones must not stand beside new ones."""
        names = self.in_the_way(stage)
        gone = [path for name in names for path in self.entries.pop(name).outputs]
        if names:
            self.write()
        for path in gone:
            (self.run / path).unlink(missing_ok=True)

    def in_the_way(self, stage: Stage) -> list[str]:
        """The entries that a stage takes the place of: its own, and those of the same job done once or fold by fold."""
        whole = f"{stage.job.stage}/{stage.job.name}"
        if stage.job.fold is None:
            others = [name for name in self.entries if name.startswith(f"{whole}/")]
        else:
            others = [whole] if whole in self.entries else []
        return [*([stage.name] if stage.name in self.entries else []), *others]

    def loses(self, stage: Stage) -> bool:
        """Whether a finished training goes when the stage is done, be the stage itself a training or not."""
        former = [self.entries[name].training for name in self.in_the_way(stage)]
        return any(stage.training if training is None else training for training in former)

    def _written(self, stage: Stage) -> list[str]:
        paths = []
        for name in stage.outputs:
            if "*" in name:
                found = sorted((self.run / stage.folder).glob(name))
                paths += [path.relative_to(self.run).as_posix() for path in found]
            else:
                paths.append(f"{stage.folder}/{name}")
        return paths

    def adopt(self, stage: Stage, entry: Entry) -> None:
        """Note a stage whose files were linked from another run."""
        self.entries[stage.name] = entry
        self.write()

    def write(self) -> None:
        """Write the file, atomically."""
        write_json(
            self.run / FILE,
            {
                "jigstack": __version__,
                "stages": {name: asdict(entry) for name, entry in self.entries.items()},
            },
        )

    def changes(self, stage: Stage) -> list[str]:
        """What differs between the finished stage and the wanted one, as `name: old → new`."""
        former = self.in_the_way(stage)
        if not former:
            return []
        entry, wanted = self.entries[former[0]], dict(stage.inputs)
        names = sorted(set(entry.inputs) | set(wanted))
        return [
            f"{name}: {_short(entry.inputs.get(name))} → {_short(wanted.get(name))}"
            for name in names
            if entry.inputs.get(name) != _plain(wanted.get(name))
        ]


def fold_folder(fold: int) -> str:
    """`fold3`, or `refit` for the network on all labelled rows."""
    return "refit" if fold < 0 else f"fold{fold}"


@cache
def versions() -> dict[str, str]:
    """Versions of the packages that decide the bits of a result."""
    return {
        name: importlib.metadata.version(name)
        for name in ("torch", "timm", "lightgbm", "scikit-learn", "numpy", "pandas")
    }


def _plain(value: Any) -> Any:
    """As JSON gives it back."""
    if isinstance(value, tuple | list):
        return [_plain(part) for part in value]
    if isinstance(value, Mapping):
        return {str(name): _plain(part) for name, part in value.items()}
    return value


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 60 else text[:57] + "..."
