"""Runs and evaluations to report on, made without training: what the page shows of them is what matters here."""

from __future__ import annotations

import base64
import gzip
import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import torch

import googlenet
from googlenet.card import ModelCard
from googlenet.data.image_set import LabelledImage
from googlenet.evaluation.answers import Answers
from googlenet.evaluation.evaluate import Evaluation, measured
from googlenet.exporting.bundles import write_bundle
from googlenet.models.spec import to_json
from googlenet.preprocessing import Preprocessing
from tests.conftest import TINY
from tests.reporting.browser import browser, opened  # noqa: F401

HOSTILE = (
    "</script><script>document.title='attacked'</script>", "<img src=x onerror=\"document.title='attacked'\">",
    "עברית \u202eexe.txt", "👩\u200d🔬 lab", "a\nb", "{name} & &amp; %s", "</title></style>", "x" * 300,
)  # fmt: skip
DATA = re.compile(r'<script type="(?:application/json|text/plain)" id="figures"([^>]*)>(.*?)</script>', re.DOTALL)


def make_run(path: Path, names: tuple[str, ...], channels: int = 3, multi_label: bool = False, **how) -> Path:
    """Write a bundle whose network has learnt nothing: its answers are of every kind."""
    mean, std = (0.5,) * channels, (0.25,) * channels
    how = Preprocessing(TINY.input_size, mean=mean, std=std, **how)
    torch.manual_seed(0)
    network = googlenet.create(TINY, num_classes=len(names), in_channels=channels)
    thresholds = (0.5,) * len(names) if multi_label else ()
    card = ModelCard("tiny", to_json(network.network), names, how, multi_label=multi_label, thresholds=thresholds)
    images = np.random.default_rng(0).integers(0, 256, (4, how.size, how.size, channels), dtype=np.uint8)
    return write_bundle(path, network, card, images).path


def evaluation_of(run: Path, count: int, seed: int = 0, **changes) -> Evaluation:
    """Make an evaluation of ``count`` images, which are a few arrays under many names."""
    classifier, random = googlenet.load(run), np.random.default_rng(seed)
    names, shape = classifier.class_names, (40, 48, classifier.card.preprocessing.channels)
    some = random.integers(0, 256, (32, *shape), dtype=np.uint8)
    labels = random.integers(0, len(names), count)
    probabilities = random.random((count, len(names)), np.float32) ** 8
    probabilities[np.arange(count), labels] += random.random(count, np.float32) * 1.2
    several = classifier.card.multi_label
    probabilities = (
        np.minimum(probabilities, 1) if several else probabilities / probabilities.sum(axis=1, keepdims=True)
    )
    images = tuple(
        LabelledImage(f"{HOSTILE[at % len(HOSTILE)][:60]}/{at}.png", (int(label),), pixels=some[at % len(some)])
        for at, label in enumerate(labels)
    )
    answers = Answers(images, probabilities, names, classifier.card.thresholds)
    metrics = measured(classifier.card, [item.labels for item in images], probabilities)
    return Evaluation(
        metrics, "synthetic", "all", count, {}, "fp32", answers=answers, card=classifier.card,
        origin=classifier.origin, **changes,
    )  # fmt: skip


def figures_in(page: str) -> dict:
    """Read the figures inside a page, as a program would."""
    attributes, text = DATA.search(page).groups()
    if "gzip" in attributes:
        text = gzip.decompress(base64.b64decode(text)).decode()
    return json.loads(text)


class _Words(HTMLParser):
    """Collects the text of a page that its style sheet shows in one language."""

    EMPTY = frozenset({"img", "input", "meta", "path", "rect", "circle", "br"})
    BLOCKS = frozenset(
        {"p", "li", "div", "td", "th", "h1", "h2", "dt", "dd", "text", "figcaption", "button", "summary"}
    )

    def __init__(self, hidden: str) -> None:
        super().__init__()
        self.hidden, self.open, self.words = hidden, [], []

    def handle_starttag(self, tag, attributes):
        if tag in self.BLOCKS:
            self.words.append(" ")
        if tag not in self.EMPTY:
            classes = (dict(attributes).get("class") or "").split()
            self.open.append(self.hidden in classes or tag in ("script", "style", "head"))

    def handle_endtag(self, tag):
        if tag not in self.EMPTY:
            self.open.pop()
        if tag in self.BLOCKS:
            self.words.append(" ")

    def handle_data(self, data):
        if not any(self.open):
            self.words.append(data)


def text_of(page: str, language: str = "en") -> str:
    """Return the words of a page in one language."""
    parser = _Words("zh" if language == "en" else "en")
    parser.feed(page)
    return " ".join("".join(parser.words).split())


@pytest.fixture(scope="session")
def hostile_page(tmp_path_factory) -> Path:
    """The report of a classifier whose classes and images have names that attack."""
    root = tmp_path_factory.mktemp("hostile")
    run = make_run(root / "bundle", HOSTILE)
    googlenet.write_report(run, evaluation_of(run, 600), root / "report.html")
    return root / "report.html"


@pytest.fixture(scope="session")
def trained_page(trained_run, tmp_path_factory) -> Path:
    """The report of a trained run on images of which it gets some wrong: some are in the wrong folder."""
    root = tmp_path_factory.mktemp("wrong")
    shutil.copytree(trained_run.parent / "photos", root / "photos")
    for number in range(0, 24):
        (root / "photos/red" / f"{number:03d}.png").rename(root / "photos/blue" / f"red-{number:03d}.png")
    evaluation = googlenet.evaluate(trained_run, root / "photos", split="all")
    googlenet.write_report(trained_run, evaluation, root / "report.html")
    return root / "report.html"
