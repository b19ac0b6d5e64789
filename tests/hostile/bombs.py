"""Small image files that cost much to read, made byte by byte: ``python bombs.py FOLDER`` writes all of them.

Each is a valid image, or nearly one, of at most a few megabytes that asks a decoder for seconds or gigabytes.
"""

from __future__ import annotations

import io
import struct
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

from PIL import Image

SIDE = 10_000  # pixels: 100 megapixels, all that is allowed by default
Tag = tuple[int, int, int, int]  # of a TIFF: number, type, count, and the value or where it is
BOMBS: dict[str, Callable[[], bytes]] = {}


def bomb(function: Callable[[], bytes]) -> Callable[[], bytes]:
    name, _, suffix = function.__name__.rpartition("_")
    BOMBS[f"{name}.{suffix}"] = function
    return function


def saved(image: Image.Image, format: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, format, **options)
    return stream.getvalue()


# JPEG


def segment(marker: int, content: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content


def bits(text: str) -> bytes:
    text += "1" * (-len(text) % 8)
    return int(text, 2).to_bytes(len(text) // 8, "big").replace(b"\xff", b"\xff\x00")


def one_symbol(kind: int, symbol: int) -> bytes:
    return segment(0xC4, bytes([kind, 1, *[0] * 15, symbol]))


def runs_of_empty_blocks(blocks: int) -> str:
    whole, rest = divmod(blocks, 0x7FFF)
    return ("0" + "1" * 14) * whole + "0" + f"{rest % 0x4000:014b}"  # a run of 2^14 and what 14 bits say more


def jpeg(side: int, scans: int, components: int = 1, progressive: bool = True, before: bytes = b"") -> bytes:
    """Black, of 8×8 blocks that say nothing; ``scans`` passes over all of them."""
    blocks = (-(-side // 8)) ** 2
    parts = b"".join(bytes([n, 0x11, 0]) for n in range(1, components + 1))
    frame = segment(0xC2 if progressive else 0xC0, struct.pack(">BHHB", 8, side, side, components) + parts)
    head = b"\xff\xd8" + before + segment(0xDB, bytes([0, *[1] * 64])) + frame + one_symbol(0x00, 0)
    which = b"".join(bytes([n, 0]) for n in range(1, components + 1))
    if not progressive:
        scan = segment(0xDA, bytes([components]) + which + bytes([0, 63, 0])) + bits("00" * blocks * components)
        return head + one_symbol(0x10, 0) + scan + b"\xff\xd9"
    dc = segment(0xDA, bytes([components]) + which + b"\0\0\0") + bits("0" * blocks * components)
    # Scans that refine look at each coefficient, though none is there.
    ac = segment(0xDA, bytes([1, 1, 0, 1, 63, 0x10])) + bits(runs_of_empty_blocks(blocks))
    return head + one_symbol(0x10, 0xE0) + dc + ac * (scans - 1) + b"\xff\xd9"


@bomb
def scans_200_jpg() -> bytes:
    return jpeg(SIDE, 200)


@bomb
def scans_of_one_component_jpg() -> bytes:
    """Not progressive: every scan has one component of three, which is allowed too."""
    whole = jpeg(4000, 1, 3, progressive=False)
    start = whole.index(b"\xff\xda")
    scan = segment(0xDA, bytes([1, 1, 0, 0, 63, 0])) + bits("00" * (500 * 500))
    return whole[:start] + scan * 60 + b"\xff\xd9"


@bomb
def progressive_three_components_jpg() -> bytes:
    return jpeg(SIDE, 10, 3)


@bomb
def progressive_cmyk_jpg() -> bytes:
    return jpeg(SIDE, 10, 4)


@bomb
def baseline_giant_jpg() -> bytes:
    return jpeg(65_000, 1, 1, progressive=False)


@bomb
def fill_jpg() -> bytes:
    return b"\xff\xd8" + b"\xff" * 20_000_000 + jpeg(64, 1)[2:]


@bomb
def junk_jpg() -> bytes:
    return b"\xff\xd8\xff\xfe\x00\x02" + b"\x00" * 20_000_000 + jpeg(64, 1)[2:]


@bomb
def segments_jpg() -> bytes:
    return jpeg(64, 1, before=segment(0xFE, b"") * 3_000_000)


@bomb
def exif_in_pieces_jpg() -> bytes:
    return jpeg(64, 1, before=segment(0xE1, b"Exif\0\0" + b"II*\0" + b"\0" * 65_000) * 1000)


@bomb
def exif_that_overlaps_jpg() -> bytes:
    entries = b"".join(struct.pack("<HHII", 0x9000 + n, 7, 60_000, 8) for n in range(5000))
    block = b"Exif\0\0II*\0" + struct.pack("<IH", 8, 5000) + entries
    return jpeg(64, 1, before=segment(0xE1, block[:65_533]))


# WebP


def riff(*chunks: tuple[bytes, bytes]) -> bytes:
    body = b"WEBP" + b"".join(
        name + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2) for name, data in chunks
    )
    return b"RIFF" + struct.pack("<I", len(body)) + body


def lossless(width: int, height: int) -> bytes:
    """Give a VP8L stream of one colour: its code is of no bits, so any size has the same few bytes."""
    data = saved(Image.new("RGBA", (1, 1)), "WEBP", lossless=True)
    stream = data[data.index(b"VP8L") + 8 :]
    (old,) = struct.unpack_from("<I", stream, 1)
    return stream[:1] + struct.pack("<I", old & ~0xFFFFFFF | (width - 1) | (height - 1) << 14) + stream[5:]


def three(number: int) -> bytes:
    return struct.pack("<I", number)[:3]


def animated_webp(side: int, frames: int) -> bytes:
    frame = three(0) * 2 + three(0) * 2 + three(100) + b"\0" + b"VP8L" + struct.pack("<I", len(lossless(1, 1)))
    frame += lossless(1, 1) + b"\0" * (len(lossless(1, 1)) % 2)
    extended = bytes([0b10010, 0, 0, 0]) + three(side - 1) * 2
    return riff((b"VP8X", extended), (b"ANIM", bytes(6)), *[(b"ANMF", frame)] * frames)


@bomb
def animated_canvas_webp() -> bytes:
    return animated_webp(SIDE, 1)


@bomb
def frames_webp() -> bytes:
    return animated_webp(4000, 2000)


@bomb
def one_colour_webp() -> bytes:
    return riff((b"VP8L", lossless(SIDE, SIDE)))


@bomb
def giant_webp() -> bytes:
    return riff((b"VP8L", lossless(16_383, 16_383)))


# PNG


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def zeros(count: int) -> bytes:
    """Compress so many zero bytes, a piece at a time."""
    packer, piece = zlib.compressobj(1), bytes(1 << 20)
    parts = [packer.compress(piece) for _ in range(count >> 20)]
    return b"".join([*parts, packer.compress(bytes(count & (1 << 20) - 1)), packer.flush()])


def png(side: int, depth: int, colour: int, before: bytes = b"", after: bytes = b"", interlaced: int = 0) -> bytes:
    samples = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, depth, colour, 0, 0, interlaced))
    rows = zeros(side * (1 + -(-side * samples * depth // 8)) * (1 if not interlaced else 2))
    return b"\x89PNG\r\n\x1a\n" + header + before + chunk(b"IDAT", rows) + after + chunk(b"IEND", b"")


@bomb
def rgba_png() -> bytes:
    return png(SIDE, 8, 6)


@bomb
def grey_alpha_16_bits_png() -> bytes:
    return png(SIDE, 16, 4)


@bomb
def grey_16_bits_png() -> bytes:
    return png(SIDE, 16, 0)


@bomb
def grey_with_transparency_png() -> bytes:
    return png(SIDE, 8, 0, before=chunk(b"tRNS", b"\0\0"))


@bomb
def palette_with_transparency_png() -> bytes:
    return png(SIDE, 8, 3, before=chunk(b"PLTE", bytes(768)) + chunk(b"tRNS", bytes(range(256))))


@bomb
def interlaced_png() -> bytes:
    return png(SIDE, 8, 2, interlaced=1)


@bomb
def text_png() -> bytes:
    return png(64, 8, 2, before=chunk(b"zTXt", b"a\0\0" + zeros(1_000_000)) * 60)


@bomb
def text_too_long_png() -> bytes:
    return png(64, 8, 2, before=chunk(b"zTXt", b"a\0\0" + zeros(1_000_000_000)))


@bomb
def profile_png() -> bytes:
    return png(64, 8, 2, before=chunk(b"iCCP", b"a\0\0" + zeros(1_000_000_000)))


@bomb
def chunks_png() -> bytes:
    return png(64, 8, 2, before=chunk(b"teSt", b"") * 1_500_000)


@bomb
def chunks_behind_png() -> bytes:
    return png(64, 8, 2, after=chunk(b"teSt", b"") * 1_500_000)


@bomb
def frames_png() -> bytes:
    frame = struct.pack(">IIIIIHHBB", 0, SIDE, SIDE, 0, 0, 1, 1, 0, 0)
    numbers = range(1, 20_001)
    behind = b"".join(chunk(b"fcTL", struct.pack(">I", n) + frame[4:]) for n in numbers)
    return png(64, 8, 2, before=chunk(b"acTL", struct.pack(">II", 20_000, 0)) + chunk(b"fcTL", frame), after=behind)


# GIF


def gif(width: int, height: int, *blocks: bytes) -> bytes:
    return b"GIF89a" + struct.pack("<HHBBB", width, height, 0x80, 0, 0) + bytes(6) + b"".join(blocks) + b";"


GIF_PIXEL = b"," + struct.pack("<HHHHB", 0, 0, 1, 1, 0) + b"\x02\x02\x44\x01\x00"


@bomb
def frames_gif() -> bytes:
    return gif(SIDE, SIDE, GIF_PIXEL * 100_000)


@bomb
def see_through_gif() -> bytes:
    return gif(SIDE, SIDE, b"!\xf9\x04\x01\0\0\0\0", GIF_PIXEL)


@bomb
def comment_gif() -> bytes:
    return gif(64, 64, b"!\xfe" + (b"\xff" + b"x" * 255) * 40_000 + b"\0", GIF_PIXEL)


@bomb
def blocks_gif() -> bytes:
    return gif(64, 64, (b"!\xfe\x01x\0") * 2_000_000, GIF_PIXEL)


# BMP


def bmp_rle(side: int, rows: bytes) -> bytes:
    header = struct.pack("<IiiHHIIiiII", 40, side, side, 1, 8, 1, len(rows), 0, 0, 256, 0)
    start = 14 + len(header) + 1024
    return b"BM" + struct.pack("<IHHI", start + len(rows), 0, 0, start) + header + bytes(1024) + rows


@bomb
def ends_of_lines_bmp() -> bytes:
    return bmp_rle(SIDE, (b"\x01\x00\x00\x00") * SIDE + b"\0\1")


@bomb
def runs_bmp() -> bytes:
    return bmp_rle(2900, b"\x01\x00" * 2900 * 2900 + b"\0\1")


# TIFF


def tiff(*tags: Tag, data: bytes = b"", next_at: int = 0) -> bytes:
    """Write one directory of (tag, type, count, value or offset); ``data`` lies behind it: see :func:`behind`."""
    entries = b"".join(struct.pack("<HHII", *tag) for tag in sorted(tags))
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + struct.pack("<I", next_at) + data


def behind(tags: int) -> int:
    return 8 + 2 + 12 * tags + 4


def image_tags(side: int, depth: int, samples: int, compression: int, photometric: int) -> list[Tag]:
    return [(256, 4, 1, side), (257, 4, 1, side), (258, 3, 1, depth), (259, 3, 1, compression),
            (262, 3, 1, photometric), (277, 3, 1, samples)]  # fmt: skip


def strip_tags(at: int, length: int, rows: int) -> list[Tag]:
    return [(273, 4, 1, at), (278, 4, 1, rows), (279, 4, 1, length)]


@bomb
def strip_that_expands_tif() -> bytes:
    data = zeros(SIDE * SIDE * 4)
    tags = [*image_tags(SIDE, 8, 4, 8, 2), (338, 3, 1, 2)]
    return tiff(*tags, *strip_tags(behind(len(tags) + 3), len(data), SIDE), data=data)


@bomb
def floats_tif() -> bytes:
    data = zeros(SIDE * SIDE * 4)
    tags = [*image_tags(SIDE, 32, 1, 8, 1), (339, 3, 1, 3)]
    return tiff(*tags, *strip_tags(behind(len(tags) + 3), len(data), SIDE), data=data)


@bomb
def giant_tile_tif() -> bytes:
    data = zeros(1 << 20)
    tags = image_tags(16, 8, 3, 8, 2)
    where = [(322, 4, 1, 60_000), (323, 4, 1, 60_000), (324, 4, 1, behind(len(tags) + 4)), (325, 4, 1, len(data))]
    return tiff(*tags, *where, data=data)


@bomb
def strips_tif() -> bytes:
    """Three million strips, all of them the same few bytes."""
    count, tags = 3_000_000, image_tags(64, 8, 1, 1, 1)
    at = behind(len(tags) + 3)
    offsets = struct.pack("<I", at) * count
    where = [(273, 4, count, at + 64), (278, 4, 1, 1), (279, 4, count, at + 64)]
    return tiff(*tags, *where, data=bytes(64) + offsets)


@bomb
def tags_that_overlap_tif() -> bytes:
    data = bytes(2 << 20)
    more = [(40_000 + n, 7, len(data), 8) for n in range(20_000)]
    tags = [*image_tags(8, 8, 1, 1, 1), *more]
    return tiff(*tags, *strip_tags(8, 64, 8), data=data)


@bomb
def pages_tif() -> bytes:
    """100,000 pages, one behind the other."""
    tags = [*image_tags(8, 8, 1, 1, 1), *strip_tags(8, 64, 8)]
    page = behind(len(tags)) - 8
    one = tiff(*tags)[8:-4]
    pages = b"".join(one + struct.pack("<I", 8 + page * n) for n in range(1, 100_000))
    return b"II*\0" + struct.pack("<I", 8) + pages + one + struct.pack("<I", 0)


@bomb
def jpeg_scans_tif() -> bytes:
    data = jpeg(SIDE, 90)
    tags = image_tags(SIDE, 8, 1, 7, 1)
    return tiff(*tags, *strip_tags(behind(len(tags) + 3), len(data), SIDE), data=data)


@bomb
def page_of_five_channels_tif() -> bytes:
    """Five pages that are one: for a network of five channels."""
    data = zeros(7000 * 7000 * 2)
    tags = image_tags(7000, 16, 1, 8, 1)
    size = behind(len(tags) + 3) - 8
    at = 8 + 5 * size
    tags += strip_tags(at, len(data), 7000)
    pages = [tiff(*tags, next_at=8 + size * n if n < 5 else 0)[8:] for n in range(1, 6)]
    return b"II*\0" + struct.pack("<I", 8) + b"".join(pages) + data


# AVIF


@bomb
def one_colour_avif() -> bytes:
    return saved(Image.new("RGB", (7000, 7000)), "AVIF", speed=10, quality=10)


@bomb
def claims_to_be_giant_avif() -> bytes:
    whole = saved(Image.new("RGB", (64, 64)), "AVIF", speed=10)
    return whole.replace(b"ispe" + struct.pack(">III", 0, 64, 64), b"ispe" + struct.pack(">III", 0, 16_000, 16_000))


# Arrays


@bomb
def header_npy() -> bytes:
    head = "{'descr': '|u1', 'fortran_order': False, 'shape': (100000, 100000, 5), }"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head.encode()


def write(folder: Path) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    for name, make in BOMBS.items():
        if not (folder / name).exists():
            (folder / name).write_bytes(make())
    return [folder / name for name in BOMBS]


if __name__ == "__main__":
    write(Path(sys.argv[1]))
