"""Pictures that are nearly the same: copies that were scaled, compressed or brightened."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.fft import dctn
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from .findings import Finding, Severity, name_some
from .folds import FoldPlan
from .images import ImageStore
from .pictures import Pictures
from .tables import Table

FAR = 10
"""Largest number of the 63 bits of a hash in which copies differ."""
ALIKE = 0.95
"""Smallest correlation of the details of copies. On 5,504 pages of one album, all with the same border and layout, one
pair of different pages reaches it; of copies at 60 % of the size and JPEG quality 40 nine in ten do, of brightened ones
all."""
_FLAT = 0.5  # grey levels of detail below which a picture shows too little to compare
_MANY = 50  # pictures from which on the mean of the set is taken off: what all share tells nothing
_BLOCK = 512

Pair = tuple[str, str]
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Prints:
    """What tells pictures apart, of N pictures.

    Attributes:
        bits: (N, 63) float32 of -1 and 1: signs of the lowest cosine coefficients.
        details: (N, 1024) float32 of length 1: a grey thumbnail without its coarse part; zeros for a flat picture.
    """

    bits: np.ndarray
    details: np.ndarray

    @classmethod
    def of(cls, thumbnails: np.ndarray) -> "Prints":
        """Hash pictures, without what all of a large set have in common.

        Source of the hash: Zauner 2010, Implementation and Benchmarking of Perceptual Image Hash Functions (DCT based).

        Args:
            thumbnails: (N, 32, 32) grey, see `thumbnails_of`.
        """
        count = len(thumbnails)
        spectrum = np.asarray(dctn(thumbnails, axes=(1, 2)))[:, :8, :8].reshape(count, 64)[:, 1:]
        details = thumbnails - _shrunk(thumbnails, 8).repeat(4, axis=1).repeat(4, axis=2)
        details = details.reshape(count, -1)
        shown = np.linalg.norm(details, axis=1, keepdims=True) > _FLAT * 32
        if count >= _MANY:
            spectrum = spectrum - np.median(spectrum, axis=0)
            details = details - details.mean(axis=0)
        else:
            spectrum = spectrum - np.median(spectrum, axis=1, keepdims=True)
        lengths = np.linalg.norm(details, axis=1, keepdims=True)
        details = np.where(shown, details / np.maximum(lengths, 1e-12), 0)
        return cls(np.where(spectrum > 0, 1, -1).astype(np.float32), details.astype(np.float32))


def thumbnails_of(store: ImageStore, rows: np.ndarray) -> np.ndarray:
    """(M, 32, 32) float32 grey thumbnails of some rows of a store, 0..255."""
    parts = np.array_split(rows, max(1, -(-len(rows) // _BLOCK)))
    return np.concatenate(
        [_shrunk(store.gather(part).numpy().mean(axis=1, dtype=np.float32), 32) for part in parts]
    )


def near_pairs(prints: Prints, progress: Progress | None = None) -> np.ndarray:
    """Find pairs of pictures that are nearly the same.

    Blocks of matrix products count the bits; memory grows with N, time with its square (50,000 pictures: seconds).

    Args:
        prints: of N pictures.
        progress: told (pictures done, N).

    Returns:
        (M, 2) int64 places i < j.
    """
    count, width = prints.bits.shape
    found: list[np.ndarray] = []
    for start in range(0, count, _BLOCK):
        rows = slice(start, min(start + _BLOCK, count))
        agreeing = prints.bits[rows] @ prints.bits[start:].T  # width - 2 * differing bits
        first, second = np.nonzero(agreeing >= width - 2 * FAR)
        later = second > first
        first, second = first[later] + start, second[later] + start
        for part in np.array_split(np.arange(len(first)), len(first) // 50_000 + 1):  # in bounds of memory
            one, other = first[part], second[part]
            alike = np.einsum("md,md->m", prints.details[one], prints.details[other]) >= ALIKE
            found.append(np.stack([one[alike], other[alike]], axis=1))
        if progress is not None:
            progress(rows.stop, count)
    return np.concatenate(found).astype(np.int64) if found else np.empty((0, 2), np.int64)


def check_near_duplicates(
    train: Table,
    test: Table | None,
    pictures: Pictures,
    plan: FoldPlan | None = None,
    progress: Progress | None = None,
) -> list[Finding]:
    """Find rows with nearly equal pictures in several folds, in several groups, and in train and test.

    Files of equal content are left to `check_duplicates`; pictures of one row may be as alike as they like.

    Args:
        train, test: the tables.
        pictures: their images.
        plan: the folds of the train rows.
        progress: told (pictures done, all).

    Returns:
        Findings `near-duplicates-across-folds`, `near-duplicates-across-groups`, `near-duplicates-of-test` (warnings)
        and `near-duplicates-in-train` (a note), each with the ids of its pairs one after the other.
    """
    trained, tested = set(train.ids), set(() if test is None else test.ids) - set(train.ids)
    store, owners = pictures.store, pictures.owners
    rows = np.array([name in trained or name in tested for name in owners], dtype=bool)
    kept = np.flatnonzero(store.readable & rows)
    if len(kept) < 2:
        return []
    pairs = kept[near_pairs(Prints.of(thumbnails_of(store, kept)), progress)]
    pairs = pairs[store.digests[pairs[:, 0]] != store.digests[pairs[:, 1]]]
    # Two rows may have several such pictures: one pair of rows.
    names: list[Pair] = list(dict.fromkeys((str(owners[a]), str(owners[b])) for a, b in pairs))
    names = [(one, other) for one, other in names if one != other]
    inside = [pair for pair in names if pair[0] in trained and pair[1] in trained]
    against = [pair for pair in names if (pair[0] in trained) != (pair[1] in trained)]
    across: list[Pair] = []
    straddling: list[Pair] = []
    if plan is not None and inside:
        firsts, seconds = map(list, zip(*inside, strict=True))
        fold, group = (
            np.asarray(of(firsts)) != np.asarray(of(seconds)) for of in (plan.fold_of, plan.group_of)
        )
        across = [pair for pair, apart in zip(inside, fold, strict=True) if apart]
        if plan.has_groups:
            straddling = [pair for pair, apart in zip(inside, group, strict=True) if apart]
    told = {*across, *straddling}
    kinds: tuple[tuple[str, Severity, list[Pair], str], ...] = (
        (
            "near-duplicates-across-folds",
            "warning",
            across,
            "lie in different folds: the score is too good. Put copies into one group (folds.group) or remove them",
        ),
        (
            "near-duplicates-across-groups",
            "warning",
            straddling,
            "straddle groups, so that any other split may part them. Give both groups one name in the column of "
            "folds.group",
        ),
        (
            "near-duplicates-of-test",
            "warning",
            against,
            "stand in train and in test: test rows are easier than new ones would be",
        ),
        (
            "near-duplicates-in-train",
            "note",
            [pair for pair in inside if pair not in told],
            "stand in train, on one side of every split",
        ),
    )
    return [
        Finding(
            code,
            severity,
            f"{counted(len(found), 'pair')} of nearly equal images in {counted(count_sets(found), 'set')} {message} "
            f"({name_some([' ~ '.join(pair) for pair in found], 3)}; at most {FAR} of 63 hash bits apart, details "
            f"correlated {ALIKE} or more).",
            tuple(dict.fromkeys(name for pair in found for name in pair)),
        )
        for code, severity, found, message in kinds
        if found
    ]


def counted(number: int, noun: str) -> str:
    """A number with its noun.

    Example:
        >>> counted(1, "pair"), counted(2, "pair")
        ('1 pair', '2 pairs')
    """
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def count_sets(pairs: Sequence[Pair]) -> int:
    """How many sets of ids hang together by pairs.

    Example:
        >>> count_sets([("a", "b"), ("b", "c"), ("x", "y")])
        2
    """
    names = {name: place for place, name in enumerate(dict.fromkeys(name for pair in pairs for name in pair))}
    edges = np.array([[names[a], names[b]] for a, b in pairs])
    graph = coo_array((np.ones(len(edges)), (edges[:, 0], edges[:, 1])), shape=(len(names), len(names)))
    return int(connected_components(graph, directed=False)[0])


def _shrunk(pictures: np.ndarray, side: int) -> np.ndarray:
    """(N, S, S) to (N, side, side) by the mean of equal parts, or by repeated lines where S is smaller."""
    size = pictures.shape[1]
    if size < side:
        lines = np.arange(side) * size // side
        return pictures[:, lines][:, :, lines]
    edges = np.linspace(0, size, side + 1).round().astype(int)
    lengths = np.diff(edges).astype(np.float32)
    rows = np.add.reduceat(pictures.astype(np.float32), edges[:-1], axis=1) / lengths[:, None]
    return np.add.reduceat(rows, edges[:-1], axis=2) / lengths
