"""The sections about what the classifier learned from, and how the training went."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import PurePosixPath

from googlenet.diagnosis.classes import class_findings
from googlenet.diagnosis.findings import CHECKS, Finding
from googlenet.metrics import METRICS
from googlenet.reporting.blocks import (
    Block,
    Chart,
    Command,
    Details,
    Facts,
    Inline,
    Listing,
    Name,
    Names,
    Paragraph,
    Row,
    Strip,
    Text,
)
from googlenet.reporting.charts import Bar, Line, bars, line_chart
from googlenet.reporting.material import Material
from googlenet.reporting.verdict import metric_name

MAX_BARS = 24
COPIES, MAX_COPIES = ("two_classes", "leak", "duplicate"), 4  # of which files are shown
SPLITS = {
    "train": Text("to learn from", "用于训练"),
    "val": Text("held out", "留出"),
    "calibrate": Text("held out to calibrate", "留作校准"),
    "test": Text("kept apart to report on", "留作报告"),
}
FINDINGS = {
    "unreadable": (Text("images that cannot be read", "无法读取的图片"), "重新复制或下载这些图片"),
    "leak": (
        Text("the same file in several splits", "同一文件同时出现在多个划分中"),
        "删除训练集中的副本，否则准确率会偏高",
    ),
    "two_classes": (Text("the same file in several classes", "同一文件出现在多个类别中"), "确定其类别，删除其余副本"),
    "duplicate": (Text("copies of a file", "重复的文件"), "每组只保留一份"),
    "small_class": (Text("classes with few images", "图片很少的类别"), "补充图片：训练至少 10 张，留出至少 1 张"),
    "imbalance": (Text("classes of very unequal size", "类别大小相差悬殊"), "为小类别补充图片"),
    "similar_names": (Text("class names that are nearly alike", "几乎相同的类别名"), "若含义相同，请合并"),
}


def data(material: Material) -> Iterator[Block]:
    """Show how many images of each class there are, samples of them, and what is wrong with them."""
    yield Facts(_facts(material))
    learnt = material.learnt_of_class
    counts = learnt if learnt is not None else [int(n) for n in material.images_of_class]
    if len(counts) > 1:
        order = sorted(range(len(counts)), key=lambda label: -counts[label])[:MAX_BARS]
        names = material.card.class_names
        rows = [Bar(Name(names[k]), counts[k] / max(max(counts), 1), f"{counts[k]:,}", "muted") for k in order]
        what = Text("Images to learn from, by class", "各类别的训练图片数") if learnt is not None else (
            Text("Measured images, by class", "各类别的测量图片数"))  # fmt: skip
        some = Text("{what}: the {shown} largest of {all}", "{what}：共 {all} 类，列出最大的 {shown} 类").of(
            what=what, shown=f"{len(order):,}", all=f"{len(counts):,}")  # fmt: skip
        yield Row([Chart(bars(rows), some if len(order) < len(counts) else what)])
    yield from _samples(material)
    yield from _findings(material)
    if material.evaluation.notes:
        yield Details(Text("Notes on how images were chosen and read", "关于图片选取与读取的说明"),
                      [Listing(list(material.evaluation.notes))])  # fmt: skip


def _facts(material: Material) -> list[tuple[Inline, Inline]]:
    card, evaluation = material.card, material.evaluation
    rows: list[tuple[Inline, Inline]] = []
    if "name" in card.data:
        rows.append((Text("trained on", "训练数据"), Name(str(card.data["name"]))))
    rows += [
        (text, Text("{n} images", "{n} 张图片").of(n=f"{card.data[split]:,}"))
        for split, text in SPLITS.items()
        if isinstance(card.data.get(split), int) and card.data[split]
    ]
    measured = Text("{n} images of {data}", "{data} 的 {n} 张图片").of(
        n=f"{len(evaluation.answers):,}", data=Name(evaluation.data))  # fmt: skip
    rows.append((Text("measured on", "测量数据"), measured))
    if evaluation.left_out:
        rows.append((Text("left out of measuring", "未计入测量"), Text(
            "{n} images that it learned from, or was chosen or calibrated by",
            "{n} 张参与过训练、选择或校准的图片",
        ).of(n=f"{evaluation.left_out:,}")))  # fmt: skip
    return [*rows, (Text("classes", "类别"), f"{len(card.class_names):,}")]


def _samples(material: Material) -> Iterator[Block]:
    examples, names = material.examples, material.card.class_names
    rows = []
    for label in examples.sampled:
        drawn = [at for at in examples.samples[label] if material.thumbnails.get(at)]
        shown = Text("{n} measured", "测量 {n} 张").of(n=f"{material.images_of_class[label]:,}")
        if drawn:
            rows.append((Name(names[label]), shown, drawn))
    if not rows:
        return
    if len(rows) < len(names):
        yield Paragraph(
            Text("The {n} of {all} classes with most mistakes:", "{all} 类中错误最多的 {n} 类：").of(
                n=f"{len(rows):,}", all=f"{len(names):,}"),
            "note",
        )  # fmt: skip
    yield Strip(rows)


def _findings(material: Material) -> Iterator[Block]:
    items = [_described(kind, found) for kind, found in _by_kind(_found(material)).items()]
    title = Text("What is wrong with the data", "数据中的问题")
    if not items:
        yield Paragraph(Text("Nothing wrong was noticed in the data at a glance.", "粗略检查未发现数据问题。"), "note")
    else:
        yield Paragraph(title, "")
        yield Listing(items)
    yield Paragraph(
        Text(
            "This is what training noticed by itself. {command} reads every image: near copies, very small or blank "
            "images and more.",
            "以上是训练过程中顺带发现的。{command} 会逐张检查：近似重复、过小或空白的图片等。",
        ).of(command=Command("googlenet doctor DATA")),
        "note",
    )


def _found(material: Material) -> Iterator[Finding]:
    """Find what needs no image to be read again."""
    evaluation, names = material.evaluation, material.card.class_names
    unreadable = max(len(evaluation.unreadable), material.unreadable)
    if unreadable:
        yield Finding("unreadable", tuple(evaluation.unreadable), f"{unreadable:,}")
    yield from _copies(material)
    learnt = material.learnt_of_class
    if learnt is not None:
        counts = {"train": Counter(dict(zip(names, learnt, strict=True)))}
        yield from class_findings(counts, {"train": names})


def _copies(material: Material) -> Iterator[Finding]:
    """Find files with the same content in the record of the run."""
    same = defaultdict(list)
    for row in material.record:
        if row.sha256:
            same[row.sha256].append(row)
    classes = set(material.card.class_names)
    for rows in same.values():
        if len(rows) > 1:
            folders = {PurePosixPath(row.name).parent.name for row in rows}
            apart = len(folders) > 1 and folders <= classes
            kind = "two_classes" if apart else "leak" if len({row.split for row in rows}) > 1 else "duplicate"
            yield Finding(kind, tuple(row.name for row in rows), "")


def _by_kind(found: Iterator[Finding]) -> dict[str, list[Finding]]:
    kinds: dict[str, list[Finding]] = {}
    for each in found:
        kinds.setdefault(each.kind, []).append(each)
    return {kind: kinds[kind] for kind in CHECKS if kind in kinds}


def _described(kind: str, found: list[Finding]) -> Inline:
    title, chinese = FINDINGS[kind]
    names = [name for each in found for name in each.names]
    count = found[0].detail if kind == "unreadable" else f"{len(found):,}"
    fix = CHECKS[kind].fix.partition(";")[0]
    shown: Inline = Names(names) if names else "–"
    if kind in COPIES:
        first, *others = (Names(each.names, equal=True) for each in found[:MAX_COPIES])
        shown = first
        for other in others:
            shown = Text("{shown}, {other}", "{shown}、{other}").of(shown=shown, other=other)
    return Text("{n} × {title}: {names}. {fix}.", "{n} × {title}：{names}。{fix}。").of(
        n=count, title=title, names=shown, fix=Text(fix[:1].upper() + fix[1:], chinese)
    )


def curves(material: Material) -> Iterator[Block]:
    """Draw the loss of each head, and the metrics, by epoch."""
    history = material.history
    if not history:
        yield Paragraph(Text("The log of the run is not beside this bundle.", "该模型旁没有训练日志。"), "note")
        return
    epoch = Text("epoch", "轮次")
    heads = _heads(material, "loss_aux")
    losses = [
        Line(Text("training", "训练"), _series(material, "loss_main"), "muted"),
        *heads,
        Line(Text("held out", "留出"), _series(material, "val_loss")),
    ]  # fmt: skip
    caption = Text("Loss (cross-entropy): lower is better", "损失（交叉熵）：越低越好")
    if heads:
        caption = Text(
            "Loss (cross-entropy) of the classifier and, in training, its auxiliary heads: lower is better",
            "分类器及（训练时）辅助头的损失（交叉熵）：越低越好",
        )
    charts = [Chart(line_chart(losses, epoch), caption)]
    charts += [
        Chart(
            line_chart(
                [line for line in (
                    Line(Text("training", "训练"), _series(material, f"train_{name}"), "muted"),
                    *_heads(material, f"train_{name}_aux"),
                    Line(Text("held out", "留出"), _series(material, f"val_{name}")),
                ) if line.points],
                epoch, percent=True,
            ),
            Text("{metric}: higher is better", "{metric}：越高越好").of(metric=metric_name(name)),
        )
        for name in METRICS
        if f"val_{name}" in history[-1] and METRICS[name].unit == "fraction" and name != "top5"
    ][:1]  # fmt: skip
    if heads and "gradient_norm_main" in history[-1]:
        norms = [
            Line(Text("classifier", "分类器"), _series(material, "gradient_norm_main"), "muted"),
            *_heads(material, "gradient_norm_aux"),
        ]
        charts.append(Chart(line_chart(norms, epoch, from_zero=True), Text(
            "Norm of the gradients of the last stage and of each head: one near 0 has stopped learning",
            "最后一级与各辅助头的梯度范数：接近 0 表示已停止学习",
        )))  # fmt: skip
    yield Row(charts)
    best = material.card.metrics.get("epoch")
    if best is not None:
        yield Paragraph(
            Text("The bundle was made of epoch {n}, the best one.", "模型取自第 {n} 轮，即最佳轮次。").of(
                n=f"{best:.0f}"
            ),
            "note",
        )


def _heads(material: Material, prefix: str) -> list[Line]:
    """Return a line for each auxiliary head, of the columns whose names begin with ``prefix``."""
    names = [name for name in material.history[-1] if name.startswith(prefix)]
    text = Text("head {n}", "辅助头 {n}")
    return [Line(text.of(n=name.removeprefix(prefix)), _series(material, name), "faint") for name in names]


def _series(material: Material, name: str) -> list[tuple[float, float]]:
    return [(row["epoch"], row[name]) for row in material.history if name in row]
