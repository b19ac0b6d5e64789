"""Images deeper than 8 bits: black and white as the file says, or one range for a whole data set."""

from __future__ import annotations

import io
import json
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import googlenet
from googlenet.card import ModelCard
from googlenet.errors import BundleError, UnreadableImageError
from googlenet.images.decode import decode
from googlenet.images.resize import load_image
from googlenet.preprocessing import Preprocessing

RAMP = np.tile(np.linspace(0, 1, 256), (2, 1))  # from black to white
BYTES = np.arange(256)


def tiff(data: bytes, bits: int, *, photometric: int = 1, kind: int = 1, samples: int = 1, more: tuple = ()) -> bytes:
    """An uncompressed TIFF of 256 by 2 pixels, byte by byte: what Pillow would not write."""
    tags = [(256, 4, 1, 256), (257, 4, 1, 2), (258, 3, 1, bits), (259, 3, 1, 1), (262, 3, 1, photometric),
            (277, 3, 1, samples), (278, 4, 1, 2), (279, 4, 1, len(data)), (339, 3, 1, kind), *more]  # fmt: skip
    tags.append((273, 4, 1, 8 + 2 + 12 * (len(tags) + 1) + 4))
    entries = b"".join(
        struct.pack("<HHI", tag, form, count) + (value if isinstance(value, bytes) else struct.pack("<I", value))
        for tag, form, count, value in sorted(tags, key=lambda tag: tag[0])
    )
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + struct.pack("<I", 0) + data


def packed(values: np.ndarray) -> bytes:
    """Two numbers of 12 bits in three bytes."""
    first, second = values.ravel()[::2].astype(int), values.ravel()[1::2].astype(int)
    return np.stack([first >> 4, (first & 15) << 4 | second >> 8, second & 255], axis=1).astype(np.uint8).tobytes()


def saved(values: np.ndarray, format: str = "TIFF") -> bytes:
    stream = io.BytesIO()
    Image.fromarray(values).save(stream, format)
    return stream.getvalue()


def scaled(low: float, high: float, kind: str) -> np.ndarray:
    values = low + RAMP * (high - low)
    return (values if "f" in kind else np.rint(values)).astype(kind)


REACHING_FROM_BLACK_TO_WHITE = {
    "12 bits": tiff(packed(scaled(0, 4095, "u2")), 12),
    "16 bits": saved(scaled(0, 65535, "u2"), "PNG"),
    "16 bits, white is 0": tiff(scaled(65535, 0, "<u2").tobytes(), 16, photometric=0),
    "16 bits, highest sample value": tiff(scaled(0, 1023, "<u2").tobytes(), 16, more=((341, 3, 1, 1023),)),
    "16 bits, lowest and highest": tiff(
        scaled(500, 900, "<u2").tobytes(), 16, more=((340, 3, 1, 500), (341, 3, 1, 900))
    ),
    "floats, highest sample value": tiff(
        scaled(0, 7.5, "<f4").tobytes(), 32, kind=3, more=((341, 11, 1, struct.pack("<f", 7.5)),)
    ),
    "floats to 1": saved(scaled(0, 1, "f4")),
    "floats of -1 to 1": saved(scaled(-1, 1, "f4")),
    "signed 16 bits": tiff(scaled(0, 32767, "<i2").tobytes(), 16, kind=2),
    "Hounsfield units": tiff(scaled(-1000, 2000, "<i2").tobytes(), 16, kind=2),
    "signed 8 bits": tiff(scaled(-128, 127, "i1").tobytes(), 8, kind=2),
    "32 bits to 255": saved(scaled(0, 255, "i4")),
    "32 bits without a sign": tiff(scaled(0, 2**32 - 1, "<u4").tobytes(), 32),
}


@pytest.mark.parametrize("name", REACHING_FROM_BLACK_TO_WHITE)
def test_what_the_type_or_the_tags_say_is_black_and_white(name: str) -> None:
    pixels = decode(REACHING_FROM_BLACK_TO_WHITE[name])
    assert np.abs(pixels[1, :, 2].astype(int) - BYTES).max() <= 1


@pytest.mark.parametrize(("highest", "white"), [(1.02, 1), (1.09, 1), (257, 255), (66000, 65535), (1e6, 1e6)])
def test_a_little_overshoot_of_floats_is_clipped_and_makes_nothing_dark(highest: float, white: float) -> None:
    pixels = decode(saved((RAMP * highest).astype(np.float32)))
    expected = np.clip(RAMP * highest / white, 0, 1) * 255
    assert np.abs(pixels[:, :, 0] - expected).max() <= 1


def test_whole_numbers_reach_to_the_next_power_of_two() -> None:
    assert decode(saved(scaled(0, 300, "i4"))).max() == round(300 / 511 * 255)


def test_a_range_that_is_given_holds_where_the_file_says_none() -> None:
    twelve = saved(scaled(0, 4095, "u2"), "PNG")
    assert decode(twelve).max() == 16
    assert np.abs(decode(twelve, value_range=(0, 4095))[0, :, 0].astype(int) - BYTES).max() <= 1
    assert decode(twelve, value_range=(0, 2000)).max() == 255  # clipped
    told = REACHING_FROM_BLACK_TO_WHITE["12 bits"]
    np.testing.assert_array_equal(decode(told, value_range=(0, 100)), decode(told))


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (tiff(bytes(2 * 256 * 12), 32, photometric=2, kind=3, samples=3), "3 samples of 32 bits, floating-point"),
        (tiff(np.zeros((2, 256, 7), "u1").tobytes(), 8, samples=7), "7 samples of 8 bits, unsigned"),
        (tiff(np.zeros((2, 256), "<f8").tobytes(), 64, kind=3), "1 sample of 64 bits, floating-point"),
        (tiff(np.zeros((2, 256), "<c8").tobytes(), 64, kind=6), "1 sample of 64 bits, complex"),
    ],
    ids=["floats RGB", "seven bands", "doubles", "complex"],
)  # fmt: skip
def test_a_tiff_that_is_not_read_says_what_it_is(data: bytes, kind: str) -> None:
    for channels in (3, 7):
        with pytest.raises(
            UnreadableImageError,
            match=f"is a TIFF of {kind}.* with tags of a kind that is not read",
        ):
            decode(data, channels)


@pytest.fixture
def scans(coloured: Path) -> Path:
    """Classes of 12 bits in 16, as a microscope writes them."""
    for path in list(coloured.glob("*/*.png")):
        pixels = np.asarray(Image.open(path).convert("L")).astype(np.uint16)
        Image.fromarray(pixels * 16).save(path)
    return coloured


def test_a_data_set_has_one_range_that_training_says_and_the_card_keeps(
    scans: Path, tmp_path: Path, tiny, call
) -> None:
    bundle = googlenet.train(scans, tmp_path / "run", recipe="default", network=tiny, epochs=1, workers=0)
    assert bundle.card.preprocessing.value_range == (0, 4095)
    assert ModelCard.from_json(bundle.card.to_json()).preprocessing.value_range == (0, 4095)
    one = next(scans.glob("red/*.png"))
    seen = load_image(one, Preprocessing(32, value_range=(0, 4095)))
    np.testing.assert_array_equal(
        googlenet.load(tmp_path / "run").preprocess(one), load_image(one, bundle.card.preprocessing)
    )
    np.testing.assert_array_equal(googlenet.load(tmp_path / "run").preprocess(one), seen)
    for command in ("predict", "evaluate"):
        code, out, err = call(command, tmp_path / "run", scans if command == "evaluate" else one)
        assert code == 0
        assert "deep images: values 0 to 4095 are scaled to 0 to 255" in err
        assert "deep images" not in out
    settings = json.loads((tmp_path / "run/run.json").read_text())
    assert settings["reading"] == {"value_range": [0, 4095], "color_profiles": "applied"}


def test_training_says_the_range_on_stderr(scans: Path, tmp_path: Path, tiny, capsys) -> None:
    googlenet.train(scans, tmp_path / "run", network=tiny, epochs=1, workers=0)
    assert "deep images: values 0 to 4095 are scaled to 0 to 255" in capsys.readouterr().err


def test_the_doctor_says_the_range_and_what_lies_beyond(coloured: Path) -> None:
    for name, values in (("a", scaled(0, 0.9, "f4")), ("b", scaled(-0.02, 1.02, "f4"))):
        (coloured / f"red/{name}.tif").write_bytes(saved(values))
    (coloured / "red/c.tif").write_bytes(tiff(scaled(0, 300, "<u2").tobytes(), 16, more=((341, 3, 1, 200),)))
    findings = googlenet.doctor(coloured)
    [deep] = findings.of("deep")
    assert (deep.names, deep.detail) == (
        ("red/a.tif", "red/b.tif"),
        "deep images: values 0 to 1 are scaled to 0 to 255",
    )
    assert {found.names[0]: found.detail for found in findings.of("clipped")} == {
        "red/b.tif": "values -0.01999999955 to 1.019999981, not 0 to 1",
        "red/c.tif": "values 0 to 300, not 0 to 200",
    }


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_an_image_without_a_number_is_refused(tmp_path: Path, value: float) -> None:
    Image.fromarray(np.full((8, 8), value, np.float32)).save(tmp_path / "none.tif")
    with pytest.raises(UnreadableImageError, match=r"none.tif is damaged: every value is NaN or infinite"):
        decode(tmp_path / "none.tif")


@pytest.mark.parametrize("value", ["[0]", "[5, 5]", "[0, 1e999]", '["a", "b"]', "[0, 1, 2]"])
def test_a_range_on_a_card_that_is_none_is_refused(value: str) -> None:
    card = ModelCard("n", {}, ("a",), Preprocessing(32), format=3)  # which has no hash of its own
    text = card.to_json().replace('"value_range": null', f'"value_range": {value}')
    says = {"[0, 1e999]": "1e999 is not a finite number", '["a", "b"]': "value_range should be a list of numbers"}
    with pytest.raises(BundleError, match=says.get(value, "value_range must be two")):
        ModelCard.from_json(text)
