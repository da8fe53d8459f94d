"""Pictures of other than 8-bit values, and the window of values that becomes 8 bits."""

import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image

WIDE_MODES = ("I", "I;16", "I;16B", "I;16L", "I;16N", "F")
SHAPES = "(H, W), (1, H, W), (3, H, W), (H, W, 1) or (H, W, 3)"
NOT_BYTES = "not 8-bit pixels"
"""How the message of a missing window begins."""
_KINDS = "biuf"  # numpy's letters for what a number of a picture may be: yes or no, whole, unsigned, float
_PER_FILE = 65_536  # values of a file that the percentiles look at
_SHARE = 0.1  # percent of the values cut off at either end


class WindowMissing(ValueError):
    """A picture of other than 8-bit values, and no window."""


def is_array(path: str | os.PathLike[str]) -> bool:
    """Whether a file is read as a NumPy array: its name ends in .npy."""
    return os.fspath(path).lower().endswith(".npy")


def read_array(path: str | os.PathLike[str]) -> np.ndarray:
    """Map a .npy file that holds one picture; row 0 is its top.

    Of the shapes that could be read in two ways, such as (3, 5, 3), the last axis is the colour. Pickled objects are
    never loaded.

    Args:
        path: the file.

    Returns:
        Array (H, W) or (H, W, 3) of the file's type, a read-only view of the file.

    Raises:
        ValueError: it is no .npy file, is shorter than it says, has another shape or none of the numbers of a picture.
        OSError: it cannot be read.
    """
    path = Path(path)
    if not path.stat().st_size:
        raise ValueError("zero bytes")
    array = np.lib.format.open_memmap(path, mode="r").view(np.ndarray)
    if array.dtype.kind not in _KINDS:
        raise ValueError(f"expected an array of numbers, received one of {array.dtype}")
    shape = array.shape
    if array.ndim == 3 and shape[2] not in (1, 3) and shape[0] in (1, 3):
        array = array.transpose(1, 2, 0)  # (C, H, W) -> (H, W, C)
    if not (array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (1, 3))) or not array.size:
        raise ValueError(f"expected an array of shape {SHAPES}, received {shape}")
    return array[..., 0] if array.shape[2:] == (1,) else array


def to_bytes(values: np.ndarray, window: tuple[float, float] | None, kind: str) -> np.ndarray:
    """Bring numbers to 8 bits: the window to 0..255, the rest cut off.

    Args:
        values: array of any shape; uint8 comes back as it is.
        window: the values that become 0 and 255.
        kind: the type of the values, for the message.

    Returns:
        Array of the same shape, uint8.

    Raises:
        WindowMissing: there is no window; the message proposes the range of the values.
        ValueError: values that are not finite.
    """
    if values.dtype == np.uint8:
        return values
    values = values.astype(np.float64)
    lost = values.size - int(np.isfinite(values).sum())
    if lost:
        raise ValueError(f"{lost} of {values.size} intensities are not finite: replace them in the file")
    if window is None:
        low, high = float(values.min()), float(values.max())
        raise WindowMissing(
            f"{NOT_BYTES} ({kind}, intensities {low:g} to {high:g}): say which become black and white, for example "
            f"data.decode.window: [{low:g}, {high if high > low else low + 1:g}]"
        )
    low, high = window
    return ((values - low) / (high - low) * 255).clip(0, 255).round().astype(np.uint8)


def suggest_window(paths: Iterable[str | os.PathLike[str]], sample: int = 64) -> tuple[float, float]:
    """Propose `data.decode.window`: the 0.1 and 99.9 percentiles of the values of files that need one.

    Args:
        paths: files, of which at most `sample`, evenly spread, are looked at, and at most 65,536 values of each; those
            of 8 bits and unreadable ones say nothing.
        sample: how many files to look at, at least 1.

    Returns:
        (low, high), low < high, to three significant digits, or to as many as keep either end within a twentieth of
        the window's width.

    Raises:
        ValueError: none of the files looked at is one that needs a window.
    """
    chosen = list(paths)
    step = max(1, len(chosen) / sample)
    drawn = [chosen[int(i * step)] for i in range(min(sample, len(chosen)))]
    found = [values for path in drawn if (values := _some_values(path)) is not None and values.size]
    if not found:
        raise ValueError(
            f"paths: expected files of other than 8-bit values, received none among the {len(drawn)} of {len(chosen)} "
            "looked at"
        )
    low, high = (float(end) for end in np.percentile(np.concatenate(found), [_SHARE, 100 - _SHARE]))
    if low == high:
        return low, low + 1
    for digits in range(3, 18):
        rounded = float(f"{low:.{digits}g}"), float(f"{high:.{digits}g}")
        if max(abs(rounded[0] - low), abs(rounded[1] - high)) <= (high - low) / 20:
            return rounded
    return low, high


def _some_values(path: str | os.PathLike[str]) -> np.ndarray | None:
    """Finite values (M,) float64 of a file that needs a window; None of any other."""
    try:
        if is_array(path):
            values = read_array(path)
        else:
            with Image.open(path) as image:
                if image.mode not in WIDE_MODES:
                    return None
                values = np.asarray(image)
    except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError):
        return None
    if values.dtype == np.uint8:
        return None
    # Drawn, not each k-th: a step that divides the width would see some columns only.
    flat = values.reshape(-1)
    if flat.size > _PER_FILE:
        flat = flat[np.random.default_rng(0).integers(flat.size, size=_PER_FILE)]
    flat = flat.astype(np.float64)
    return flat[np.isfinite(flat)]
