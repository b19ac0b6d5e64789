"""``write_report``: one HTML page that shows how good a classifier is, to send to a colleague."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from googlenet.errors import ResultsError
from googlenet.evaluation.evaluate import Evaluation
from googlenet.files import check_output_path, write_error, write_whole
from googlenet.inference.classifier import Classifier
from googlenet.inference.crops import load
from googlenet.reporting import REPORT
from googlenet.reporting.blocks import Inline, Name, Text
from googlenet.reporting.inline import shortened
from googlenet.reporting.material import Material, gather
from googlenet.reporting.page import Part, page
from googlenet.reporting.sections import SECTIONS
from googlenet.text import printable

SUFFIXES = (".html", ".htm")
MAX_BYTES = 5_000_000
COLUMNS = (Text("given rightly", "正确给出"), Text("wrongly given", "误报"), Text("missed", "漏报"))


def write_report(run: str | Path | Classifier, evaluation: Evaluation, path: str | Path) -> None:
    """Write a report of an evaluation: one HTML file of at most 5 MB that asks for nothing else.

    It opens in any browser, in English or Chinese, without a network, and shows how good the classifier is and how
    sure that is, its mistakes with heat maps, each class, how far its probabilities can be believed, and how to use
    and repeat it. Every figure of ``evaluation.to_dict()`` is inside as JSON. The number of images and rows is bounded.

    Args:
        run: the run or bundle that was measured, or its classifier.
        evaluation: what :func:`googlenet.evaluate` returned.
        path: the file to write, which ends in ``.html``.

    Raises:
        BundleError, DeviceError: the run cannot be read.
        ResultsError: ``path`` is not an HTML file, or ``evaluation`` is of other classes.
        RunError, DiskFullError: the file cannot be written.

    ::

        evaluation = googlenet.evaluate("runs/flowers", "photos/")
        googlenet.write_report("runs/flowers", evaluation, "report.html")
    """
    path = Path(path)
    check_report_path(path)
    classifier = run if isinstance(run, Classifier) else load(run, evaluation.precision)
    if classifier.class_names != evaluation.answers.class_names:
        raise ResultsError(
            f"{printable(str(classifier.bundle.path))} has other classes than the evaluation: give the run that was "
            "measured"
        )
    content = report_html(gather(evaluation, classifier)).encode()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, content)
    except OSError as error:
        raise write_error(path, error, "free some space, or name another file") from error


def check_report_path(path: Path) -> None:
    """Raise where no report can be written to ``path``."""
    name = printable(str(path))
    if path.suffix.lower() not in SUFFIXES:
        raise ResultsError(f"--report {name} should end in {SUFFIXES[0]}")
    if path.is_dir():
        raise ResultsError(f"--report {name} is a folder: name a file, such as {name}/{REPORT}")
    check_output_path(path)


def report_html(material: Material) -> str:
    """Return the page. Nothing in it comes from anywhere else, and nothing in a name is HTML."""
    parts = [Part(each.name, each.title, list(each.build(material))) for each in SECTIONS]
    data = {"figures": material.evaluation.to_dict(), "images": _images(material)}
    title, subtitle = Name(material.path.absolute().name), _subtitle(material)
    text = page(title, subtitle, parts, material.thumbnails, data)
    if len(text.encode()) > MAX_BYTES:  # names of a thousand letters, on every image
        empty: dict[str, Any] = {"images": {}, "behind": {}}
        text = page(title, subtitle, [each for each in parts if each.name != "confusion"], material.thumbnails,
                    {**data, "images": empty})  # fmt: skip
    return text


def _subtitle(material: Material) -> Inline:
    card = material.card
    return Text(
        "{network}, {k} classes, {n} images measured in {precision}",
        "{network}，{k} 个类别，以 {precision} 测量 {n} 张图片",
    ).of(
        network=Name(card.name), k=f"{len(card.class_names):,}", n=f"{len(material.answers):,}",
        precision=material.evaluation.precision,
    )  # fmt: skip


def _images(material: Material) -> dict[str, Any]:
    """Return what the script shows behind each count: names, answers and probabilities of a few images."""
    examples, names = material.examples, material.card.class_names
    behind, listed = {}, dict[str, list[str]]()
    for key, numbers in examples.behind.items():
        first, second = map(int, key.split("-"))
        if material.several:
            title = [f"{shortened(names[first])}: {COLUMNS[second].en} / {COLUMNS[second].zh}"]
        else:
            title = [shortened(names[first]), shortened(names[second])]
        behind[key] = {"numbers": numbers, "title": title, "count": int(examples.counts[first, second])}
        listed |= {str(at): _row(material, at) for at in numbers}
    return {"images": listed, "behind": behind}


def _row(material: Material, at: int) -> list[str]:
    answers = material.answers
    row, predicted = answers.probabilities[at], answers.predicted(at)
    shown = ", ".join(map(shortened, _few(predicted))) or "–"
    return [shortened(answers.images[at].name), shown, f"{float(row.max()):.0%}"]


def _few(names: Iterable[str]) -> list[str]:
    return list(names)[:3]
