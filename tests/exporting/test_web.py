"""The web page of a bundle in a real Chromium, with and without a network."""

import functools
import http.server
import io
import threading

import numpy as np
import pytest
from PIL import Image

import googlenet
from tests.reporting.browser import DESKTOP, PHONE, check_turned, drop, violations, wait_until

READY = "#about dd"
# What the worker answers is kept, with the numbers that the page only draws.
KEEP = """{ const Before = Worker; window.kept = []; window.Worker = class extends Before {
  constructor(...given) {
    super(...given);
    this.addEventListener("message", ({ data }) => data.result?.label && window.kept.push(data.result));
  }
}; }"""


@pytest.fixture(scope="module")
def images():
    """Encoded images of several formats and sizes, which every browser reads without loss."""
    random, made = np.random.default_rng(1), []
    for number, kind in enumerate(("JPEG", "PNG", "WEBP", "JPEG", "GIF")):
        pixels = random.integers(0, 256, (60 + 9 * number, 150 - 20 * number, 3)).astype(np.uint8)
        pixels[:, :, number % 3] //= 3
        content = io.BytesIO()
        turned = Image.Exif()
        turned[0x0112] = 1 + number
        options = {"WEBP": {"lossless": True, "exif": turned}, "JPEG": {"exif": turned}}
        Image.fromarray(pixels).save(content, kind, **options.get(kind, {}))
        made.append(content.getvalue())
    return made


@pytest.fixture(scope="module")
def address(folder):
    """Where an ordinary server of files has the page."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://localhost:{server.server_port}/"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def opened(browser):
    """Open a page; at the end it asked for nothing elsewhere, and nothing in it has failed."""
    contexts, asked, wrong = [], [], []

    def open_page(url, viewport=DESKTOP, locale="en-US", scheme="light", until=READY, before=lambda tab: None):
        context = browser.new_context(viewport=viewport, locale=locale, color_scheme=scheme, permissions=["camera"])
        contexts.append(context)
        tab = context.new_page()
        tab.on("request", lambda request: asked.append(request.url))
        tab.on("pageerror", lambda error: wrong.append(str(error)))
        tab.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
        before(tab)
        tab.goto(url)
        tab.locator(until).first.wait_for(state="attached")
        return tab

    yield open_page
    for context in contexts:
        context.close()
    provoked = ("status of 404", "ERR_FAILED", "Content Security Policy")
    assert not [each for each in wrong if not any(words in each for words in provoked)]
    assert all(url.startswith(("http://localhost:", "blob:", "file:", "data:")) for url in asked), asked


def answered(tab, count):
    wait_until(tab, f"document.querySelectorAll('#answers > li:not(.waiting)').length === {count}")
    return tab.locator("#answers > li")


def shown(prediction):
    return f"{prediction.label} {100 * prediction.probability:.1f} %"


def test_the_page_answers_as_the_engine_does_and_offline_too(opened, address, trained_run, images):
    classifier = googlenet.load(trained_run, "fp32")
    tab = opened(address, before=lambda tab: tab.add_init_script(KEEP))
    assert tab.locator("#title").inner_text() == "run"
    assert not violations(tab)
    tab.evaluate("navigator.serviceWorker.ready.then(() => true)")
    tab.context.set_offline(True)
    tab.reload()
    tab.locator(READY).first.wait_for(state="attached")
    files = [{"name": f"{n}.x", "mimeType": "", "buffer": each} for n, each in enumerate(images)]
    tab.locator("#files").set_input_files(files)
    answers = answered(tab, len(images))
    for number, image in enumerate(images):
        item, expected = answers.nth(len(images) - 1 - number), classifier.predict(image)
        assert item.locator(".label").inner_text() == shown(expected)
        shares = [f"{100 * probability:.1f} %" for _, probability in expected.top(3)]
        assert item.locator(".top .value").all_inner_texts() == shares
        assert item.locator(".warning").is_visible() == expected.is_unknown
        inside = ", ".join(expected.set(0.9)) or "none of the classes is probable enough"
        assert item.locator(".set").inner_text().endswith(f": {inside}")
    kept = tab.evaluate("kept.map((each) => ({ ...each, probabilities: [...each.probabilities] }))")
    for image, found in zip(images, kept, strict=True):
        expected = classifier.predict(image)
        np.testing.assert_allclose(found["probabilities"], expected.probabilities, atol=1e-3)
        assert found["p_value"] == pytest.approx(expected.p_value, abs=0.1)
        heat = classifier.explain(image).to_dict()
        np.testing.assert_allclose(found["heatmap"]["values"], heat["values"], atol=0.02)
        assert found["heatmap"]["grid"] == heat["grid"]
    # The heat map is drawn over the image, as strongly as the slider says.
    strong = answers.first.locator("canvas").evaluate("(each) => each.toDataURL()")
    tab.locator("#heat").fill("0")
    assert answers.first.locator("canvas").evaluate("(each) => each.toDataURL()") != strong


def test_images_that_are_stored_turned_are_shown_upright(opened, address):
    check_turned(opened(address))


def test_dropped_pasted_tried_and_seen_by_the_camera_but_never_sent(opened, address, images):
    tab = opened(address)
    drop(tab, images[1])
    drop(tab, images[0], kind="paste")
    tab.locator(".samples button").first.click()
    answered(tab, 3)
    tab.locator("#photograph").click()
    tab.locator("#live .top li").first.wait_for()
    seen = tab.locator("#live .label").inner_text()
    tab.locator("#take").click()
    answers = answered(tab, 4)
    assert answers.first.locator(".name").inner_text() == "photograph.png"
    assert answers.first.locator(".label").inner_text().split()[0] == seen.split()[0]
    assert tab.locator("#live").is_hidden()
    # The policy of the page holds in a worker, too: a server of another name, which is there, is not asked.
    elsewhere = address.replace("localhost", "127.0.0.1")
    asking = f"fetch('{elsewhere}', {{ mode: 'no-cors' }}).then(() => 'sent', () => 'blocked')"
    script = f"""() => new Promise((done) => {{
      const worker = new Worker(URL.createObjectURL(new Blob(["{asking}.then(postMessage)"])));
      worker.onmessage = ({{ data }}) => done(data);
    }})"""
    assert (tab.evaluate(f"() => {asking}"), tab.evaluate(script)) == ("blocked", "blocked")


def test_on_a_phone_in_chinese_it_is_accessible_and_errors_are_sentences(opened, address, images):
    tab = opened(address, PHONE, "zh-CN", "dark")
    drop(tab, images[0], "whole.jpg")
    drop(tab, b"some text", "text.jpg", "image/jpeg")
    drop(tab, images[0][:-500], "cut.jpg", "image/jpeg")
    drop(tab, b"", "empty.png")
    answers = answered(tab, 4)
    tab.locator("summary").first.click()
    assert tab.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    assert not violations(tab)
    for sentences in (
        ("文件为空", "图片不完整", "这不是图片"),
        ("This file is empty", "This image is cut", "This is not"),
    ):
        for number, sentence in enumerate(sentences):
            assert answers.nth(number).locator(".label").inner_text().startswith(sentence)
        tab.locator("#language").click()


def test_what_is_missing_or_cannot_be_is_said(opened, folder, trained_run, address, images, tmp_path):
    tab = opened((folder / "index.html").as_uri(), until="#needs:not([hidden])")
    assert "python -m http.server" in tab.locator("#needs").inner_text()
    assert tab.locator("#drop").is_hidden()
    # A single file needs no server.
    page = googlenet.export(trained_run, tmp_path, to="web", single_file=True, examples=False).files
    assert page == (tmp_path / "index.html",)
    alone = opened(page[0].as_uri())
    drop(alone, images[0])
    expected = googlenet.load(trained_run, "fp32").predict(images[0])
    assert answered(alone, 1).first.locator(".label").inner_text() == shown(expected)
    assert alone.locator("#examples").is_hidden()


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (lambda route: route.abort(), "could not be loaded. Check the connection"),
        (lambda route: route.fulfill(status=404), "A file of this page is missing (model.onnx): copy the whole folder"),
        (lambda route: route.fulfill(body=b"no graph"), "The network could not be run"),
    ],
)
def test_a_page_that_is_not_whole_says_so(opened, address, answer, sentence):
    tab = opened(address, until="#needs:not([hidden])", before=lambda tab: tab.route("**/model.onnx", answer))
    assert sentence in tab.locator("#needs").inner_text()
    tab.locator("#language").click()
    assert "。" in tab.locator("#needs").inner_text() or "：" in tab.locator("#needs").inner_text()
