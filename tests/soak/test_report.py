"""The report of 100,000 images in 1,000 classes, in a real browser: a gigabyte of answers, a page of five megabytes."""

import shutil

import pytest

import googlenet
from tests.reporting.conftest import HOSTILE, evaluation_of, figures_in, make_run

playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright, which pip install '.[dev]' brings")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


def test_a_hundred_thousand_images_of_a_thousand_classes(tmp_path):
    if CHROMIUM is None:
        pytest.skip("needs Chromium")
    run = make_run(tmp_path / "bundle", tuple(f"{HOSTILE[n % 8][:60]} {n}" for n in range(1000)))
    evaluation, path = evaluation_of(run, 100_000), tmp_path / "report.html"
    googlenet.write_report(run, evaluation, path)
    assert path.stat().st_size < 5_000_000
    assert figures_in(path.read_text("utf-8"))["confusion"] == evaluation.metrics.confusion.tolist()
    with playwright.sync_playwright() as running:
        browser = running.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        tab = browser.new_context(offline=True, locale="zh-CN").new_page()
        tab.context.new_cdp_session(tab).send("Emulation.setCPUThrottlingRate", {"rate": 4})
        tab.goto(path.as_uri())
        tab.wait_for_function("performance.getEntriesByName('first-contentful-paint').length > 0")
        assert tab.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime") < 1000
        tab.locator("input[type=search]").fill(" 777")
        assert tab.locator("table.sorts tbody tr:visible").count() == 1
        tab.locator(".matrix [data-open]").first.click()
        assert tab.locator("#behind img").count() > 0
        browser.close()
