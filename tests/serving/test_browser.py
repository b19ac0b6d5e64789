"""The page in a real Chromium: dropped on, pasted into, photographed with, in both languages, on a phone, offline."""

from __future__ import annotations

import pytest

from googlenet.serving.server import Settings
from tests.reporting.browser import DESKTOP, PHONE, check_turned, drop, violations, wait_until
from tests.serving.conftest import running

PAGE_BYTES = 60_000


@pytest.fixture(scope="module")
def kept(trained_run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("kept")
    with running(Settings({"colours": trained_run}, keep=folder)) as found:
        yield found, folder


@pytest.fixture
def opened(browser, kept):
    """Open the page; at the end it asked for nothing elsewhere, and nothing in it has failed."""
    contexts, asked, wrong = [], [], []

    def open_page(viewport=DESKTOP, locale="en-US", scheme="light"):
        context = browser.new_context(viewport=viewport, locale=locale, color_scheme=scheme, permissions=["camera"])
        contexts.append(context)
        tab = context.new_page()
        tab.on("request", lambda request: asked.append(request.url))
        tab.on("pageerror", lambda error: wrong.append(str(error)))
        tab.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
        tab.goto(kept[0].url.replace("127.0.0.1", "localhost"))
        tab.locator(".samples button").first.wait_for()
        return tab

    yield open_page
    for context in contexts:
        context.close()
    provoked = ("status of 422", "status of 503", "status of 504", "ERR_FAILED")
    assert not [each for each in wrong if not any(words in each for words in provoked)]
    assert all(url.startswith(("http://localhost:", "blob:")) for url in asked), asked


def test_dropped_pasted_chosen_photographed_and_judged(opened, kept, classifier, images):
    tab = opened()
    answers = tab.locator("#answers > li")
    drop(tab, images[0])
    first = answers.first
    first.locator(".top li").first.wait_for()
    expected = classifier.predict(images[0])
    assert first.locator(".label").inner_text() == f"{expected.label} {100 * expected.probability:.1f} %"
    shares = [f"{100 * probability:.1f} %" for _, probability in expected.top(3)]
    assert first.locator(".top .value").all_inner_texts() == shares
    # The heat map is drawn over the image, as strongly as the slider says.
    strong = first.locator("canvas").evaluate("(each) => each.toDataURL()")
    tab.locator("#heat").fill("0")
    assert first.locator("canvas").evaluate("(each) => each.toDataURL()") != strong
    # Others ways in.
    drop(tab, images[1], kind="paste")
    tab.locator("#files").set_input_files(
        [{"name": f"{n}.webp", "mimeType": "image/webp", "buffer": images[n]} for n in (2, 5)]
    )
    tab.locator(".samples button").first.click()
    tab.locator("#photograph").click()
    wait_until(tab, "document.querySelector('video').videoWidth > 0")
    tab.locator("#take").click()
    wait_until(tab, "document.querySelectorAll('#answers .top li').length >= 18")
    assert answers.count() == 6
    assert answers.first.locator(".name").inner_text() == "photograph.png"
    # What a person says of an answer.
    judged = answers.last
    other = next(name for name in classifier.class_names if name != expected.label)
    assert judged.locator(".correct").is_disabled()  # nothing is said by mistake
    judged.locator("select").select_option(other)
    judged.locator(".correct").click()
    judged.get_by_text("Kept for training").wait_for()
    (file,) = kept[1].glob("*/*.png")
    assert (file.parent.name, file.read_bytes()) == (other, images[0])
    tab.locator("#clear").click()
    assert answers.count() == 0


@pytest.mark.parametrize(("viewport", "locale", "scheme"), [(PHONE, "zh-CN", "dark"), (DESKTOP, "en-US", "light")])
def test_it_is_accessible_and_fits_every_screen(opened, images, viewport, locale, scheme):
    tab = opened(viewport, locale, scheme)
    drop(tab, images[0])
    drop(tab, b"no image", "bad.png")
    tab.locator(".failed").wait_for()
    tab.locator(".top li").first.wait_for()
    for each in tab.locator("summary").all():
        each.click()
    assert tab.evaluate("document.documentElement.lang") == locale[:2]
    assert tab.evaluate("document.documentElement.scrollWidth") <= viewport["width"]
    said = {"zh": "这不是图片，或者图片已损坏", "en": "bad.png is not an image"}[locale[:2]]
    assert said in tab.locator(".failed .label").inner_text()
    assert not violations(tab)
    tab.locator("#language").click()
    assert tab.locator("#drop-title").inner_text() == ("Drop images here" if locale[:2] == "zh" else "把图片拖到这里")
    tab.locator("#choose").focus()
    tab.keyboard.press("Tab")
    assert tab.evaluate("document.activeElement.id") == "photograph"


def test_offline_while_an_image_is_sent(opened, images):
    tab = opened()
    tab.route("**/v1/classify*", lambda route: route.abort())
    drop(tab, images[0])
    tab.get_by_text("The server cannot be reached").wait_for()
    tab.unroute("**/v1/classify*")
    tab.get_by_role("button", name="Try again").click()
    tab.locator(".top li").first.wait_for()


def test_a_busy_server_is_asked_again(opened, images):
    tab = opened()
    refused = []

    def busy(route):
        if refused:
            route.continue_()
        else:
            refused.append(route)
            route.fulfill(status=503, headers={"Retry-After": "1"}, json={"error": {"code": "busy", "message": "busy"}})

    tab.route("**/v1/classify*", busy)
    drop(tab, images[0])
    tab.get_by_text("trying again in 1 s").wait_for()
    tab.locator(".top li").first.wait_for()


@pytest.mark.parametrize(
    ("locale", "code", "sentence"),
    [
        ("en-US", "deadline", "The server took too long. Try again, or later."),
        ("zh-CN", "deadline", "服务器用时过长，请稍后重试。"),
        ("zh-CN", "something new", "as the server says it"),
    ],
)
def test_errors_of_the_server_are_told_in_the_readers_language(opened, images, locale, code, sentence):
    tab = opened(locale=locale)
    said = {"error": {"code": code, "message": "as the server says it"}}
    tab.route("**/v1/classify*", lambda route: route.fulfill(status=504, json=said))
    drop(tab, images[0])
    tab.locator(".failed").wait_for()
    assert tab.locator(".failed .label").inner_text().startswith(sentence)


def test_images_that_are_stored_turned_are_shown_upright(opened):
    check_turned(opened())


def test_the_whole_page_is_small(kept):
    names = ("", "page.css", "exif.js", "page.js", "asking.js", "icon.svg")
    sizes = [len(kept[0].client.get(f"/{name}").content) for name in names]
    assert sum(sizes) <= PAGE_BYTES
