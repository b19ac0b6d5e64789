"""Explanations in words and drawn: where evidence lies, none at all, colours by value, names in any script."""

import itertools
from dataclasses import replace
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

import googlenet
from googlenet.explaining import colours, lettering
from googlenet.explaining.drawing import overlaid
from googlenet.explaining.lettering import fitted, text_width, wrapped
from googlenet.explaining.seen import see
from googlenet.preprocessing import Preprocessing
from tests.explaining.conftest import photo

WHOLE = (0.0, 0.0, 1.0, 1.0)


def spot(row, column, side=9, value=1.0):
    values = np.full((side, side), -0.01, np.float32)
    values[row, column] = value
    return values


@pytest.mark.parametrize(("row", "column"), [*itertools.product((0, 4, 8), repeat=2)])
def test_a_place_is_named_where_the_evidence_is(row, column):
    names = [["top left", "top", "top right"], ["left", "middle", "right"], ["bottom left", "bottom", "bottom right"]]
    found = see(spot(row, column), WHOLE)
    expected = names[row // 4][column // 4]
    assert found.place in (f"at the {expected}", f"in the {expected}")
    assert found.share == pytest.approx(1 / 81)
    assert found.peak == (pytest.approx((column + 0.5) / 9), pytest.approx((row + 0.5) / 9))
    assert see(-spot(row, column), WHOLE).against == f"the {expected}"  # what speaks for it is everywhere else


def test_places_are_those_of_the_image_not_of_the_crop():
    # A wide image: the crop is its middle third, and the left of the crop is the middle of the image.
    assert see(spot(4, 0), (1 / 3, 0.0, 2 / 3, 1.0)).place == "in the middle"
    assert see(spot(4, 0), (1 / 3, 0.0, 2 / 3, 1.0)).share == pytest.approx(1 / 243)


def test_no_evidence_and_evidence_everywhere_are_said():
    for none in (-np.ones((3, 3), np.float32), np.zeros((3, 3), np.float32)):
        assert see(none, WHOLE).sentence("cat") == "no evidence for cat anywhere in the image"
    assert see(spot(1, 1), WHOLE, noise=2.0).sentence("cat").startswith("no evidence")
    assert see(np.full((3, 3), 5, np.float32), WHOLE).sentence("cat") == "the evidence is the same everywhere"
    spread = np.random.default_rng(0).uniform(0.9, 1, (9, 9)).astype(np.float32)
    assert see(spread, WHOLE).sentence("cat") == "seen all over: half of the evidence takes 49% of the image"


def test_colours_grow_with_values_and_keep_light_and_dark():
    values = np.linspace(-1, 1, 41)
    drawn = colours.tinted(np.full(41, 0.5), values).astype(float)
    warmth = drawn[:, 0] - drawn[:, 2]
    assert (np.diff(warmth) > 0).all()  # from blue to orange, no step back
    assert np.ptp(drawn[20]) == 0  # grey where there is no evidence
    steps = np.linalg.norm(np.diff(oklab(drawn), axis=0), axis=1)
    assert steps[:20].std() / steps[:20].mean() < 0.25  # steps of about one size on either side
    assert steps[21:].std() / steps[21:].mean() < 0.25
    greys = np.linspace(0, 1, 20)
    for value in (-1, -0.5, 0, 0.5, 1):
        assert (np.diff(colours.lightness(colours.tinted(greys, np.full(20, value)))) > 0).all()


def oklab(srgb):
    """The colours of an oracle: the definition of OKLab, from linear sRGB."""
    linear = np.where(srgb / 255 <= 0.04045, srgb / 255 / 12.92, ((srgb / 255 + 0.055) / 1.055) ** 2.4)
    r, g, b = linear.T
    l = np.cbrt(0.4122214708 * r + 0.5363325363 * g + 0.0514459929 * b)  # noqa: E741
    m = np.cbrt(0.2119034982 * r + 0.6806995451 * g + 0.1073969566 * b)
    s = np.cbrt(0.0883024619 * r + 0.2817188376 * g + 0.6299787005 * b)
    return np.stack([0.2104542553 * l + 0.793617785 * m - 0.0040720468 * s,
                     1.9779984951 * l - 2.428592205 * m + 0.4505937099 * s,
                     0.0259040371 * l + 0.7827717662 * m - 0.808675766 * s], axis=1)  # fmt: skip


def test_an_overlay_is_orange_at_the_evidence_blue_against_it_and_faded_outside():
    grey = np.full((40, 80, 3), 120, np.uint8)
    values = np.array([[3, 0], [0, -3]], np.float32)
    drawn = overlaid(grey, values, Preprocessing(32), full=3.0).astype(int)
    assert drawn[2, 22, 0] - drawn[2, 22, 2] > 60
    assert drawn[37, 57, 2] - drawn[37, 57, 0] > 60
    assert (drawn[:, :20] > 190).all()
    half = overlaid(grey, values, Preprocessing(32), full=6.0).astype(int)
    assert 20 < half[2, 22, 0] - half[2, 22, 2] < drawn[2, 22, 0] - drawn[2, 22, 2]


def test_what_is_saved_is_what_a_notebook_shows(write, tiny, tmp_path):
    bundle, _ = write(tiny)
    found = googlenet.explain(bundle.path, photo(32))
    found.save(tmp_path / "why.png")
    with Image.open(tmp_path / "why.png") as saved, Image.open(BytesIO(found._repr_png_())) as shown:
        assert (np.asarray(saved) == np.asarray(shown)).all()
        assert saved.width > 500
    nothing = replace(found, values=-np.ones((8, 8), np.float32))
    assert "no evidence for" in nothing.sentence
    assert nothing.image().width > 500
    with pytest.raises(googlenet.GoogLeNetError, match="cannot be written"):
        found.save(tmp_path / "no folder" / "why.png")


NAMES = ["猫", "日本語", "한국어", "кошка", "γάτα", "עברית", "كلب", "कुत्ता", "🐶", "\ue000", "\x1b[31mred", 300 * "x",
         "", "café"]  # fmt: skip


@pytest.mark.parametrize("name", NAMES, ids=map(str, range(len(NAMES))))
def test_a_name_of_any_script_is_drawn_or_written_by_its_code(name):
    text = fitted(name, 15, 300)
    assert text_width(text, 15) <= 300
    runs = lettering._runs(text)
    assert "".join(run for _, run in runs) == text or "\\u" in "".join(run for _, run in runs) or "\\U" in str(runs)
    for font, run in runs:
        assert lettering._has(font, frozenset(run)), (font, run)


def test_long_text_is_broken_between_words():
    lines = wrapped("seen at the top left of a very wide image that is full of words " * 3, 15, 200)
    assert len(lines) > 3
    assert all(text_width(line, 15) <= 200 for line in lines)
