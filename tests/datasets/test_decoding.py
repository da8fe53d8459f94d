import pickle
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from jigstack.configs.data import Decode
from jigstack.datasets.decoding import decode_image
from jigstack.datasets.windows import WindowMissing
from PIL import Image, ImageOps

SQUASH = Decode()


def _noise(height: int, width: int, channels: int = 3) -> np.ndarray:
    """Smooth colours (H, W, C), so that lossy formats and filters stay close."""
    y, x = np.mgrid[0:height, 0:width]
    waves = [np.sin(x / (9 + 2 * c)) + np.cos(y / (7 + 3 * c)) for c in range(channels)]
    return (127.5 + 60 * np.stack(waves, axis=-1)).astype(np.uint8)


def _save(path: Path, array: np.ndarray, **options: object) -> Path:
    Image.fromarray(array).save(path, **options)  # pyright: ignore[reportArgumentType]
    return path


@pytest.mark.parametrize(
    ("name", "options"), [("a.png", {}), ("a.bmp", {}), ("a.webp", {"lossless": True}), ("a.tiff", {})]
)
def test_a_lossless_file_of_the_right_size_comes_back_exactly(
    tmp_path: Path, name: str, options: dict[str, bool]
):
    array = _noise(32, 32)
    pixels = decode_image(_save(tmp_path / name, array, **options), 32, SQUASH)
    assert pixels.dtype == np.uint8 and pixels.flags["C_CONTIGUOUS"]
    np.testing.assert_array_equal(pixels, array.transpose(2, 0, 1))


def test_jpeg_scaled_while_decoding_stays_close_to_the_slow_way(tmp_path: Path):
    path = _save(tmp_path / "a.jpg", _noise(600, 800), quality=95)
    slow = Image.open(path).convert("RGB").resize((64, 64), Image.Resampling.BICUBIC)
    difference = decode_image(path, 64, SQUASH).astype(int) - np.asarray(slow).transpose(2, 0, 1)
    assert np.abs(difference).mean() < 1.0 and np.abs(difference).max() < 12


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("fit", ["squash", "pad", "crop"])
def test_exif_rotation_is_undone_as_pillow_does_it(tmp_path: Path, orientation: int, fit: str):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / "a.png"
    Image.fromarray(_noise(20, 40)).save(path, exif=exif)
    upright = tmp_path / "b.png"
    ImageOps.exif_transpose(Image.open(path)).save(upright)
    decode = Decode.model_validate({"fit": fit})
    np.testing.assert_array_equal(decode_image(path, 20, decode), decode_image(upright, 20, decode))


def test_alpha_shows_the_background_and_never_the_hidden_colour(tmp_path: Path):
    array = np.zeros((32, 32, 4), np.uint8)
    array[..., 0] = 255  # red everywhere, but only the left half is opaque
    array[:, :16, 3] = 255
    path = _save(tmp_path / "a.png", array)
    pixels = decode_image(path, 8, Decode(background=(0, 0, 255)))
    assert pixels[:, 4, 0].tolist() == [255, 0, 0] and pixels[:, 4, -1].tolist() == [0, 0, 255]
    assert decode_image(path, 8, Decode(channels=1))[0, 4, -1] == 255  # white by default


def test_a_palette_with_a_transparent_colour_lies_on_the_background(tmp_path: Path):
    image = Image.new("P", (16, 16), 0)
    image.putpalette([10, 20, 30, 200, 100, 50])
    image.paste(1, (8, 0, 16, 16))
    image.save(tmp_path / "a.png", transparency=0)
    pixels = decode_image(tmp_path / "a.png", 16, Decode(background=(1, 2, 3)))
    assert pixels[:, 0, 0].tolist() == [1, 2, 3] and pixels[:, 0, 15].tolist() == [200, 100, 50]


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK"])
@pytest.mark.parametrize("channels", [1, 3])
def test_every_mode_gives_one_or_three_channels(tmp_path: Path, mode: str, channels: int):
    path = tmp_path / ("a.tiff" if mode == "CMYK" else "a.png")
    Image.fromarray(_noise(24, 30)).convert(mode).save(path)
    pixels = decode_image(path, 12, Decode.model_validate({"channels": channels}))
    assert pixels.shape == (channels, 12, 12) and pixels.std() > 5


def test_grey_is_the_same_in_all_three_channels(tmp_path: Path):
    array = _noise(16, 16, 1)[..., 0]
    pixels = decode_image(_save(tmp_path / "a.png", array), 16, SQUASH)
    np.testing.assert_array_equal(pixels, np.stack([array] * 3))


def test_pad_keeps_the_aspect_and_crop_keeps_the_centre(tmp_path: Path):
    array = np.zeros((20, 40, 3), np.uint8)
    array[:, 10:30] = 200  # the centre square
    path = _save(tmp_path / "a.png", array)
    padded = decode_image(path, 40, Decode(fit="pad", background=(9, 8, 7)))
    assert padded[:, 0, 0].tolist() == [9, 8, 7] and padded[:, 39, 0].tolist() == [9, 8, 7]
    np.testing.assert_array_equal(padded[:, 10:30], array.transpose(2, 0, 1))
    assert (decode_image(path, 20, Decode(fit="crop")) == 200).all()


def test_a_thin_line_of_pixels_is_still_an_image(tmp_path: Path):
    path = _save(tmp_path / "a.png", _noise(1, 300))
    for fit in ("squash", "pad", "crop"):
        assert decode_image(path, 16, Decode.model_validate({"fit": fit})).shape == (3, 16, 16)


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.webp"])
def test_a_truncated_file_is_refused(tmp_path: Path, name: str):
    path = _save(tmp_path / name, np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ValueError, match="broken: "):
        decode_image(path, 16, SQUASH)


def test_missing_empty_foreign_and_wide_files_say_what_they_are(tmp_path: Path):
    with pytest.raises(ValueError, match="missing: there is no such file"):
        decode_image(tmp_path / "no.png", 16, SQUASH)
    (tmp_path / "empty.png").touch()
    with pytest.raises(ValueError, match="empty: zero bytes"):
        decode_image(tmp_path / "empty.png", 16, SQUASH)
    (tmp_path / "text.png").write_text("hello")
    with pytest.raises(ValueError, match="broken: not an image"):
        decode_image(tmp_path / "text.png", 16, SQUASH)
    wide = _save(tmp_path / "wide.png", np.arange(256, dtype=np.uint16).reshape(16, 16))
    with pytest.raises(ValueError, match=r"^not 8-bit pixels \(mode I;16, .*data.decode.window: \["):
        decode_image(wide, 16, SQUASH)


@pytest.mark.parametrize(
    ("name", "kind"), [("a.png", np.uint16), ("a.tif", np.uint16), ("b.tif", np.float32), ("c.tif", np.int32)]
)
def test_a_window_brings_wide_intensities_to_eight_bits(tmp_path: Path, name: str, kind: type):
    ramp = np.linspace(0, 4000, 32 * 32).reshape(32, 32).astype(kind)
    path = _save(tmp_path / name, ramp)
    pixels = decode_image(path, 32, Decode(window=(1000, 3000), channels=1))[0]
    expected = ((ramp.astype(float) - 1000) / 2000 * 255).clip(0, 255).round()
    np.testing.assert_array_equal(pixels, expected)
    assert decode_image(path, 32, Decode(window=(1000, 3000))).shape == (3, 32, 32)


def test_without_a_window_the_range_of_the_file_is_told_as_the_line_to_write(tmp_path: Path):
    path = _save(tmp_path / "a.tif", np.array([[0.5, 2.5], [1, 2]], np.float32))
    with pytest.raises(ValueError, match=r"intensities 0.5 to 2.5.*data.decode.window: \[0.5, 2.5\]"):
        decode_image(path, 16, SQUASH)
    _save(path, np.array([[0.5, np.nan], [1, 2]], np.float32))
    with pytest.raises(ValueError, match="broken: 1 of 4 intensities are not finite"):
        decode_image(path, 16, Decode(window=(0, 1)))


def test_a_window_leaves_files_of_eight_bits_alone(tmp_path: Path):
    path = _save(tmp_path / "a.png", _noise(32, 32))
    np.testing.assert_array_equal(
        decode_image(path, 32, Decode(window=(0, 1000))), decode_image(path, 32, SQUASH)
    )


def test_cmyk_is_read_as_it_looks(tmp_path: Path):
    ink = Image.merge("CMYK", [Image.new("L", (32, 32), value) for value in (0, 255, 255, 0)])
    for name in ("a.jpg", "a.tif"):  # Adobe's JPEGs hold inverted inks
        ink.save(tmp_path / name)
        red, green, blue = decode_image(tmp_path / name, 32, SQUASH).astype(int).mean((1, 2))
        assert red > 250 and green < 5 and blue < 5


def test_of_several_pages_the_first_counts(tmp_path: Path):
    pages = [Image.fromarray(_noise(32, 32)), Image.new("RGB", (32, 32))]
    pages[0].save(tmp_path / "a.tif", save_all=True, append_images=pages[1:])
    np.testing.assert_array_equal(
        decode_image(tmp_path / "a.tif", 32, SQUASH), _noise(32, 32).transpose(2, 0, 1)
    )


def _png(path: Path, array: np.ndarray, colour_type: int) -> Path:
    """A PNG of 16 bits a channel, which Pillow reads but does not write.

    Source: the PNG specification, chapters 5 (chunks), 9 (filter 0 before each row) and 11 (header); big-endian.
    """

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    height, width = array.shape[:2]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in array)
    header = struct.pack(">IIBBBBB", width, height, 16, colour_type, 0, 0, 0)
    chunks = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunks)
    return path


DEEP = np.random.default_rng(0).integers(0, 2**16, (16, 16, 4)).astype(np.uint16)


@pytest.mark.parametrize("window", [None, (0, 65535), (1000, 3000)])
def test_colour_of_sixteen_bits_keeps_its_upper_eight_with_or_without_a_window(
    tmp_path: Path, window: tuple[float, float] | None
):
    path = _png(tmp_path / "a.png", DEEP[..., :3], 2)
    upper = (DEEP[..., :3] >> 8).transpose(2, 0, 1)
    np.testing.assert_array_equal(decode_image(path, 16, Decode(window=window)), upper)


@pytest.mark.parametrize(
    ("channels", "colour_type"), [(2, 4), (4, 6)], ids=["grey and alpha", "colour and alpha"]
)
def test_alpha_of_sixteen_bits_lies_on_the_background_as_that_of_eight(
    tmp_path: Path, channels: int, colour_type: int
):
    deep = _png(tmp_path / "a.png", DEEP[..., :channels], colour_type)
    flat = _save(tmp_path / "b.png", (DEEP[..., :channels] >> 8).astype(np.uint8))
    ground = Decode(background=(0, 200, 50))
    np.testing.assert_array_equal(decode_image(deep, 16, ground), decode_image(flat, 16, ground))


def test_colour_of_sixteen_bits_in_an_array_file_keeps_what_the_window_shows(tmp_path: Path):
    """The way out where the upper 8 bits are too few: dark pictures differ in the lower ones."""
    dark = DEEP[..., :3] % 256
    assert (decode_image(_png(tmp_path / "a.png", dark, 2), 16, SQUASH) == 0).all()
    np.save(tmp_path / "a.npy", dark)
    pixels = decode_image(tmp_path / "a.npy", 16, Decode(window=(0, 255)))
    np.testing.assert_array_equal(pixels, dark.transpose(2, 0, 1))


PICTURE = _noise(20, 30)  # (H, W, C)


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (PICTURE, PICTURE),
        (PICTURE.transpose(2, 0, 1), PICTURE),
        (np.asfortranarray(PICTURE), PICTURE),
        (PICTURE[..., 1], PICTURE[..., [1, 1, 1]]),
        (PICTURE[..., 1:2], PICTURE[..., [1, 1, 1]]),
        (PICTURE[None, ..., 1], PICTURE[..., [1, 1, 1]]),
        (PICTURE[:3], PICTURE[:3]),  # (3, 30, 3): the last axis is the colour
    ],
    ids=["H W 3", "3 H W", "Fortran order", "H W", "H W 1", "1 H W", "3 W 3"],
)
@pytest.mark.parametrize("fit", ["squash", "pad", "crop"])
def test_an_array_file_is_read_as_the_png_of_the_same_pixels(
    tmp_path: Path, array: np.ndarray, expected: np.ndarray, fit: str
):
    np.save(tmp_path / "a.npy", array)
    decode = Decode.model_validate({"fit": fit})
    np.testing.assert_array_equal(
        decode_image(tmp_path / "a.npy", 16, decode),
        decode_image(_save(tmp_path / "a.png", expected), 16, decode),
    )


@pytest.mark.parametrize("kind", ["<u2", ">u2", "<f2", "<f4", ">f8", "<i4", "<i8"])
def test_a_window_brings_arrays_to_eight_bits_as_it_does_tiffs(tmp_path: Path, kind: str):
    ramp = np.linspace(0, 2000, 32 * 32).reshape(32, 32).round().astype(kind)
    np.save(tmp_path / "a.npy", ramp)
    np.save(tmp_path / "c.npy", np.stack([ramp, ramp.T, ramp[::-1]]))
    tiff = _save(tmp_path / "a.tif", ramp.astype(np.float32))
    decode = Decode(window=(500, 1500))
    np.testing.assert_array_equal(
        decode_image(tmp_path / "a.npy", 32, decode), decode_image(tiff, 32, decode)
    )
    red, green, blue = decode_image(tmp_path / "c.npy", 32, decode)
    np.testing.assert_array_equal(green, red.T)
    np.testing.assert_array_equal(blue, red[::-1])


def test_an_array_of_bytes_needs_no_window_and_other_numbers_name_theirs(tmp_path: Path):
    np.save(tmp_path / "a.npy", np.array([[-80, 5.5]], np.float16))
    with pytest.raises(WindowMissing, match=r"^not 8-bit pixels \(float16, .*window: \[-80, 5.5\]$"):
        decode_image(tmp_path / "a.npy", 16, SQUASH)
    np.save(tmp_path / "a.npy", np.array([[True, False]]))
    assert decode_image(tmp_path / "a.npy", 2, Decode(window=(0, 1)))[0].tolist() == [[255, 0]] * 2
    np.save(tmp_path / "a.npy", np.array([[0, 200]], np.uint8))
    assert decode_image(tmp_path / "a.npy", 2, Decode(window=(0, 1)))[0].tolist() == [[0, 200]] * 2


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((2, 8, 8)), r"shape \(H, W\), .*, received \(2, 8, 8\)"),
        (np.zeros((8, 8, 4)), r"received \(8, 8, 4\)"),
        (np.zeros(8), r"received \(8,\)"),
        (np.zeros((1, 1, 8, 8)), r"received \(1, 1, 8, 8\)"),
        (np.zeros((0, 8)), r"received \(0, 8\)"),
        (np.zeros((8, 8), complex), "array of numbers, received one of complex128"),
        (np.full((8, 8), "a"), "array of numbers, received one of <U1"),
        (np.array([[0, np.nan], [np.inf, -np.inf]]), "3 of 4 intensities are not finite: replace them"),
    ],
)
def test_an_array_that_is_no_picture_says_why(tmp_path: Path, array: np.ndarray, message: str):
    np.save(tmp_path / "a.npy", array)
    with pytest.raises(ValueError, match=f"^broken: .*{message}"):
        decode_image(tmp_path / "a.npy", 16, Decode(window=(0, 1)))


class _Trap:
    """Leaves a file behind where it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Path.touch, (self.path,)


def test_an_array_of_objects_is_refused_without_unpickling_it(tmp_path: Path):
    np.save(tmp_path / "a.npy", np.array([[_Trap(tmp_path / "sprung")]], dtype=object))
    (tmp_path / "b.npy").write_bytes(pickle.dumps(_Trap(tmp_path / "sprung")))
    for name in ("a.npy", "b.npy"):
        with pytest.raises(ValueError, match=r"^broken: "):
            decode_image(tmp_path / name, 16, SQUASH)
    assert not (tmp_path / "sprung").exists()


def test_array_files_that_are_missing_empty_cut_short_or_foreign_say_so(tmp_path: Path):
    with pytest.raises(ValueError, match=r"^missing: there is no such file"):
        decode_image(tmp_path / "no.npy", 16, SQUASH)
    path = tmp_path / "a.npy"
    path.touch()
    with pytest.raises(ValueError, match=r"^empty: zero bytes"):
        decode_image(path, 16, SQUASH)
    np.save(path, np.zeros((64, 64), np.uint8))
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(ValueError, match=r"^broken: "):
        decode_image(path, 16, SQUASH)
    np.savez(tmp_path / "b.npz", a=np.zeros((4, 4), np.uint8))
    path.write_bytes((tmp_path / "b.npz").read_bytes())
    with pytest.raises(ValueError, match=r"^broken: "):
        decode_image(path, 16, SQUASH)
