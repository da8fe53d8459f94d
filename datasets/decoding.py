"""One image file to one square uint8 array."""

import math
import os
import struct
import zlib

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from ..configs.data import Decode
from .windows import WIDE_MODES, WindowMissing, is_array, read_array, to_bytes

DAMAGE = (
    OSError,
    SyntaxError,
    EOFError,
    ValueError,
    TypeError,
    IndexError,
    KeyError,
    OverflowError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)
"""What Pillow raises on damaged files, besides its own errors."""
_EMPTY = "empty: zero bytes"


def decode_image(path: str | os.PathLike[str], size: int, decode: Decode) -> np.ndarray:
    """Decode a JPEG, PNG, WebP, GIF, BMP, TIFF or .npy file, upright and on its background, to a square array.

    Rotation by EXIF comes first, then alpha on the background, then the square: alpha is blended before
    pixels are mixed, so that the hidden colour of transparent pixels never shows. Of an animation or a file with
    several pages, the first counts. CMYK becomes RGB without a colour profile. Grey of 16 or 32 bits or of floats is
    brought to 8 bits by `decode.window`. Colour, or grey with alpha, of 16 bits a channel keeps its upper 8, since
    Pillow reads no more, and the window does nothing to it: where the lower 8 matter, save it as .npy. A .npy file
    holds (H, W), (1, H, W), (3, H, W), (H, W, 1) or (H, W, 3) numbers, row 0 the top; all but uint8 need the window.

    Args:
        path: the file.
        size: H = W, pixels.
        decode: how it becomes square, 1 or 3 channels, and the background.

    Returns:
        Array (C, H, W) uint8, RGB or luminance (ITU-R 601).

    Raises:
        WindowMissing: other than 8-bit values, and no window.
        ValueError: the file is absent, empty, truncated or damaged, or holds values that are not finite.
    """
    try:
        flat = _read_array(path, decode) if is_array(path) else _read_image(path, size, decode)
        square = _square(flat, size, decode)
    except WindowMissing:
        raise
    except FileNotFoundError:
        raise ValueError("missing: there is no such file") from None
    except UnidentifiedImageError:
        raise ValueError(_EMPTY if _is_empty(path) else "broken: not an image that Pillow knows") from None
    except DAMAGE as error:
        raise ValueError(_EMPTY if _is_empty(path) else f"broken: {error}") from error
    pixels = np.asarray(square)  # (H, W) or (H, W, C)
    if decode.channels == 1:
        return pixels[None]  # (1, H, W)
    return np.ascontiguousarray(pixels.transpose(2, 0, 1))  # (3, H, W)


def _read_image(path: str | os.PathLike[str], size: int, decode: Decode) -> Image.Image:
    """What Pillow reads, upright, of mode L or RGB."""
    with Image.open(path) as image:
        if image.format == "JPEG":
            # libjpeg halves its scale while decoding: several times as fast. Asking for twice the target
            # leaves the last reduction to the antialiased filter below, as for any other file.
            image.draft(None, _enough(image.size, size, decode.fit))
        ImageOps.exif_transpose(image, in_place=True)
        if image.mode not in WIDE_MODES:
            return _flatten(image, decode)
        pixels = to_bytes(np.asarray(image), decode.window, f"mode {image.mode}")
        return _flatten(Image.fromarray(pixels), decode)


def _read_array(path: str | os.PathLike[str], decode: Decode) -> Image.Image:
    values = read_array(path)  # (H, W) or (H, W, 3)
    pixels = to_bytes(values, decode.window, str(values.dtype))
    return _flatten(Image.fromarray(np.ascontiguousarray(pixels)), decode)


def _is_empty(path: str | os.PathLike[str]) -> bool:
    return os.path.isfile(path) and os.path.getsize(path) == 0  # noqa: PTH113, PTH202 (path may be text)


def _enough(size: tuple[int, int], side: int, fit: str) -> tuple[int, int]:
    """The width and height of which JPEG's coarse scaling must not fall short: twice what is kept."""
    if fit == "pad":
        scale = 2 * side / max(size)
        return math.ceil(size[0] * scale), math.ceil(size[1] * scale)
    return 2 * side, 2 * side


def _flatten(image: Image.Image, decode: Decode) -> Image.Image:
    mode = "L" if decode.channels == 1 else "RGB"
    if not image.has_transparency_data:
        return image.convert(mode)
    layer = image.convert("RGBA")
    ground = Image.new("RGBA", layer.size, (*decode.background, 255))
    return Image.alpha_composite(ground, layer).convert(mode)


def _square(image: Image.Image, size: int, decode: Decode) -> Image.Image:
    width, height = image.size
    if decode.fit == "pad":
        scale = size / max(width, height)
        inner = max(1, round(width * scale)), max(1, round(height * scale))
        ground = Image.new("RGB", (size, size), decode.background).convert(image.mode)
        ground.paste(_resize(image, inner), ((size - inner[0]) // 2, (size - inner[1]) // 2))
        return ground
    box = (0.0, 0.0, float(width), float(height))
    if decode.fit == "crop":
        side = min(width, height)
        left, top = (width - side) / 2, (height - side) / 2
        box = (left, top, left + side, top + side)
    return _resize(image, (size, size), box)


def _resize(
    image: Image.Image, size: tuple[int, int], box: tuple[float, float, float, float] | None = None
) -> Image.Image:
    if image.size == size and box in (None, (0.0, 0.0, float(size[0]), float(size[1]))):
        return image
    # Bicubic with its support scaled to the reduction; a box filter takes the first steps of a large one.
    return image.resize(size, Image.Resampling.BICUBIC, box, reducing_gap=3.0)
