"""What the web page's scripts make of a file, against the engine's own pixels, libjpeg-turbo, LittleCMS and Pillow."""

import io
import itertools
import struct

import numpy as np
import pytest
from PIL import Image

from googlenet.images import jpeg
from googlenet.images.decode import decode, opened
from googlenet.images.resampling import _by_pillow, has_vector_resampling, resample
from googlenet.images.resize import load_image
from googlenet.inference import conformal
from googlenet.inference.unknown import Detector
from googlenet.preprocessing import Preprocessing
from tests.exporting.javascript import packed, run, unpacked


@pytest.fixture(scope="module")
def photograph():
    """Smooth areas, edges and noise, in colours beyond those of a JPEG: 131 × 77 pixels."""
    random = np.random.default_rng(0)
    y, x = np.mgrid[:77, :131]
    smooth = np.stack([127 + 127 * np.sin(x / 9 + y / 17), 2 * x % 256, 255 * ((x // 11 + y // 7) % 2)], axis=2)
    pixels = np.clip(smooth + random.normal(0, 12, smooth.shape), 0, 255).astype(np.uint8)
    return Image.fromarray(pixels)


def saved(image, kind="JPEG", **options):
    content = io.BytesIO()
    image.save(content, kind, **options)
    return content.getvalue()


def test_resizing_is_the_engines_and_within_two_levels_of_pillows():
    random = np.random.default_rng(1)
    cases = []
    for number in range(40):
        width, height, wide, high = (int(each) for each in random.integers(1, 150, 4))
        left, top = random.uniform(0, width / 2), random.uniform(0, height / 2)
        box = (left, top, left + random.uniform(0.1, 1) * (width - left), top + random.uniform(0.1, 1) * (height - top))
        pixels = random.integers(0, 256, (height, width, (1, 3)[number % 2])).astype(np.uint8)
        cases.append((pixels, (wide, high), (0.0, 0.0, float(width), float(height)) if number % 3 else box))
    given = [(packed(pixels), size, box) for pixels, size, box in cases]
    found = run(
        "const found = given.map(([from, [w, h], box]) => written(Resize.resample(image(from), w, h, box)));", given
    )
    for (pixels, size, box), each in zip(cases, found, strict=True):
        ours = unpacked(each)
        if has_vector_resampling():
            np.testing.assert_array_equal(ours, resample(pixels, size, box))
        assert np.abs(ours.astype(int) - _by_pillow(pixels, size, box)).max() <= 2


def test_jpegs_of_every_kind_are_decoded_as_libjpeg_turbo_does(photograph):
    grey, files = photograph.convert("L"), []
    for subsampling, options in itertools.product(
        (0, 1, 2),
        (
            {},
            {"progressive": True},
            {"restart_marker_blocks": 3},
            {"quality": 15, "progressive": True, "optimize": True},
        ),
    ):
        files += [saved(photograph.resize(size), subsampling=subsampling, **options) for size in ((131, 77), (17, 16))]
    files += [
        saved(grey),
        saved(grey, progressive=True),
        saved(photograph, keep_rgb=True),
        saved(photograph.resize((1, 1))),
    ]
    cases = [(file, at_least) for file in files for at_least in (None, 30, 10, 1)]
    decoded = run(
        "const found = given.map(([file, least]) => written(Jpeg.decode(bytes(file), least ?? Infinity)));",
        [(packed(file), at_least) for file, at_least in cases],
    )
    for (file, at_least), each in zip(cases, decoded, strict=True):
        with opened(io.BytesIO(file), at_least=at_least) as image:
            expected = jpeg._pixels_of(image, io.BytesIO(file))
        np.testing.assert_array_equal(unpacked(each), expected)


@pytest.mark.parametrize("left", [0.5, 0.9])
def test_a_jpeg_that_is_cut_off_is_refused(photograph, left):
    script = """let found;
        try { Jpeg.decode(bytes(given)); found = "decoded"; } catch (error) { found = error.message; }"""
    for options in ({}, {"progressive": True}):
        file = saved(photograph, **options)
        assert run(script, packed(file[: int(left * len(file))])) == "cut"


def profile(curve, columns):
    """An ICC profile of one curve and a matrix, as cameras and monitors have them."""
    tags = {b"rTRC": curve, b"gTRC": curve, b"bTRC": curve} | {
        name: b"XYZ \0\0\0\0" + struct.pack(">3i", *(round(65536 * each) for each in column))
        for name, column in zip((b"rXYZ", b"gXYZ", b"bXYZ"), columns, strict=True)
    }
    tags[b"wtpt"] = b"XYZ \0\0\0\0" + struct.pack(">3i", *(round(65536 * each) for each in (0.9642, 1.0, 0.8249)))
    table, body, at = b"", b"", 128 + 4 + 12 * len(tags)
    for name, content in tags.items():
        content += b"\0" * (-len(content) % 4)
        table += name + struct.pack(">2I", at + len(body), len(content))
        body += content
    size = at + len(body)
    head = struct.pack(">I4sI4s4s4s", size, b"\0\0\0\0", 0x02400000, b"mntr", b"RGB ", b"XYZ ") + b"\0" * 12 + b"acsp"
    head += b"\0" * 28 + struct.pack(">3i", 63190, 65536, 54061)
    return head.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + body


ADOBE = ((0.60974, 0.31111, 0.01947), (0.20528, 0.62567, 0.06087), (0.14919, 0.06322, 0.74457))
SRGB = ((0.43607, 0.22249, 0.01392), (0.38515, 0.71687, 0.09708), (0.14307, 0.06061, 0.71410))
GAMMA = b"curv\0\0\0\0" + struct.pack(">IH", 1, round(2.19921875 * 256))
TABLE = (
    b"curv\0\0\0\0" + struct.pack(">I", 64) + struct.pack(">64H", *(round(65535 * (n / 63) ** 1.8) for n in range(64)))
)
PARAMETRIC = b"para\0\0\0\0\0\3\0\0" + struct.pack(
    ">5i", *(round(65536 * x) for x in (2.4, 0.9479, 0.0521, 0.0774, 0.0405))
)


@pytest.mark.parametrize("curve", [GAMMA, TABLE, PARAMETRIC], ids=["gamma", "table", "parametric"])
@pytest.mark.parametrize("columns", [ADOBE, SRGB], ids=["adobe", "srgb"])
def test_colour_profiles_are_applied_as_littlecms_does(photograph, curve, columns):
    file = saved(photograph, icc_profile=profile(curve, columns), quality=95)
    script = """const { profile, ...rest } = Jpeg.decode(bytes(given));
        const found = written(Colour.toSrgb(rest, profile));"""
    ours, expected = unpacked(run(script, packed(file))), decode(file)
    np.testing.assert_array_equal(ours, expected)
    is_srgb = columns is SRGB and curve is PARAMETRIC
    assert (np.abs(expected.astype(int) - decode(file, color_profiles="ignored")).max() == 0) == is_srgb


def test_what_the_network_sees_is_what_the_engine_sees(photograph):
    cases = []
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        preprocessing = Preprocessing(24, 0.875, resize=("crop", "pad", "squash")[orientation % 3])
        cases.append((saved(photograph, exif=exif), preprocessing))
    cases.append((saved(photograph), Preprocessing(24, mean=(0.5,), std=(0.5,))))
    cases.append((saved(photograph.convert("L")), Preprocessing(40)))
    given = [
        (packed(file), {"size": p.size, "crop_fraction": p.crop_fraction, "resize": p.resize, "channels": p.channels,
                        "color_profiles": p.color_profiles})
        for file, p in cases
    ]  # fmt: skip
    script = """const found = [];
        for (const [file, preprocessing] of given) {
          const { pixels } = Pixels.seen(await Pixels.read(new Blob([bytes(file)]), preprocessing), preprocessing);
          found.push(Buffer.from(pixels).toString("base64"));
        }"""
    for (file, preprocessing), each in zip(cases, run(script, given), strict=True):
        expected = load_image(file, preprocessing)
        if has_vector_resampling():
            np.testing.assert_array_equal(unpacked([each, expected.shape]), expected)


@pytest.mark.parametrize("several", [False, True])
def test_certainty_is_that_of_numpy(several):
    random = np.random.default_rng(2)
    embeddings = random.normal(size=(60, 12)).astype(np.float32)
    probabilities = random.dirichlet([0.4] * 4, 60).astype(np.float32)
    detector = Detector.fit(embeddings, probabilities, several)
    seen = (embeddings[:20] + random.normal(0, 1, (20, 12))).astype(np.float32)
    limit = conformal.limit(conformal.scores(probabilities, random.integers(0, 4, 60)), 0.9)
    given = {
        "arrays": {name: array.ravel().tolist() for name, array in detector.arrays().items()},
        "embeddings": seen.tolist(), "probabilities": probabilities[:20].tolist(), "limit": limit,
    }  # fmt: skip
    script = """const floats = (each) => Float32Array.from(each);
        const arrays = Object.fromEntries(Object.entries(given.arrays).map(([name, each]) => [name, floats(each)]));
        const found = given.embeddings.map((each, n) => {
          const probabilities = floats(given.probabilities[n]);
          return [Certainty.pValue(arrays, floats(each), probabilities), Certainty.set(probabilities, given.limit)];
        });"""
    found = run(script, given)
    np.testing.assert_allclose([p for p, _ in found], detector.p_values(seen, probabilities[:20]))
    expected = conformal.sets(probabilities[:20], limit)
    assert [inside for _, inside in found] == [np.flatnonzero(each).tolist() for each in expected]
