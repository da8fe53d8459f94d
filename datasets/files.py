"""Files that are either whole or absent, and the digests that name their content."""

import hashlib
import json
import math
import os
import re
import secrets
import shutil
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any, cast

_HOST = re.sub(r"[^A-Za-z0-9]", "", socket.gethostname()) or "host"
_TEMPORARY = re.compile(r"^\..*\.tmp-(?P<host>[A-Za-z0-9]+)-(?P<pid>\d+)-[0-9a-f]+(\.[^.]*)?$")
_UMASK = os.umask(0)
os.umask(_UMASK)
# A file written this recently may change again under the same time stamp: its digest is not remembered.
_SETTLED_NS = 2_000_000_000


@contextmanager
def atomic(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path beside `path`, renamed to it when the block succeeds and removed when it fails.

    The block may write a file there or make a folder. The temporary keeps the suffix, at which some writers
    look, and carries host and process, so that `remove_stale` knows the leftovers of killed processes.

    Args:
        path: the file or folder to bring about; missing parents are made. A file is replaced. A folder is
            not: if one stands there already, another process was faster with the same content; it is kept.

    Yields:
        The temporary path; nothing exists there yet.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.parent / f".{path.stem}.tmp-{_HOST}-{os.getpid()}-{secrets.token_hex(4)}{path.suffix}"
    try:
        yield temporary
        if temporary.is_file():
            temporary.chmod(0o666 & ~_UMASK)  # some writers keep their files to the owner
        try:
            temporary.replace(path)
        except OSError:
            # A non-empty folder cannot be replaced.
            if not (temporary.is_dir() and path.is_dir()):
                raise
    finally:
        _remove(temporary)


def remove_stale(folder: str | os.PathLike[str]) -> list[Path]:
    """Remove from `folder` the temporaries of this machine's killed processes; those of living ones stay.

    Returns:
        The paths removed.
    """
    removed: list[Path] = []
    folder = Path(folder)
    for path in folder.iterdir() if folder.is_dir() else ():
        match = _TEMPORARY.match(path.name)
        if match and match["host"] == _HOST and not _alive(int(match["pid"])):
            _remove(path)
            removed.append(path)
    return removed


def write_json(path: str | os.PathLike[str], obj: Any) -> None:
    """Write `obj` as indented UTF-8 JSON, atomically.

    Args:
        path: the file to write.
        obj: plain containers, numbers, text, paths, dates, numpy scalars and arrays, pydantic models. NaN and
            infinity, which JSON does not have, become null.

    Raises:
        TypeError: `obj` holds something else.
    """
    text = json.dumps(_plain(obj), ensure_ascii=False, indent=1, allow_nan=False)
    with atomic(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def read_json(path: str | os.PathLike[str]) -> Any:
    """Read a JSON file.

    Raises:
        ValueError: the file is not JSON; the message names it.
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: expected JSON, received something else ({error})") from error


def digest(*parts: Any) -> str:
    """Name a value by its content: 16 hexadecimal digits of the SHA-256 of its canonical JSON.

    The order of mapping keys does not matter, the order of sequences does.

    Args:
        *parts: what `write_json` accepts.

    Example:
        >>> digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})
        True
    """
    text = json.dumps(_plain(list(parts)), sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def content_digests(
    paths: Sequence[str | os.PathLike[str]],
    cache: Path | None = None,
    *,
    missing: str | None = None,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[str]:
    """Digest the content of files, reading only those that changed since the last call with the same cache.

    Args:
        paths: N files.
        cache: a JSON file that remembers (path, size, times) -> digest; None: read every file.
        missing: the digest of a file that cannot be opened; None: raise.
        workers: threads; None: as many as processors.
        progress: called with (done, total).

    Returns:
        N digests of 32 hexadecimal digits, in the order of `paths`.

    Raises:
        OSError: a file cannot be opened and `missing` is None.
    """
    known: dict[str, list[Any]] = {}
    if cache is not None and cache.exists():
        try:
            known = read_json(cache)
        except ValueError:
            known = {}  # a cache can always be made again
    fresh: dict[str, list[Any]] = {}
    now = time.time_ns()

    def one(path: str | os.PathLike[str]) -> str:
        name = os.path.abspath(path)  # noqa: PTH100 (resolve() would read every link of a million paths)
        try:
            status = os.stat(name)  # noqa: PTH116 (five times as fast as Path.stat)
            # The inode's own time moves even when a tool restores the modification time.
            stamp = [status.st_size, status.st_mtime_ns, status.st_ctime_ns]
            entry = known.get(name)
            if entry is not None and entry[:3] == stamp:
                return cast(str, entry[3])
            with open(name, "rb") as file:  # noqa: PTH123
                value = hashlib.file_digest(file, "sha256").hexdigest()[:32]
        except OSError:
            if missing is None:
                raise
            return missing
        if now - max(status.st_mtime_ns, status.st_ctime_ns) > _SETTLED_NS:
            fresh[name] = [*stamp, value]
        return value

    digests: list[str] = []
    with ThreadPoolExecutor(workers or os.cpu_count() or 1) as pool:
        for value in pool.map(one, paths):
            digests.append(value)
            if progress is not None:
                progress(len(digests), len(paths))
    if cache is not None and fresh:
        with atomic(cache) as temporary:
            temporary.write_text(json.dumps({**known, **fresh}), encoding="utf-8")
    return digests


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True  # it exists, but belongs to someone else
    return True


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _plain(obj: Any) -> Any:
    if obj is None or isinstance(obj, str | bool | int):
        return obj
    if isinstance(obj, float):
        return obj if math.isfinite(obj) else None
    if isinstance(obj, Mapping):
        return {str(key): _plain(value) for key, value in obj.items()}
    if isinstance(obj, list | tuple):
        return [_plain(value) for value in obj]
    if isinstance(obj, os.PathLike):
        return os.fspath(cast("os.PathLike[str]", obj))
    if isinstance(obj, date):
        return obj.isoformat()
    if hasattr(obj, "model_dump"):
        return _plain(obj.model_dump(mode="json"))
    if hasattr(obj, "tolist"):
        return _plain(obj.tolist())
    raise TypeError(f"obj: expected plain values for JSON, received {type(obj).__name__}")
