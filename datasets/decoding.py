"""One image file to one square uint8 array."""

import math
import os
import struct
import zlib

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from ..configs.schema import Decode

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
_WIDE_MODES = ("I", "I;16", "I;16B", "I;16L", "I;16N", "F")


def decode_image(path: str | os.PathLike[str], size: int, decode: Decode) -> np.ndarray:
    """Decode a JPEG, PNG, WebP, GIF, BMP or TIFF file, upright and on its background, to a square array.

    Rotation by EXIF comes first, then alpha on the background, then the square: alpha is blended before
    pixels are mixed, so that the hidden colour of transparent pixels never shows. Of an animation or a file with
    several pages, the first counts. CMYK becomes RGB without a colour profile. Grey of 16 or 32 bits or of floats is
    brought to 8 bits by `decode.window`; colour of 16 bits a channel keeps its upper 8, as Pillow reads it.

    Args:
        path: the file.
        size: H = W, pixels.
        decode: how it becomes square, 1 or 3 channels, and the background.

    Returns:
        Array (C, H, W) uint8, RGB or luminance (ITU-R 601).

    Raises:
        ValueError: the file is absent, empty, truncated or damaged, or has more than 8 bits a pixel and there is no
            window.
    """
    try:
        with Image.open(path) as image:
            if image.format == "JPEG":
                # libjpeg halves its scale while decoding: several times as fast. Asking for twice the target
                # leaves the last reduction to the antialiased filter below, as for any other file.
                image.draft(None, _enough(image.size, size, decode.fit))
            ImageOps.exif_transpose(image, in_place=True)
            flat = _flatten(_windowed(image, decode) if image.mode in _WIDE_MODES else image, decode)
            square = _square(flat, size, decode)
    except FileNotFoundError:
        raise ValueError("missing: there is no such file") from None
    except UnidentifiedImageError:
        empty = os.path.getsize(path) == 0  # noqa: PTH202 (path may be text)
        raise ValueError("empty: zero bytes" if empty else "broken: not an image that Pillow knows") from None
    except DAMAGE as error:
        raise ValueError(f"broken: {error}") from error
    pixels = np.asarray(square)  # (H, W) or (H, W, C)
    if decode.channels == 1:
        return pixels[None]  # (1, H, W)
    return np.ascontiguousarray(pixels.transpose(2, 0, 1))  # (3, H, W)


def _enough(size: tuple[int, int], side: int, fit: str) -> tuple[int, int]:
    """The width and height of which JPEG's coarse scaling must not fall short: twice what is kept."""
    if fit == "pad":
        scale = 2 * side / max(size)
        return math.ceil(size[0] * scale), math.ceil(size[1] * scale)
    return 2 * side, 2 * side


def _windowed(image: Image.Image, decode: Decode) -> Image.Image:
    """Grey of 8 bits: the intensities of the window, the rest cut off."""
    values = np.asarray(image, dtype=np.float64)
    if not np.isfinite(values).all():
        raise ValueError("intensities that are not finite: replace them in the file")
    if decode.window is None:
        low, high = values.min(), values.max()
        raise ValueError(
            f"more than 8 bits a pixel (mode {image.mode}, intensities {low:g} to {high:g}): say which become black "
            f"and white, for example data.decode.window: [{low:g}, {high if high > low else low + 1:g}]"
        )
    low, high = decode.window
    return Image.fromarray(((values - low) / (high - low) * 255).clip(0, 255).round().astype(np.uint8))


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
