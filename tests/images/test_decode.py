from __future__ import annotations

import io
import os
import struct
import sys
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms, features

from googlenet.errors import ImageError, ImageTooLargeError, UnreadableImageError
from googlenet.images.decode import decode
from googlenet.images.resize import resize_and_crop
from googlenet.preprocessing import Preprocessing

PHOTOS = Path(__file__).parents[2].parent / "shared/data/photos"
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF")
LOSSLESS = {"PNG": {}, "BMP": {}, "TIFF": {}, "WEBP": {"lossless": True}}

# Smooth, of odd sides, and unlike each of its mirror images and turns.
ROWS, COLUMNS = np.mgrid[:15, :21]
UPRIGHT = np.stack([COLUMNS * 12, ROWS * 17, (COLUMNS + ROWS) * 3], axis=2).astype(np.uint8)
IMAGE = Image.fromarray(UPRIGHT)
NOISE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (30, 40, 3), np.uint8))  # does not compress
LARGE = IMAGE.resize((210, 150))
RAMP = np.linspace(0, 65535, 256).astype(np.uint16).reshape(4, 64)
RAMP_OF_8_BITS = np.arange(256, dtype=np.uint8).reshape(4, 64)


def encoded(image: Image.Image, format: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, format, **options)
    return stream.getvalue()


def exif(orientation: int) -> Image.Exif:
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags


def png(width: int, height: int, bits: int, rows: bytes, *, transparent: int | None = None, colour: int = 0) -> bytes:
    """A PNG, grey unless its kind of ``colour`` is another, byte by byte: what Pillow would not write."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0))
    see_through = b"" if transparent is None else chunk(b"tRNS", struct.pack(">H", transparent))
    return b"\x89PNG\r\n\x1a\n" + header + see_through + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def difference(one: np.ndarray, other: np.ndarray) -> float:
    assert one.shape == other.shape
    assert one.dtype == other.dtype == np.uint8
    return float(np.abs(one.astype(int) - other.astype(int)).mean())


def damaged(tiff: bytes) -> bytes:
    """Change every seventh byte of a TIFF's first strip from its middle on, which begins with no marker of a JPEG."""
    with Image.open(io.BytesIO(tiff)) as image:
        start, length = image.tag_v2[273][0], image.tag_v2[279][0]
    middle, end = start + length // 2, start + length
    changed = bytearray(tiff)
    changed[middle : middle + 2] = b"\xff\xad"
    for at in range(middle + 2, end, 7):
        changed[at] ^= 0x55
    return bytes(changed)


# What an image may come from


@pytest.mark.parametrize("format", FORMATS)
def test_every_format_gives_its_pixels(format: str) -> None:
    assert difference(decode(encoded(IMAGE, format, **LOSSLESS.get(format, {}))), UPRIGHT) < 8


@pytest.mark.parametrize("format", LOSSLESS)
def test_lossless_formats_give_exactly_the_pixels(format: str) -> None:
    np.testing.assert_array_equal(decode(encoded(IMAGE, format, **LOSSLESS[format])), UPRIGHT)


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_deflate", "packbits"])
def test_compressed_tiff(compression: str) -> None:
    np.testing.assert_array_equal(decode(encoded(IMAGE, "TIFF", compression=compression)), UPRIGHT)


@pytest.mark.parametrize("format", ["GIF", "WEBP", "PNG", "TIFF", "MPO"])
def test_of_several_frames_the_first_is_read(format: str) -> None:
    frames = {"save_all": True, "append_images": [Image.new("RGB", IMAGE.size, "red")]}
    assert difference(decode(encoded(IMAGE, format, **frames)), UPRIGHT) < 8


def test_path_bytes_open_file_pillow_image_and_array_give_the_same(tmp_path: Path) -> None:
    file = tmp_path / "an image, größer.PNG"
    IMAGE.save(file)
    with file.open("rb") as stream, Image.open(file) as image:
        for source in (file, str(file), file.read_bytes(), stream, image, UPRIGHT):
            np.testing.assert_array_equal(decode(source), UPRIGHT)
        assert not stream.closed


def test_the_suffix_does_not_matter(tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(encoded(IMAGE, "PNG"))
    np.testing.assert_array_equal(decode(tmp_path / "photo.jpg"), UPRIGHT)


@pytest.mark.parametrize("channels", [(), (1,)])
def test_a_grey_array_becomes_three_equal_channels(channels: tuple[int, ...]) -> None:
    grey = UPRIGHT[:, :, 0].reshape(15, 21, *channels)
    np.testing.assert_array_equal(decode(grey), np.stack([UPRIGHT[:, :, 0]] * 3, axis=2))


def test_an_array_of_four_channels_lies_over_white() -> None:
    rgba = np.dstack([UPRIGHT, np.where(COLUMNS < 10, 0, 255).astype(np.uint8)])
    np.testing.assert_array_equal(decode(rgba), np.where(COLUMNS[:, :, None] < 10, 255, UPRIGHT))


def test_a_mirrored_view_of_an_array_is_read_as_it_looks() -> None:
    np.testing.assert_array_equal(decode(UPRIGHT[:, ::-1]), UPRIGHT[:, ::-1])


def test_the_pixels_do_not_change_with_the_array_they_came_from() -> None:
    array = UPRIGHT.copy()
    pixels = decode(array)
    array[:] = 0
    np.testing.assert_array_equal(pixels, UPRIGHT)


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((4, 4), np.float32),
        np.zeros((4, 4, 3), np.uint16),
        np.zeros((4, 4), bool),
        np.zeros((4, 4, 2), np.uint8),
        np.zeros((2, 4, 4, 3), np.uint8),
        np.zeros((3, 5, 5), np.uint8),
        np.zeros((0, 4, 3), np.uint8),
        np.zeros(4, np.uint8),
    ],
    ids=lambda array: f"{array.dtype}{array.shape}",
)
def test_an_array_of_another_kind_is_refused_with_its_kind_and_shape(array: np.ndarray) -> None:
    with pytest.raises(UnreadableImageError) as caught:
        decode(array)
    assert f"{array.dtype} {array.shape}" in str(caught.value)


@pytest.mark.parametrize("source", [None, 5, ["a.jpg"]])
def test_what_cannot_be_an_image_at_all_is_refused_with_its_type(source: object) -> None:
    with pytest.raises(UnreadableImageError, match=f"path, bytes.* got {type(source).__name__}$"):
        decode(source)  # type: ignore[arg-type]


# Upright

# How a camera stores an upright image, by what the EXIF standard says of the stored image's first row and column.
STORED_AS = {
    1: lambda upright: upright,
    2: lambda upright: upright[:, ::-1],
    3: lambda upright: upright[::-1, ::-1],
    4: lambda upright: upright[::-1],
    5: lambda upright: upright.swapaxes(0, 1),
    6: lambda upright: upright[:, ::-1].swapaxes(0, 1),
    7: lambda upright: upright[::-1, ::-1].swapaxes(0, 1),
    8: lambda upright: upright[::-1].swapaxes(0, 1),
}


@pytest.mark.parametrize("orientation", STORED_AS)
@pytest.mark.parametrize("format", ["PNG", "TIFF", "WEBP"])
def test_each_exif_orientation_gives_the_same_upright_image(format: str, orientation: int) -> None:
    stored = Image.fromarray(np.ascontiguousarray(STORED_AS[orientation](UPRIGHT)))
    data = encoded(stored, format, exif=exif(orientation), **LOSSLESS[format])
    np.testing.assert_array_equal(decode(data), UPRIGHT)


@pytest.mark.parametrize("orientation", STORED_AS)
@pytest.mark.parametrize("format", ["JPEG", "MPO"])
def test_each_exif_orientation_of_a_photograph(format: str, orientation: int) -> None:
    stored = Image.fromarray(np.ascontiguousarray(STORED_AS[orientation](UPRIGHT)))
    assert difference(decode(encoded(stored, format, exif=exif(orientation), quality=95)), UPRIGHT) < 4


@pytest.mark.parametrize("orientation", STORED_AS)
@pytest.mark.parametrize("format", ["PNG", "TIFF"])
def test_each_exif_orientation_of_a_16_bit_image(format: str, orientation: int) -> None:
    stored = Image.fromarray(np.ascontiguousarray(STORED_AS[orientation](RAMP)))
    assert stored.mode == "I;16"
    pixels = decode(encoded(stored, format, exif=exif(orientation)))
    np.testing.assert_array_equal(pixels[:, :, 0], RAMP_OF_8_BITS)


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_an_orientation_that_does_not_exist_is_ignored(orientation: int) -> None:
    np.testing.assert_array_equal(decode(encoded(IMAGE, "PNG", exif=exif(orientation))), UPRIGHT)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("orientation", [1, 6])
def test_a_damaged_exif_block_does_not_cost_the_image(orientation: int) -> None:
    tags = exif(orientation)
    tags[0x010F], tags[0x011A], tags[0x0132] = "Maker", 72.0, "2020:01:01 00:00:00"
    whole = encoded(IMAGE, "WEBP", exif=tags, lossless=True)
    block = whole.index(b"MM\0*")
    random = np.random.default_rng(0)
    for _ in range(200):
        damaged = bytearray(whole)
        for at in random.integers(block, len(whole), 3):
            damaged[at] = random.integers(256)
        assert sorted(decode(bytes(damaged)).shape) == sorted(UPRIGHT.shape)


# Colours and depths


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "PA", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "HSV"])
def test_each_mode_of_pillow_becomes_what_pillow_shows(mode: str) -> None:
    image = (IMAGE.convert("RGBA") if mode == "RGBa" else IMAGE).convert(mode)
    assert difference(decode(image), np.asarray(image.convert("RGBA").convert("RGB"))) == 0


def test_a_mode_that_pillow_does_not_convert_is_one_clean_error() -> None:
    with pytest.raises(UnreadableImageError, match="conversion from La"):
        decode(IMAGE.convert("LA").convert("La"))


def test_lab_becomes_the_colour_it_describes() -> None:
    to_lab = ImageCms.buildTransform(ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB")
    lab = ImageCms.applyTransform(Image.new("RGB", (4, 3), (200, 40, 60)), to_lab)
    assert lab is not None
    for source in (lab, encoded(lab, "TIFF")):
        np.testing.assert_allclose(decode(source)[0, 0], (200, 40, 60), atol=12)


@pytest.mark.parametrize("colour", ["red", "lime", "blue", "white", "black"])
def test_cmyk_jpeg_keeps_its_colours(colour: str) -> None:
    image = Image.new("RGB", (16, 16), colour)
    cmyk = encoded(image.convert("CMYK"), "JPEG", quality=95)
    assert Image.open(io.BytesIO(cmyk)).mode == "CMYK"
    assert difference(decode(cmyk), np.asarray(image)) < 4


def test_grey_and_one_bit_files() -> None:
    grey = IMAGE.convert("L")
    np.testing.assert_array_equal(decode(encoded(grey, "PNG"))[:, :, 1], np.asarray(grey))
    bits = IMAGE.convert("1")
    for format in ("PNG", "TIFF", "BMP"):
        np.testing.assert_array_equal(decode(encoded(bits, format))[:, :, 2], np.asarray(bits) * np.uint8(255))


@pytest.mark.parametrize(
    ("bits", "row", "grey"),
    [(1, b"\x40", [0, 255]), (2, b"\x1b", [0, 85, 170, 255]), (4, b"\x0f", [0, 255]), (8, b"\x00\x80", [0, 128])],
)
def test_grey_png_of_few_bits_reaches_from_black_to_white(bits: int, row: bytes, grey: list[int]) -> None:
    assert decode(png(len(grey), 1, bits, b"\0" + row))[0, :, 0].tolist() == grey


@pytest.mark.parametrize("format", ["PNG", "TIFF", "WEBP"])
def test_transparency_lies_over_white(format: str) -> None:
    alpha = np.repeat(np.array([[0], [128], [255]], np.uint8), 4, axis=1)
    black = Image.fromarray(np.dstack([np.zeros((3, 4, 3), np.uint8), alpha]))
    pixels = decode(encoded(black, format, **LOSSLESS[format]))
    np.testing.assert_array_equal(pixels[:, 0, 0], [255, 127, 0])


def test_grey_with_alpha_lies_over_white() -> None:
    grey_alpha = Image.fromarray(np.array([[[0, 0], [100, 255]]], np.uint8))
    np.testing.assert_array_equal(decode(encoded(grey_alpha, "PNG"))[0, :, 0], [255, 100])


def test_palette_with_and_without_transparency() -> None:
    palette = Image.new("P", (2, 1))
    palette.putpalette([200, 0, 0, 0, 200, 0])
    palette.putpixel((1, 0), 1)
    red, green, white = [200, 0, 0], [0, 200, 0], [255, 255, 255]
    for format in ("PNG", "GIF"):
        assert decode(encoded(palette, format)).tolist() == [[red, green]]
        assert decode(encoded(palette, format, transparency=0)).tolist() == [[white, green]]
    assert decode(encoded(palette, "PNG", transparency=b"\x00\xff")).tolist() == [[white, green]]


def test_one_colour_marked_transparent_lies_over_white() -> None:
    grey = Image.fromarray(np.array([[7, 8]], np.uint8))
    assert decode(encoded(grey, "PNG", transparency=7))[0, :, 0].tolist() == [255, 8]
    colour = Image.fromarray(np.array([[[1, 2, 3], [4, 5, 6]]], np.uint8))
    assert decode(encoded(colour, "PNG", transparency=(1, 2, 3))).tolist() == [[[255, 255, 255], [4, 5, 6]]]
    deep = png(2, 1, 16, b"\0" + b"\x10\x20" + b"\x40\x00", transparent=0x1020)
    assert decode(deep)[0, :, 0].tolist() == [255, 64]


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(encoded(Image.fromarray(RAMP), "PNG"), id="I;16 PNG"),
        pytest.param(encoded(Image.fromarray(RAMP), "TIFF"), id="I;16 TIFF"),
        pytest.param(encoded(Image.frombytes("I;16B", (64, 4), RAMP.astype(">u2").tobytes()), "TIFF"), id="I;16B TIFF"),
        pytest.param(encoded(Image.fromarray(RAMP.astype(np.int32)), "TIFF"), id="I TIFF"),
        pytest.param(encoded(Image.fromarray(RAMP.astype(np.float32)), "TIFF"), id="F TIFF"),
        pytest.param(encoded(Image.fromarray(RAMP.astype(np.float32) / 65535), "TIFF"), id="F TIFF of 0 to 1"),
        pytest.param(encoded(Image.fromarray(RAMP.astype(np.float32) / 257), "TIFF"), id="F TIFF of 0 to 255"),
        pytest.param(encoded(Image.fromarray(RAMP.astype(np.float32) * 100), "TIFF"), id="F TIFF of large values"),
        pytest.param(encoded(Image.fromarray(RAMP.astype(np.int32) // 257), "TIFF"), id="I TIFF of 0 to 255"),
        pytest.param(encoded(Image.fromarray(RAMP.astype(np.int32) * 32768), "TIFF"), id="I TIFF of 31 bits"),
    ],
)
def test_a_deep_grey_ramp_is_scaled_and_not_clipped_to_white(data: bytes) -> None:
    pixels = decode(data)
    np.testing.assert_array_equal(pixels, np.stack([RAMP_OF_8_BITS] * 3, axis=2))


def test_a_dark_16_bit_image_stays_dark() -> None:
    assert decode(encoded(Image.fromarray(RAMP // 64), "PNG")).max() == 4


def test_infinite_and_missing_values_spoil_no_others() -> None:
    values = np.array([[-np.inf, -0.05, 0.0, 0.2, 1.0, np.inf, np.nan]], np.float32)
    pixels = decode(encoded(Image.fromarray(values), "TIFF"))
    assert pixels[0, :, 0].tolist() == [0, 0, 0, 51, 255, 255, 0]


# Too large


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("side", [11_000, 60_000])  # Pillow's own limit lies between
def test_a_bomb_is_refused_before_it_is_decoded(tmp_path: Path, side: int) -> None:
    bomb = tmp_path / "bomb.png"
    bomb.write_bytes(png(side, side, 1, b""))
    with pytest.raises(ImageTooLargeError) as caught:
        decode(bomb)
    assert str(bomb) in str(caught.value)
    assert "100,000,000 are allowed" in str(caught.value)
    assert "raise max_pixels" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("source", [IMAGE, UPRIGHT, encoded(IMAGE, "JPEG")], ids=["image", "array", "bytes"])
def test_max_pixels_holds_for_every_kind_of_source(source: object) -> None:
    assert decode(source, max_pixels=15 * 21).shape == (15, 21, 3)  # type: ignore[arg-type]
    with pytest.raises(ImageTooLargeError, match="21×15 = 315 pixels, 314 are allowed"):
        decode(source, max_pixels=15 * 21 - 1)  # type: ignore[arg-type]


@pytest.mark.parametrize("format", ["TIFF", "WEBP", "GIF"])  # whose readers ask for Pillow's own limit
def test_raising_max_pixels_lifts_the_limit_of_pillow_for_the_call_only(
    format: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)  # stands for its 89 megapixels
    data = encoded(IMAGE, format, **({"lossless": True} if format == "WEBP" else {}))
    assert difference(decode(data, max_pixels=10**9), UPRIGHT) < 8
    with pytest.raises(UnreadableImageError):
        decode(half(encoded(NOISE, "PNG")), max_pixels=10**9)
    assert Image.MAX_IMAGE_PIXELS == 100


def test_threads_that_lift_the_limit_do_not_disturb_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    data = encoded(IMAGE, "PNG")
    limits = [10**9, 2 * 10**9, 4 * 10**9] * 30
    often = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)  # so that threads meet in the middle of a call
    try:
        with ThreadPoolExecutor(8) as pool:
            for pixels in pool.map(lambda limit: decode(data, max_pixels=limit), limits):
                assert pixels.shape == UPRIGHT.shape
    finally:
        sys.setswitchinterval(often)
    assert Image.MAX_IMAGE_PIXELS == 100


# Rubbish


def write_empty(path: Path) -> None:
    path.write_bytes(b"")


def write_text(path: Path) -> None:
    path.write_text("<html>404 not found</html>\n" * 50)


def write_half_a_jpeg(path: Path) -> None:
    path.write_bytes(half(encoded(NOISE, "JPEG")))


def write_half_a_png(path: Path) -> None:
    path.write_bytes(half(encoded(NOISE, "PNG")))


def half(data: bytes) -> bytes:
    return data[: len(data) // 2]


def link_to_itself(path: Path) -> None:
    path.symlink_to(path)


def forbid(path: Path) -> None:
    if not hasattr(os, "geteuid") or os.geteuid() == 0:
        pytest.skip("whoever runs this may read every file")
    IMAGE.save(path)
    path.chmod(0)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (write_empty, "is not an image (JPEG, PNG, WebP, BMP, GIF, TIFF, AVIF, HEIC)"),
        (write_text, "is not an image (JPEG, PNG, WebP, BMP, GIF, TIFF, AVIF, HEIC)"),
        (write_half_a_jpeg, "is damaged: the file is truncated"),
        (write_half_a_png, "is damaged: the file is truncated"),
        (Path.mkdir, "is a folder, not an image"),
        (lambda path: None, "does not exist"),
        (link_to_itself, "cannot be read: "),
        (forbid, "may not be read: permission denied"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_rubbish_is_one_line_that_names_the_file_and_what_is_wrong(tmp_path: Path, make: object, words: str) -> None:
    path = tmp_path / "photo of me.jpg"
    make(path)  # type: ignore[operator]
    for source in (path, str(path)):
        with pytest.raises(UnreadableImageError) as caught:
            decode(source)
        assert str(caught.value).startswith(f"{path} {words}")
        assert "\n" not in str(caught.value)


def test_what_python_says_of_a_damaged_file_is_not_said() -> None:
    without_palette = png(4, 4, 8, b"\0\0\0\0\0" * 4, colour=3)
    broken_header = encoded(IMAGE, "GIF")[:10] + b";"
    broken_chunk = encoded(IMAGE, "PNG", dpi=(72, 72)).replace(b"pHYs", b"pHYx")
    for data in (without_palette, broken_header, broken_chunk):
        with pytest.raises(UnreadableImageError, match=r"^the data given is damaged: its structure cannot be read$"):
            decode(data)


def test_a_heic_where_the_extra_is_absent_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pi_heif", None)  # as Python marks a module that cannot be imported
    with pytest.raises(UnreadableImageError, match=r"is a HEIC image, which needs: pip install 'googlenet\[heic\]'$"):
        decode(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(100))


def test_of_colours_of_16_bits_the_upper_8_are_read() -> None:
    deep = (UPRIGHT.astype("u2") * 256 + 255).astype(">u2")
    rows = b"".join(b"\0" + row.tobytes() for row in deep)
    np.testing.assert_array_equal(decode(png(21, 15, 16, rows, colour=2)), UPRIGHT)


def test_a_file_name_of_several_lines_makes_an_error_of_one(tmp_path: Path) -> None:
    with pytest.raises(UnreadableImageError, match=r"a\\nb.jpg' does not exist$"):
        decode(tmp_path / "a\nb.jpg")


def test_an_open_file_and_an_opened_image_are_named_by_their_file(tmp_path: Path) -> None:
    path = tmp_path / "cut.png"
    write_half_a_png(path)
    with path.open("rb") as stream, Image.open(path) as image:
        for source in (stream, image):
            with pytest.raises(UnreadableImageError, match=r"cut\.png is damaged"):
                decode(source)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("format", FORMATS)
def test_an_image_cut_short_is_refused_and_never_half_grey(format: str) -> None:
    data = encoded(NOISE, format)
    for part in (0.01, 0.1, 0.25, 0.5, 0.75, 0.9):
        with pytest.raises(ImageError):
            decode(data[: int(part * len(data))])
    for cut in range(1, 60):  # what is lost here may come after the last pixel
        image_or_error(data[:-cut])


def test_a_file_cut_anywhere_in_its_header_or_pixels_is_said_to_be_truncated() -> None:
    grey = IMAGE.convert("1")
    files = [encoded(IMAGE, format) for format in (*FORMATS, "AVIF") if format != "GIF" and features.check("avif")]
    files += [encoded(IMAGE, "TIFF", compression=packed) for packed in ("tiff_lzw", "jpeg", "packbits")]
    for data in (*files, encoded(grey, "TIFF", compression="group4"), encoded(IMAGE.convert("P"), "PNG")):
        for length in range(24, len(data) - 64, 37):
            with pytest.raises(UnreadableImageError, match=r"^the data given is damaged: the file is truncated$"):
                decode(data[:length])


@pytest.mark.parametrize(
    ("mode", "compression"),
    [
        ("1", "group3"),
        ("1", "group4"),
        ("1", "tiff_ccitt"),
        ("RGB", "jpeg"),
        ("RGB", "tiff_lzw"),
        ("L", "tiff_adobe_deflate"),
    ],
)
def test_a_tiff_whose_pixels_are_damaged_is_refused_and_nothing_is_printed(
    mode: str, compression: str, capfd: pytest.CaptureFixture[str]
) -> None:
    whole = encoded(LARGE.convert(mode), "TIFF", compression=compression)
    for _ in range(2):
        assert decode(whole).shape == (150, 210, 3)
        with pytest.raises(UnreadableImageError, match=rf"is damaged: its {compression} data cannot be decoded$"):
            decode(damaged(whole))
    assert capfd.readouterr().err == ""


def test_a_damaged_tiff_costs_no_whole_one_that_another_thread_reads() -> None:
    whole = encoded(LARGE.convert("1"), "TIFF", compression="group4")
    files = [damaged(whole) if number % 2 else whole for number in range(400)]

    def is_read(data: bytes) -> bool:
        try:
            return bool(decode(data).size)
        except UnreadableImageError:
            return False

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(is_read, files)) == [True, False] * 200


def image_or_error(data: bytes) -> None:
    try:
        pixels = decode(data, max_pixels=10**6)
    except ImageError as error:
        assert str(error).isprintable()  # noqa: PT017 - either outcome is right
    else:
        assert pixels.ndim == 3
        assert pixels.shape[2] == 3
        assert pixels.dtype == np.uint8


@pytest.mark.filterwarnings("ignore")
@settings(derandomize=True, deadline=None)
@given(
    st.sampled_from([b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"RIFF\0\0\0\0WEBP", b"BM", b"II*\0"]),
    st.binary(max_size=200),
)
def test_random_bytes_raise_nothing_but_an_image_error(start: bytes, rest: bytes) -> None:
    image_or_error(start + rest)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("format", [*FORMATS, "MPO"])
def test_flipped_bytes_give_an_image_or_an_image_error(format: str) -> None:
    options = {} if format in ("BMP", "GIF") else {"exif": exif(6)}
    data = encoded(IMAGE, format, **options)
    random = np.random.default_rng(0)
    for turn in range(300):
        damaged = bytearray(data)
        reach = len(data) if turn % 2 else min(len(data), 200)  # half of them hit the headers
        for at in random.integers(0, reach, 3):
            damaged[at] = random.integers(256)
        image_or_error(bytes(damaged))


# Photographs


def test_every_photograph_decodes() -> None:
    if not PHOTOS.is_dir():
        pytest.skip("needs data/photos, which is kept outside of the project")
    photos = sorted(PHOTOS.iterdir())
    assert photos
    for photo in photos:
        pixels = decode(photo)
        assert pixels.dtype == np.uint8
        assert pixels.shape[2] == 3
        assert pixels.std() > 5, f"{photo.name} came out nearly blank"


# JPEGs larger than needed


PHOTOGRAPH = Image.fromarray(UPRIGHT).resize((800, 600), Image.Resampling.BICUBIC)


@pytest.mark.parametrize(
    ("at_least", "shape"),
    [(None, (600, 800)), (601, (600, 800)), (301, (600, 800)), (300, (300, 400)), (150, (150, 200)), (10, (75, 100))],
)
def test_a_large_jpeg_is_read_at_a_scale_that_is_enough(at_least: int | None, shape: tuple[int, int]) -> None:
    data = encoded(PHOTOGRAPH, "JPEG", quality=95)
    pixels = decode(data, at_least=at_least)
    assert pixels.shape == (*shape, 3)
    expected = PHOTOGRAPH.resize(shape[::-1], Image.Resampling.BOX)
    assert difference(pixels, np.asarray(expected)) < 3


def test_a_turned_jpeg_is_read_at_a_scale_too() -> None:
    data = encoded(PHOTOGRAPH, "JPEG", exif=exif(6))
    assert decode(data, at_least=200).shape == (400, 300, 3)


@pytest.mark.parametrize("channels", [1, 3])
def test_what_is_no_jpeg_in_a_file_keeps_its_size(channels: int) -> None:
    for source in (encoded(PHOTOGRAPH, "PNG"), PHOTOGRAPH, np.asarray(PHOTOGRAPH)):
        assert decode(source, channels, at_least=10).shape == (600, 800, channels)
    with Image.open(io.BytesIO(encoded(PHOTOGRAPH, "JPEG"))) as image:
        assert decode(image, at_least=10).shape == (600, 800, 3)
        assert image.size == (800, 600)


def test_the_limit_holds_for_the_pixels_that_are_decoded() -> None:
    data = encoded(PHOTOGRAPH, "JPEG")
    assert decode(data, at_least=10, max_pixels=100 * 75).shape == (75, 100, 3)
    with pytest.raises(ImageTooLargeError, match="100×75"):
        decode(data, at_least=10, max_pixels=100 * 75 - 1)
    with pytest.raises(ImageTooLargeError, match="800×600"):  # of a progressive one all coefficients are kept
        decode(encoded(PHOTOGRAPH, "JPEG", progressive=True), at_least=10, max_pixels=100 * 75)


def test_training_and_prediction_see_the_same_pixels_of_a_large_jpeg(tmp_path: Path) -> None:
    from googlenet.data.image_set import ImageSet, LabelledImage
    from googlenet.training.loading import ImageDataset, SampleKey

    (tmp_path / "large.jpg").write_bytes(encoded(PHOTOGRAPH, "JPEG"))
    preprocessing = Preprocessing(64, 0.875)
    images = ImageSet(("one",), (LabelledImage("large", (0,), tmp_path / "large.jpg"),))
    _, _, seen = ImageDataset(images, preprocessing, 0, None)[SampleKey(0, 0, 64)]
    expected = resize_and_crop(decode(tmp_path / "large.jpg", at_least=preprocessing.resized_side), preprocessing)
    np.testing.assert_array_equal(seen.permute(1, 2, 0).numpy(), expected)
    assert difference(expected, resize_and_crop(decode(tmp_path / "large.jpg"), preprocessing)) < 3


@pytest.mark.parametrize(("kind", "count"), [("png", 8), ("png", 40), ("jpg", 20), ("gif", 9)])
def test_a_file_that_ends_in_its_header_is_cut_short(tmp_path: Path, kind: str, count: int) -> None:
    Image.new("RGB", (9, 9)).save(tmp_path / f"whole.{kind}")
    (tmp_path / f"cut.{kind}").write_bytes((tmp_path / f"whole.{kind}").read_bytes()[:count])
    with pytest.raises(UnreadableImageError) as caught:
        decode(tmp_path / f"cut.{kind}")
    assert "unpack" not in str(caught.value)
    assert "driver" not in str(caught.value)
    assert "b'" not in str(caught.value)
