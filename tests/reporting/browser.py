"""A page in a real browser: offline, on a slower processor, and nothing in it may fail or ask for anything."""

import base64
import io
import shutil

import pytest
from PIL import Image, ImageOps

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
SLOWER = 4  # times, the processor
CAMERA = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")
PHONE, DESKTOP = {"width": 360, "height": 740}, {"width": 1280, "height": 900}

DROP = """([name, kind, data]) => {
  const bytes = Uint8Array.from(atob(data), (each) => each.charCodeAt(0));
  const transfer = new DataTransfer();
  transfer.items.add(new File([bytes], name, { type: kind }));
  const how = { bubbles: true, cancelable: true };
  document.getElementById("drop").dispatchEvent(kind === "paste"
    ? new ClipboardEvent("paste", { ...how, clipboardData: transfer })
    : new DragEvent("drop", { ...how, dataTransfer: transfer }));
}"""


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="needs playwright, which pip install '.[dev]' brings"
    )
    if CHROMIUM is None:
        pytest.skip("needs Chromium")
    with playwright.sync_playwright() as running:
        started = running.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", *CAMERA])
        yield started
        started.close()


@pytest.fixture
def opened(browser):
    """Open a page offline, on a slower processor; at the end it asked for nothing, and nothing in it has failed."""
    contexts, asked, wrong = [], [], []

    def open_page(path, viewport=DESKTOP, locale="en-US", scheme="light", slower=1):
        context = browser.new_context(
            viewport=viewport, locale=locale, color_scheme=scheme, offline=True, accept_downloads=True
        )
        contexts.append(context)
        tab = context.new_page()
        context.new_cdp_session(tab).send("Emulation.setCPUThrottlingRate", {"rate": slower})
        tab.on("request", lambda request: asked.append(request.url))
        tab.on("pageerror", lambda error: wrong.append(str(error)))
        tab.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
        tab.goto(path.as_uri())
        return tab

    yield open_page
    for context in contexts:
        context.close()
    assert not wrong
    assert all(url.startswith(("file:", "data:", "blob:")) for url in asked), asked


def drop(tab, content, name="red.png", kind="image/png"):
    """Drop a file onto the page, or paste it where ``kind`` is ``"paste"``."""
    tab.evaluate(DROP, [name, kind, base64.b64encode(content).decode()])


QUARTERS = ((255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0))
SHOWN = """(canvas) => [canvas.width > canvas.height, ...[[1, 1], [3, 1], [1, 3], [3, 3]].map(([x, y]) =>
  [...canvas.getContext("2d").getImageData(x * canvas.width / 4, y * canvas.height / 4, 1, 1).data]
    .slice(0, 3).map((value) => 255 * Math.round(value / 255)))]"""


def turned(kind, orientation):
    """An image of four colours that is stored turned: its bytes, and what a page shows of it that turns it back.

    That is whether it is wider than high, and the colours of its quarters, row by row.
    """
    stored, content, exif = Image.new("RGB", (160, 96)), io.BytesIO(), Image.Exif()
    for number, colour in enumerate(QUARTERS):
        stored.paste(colour, (number % 2 * 80, number // 2 * 48, number % 2 * 80 + 80, number // 2 * 48 + 48))
    exif[0x0112] = orientation
    stored.save(content, kind, exif=exif, quality=95)
    upright = ImageOps.exif_transpose(Image.open(content))
    places = [(x * upright.width // 4, y * upright.height // 4) for y in (1, 3) for x in (1, 3)]
    colours = [[255 * round(value / 255) for value in upright.getpixel(place)] for place in places]
    return content.getvalue(), [upright.width > upright.height, *colours]


def check_turned(tab):
    """Images that are stored turned are shown upright: as the network sees them, and where the heat map is drawn."""
    images = [turned(kind, orientation) for kind in ("JPEG", "WEBP") for orientation in range(2, 9)]
    tab.locator("#files").set_input_files(
        [{"name": f"{n}.x", "mimeType": "", "buffer": content} for n, (content, _) in enumerate(images)]
    )
    wait_until(tab, f"document.querySelectorAll('#answers .top li').length >= {2 * len(images)}")
    wait_until(tab, "!document.querySelector('#answers .waiting')")
    tab.locator("#heat").fill("0")
    found = tab.locator("#answers canvas").all()
    assert [each.evaluate(SHOWN) for each in reversed(found)] == [expected for _, expected in images]


def wait_until(tab, condition):
    """Wait until JavaScript is true, ten seconds at most."""
    for _ in range(400):
        if tab.evaluate(condition):
            return
        tab.wait_for_timeout(25)
    raise AssertionError(condition)


def violations(tab):
    """What axe-core finds seriously wrong for people who use a keyboard, a screen reader or other colours."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs axe-playwright-python")
    found = axe.Axe().run(tab).response["violations"]
    return [(each["id"], each["impact"], each["nodes"][0]["html"][:200]) for each in found
            if each["impact"] in ("serious", "critical")]  # fmt: skip


def first_paint(tab):
    """Milliseconds until the page showed something."""
    return tab.evaluate("""() => new Promise((done) => new PerformanceObserver((list) => {
        const found = list.getEntriesByName("first-contentful-paint")[0];
        if (found) done(found.startTime);
    }).observe({ type: "paint", buffered: true }))""")
