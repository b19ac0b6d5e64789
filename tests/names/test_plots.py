"""Names in plots: plain text, no two drawn alike, none dropped, nothing warned of."""

from __future__ import annotations

import itertools
import warnings

import numpy as np
import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from PIL import Image

from googlenet.benchmarking.plots import Point, draw_trade_off
from googlenet.evaluation import plot_text
from googlenet.evaluation.metrics import measure, measure_labels
from googlenet.evaluation.plot_text import Labels, list_beside
from googlenet.evaluation.plots import (
    draw_average_precisions,
    draw_confusion,
    draw_pairs,
    draw_predictions,
)

PAIRS = [
    ("US$10_a$\\b", "US$20"),
    ("$5", "$10 to $20"),
    ("$\\frac{", "$\\alpha$"),
    ("猫", "狗"),
    ("한국어", "日本語"),
    ("कुत्ता", "बिल्ली"),
    ("קיץ", "חורף"),
    ("كلب", "قطة"),
    ("🐶", "🐱"),
    ("👩‍🔬", "👨‍🔬"),
    ("caf\u00e9", "cafe\u0301"),
    ("a\nb", "a\tb"),
    ("x" * 250, "x" * 125 + "y" + "x" * 124),
    ("cat", "cat "),
    ("", " "),
    ("_cat", "__cat"),
    ("#2", "猫"),
    ("\x1b[31mred", "\x9b31mred"),
    ("\u202egnp.exe", "\u2066x"),
    ("<script>alert(1)</script>", "{x}%s%(name)s"),
    ("caf\udce9", "caf\udcea"),
    ("\ue000", "\U0010ffff"),
]


@pytest.fixture(autouse=True)
def nothing_warned(capfd):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield
    assert capfd.readouterr() == ("", "")


def metrics(*names):
    answers = np.eye(len(names), dtype=np.float32)
    return measure(np.arange(len(names)), answers, names)


def pixels(draw, path):
    draw(path)
    return np.asarray(Image.open(path).convert("L"))


def drawn(name, tmp_path):
    """The pixels of every kind of plot that has a name in it; each number is a plot."""
    grey = np.full((8, 8, 3), 128, np.uint8)
    has = np.array([[True, False], [False, True]])
    labels = measure_labels(has, has.astype(np.float32), (0.5, 0.5), (name, "other"))
    return [
        pixels(lambda path: draw_confusion(metrics(name, "other"), path), tmp_path / "confusion.png"),
        pixels(lambda path: draw_average_precisions(labels, path), tmp_path / "bars.png"),
        pixels(lambda path: draw_predictions([(grey, name, 1.0, "other")], path), tmp_path / "sheet.png"),
        pixels(lambda path: draw_pairs([("alike", [(name, grey), ("other", grey)])], path), tmp_path / "pairs.png"),
        pixels(lambda path: draw_trade_off([Point(name, 1, 1), Point("other", 10, 2)], ("x", "y"), "all", path),
               tmp_path / "networks.png"),
    ]  # fmt: skip


@pytest.mark.parametrize("pair", PAIRS, ids=map(str, range(len(PAIRS))))
def test_two_names_are_never_drawn_alike(pair, tmp_path):
    labels = Labels([*pair, "other"], 40)
    assert len(set(labels)) == 3
    assert all(label.isprintable() and "\n" not in label for label in labels)
    draw_confusion(metrics(*pair), tmp_path / "confusion.png")
    listed = list_beside(tmp_path / "confusion.png")
    lines = listed.read_text("utf-8").splitlines() if listed.exists() else []
    numbered = dict(line.split("\t") for line in lines)
    for name in pair:  # what the axis does not say, the list does
        assert labels[name].strip('"') == name or labels[name].split(" ")[0] in numbered or not name.isprintable()


@pytest.mark.parametrize(
    "pair", [PAIRS[0], (250 * "x", 249 * "x" + "y"), ("猫", "dog")], ids=["dollar", "long", "chinese"]
)
def test_every_plot_shows_the_name(pair, tmp_path):
    for one, other in zip(drawn(pair[0], tmp_path), drawn(pair[1], tmp_path), strict=True):
        assert one.shape != other.shape or (one != other).any()


def test_a_dollar_is_drawn(tmp_path):
    one, other = (drawn(name, tmp_path)[0] for name in ("a$b$c", "abc"))
    assert one.shape != other.shape or (one != other).any()


def test_a_thousand_classes_are_numbered_and_listed(tmp_path):
    names = [f"class {number} $" for number in range(1000)]
    draw_confusion(metrics(*names), tmp_path / "confusion.png")
    lines = (tmp_path / "confusion.txt").read_text("utf-8").splitlines()
    assert lines[0] == "1\tclass 0 $"
    assert lines[-1] == "1000\tclass 999 $"


def test_a_title_of_the_doctor_and_a_path_are_whole_up_to_three_lines(tmp_path):
    grey = np.full((8, 8, 3), 128, np.uint8)
    name = "".join(itertools.islice(itertools.cycle("photos/猫 $1/"), 60))
    draw_pairs([("$ and $\n" + 300 * "x", [(name, grey), (200 * "y", grey)])], tmp_path / "pairs.png")
    assert (tmp_path / "pairs.txt").read_text("utf-8").endswith("\t" + 200 * "y" + "\n")


def test_names_that_a_font_of_this_machine_has_are_not_numbered():
    assert not Labels(["Straße", "Ωμέγα", "кошка"], 40).numbered


def test_a_font_of_this_machine_is_taken_for_what_matplotlibs_own_lacks(tmp_path, monkeypatch):
    (tmp_path / "broken.ttf").write_bytes(b"no font")
    fonts = [str(tmp_path / "broken.ttf"), *(write_font(tmp_path / f"{each}.ttf", each) for each in "犬猫")]
    monkeypatch.setattr(plot_text, "findSystemFonts", lambda: fonts)
    plot_text._fonts_for.cache_clear()
    known = list(plot_text.fontManager.ttflist)
    try:
        labels = Labels(["猫", "犬", "狗"], 40)
        assert list(labels) == ["猫", "犬", "#3"]
        draw_confusion(metrics("猫", "狗"), tmp_path / "confusion.png")
    finally:
        plot_text._fonts_for.cache_clear()
        plot_text.fontManager.ttflist[:] = known


def write_font(path, letter):
    """Write a font with one letter in it, a square."""
    pen = TTGlyphPen(None)
    for at, point in enumerate([(0, 0), (0, 500), (500, 500), (500, 0)]):
        (pen.lineTo if at else pen.moveTo)(point)
    pen.closePath()
    font = FontBuilder(1000, isTTF=True)
    font.setupGlyphOrder([".notdef", "letter"])
    font.setupCharacterMap({ord(letter): "letter"})
    font.setupGlyf({".notdef": TTGlyphPen(None).glyph(), "letter": pen.glyph()})
    font.setupHorizontalMetrics({".notdef": (500, 0), "letter": (600, 0)})
    font.setupHorizontalHeader(ascent=800, descent=-200)
    font.setupNameTable({"familyName": f"Only {ord(letter)}", "styleName": "Regular"})
    font.setupOS2()
    font.setupPost()
    font.save(path)
    return str(path)
