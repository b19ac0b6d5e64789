"""The web page of `googlenet export --to web` beside the engine: the same answers, how large, how fast.

    python benchmarks/browser.py RUN IMAGES [--bits 16] [--json]

IMAGES is a folder of photographs. The page is written, served on this machine and opened in the installed Chromium,
which is given all images at once; its answers are those that its worker sends. The engine answers the same files in
fp32. Reported: for how many images the label is the same, the differences of the probabilities and of the p-values;
bytes of the page; medians of milliseconds an image, of both, one image at a time.

``--bits 8`` writes the weights with 8 bits instead, as no page has them: to see what that would cost.
"""

from __future__ import annotations

import argparse
import functools
import gzip
import http.server
import json
import shutil
import statistics
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
from playwright.sync_api import Page, sync_playwright

import googlenet
from googlenet.bundle import MODEL
from googlenet.exporting import web
from googlenet.exporting.formats import FORMATS, Request
from googlenet.exporting.integers import weights_as_integers
from googlenet.exporting.runtime import PROGRAM

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
TIMEOUT_MS = 600_000
# Every answer of the worker is kept, with the numbers in it.
LISTEN = """{ const Before = Worker; window.workerAnswers = new Map();
window.Worker = class extends Before {
  constructor(...given) {
    super(...given);
    this.addEventListener("message", ({ data }) => window.workerAnswers.set(data.id, data));
  }
  postMessage(message, moved) {
    if (message.file) (window.askedFiles ??= new Map()).set(message.id, message.file.name);
    super.postMessage(message, moved);
  }
}; }"""
ANSWERS = """() => [...window.askedFiles].map(([id, name]) => {
  const { result, error } = window.workerAnswers.get(id);
  return { name, error, ...result, probabilities: result && [...result.probabilities], heatmap: null };
})"""


def served(folder: Path) -> str:
    """Serve a folder in a thread; return its address."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://localhost:{server.server_port}/"


def in_browser(folder: Path, images: list[Path]) -> tuple[list[dict[str, Any]], dict[str, float]]:
    """Return the page's answers, and the seconds until it was ready, for the first time and again, offline."""
    with sync_playwright() as begun:
        browser = begun.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        context = browser.new_context()
        context.add_init_script(LISTEN)
        tab, url, ready = context.new_page(), served(folder), {}
        ready["first"] = _open(tab, url)
        if (folder / web.OFFLINE).exists():
            tab.evaluate("navigator.serviceWorker.ready.then(() => true)")
            context.set_offline(True)
            ready["again, offline"] = _open(tab, url)
        tab.locator("#files").set_input_files(images)
        tab.wait_for_function(
            "(count) => document.querySelectorAll('#answers > li:not(.waiting)').length === count",
            arg=len(images), timeout=TIMEOUT_MS,
        )  # fmt: skip
        answers = tab.evaluate(ANSWERS)
        browser.close()
    return answers, ready


def _open(tab: Page, url: str) -> float:
    begun = time.perf_counter()
    tab.goto(url)
    tab.locator("#about dd").first.wait_for(state="attached", timeout=TIMEOUT_MS)
    return time.perf_counter() - begun


def by_engine(run: Path, images: list[Path]) -> tuple[dict[str, Any], dict[str, float]]:
    """Return the engine's predictions by the names of the files, and its milliseconds an image."""
    classifier = googlenet.load(run, "fp32")
    classifier.predict(images[0])
    found, taken = {}, list[float]()
    for image in images:
        begun = time.perf_counter()
        found[image.name] = classifier.predict(image)
        taken.append(time.perf_counter() - begun)
    return found, {"whole": 1000 * statistics.median(taken)}


def compared(answers: list[dict[str, Any]], expected: dict[str, Any]) -> dict[str, Any]:
    """Compare the page's answers with the engine's."""
    read = [each for each in answers if not each["error"]]
    differences = [
        float(np.abs(np.array(each["probabilities"]) - expected[each["name"]].probabilities).max()) for each in read
    ]
    known = [(each["p_value"], expected[each["name"]].p_value) for each in read if each["p_value"] is not None]
    return {
        "images": len(expected),
        "not read": len(answers) - len(read),
        "same label": sum(each["label"] == expected[each["name"]].label for each in read),
        "largest difference of a probability": max(differences),
        "median difference of a probability": statistics.median(differences),
        "same verdict on unknown": sum(each["unknown"] == expected[each["name"]].is_unknown for each in read),
        "largest difference of a p-value": max((abs(one - other) for one, other in known), default=0.0),
    }


def sizes(bundle: Any, folder: Path) -> dict[str, float]:
    """Megabytes of the page, as it lies on a disk, as a server that compresses sends it, and as a single file."""
    files = [file for file in folder.rglob("*") if file.is_file()]
    single = FORMATS["web"].write(bundle, Request(MODEL, single_file=True))
    return {
        "folder": sum(file.stat().st_size for file in files) / 1e6,
        "folder, gzip": sum(len(gzip.compress(file.read_bytes())) for file in files) / 1e6,
        "runtime": (folder / "runtime" / PROGRAM).stat().st_size / 1e6,
        "graph": (folder / web.GRAPH).stat().st_size / 1e6,
        "single file": sum(map(len, single.values())) / 1e6,
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("images", type=Path)
    parser.add_argument("--bits", type=int, choices=(8, 16), default=16)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    images = sorted(given.images.iterdir())
    bundle = googlenet.load(given.run).bundle
    with tempfile.TemporaryDirectory() as directory:
        folder = Path(directory)
        for name, content in FORMATS["web"].write(bundle, Request(MODEL)).items():
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_bytes(content)
        if given.bits != 16:
            (folder / web.GRAPH).write_bytes(weights_as_integers(bundle.read(MODEL), given.bits))
            (folder / web.OFFLINE).unlink()  # which knows the other graph
        answers, ready = in_browser(folder, images)
        size = sizes(bundle, folder)
    expected, engine = by_engine(given.run, images)
    times = {name: statistics.median(each["times"][name] for each in answers if not each["error"]) for name in
             ("decode_ms", "resize_ms", "infer_ms")}  # fmt: skip
    found = {
        "agreement": compared(answers, expected), "megabytes": size, "seconds until ready": ready,
        "milliseconds in the browser": times | {"whole": sum(times.values())}, "milliseconds of the engine": engine,
    }  # fmt: skip
    if given.json:
        print(json.dumps(found, indent=2))
        return
    for title, rows in found.items():
        print(title)
        for name, value in rows.items():
            print(f"  {name:<40} {value:.4g}")


if __name__ == "__main__":
    main()
