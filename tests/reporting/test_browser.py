"""The report in a real browser without a network and with a slow processor: looked at, clicked through, listened to."""

import json

import numpy as np
import pytest

import googlenet
from googlenet.data.image_set import ImageSet, LabelledData, LabelledImage
from tests.reporting.browser import DESKTOP, PHONE, SLOWER, first_paint, violations
from tests.reporting.conftest import HOSTILE, figures_in, make_run


def test_it_is_clicked_through(opened, trained_page, tmp_path):
    tab = opened(trained_page, slower=SLOWER)
    assert tab.locator("h2:visible").first.inner_text() == "Verdict"
    # Both languages.
    tab.locator("#language").click()
    assert tab.locator("html").get_attribute("lang") == "zh"
    assert tab.locator("h2:visible").first.inner_text() == "结论"
    tab.locator("#language").click()
    # Heat maps can be switched off.
    heat = tab.locator(".heat")
    assert heat.first.is_visible()
    tab.locator(".heat-switch").click()
    assert not heat.first.is_visible()
    # A cell opens its images, by the keyboard as well; the arrow keys move within the matrix.
    tab.locator(".matrix [data-open]").first.focus()
    tab.keyboard.press("ArrowRight")
    assert tab.evaluate("document.activeElement.dataset.open") == "0-2"
    tab.keyboard.press("Enter")
    dialog = tab.locator("#behind")
    assert dialog.is_visible()
    assert "true: blue, called: red (24)" in dialog.inner_text()
    assert dialog.locator("img").count() == 12
    assert tab.evaluate("[...document.querySelectorAll('#behind img')].every((each) => each.naturalWidth > 0)")
    tab.keyboard.press("Escape")
    assert not dialog.is_visible()
    assert tab.evaluate("document.activeElement.dataset.open") == "0-2"  # where the reader was
    # The table of classes sorts.
    heading = tab.locator("table.sorts th", has_text="class").first
    heading.locator("button").click()
    first = [tab.locator("table.sorts tbody th").all_inner_texts(), heading.get_attribute("aria-sort")]
    heading.locator("button").click()
    second = [tab.locator("table.sorts tbody th").all_inner_texts(), heading.get_attribute("aria-sort")]
    assert first == [["blue", "green", "red"], "ascending"]
    assert second == [["red", "green", "blue"], "descending"]
    # The figures are saved as a file.
    with tab.expect_download() as saved:
        tab.locator("#save").click()
    saved.value.save_as(tmp_path / "figures.json")
    assert json.loads((tmp_path / "figures.json").read_text("utf-8")) == figures_in(trained_page.read_text("utf-8"))


@pytest.mark.parametrize(("viewport", "locale", "scheme"), [(PHONE, "zh-CN", "dark"), (DESKTOP, "en-US", "light")])
def test_it_is_accessible_and_fits_every_screen(opened, trained_page, viewport, locale, scheme):
    tab = opened(trained_page, viewport, locale, scheme)
    assert tab.evaluate("document.documentElement.lang") == locale[:2]
    assert tab.evaluate("document.documentElement.scrollWidth") <= viewport["width"]
    assert not violations(tab)
    tab.locator(".matrix [data-open]").nth(1).click()
    assert not violations(tab)


def test_names_that_attack_are_only_shown(opened, hostile_page):
    tab = opened(hostile_page, PHONE)
    assert tab.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    for number in range(5):
        tab.locator(".matrix [data-open]").nth(number * 9).click()
        tab.locator("#behind form button").click()
    assert tab.title() != "attacked"
    shown = tab.locator("table.sorts tbody th").all_text_contents()
    assert HOSTILE[0] in shown
    assert "a\\nb" in shown
    assert tab.locator("script").count() == 3
    assert not violations(tab)


def test_it_paints_within_a_second_and_prints_everything(opened, trained_page):
    painted = []
    for _ in range(3):  # other tests run beside this one
        tab = opened(trained_page, slower=SLOWER)
        painted.append(first_paint(tab))
    assert min(painted) < 1000
    tab.emulate_media(media="print")
    tab.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert tab.locator("details[open]").count() == tab.locator("details").count() > 0
    assert not tab.locator("nav").is_visible()
    # The recipe is longer than what is left of a page: it breaks, and leaves no half of one empty.
    breaks = "(each) => getComputedStyle(each).breakInside"
    assert tab.locator("details figure").last.evaluate(breaks) == "auto"
    assert tab.locator("figure:has(svg)").first.evaluate(breaks) == "avoid"
    assert tab.pdf()[:5] == b"%PDF-"


def test_a_class_without_images_has_a_row_like_the_others(opened, tmp_path):
    run = make_run(tmp_path / "bundle", ("ant", "bee"))
    pixels = np.zeros((40, 48, 3), np.uint8)
    images = ImageSet(("ant", "bee"), tuple(LabelledImage(f"{n}.png", (0,), pixels=pixels) for n in range(3)))
    data = LabelledData("ants", images.class_names, {"val": images}, True)
    googlenet.write_report(run, googlenet.evaluate(run, data, split="all"), tmp_path / "report.html")
    cells = opened(tmp_path / "report.html").locator(".matrix tbody tr:last-child td.none")
    paint = "(each) => [getComputedStyle(each).backgroundColor, getComputedStyle(each).verticalAlign]"
    found = [each.evaluate(paint) for each in cells.all()]
    assert found[0] == found[1]
    assert found[0][1] == "middle"
