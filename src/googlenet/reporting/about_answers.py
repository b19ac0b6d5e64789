"""The sections about the answers: what is confused with what, each class, and the most confident mistakes."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from googlenet.evaluation.intervals import Interval
from googlenet.evaluation.metrics import Metrics
from googlenet.reporting.blocks import (
    Block,
    Cell,
    Column,
    Command,
    Figure,
    Gallery,
    Inline,
    Matrix,
    Name,
    Names,
    Paragraph,
    Row,
    Table,
    Text,
)
from googlenet.reporting.examples import EXTRA, MISSED, RIGHT, cell_key
from googlenet.reporting.material import Material
from googlenet.reporting.verdict import percent

MAX_ROWS = 1_000  # of the table of classes
MAX_BESIDE = 8  # classes of a matrix that has the table of mistakes beside it
NO_LABEL = Text("no label", "无标签")


def confusion(material: Material) -> Iterator[Block]:
    """Show which classes are taken for which; cells open their images."""
    if len(material.card.class_names) == 1 and not material.several:
        yield Paragraph(Text("With one class nothing can be confused.", "只有一个类别，不存在混淆。"), "note")
        return
    names, examples = material.card.class_names, material.examples
    yield Paragraph(Text("Select a number to see its images.", "点击数字查看对应的图片。"), "note")
    some = Text("", "")
    if len(examples.classes) < len(names):
        some = Text(" The {n} of {all} classes with most mistakes.", "仅列出 {all} 类中错误最多的 {n} 类。").of(
            n=f"{len(examples.classes):,}", all=f"{len(names):,}")  # fmt: skip
    if material.several:
        yield _of_labels(material, some)
    elif len(examples.classes) > MAX_BESIDE or not examples.pairs:
        yield _of_classes(material, some)
        yield _pairs(material)
    else:
        yield Row([_of_classes(material, some), _pairs(material)])


def _of_classes(material: Material, some: Inline) -> Matrix:
    examples, names = material.examples, material.card.class_names
    shown = examples.classes
    counts = examples.counts[np.ix_(shown, shown)]
    keys = {(i, j): cell_key(shown[i], shown[j]) for i in range(len(shown)) for j in range(len(shown))}
    return Matrix(
        Text("Rows are true classes, columns what they were called.{some}", "行为真实类别，列为识别结果。{some}").of(
            some=some
        ),
        Text("true ↓ called →", "真实 ↓ 识别 →"),
        [Name(names[k]) for k in shown],
        [Name(names[k]) for k in shown],
        counts.tolist(),
        {place: key for place, key in keys.items() if key in examples.behind},
        frozenset((i, i) for i in range(len(shown))),
    )


def _of_labels(material: Material, some: Inline) -> Matrix:
    examples, names = material.examples, material.card.class_names
    shown, columns = examples.classes, (RIGHT, EXTRA, MISSED)
    keys = {(i, j): cell_key(shown[i], j) for i in range(len(shown)) for j in columns}
    return Matrix(
        Text(
            "For each label, the images that were given it rightly, given it wrongly, and that miss it.{some}",
            "每个标签：正确给出、错误给出以及漏掉的图片数。{some}",
        ).of(some=some),
        Text("label", "标签"),
        [Name(names[k]) for k in shown],
        [Text("right", "正确"), Text("wrongly given", "误报"), Text("missed", "漏报")],
        examples.counts[list(shown)].tolist(),
        {place: key for place, key in keys.items() if key in examples.behind},
        frozenset((i, RIGHT) for i in range(len(shown))),
    )


def _pairs(material: Material) -> Table:
    names, examples = material.card.class_names, material.examples
    rows = []
    for pair in examples.pairs:
        key = cell_key(pair.true, pair.predicted)
        share = pair.count / max(int(material.images_of_class[pair.true]), 1)
        rows.append([
            Cell(Name(names[pair.true])), Cell(Name(names[pair.predicted])),
            Cell(f"{pair.count:,}", pair.count, opens=key if key in examples.behind else ""),
            Cell(percent(share), share),
        ])  # fmt: skip
    columns = [Column(Text("true", "真实类别")), Column(Text("called", "识别为")), Column(Text("images", "图片"), True),
               Column(Text("of its class", "占该类"), True)]  # fmt: skip
    return Table(Text("Most frequent mistakes", "最常见的错误"), columns, rows)


def classes(material: Material) -> Iterator[Block]:
    """Show each class on its own, the weakest first; every column sorts."""
    metrics, recalls = material.evaluation.metrics, material.evaluation.recall_intervals
    of_class = metrics.classes if isinstance(metrics, Metrics) else metrics.labels
    order = sorted(range(len(of_class)), key=lambda k: (not recalls[k].n, recalls[k].value))
    columns = [
        Column(Text("class", "类别")),
        Column(Text("images", "图片"), True),
        Column(Text("recall", "召回率"), True),
        Column(Text("95% interval", "95% 区间"), True),
        Column(Text("precision", "精确率"), True),
        Column(Text("F1", "F1"), True),
    ]
    if material.several:
        columns.append(Column(Text("threshold", "阈值"), True))
    rows = []
    for k in order[:MAX_ROWS]:
        one, recall = of_class[k], recalls[k]
        row = [Cell(Name(one.name), one.name), Cell(f"{recall.n:,}", recall.n), _recall(recall), _ends(recall),
               _share(one.precision, one.precision > 0 or recall.n > 0), _share(one.f1, recall.n > 0)]  # fmt: skip
        threshold = getattr(one, "threshold", None)
        rows.append(row if threshold is None else [*row, _share(threshold)])
    caption: Inline = Text("The weakest first. Select a heading to sort.", "从弱到强排列；点击表头排序。")
    if len(order) > MAX_ROWS:
        few = Text("The {n} weakest of {all} classes; --json has all.", "{all} 类中最弱的 {n} 类；全部见 --json。")
        caption = few.of(n=f"{MAX_ROWS:,}", all=f"{len(order):,}")
    yield Table(caption, columns, rows, sorts=True)
    absent = [material.card.class_names[k] for k in order if not recalls[k].n]
    if absent:
        yield Paragraph(
            Text("No image of {names} was measured: how well it is recognised is not known.",
                 "没有测量 {names} 的图片：其识别效果未知。").of(names=Names(absent)),
            "note",
        )  # fmt: skip
    named = material.answers.named
    given = np.asarray(named.any(axis=0) if material.several else np.bincount(named, minlength=len(of_class)) > 0)
    never = [material.card.class_names[k] for k in order if recalls[k].n and not given[k]]
    if never:
        yield Paragraph(Text("Never answered: {names}.", "从未被识别为：{names}。").of(names=Names(never)), "note")


def _recall(recall: Interval) -> Cell:
    if not recall.n:
        return Cell("–", -1.0)
    low, high = recall.low, recall.high
    span = None if low is None or high is None else (recall.value, low, high)
    return Cell(percent(recall.value), recall.value, span)


def _ends(recall: Interval) -> Cell:
    if recall.low is None or recall.high is None:
        return Cell("–", -1.0)
    return Cell(f"{recall.low:.0%}–{recall.high:.0%}", recall.low)


def _share(value: float, known: bool = True) -> Cell:
    return Cell(percent(value), value) if known else Cell("–", -1.0)


def mistakes(material: Material) -> Iterator[Block]:
    """Show the wrong answers that it was surest of, and where it looked."""
    answers, examples = material.answers, material.examples
    wrong = int((~answers.right).sum())
    if not wrong:
        yield Paragraph(
            Text("None of the {n} images was answered wrong.", "{n} 张图片全部识别正确。").of(n=f"{len(answers):,}"),
            "lead",
        )
        return
    yield Paragraph(
        Text(
            "{wrong} of {n} images are wrong. It was surest of these: look whether some labels are the mistake.",
            "{n} 张图片中有 {wrong} 张识别错误。以下是它最有把握的错误：请看看是否标签标错了。",
        ).of(wrong=f"{wrong:,}", n=f"{len(answers):,}")
    )  # fmt: skip
    heat = any(each.heat for at in examples.confident if (each := material.thumbnails.get(at)))
    if heat:
        yield Paragraph(
            Text("Orange shows where the evidence for the answer lies.", "橙色表示答案的依据所在区域。"), "note"
        )
    shown = [Figure(at, _caption(material, at), heat=True) for at in examples.confident if material.thumbnails.get(at)]
    yield Gallery(shown, large=True)
    if len(shown) < len(examples.confident):
        yield Paragraph(Text("Images that could not be read again are left out.", "无法再次读取的图片已略去。"), "note")
    yield Paragraph(
        Text("All of them, as a list: {command}", "全部错误的清单：{command}").of(
            command=Command("googlenet evaluate RUN --mistakes mistakes.csv")),
        "note",
    )  # fmt: skip


def _caption(material: Material, at: int) -> list[Inline]:
    answers = material.answers
    item, names = answers.images[at], answers.class_names
    labels = [names[label] for label in item.labels]
    predicted = answers.predicted(at)
    stated = float(answers.probabilities[at, material.examples.evidence_for[at]])
    return [
        Text("called {name}, {p}", "识别为 {name}，{p}").of(
            name=Names(predicted, 3) if predicted else NO_LABEL, p=f"{stated:.0%}"),
        Text("true: {name}", "真实：{name}").of(name=Names(labels, 3) if labels else NO_LABEL),
        Name(item.name),
    ]  # fmt: skip
