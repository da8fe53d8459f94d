"""Images: where they are, and the store that holds them decoded once."""

import os
import string
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from glob import glob
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from PIL import __version__ as pillow_version

from ..configs.data import Decode
from .decoding import decode_image
from .files import atomic, content_digests, digest, read_json, remove_stale, write_json
from .findings import did_you_mean, name_some
from .tables import Table

__all__ = [
    "ImageStore",
    "build_store",
    "decode_image",
    "glob_images",
    "locate_images",
    "unlabelled_images",
]

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".npy")
_LAYOUT = 2  # part of every key: raise it when the same file would decode to other pixels
_BLOCK = 4096  # images handed to the threads at a time, so that a million waiting jobs need no memory

Progress = Callable[[int, int], None]


def locate_images(table: Table, pattern: str, root: str | os.PathLike[str]) -> pd.Series:
    """Name the image file of each row; whether it exists is for the store to find out.

    Args:
        table: N rows.
        pattern: a path with `{column}` fields ("photos/{object_id}.jpg"; a format like `{number:05d}` too),
            or the name of a column that holds paths.
        root: the folder that relative paths start from.

    Returns:
        N absolute paths, indexed by id; "" for a row with a missing value.

    Raises:
        ValueError: a field or the column does not exist.
    """
    parts = list(string.Formatter().parse(pattern))
    names = [table.id, *map(str, table.frame.columns)]
    if not any(field is not None for _, field, _, _ in parts):
        if pattern not in names:
            raise ValueError(
                f"images: expected a pattern with {{column}} fields, a column that holds paths or a list file (.csv, "
                f".tsv, .parquet), received {pattern!r}.{did_you_mean(pattern, names)} Write for example "
                f"photos/{{{table.id}}}.jpg."
            )
        parts = [("", pattern, "", None)]
    for _, field, _, _ in parts:
        if field is not None and field not in names:
            raise ValueError(
                f"images: expected fields out of {name_some(names, 12)} in {pattern!r}, received {field!r}."
                f"{did_you_mean(field, names)}"
            )
    texts = np.full(len(table), "", dtype=object)
    complete = np.ones(len(table), dtype=bool)
    for literal, field, form, _ in parts:
        texts = texts + literal
        if field is not None:
            filled = [_fill(value, form or "") for value in table.column(field).tolist()]
            complete &= np.array([text.strip() != "" for text in filled], dtype=bool)
            texts = texts + np.array(filled, dtype=object)
    base = os.path.abspath(root)  # noqa: PTH100 (links are kept as the user wrote them)
    paths = [
        os.path.normpath(os.path.join(base, text)) if whole else ""  # noqa: PTH118
        for text, whole in zip(texts, complete, strict=True)
    ]
    return pd.Series(paths, index=table.frame.index, name="path", dtype=object)


def glob_images(patterns: Sequence[str], root: str | os.PathLike[str]) -> list[Path]:
    """Find the image files that patterns such as `extra/**/*.png` name; other files are passed over.

    Args:
        patterns: globs below `root`, `**` for any depth; a folder stands for everything in it.
        root: the folder that relative patterns start from.

    Returns:
        Absolute paths, sorted, each once.

    Raises:
        ValueError: a pattern names no image.
    """
    base = Path(os.path.abspath(root))  # noqa: PTH100
    found: set[Path] = set()
    for pattern in patterns:
        whole = base / pattern
        if whole.is_dir():
            whole = whole / "**" / "*"
        hits = {Path(hit) for hit in glob(str(whole), recursive=True)}  # noqa: PTH207 (`**` follows links)
        hits = {hit for hit in hits if hit.suffix.lower() in SUFFIXES}
        if not hits:
            raise ValueError(
                f"unlabelled: expected a glob of images ({', '.join(SUFFIXES)}) below {base}, received "
                f"{pattern!r}, which names none. Write for example extra/**/*.jpg."
            )
        found |= hits
    return sorted(found)


def unlabelled_images(
    patterns: Sequence[str], root: str | os.PathLike[str], taken: Mapping[str, str] | pd.Series
) -> tuple[list[str], list[str]]:
    """Find images that belong to no row.

    Args:
        patterns: as for `glob_images`.
        root: the folder that relative patterns start from.
        taken: id -> path of all rows; a file reached by a row, by a link too, is left out.

    Returns:
        ids: the path relative to `root` with forward slashes; `./` goes before it while it equals a row's id.
        paths: the absolute paths, in the same order.
    """
    real = {os.path.realpath(path) for _, path in taken.items() if path}
    names = {str(name) for name, _ in taken.items()}
    ids: list[str] = []
    paths: list[str] = []
    for path in glob_images(patterns, root) if patterns else []:
        resolved = os.path.realpath(path)
        if resolved in real:
            continue
        real.add(resolved)
        name = Path(os.path.relpath(path, root)).as_posix()
        while name in names:
            name = "./" + name
        ids.append(name)
        paths.append(str(path))
    return ids, paths


class ImageStore:
    """N images of one size, decoded once to a memory-mapped uint8 array (N, C, H, W).

    Row i belongs to `ids[i]`. A broken or missing image keeps its row: zeros that `gather` refuses.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        """Open a finished store.

        Args:
            folder: what `build_store` made.

        Raises:
            ValueError: it is no store, or does not hold what its card says.
        """
        self.folder = Path(folder)
        if not (self.folder / "card.json").is_file():
            raise ValueError(
                f"folder: expected a finished image store,received {self.folder}. Build it anew."
            )
        card: dict[str, Any] = read_json(self.folder / "card.json")
        index = pd.read_parquet(self.folder / "index.parquet")
        self.key: str = card["key"]
        self.size: int = card["size"]
        self.channels: int = card["channels"]
        self.ids: np.ndarray = index["id"].to_numpy(dtype=object)
        self.paths: np.ndarray = index["path"].to_numpy(dtype=object)
        self.digests: np.ndarray = index["digest"].to_numpy(dtype=object)
        """Digest of each file's content; "" where there is none to read."""
        problems = index["problem"].to_numpy(dtype=object)
        self.readable: np.ndarray = problems == ""
        self.problems: dict[str, str] = dict(
            zip(self.ids[~self.readable], problems[~self.readable], strict=True)
        )
        # The plain view of the map: indexing np.memmap itself makes a slower subclass.
        self._images = np.load(self.folder / "images.npy", mmap_mode="r").view(np.ndarray)
        shape = (len(index), self.channels, self.size, self.size)
        if self._images.shape != shape or self._images.dtype != np.uint8:
            raise ValueError(
                f"{self.folder}: expected uint8 images of shape {shape}, received {self._images.dtype} "
                f"{self._images.shape}. Delete the folder; it is built again."
            )
        self._index = pd.Index(self.ids)

    def __len__(self) -> int:
        return len(self.ids)

    def __reduce__(self) -> tuple[type["ImageStore"], tuple[Path]]:
        return ImageStore, (self.folder,)  # another process maps the same file

    def rows(self, ids: Sequence[str] | np.ndarray | pd.Index) -> np.ndarray:
        """Where ids stand.

        Args:
            ids: B ids.

        Returns:
            B row numbers, int64.

        Raises:
            ValueError: an id is not in the store.
        """
        found = self._index.get_indexer(pd.Index(np.asarray(ids, dtype=object)))
        if (found < 0).any():
            unknown = np.asarray(ids, dtype=object)[found < 0]
            raise ValueError(
                f"ids: expected ids of the {len(self)} images of the store, received {len(unknown)} others "
                f"({name_some(unknown)}). Build the store with them."
            )
        return found.astype(np.int64)

    @property
    def nbytes(self) -> int:
        """Bytes of all pixels."""
        return self._images.nbytes

    def check_rows(self, rows: np.ndarray) -> np.ndarray:
        """Row numbers as int64.

        Raises:
            ValueError: a row out of range, or one whose image is unreadable.
        """
        rows = np.asarray(rows, dtype=np.int64)
        if len(rows) and (rows.min() < 0 or rows.max() >= len(self)):
            raise ValueError(f"rows: expected 0 to {len(self) - 1}, received {rows.min()} to {rows.max()}")
        if not self.readable[rows].all():
            names = self.ids[rows[~self.readable[rows]]]
            raise ValueError(
                f"rows: expected readable images, received {len(names)} unreadable ones ({name_some(names)}: "
                f"{self.problems[names[0]]}). Keep to store.readable."
            )
        return rows

    def gather(self, rows: np.ndarray, pinned: bool = False) -> torch.Tensor:
        """Copy rows out of the map.

        Args:
            rows: B row numbers, 0 to N-1, any order, repeats allowed.
            pinned: into memory from which a graphics card copies by itself; needs CUDA.

        Returns:
            Tensor (B, C, H, W) uint8 on the CPU, in the order of `rows`.

        Raises:
            ValueError: a row out of range, or one whose image is unreadable.
        """
        rows = self.check_rows(rows)
        batch = torch.empty((len(rows), *self._images.shape[1:]), dtype=torch.uint8, pin_memory=pinned)
        # The range is checked above; with "clip" take writes straight to `batch`, half the time of indexing.
        np.take(self._images, rows, axis=0, out=batch.numpy(), mode="clip")
        return batch  # (B, C, H, W)

    def slice(self, start: int, stop: int) -> torch.Tensor:
        """Copy consecutive rows out of the map, unreadable ones too, as zeros: (stop - start, C, H, W) uint8."""
        return torch.from_numpy(self._images[start:stop].copy())


def build_store(
    ids: Sequence[str] | np.ndarray | pd.Index,
    paths: Sequence[str] | np.ndarray,
    folder: str | os.PathLike[str],
    size: int,
    decode: Decode,
    workers: int | None = None,
    progress: Progress | None = None,
) -> ImageStore:
    """Decode images in parallel threads into a store, or open the one that already holds just these.

    The key names ids, file contents, size and decoding: a changed file gives another store, the same files
    under another path the same one. The folder takes its name when it is whole; a killed build leaves a
    temporary that the next build removes. Two builds at once do the work twice and share the first result.

    Args:
        ids: N unique ids.
        paths: N files; "" where a row names none.
        folder: where stores lie, `folder/<key>/`.
        size: H = W, pixels.
        decode: how files become arrays.
        workers: threads; None: as many as processors.
        progress: called with (images decoded, N); not called where nothing is to do.

    Returns:
        The store. Images that cannot be read are in its `problems`, never replaced.

    Raises:
        ValueError: repeated ids, or not as many paths as ids.
        OSError: no room on the disk.
    """
    ids, paths, folder = [str(name) for name in ids], [str(path) for path in paths], Path(folder)
    if len(ids) != len(paths):
        raise ValueError(f"paths: expected {len(ids)}, one an id, received {len(paths)}")
    if len(set(ids)) != len(ids):
        repeated = pd.Index(ids)[pd.Index(ids).duplicated()].unique()
        raise ValueError(f"ids: expected unique ids, received {name_some(repeated)} more than once")
    folder.mkdir(parents=True, exist_ok=True)
    digests = _digests(paths, folder / "digests.json", workers)
    key = digest("images", _LAYOUT, ids, digests, size, decode)
    target = folder / key
    if not (target / "card.json").is_file():
        remove_stale(folder)
        with atomic(target) as temporary:
            temporary.mkdir()
            problems = _decode_all(paths, temporary / "images.npy", size, decode, workers, progress)
            index = pd.DataFrame(
                {"id": ids, "path": paths, "digest": digests, "problem": problems}, dtype=object
            )
            index.to_parquet(temporary / "index.parquet", index=False)
            card = {
                "kind": "images",
                "key": key,
                "rows": len(ids),
                "unreadable": sum(problem != "" for problem in problems),
                "size": size,
                "channels": decode.channels,
                "decode": decode,
                "pillow": pillow_version,
            }
            write_json(temporary / "card.json", card)
    return ImageStore(target)


def _fill(value: Any, form: str) -> str:
    if pd.isna(value):
        return ""
    # A column of integers with gaps arrives as floats; 7.0 stands for 7 in a file name.
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return format(value, form)


def _digests(paths: Iterable[str], cache: Path, workers: int | None) -> list[str]:
    named = [path for path in paths if path]
    values = iter(content_digests(named, cache, missing="", workers=workers))
    return [next(values) if path else "" for path in paths]


def _decode_all(
    paths: Sequence[str],
    file: Path,
    size: int,
    decode: Decode,
    workers: int | None,
    progress: Progress | None,
) -> list[str]:
    """Fill the array on disk; returns the N problems, "" where there is none."""
    shape = (len(paths), decode.channels, size, size)
    images = np.lib.format.open_memmap(file, mode="w+", dtype=np.uint8, shape=shape)
    if hasattr(os, "posix_fallocate") and images.nbytes:
        # A full disk is an error here, and would be a SIGBUS while writing to the map.
        with file.open("r+b") as handle:
            os.posix_fallocate(handle.fileno(), 0, file.stat().st_size)

    def one(row: int) -> str:
        if not paths[row]:
            return "missing: the row names no file"
        try:
            images[row] = decode_image(paths[row], size, decode)
        except ValueError as error:
            return str(error)
        return ""

    problems: list[str] = []
    pool = ThreadPoolExecutor(workers or os.cpu_count() or 1)
    try:
        for start in range(0, len(paths), _BLOCK):
            for problem in pool.map(one, range(start, min(start + _BLOCK, len(paths)))):
                problems.append(problem)
                if progress is not None:
                    progress(len(problems), len(paths))
    finally:
        pool.shutdown(cancel_futures=True)
    images.flush()
    return problems
