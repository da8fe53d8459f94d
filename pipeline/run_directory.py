"""The directory of a run: its lock, its manifest, its log, and results shared with the runs beside it."""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from ..configs.errors import UserError
from ..datasets.files import remove_stale
from .manifest import Entry, Manifest, Stage

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None


class RunDirectory:
    """`runs/<name>/`, made if missing.

    Args:
        path: the directory; its siblings are searched for finished stages with the same key.
    """

    def __init__(self, path: Path) -> None:
        try:
            path.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError) as error:
            raise UserError(
                f"runs, name: expected a folder for the run, received the file {error.filename!r}"
            ) from error
        self.path = path
        self.manifest = Manifest(path)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes out; the lock goes with the process, however it ends.

        Raises:
            UserError: another process works in this directory.
        """
        path = self.path / ".lock"
        with path.open("a+") as file:
            _lock(file, path)
            file.seek(0)
            file.truncate()
            file.write(str(os.getpid()))
            file.flush()
            for folder in (self.path, *(path for path in self.path.rglob("*") if path.is_dir())):
                remove_stale(folder)
            self.manifest = Manifest(self.path)
            yield

    def log(self, event: str, **values: Any) -> None:
        """Append one line to `log.jsonl`."""
        line = {"time": datetime.now(UTC).isoformat(timespec="milliseconds"), "event": event, **values}
        with (self.path / "log.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(line, ensure_ascii=False, default=str) + "\n")

    def merge_log(self, stage: Stage) -> None:
        """Append a finished job's own log to the run's and remove it."""
        path, merged = self.path / stage.folder / "log.jsonl", self.path / "log.jsonl"
        if stage.training and path.exists():
            with merged.open("a", encoding="utf-8") as file:
                file.write(path.read_text(encoding="utf-8"))
            path.unlink()

    def find_elsewhere(self, stage: Stage) -> tuple[Manifest, Entry] | None:
        """The same stage with the same key, finished and whole in another run of the same folder."""
        for other in self.siblings:
            if other.done(stage):
                return other, other.entries[stage.name]
        return None

    @cached_property
    def siblings(self) -> list[Manifest]:
        """The manifests of the other runs of the folder; one that cannot be read is logged and left out."""
        manifests = []
        for path in sorted(self.path.parent.glob("*/manifest.json")):
            if path.parent == self.path:
                continue
            try:
                manifests.append(Manifest(path.parent))
            except UserError as error:
                self.log("unreadable manifest", path=path, error=str(error))
        return manifests

    def link(self, stage: Stage, other: Manifest, entry: Entry) -> None:
        """Take the files of another run's stage as hard links (copies across file systems)."""
        self.manifest.forget(stage)
        for name in entry.outputs:
            source, target = other.run / name, self.path / name
            target.parent.mkdir(parents=True, exist_ok=True)
            link(source, target)
        self.manifest.adopt(stage, entry)


def link(source: Path, target: Path) -> None:
    """Give a file a second name, or copy it where the file system cannot; a file of that name is replaced."""
    target.unlink(missing_ok=True)
    try:
        target.hardlink_to(source)
    except OSError:
        shutil.copy2(source, target)


def _lock(file: Any, path: Path) -> None:
    if fcntl is None:
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        file.seek(0)
        holder = file.read().strip() or "another process"
        raise UserError(
            f"{path.parent}: expected a run directory that is free, received one in which process {holder} works; "
            "wait for it, stop it, or use another name"
        ) from error
