"""The first section: how good the classifier is, in one sentence with its uncertainty."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from googlenet.evaluation.intervals import Interval
from googlenet.metrics import METRICS
from googlenet.reporting.blocks import Block, Chart, Command, Inline, Name, Paragraph, Text
from googlenet.reporting.charts import Whisker, whiskers
from googlenet.reporting.material import Material

FEW_IMAGES = 50  # with fewer, the interval says most
MIN_IMAGES = 5  # of a class that is called the weakest

METRIC_NAMES = {
    "top1": Text("accuracy", "准确率"),
    "top5": Text("top-5 accuracy", "前五准确率"),
    "balanced_accuracy": Text("balanced accuracy", "平衡准确率"),
    "macro_f1": Text("macro F1", "宏平均 F1"),
    "map": Text("mean precision", "平均精度均值"),
    "exact": Text("all labels right", "标签全对率"),
    "micro_f1": Text("micro F1", "微平均 F1"),
}
ON = {
    "train": Text("images that it learned from", "训练时学过的图片"),
    "val": Text("held-out images", "留出的图片"),
    "calibrate": Text("held-out images that it was calibrated by", "用于校准的留出图片"),
    "test": Text("images kept apart to report on", "专门留作报告的图片"),
    "unseen": Text("images that it did not learn from", "未参与训练的图片"),
    "all": Text("images", "图片"),
}
CAVEATS = {
    "train": Text(
        "It learned from these images, so this says nothing about new ones.",
        "这些图片参与过训练，因此该数字不能说明对新图片的表现。",
    ),
    "val": Text(
        "The best epoch was chosen by these images, so the figures are slightly too good.",
        "最佳轮次是用这些图片选出的，因此数字略偏乐观。",
    ),
    "calibrate": Text(
        "The probabilities were calibrated by these images.",
        "概率是用这些图片校准的。",
    ),
    "all": Text(
        "If images that it learned from are among them, the figures are too good.",
        "若其中含有训练时学过的图片，数字会偏乐观。",
    ),
}


def metric_name(name: str) -> Inline:
    """Return what people call a metric."""
    return METRIC_NAMES.get(name, METRICS[name].title if name in METRICS else name)


def percent(value: float) -> str:
    """Return a share as people read it.

    >>> percent(0.8475)
    '84.8%'
    """
    return f"{value:.1%}"


def build(material: Material) -> Iterator[Block]:
    """Say how good it is, how sure that is, and what it is worst at."""
    evaluation = material.evaluation
    name, main = next(iter(evaluation.intervals.items()))
    yield Paragraph(_sentence(material, name, main), "lead")
    if material.card.class_names[1:] or material.several:
        yield from _comparisons(material)
    else:
        yield Paragraph(
            Text(
                "It knows only one class and so gives every image that name: the accuracy says nothing.",
                "它只认识一个类别，任何图片都会归入该类：准确率没有意义。",
            ),
            "warning",
        )
    if evaluation.split in CAVEATS:
        yield Paragraph(CAVEATS[evaluation.split], "note")
    if material.drawn_from:
        sample = Text(
            "They are a random sample of {n}; {all} measures all.", "它们是 {n} 张中的随机样本；{all} 测量全部。"
        )
        command = Command("googlenet evaluate RUN --report report.html")
        yield Paragraph(sample.of(n=f"{material.drawn_from:,}", all=command), "note")
    yield Chart(
        whiskers([Whisker(metric_name(key), each.value, each.low, each.high)
                  for key, each in evaluation.intervals.items() if METRICS[key].unit == "fraction"]),
        Text("Each figure with its 95% interval", "各指标及其 95% 置信区间"),
    )  # fmt: skip


def _sentence(material: Material, name: str, main: Interval) -> Text:
    values: dict[str, Inline] = {
        "value": percent(main.value), "n": f"{main.n:,}", "on": ON.get(material.evaluation.split, ON["all"]),
        "metric": metric_name(name),
    }  # fmt: skip
    known = main.low is not None and main.high is not None
    if main.low is not None and main.high is not None:
        values |= {"low": percent(main.low), "high": percent(main.high)}
    if name == "top1" and known:
        return Text(
            "It names {value} of images like these correctly — with 95% confidence between {low} and {high}, measured "
            "on {n} {on}.",
            "对同类图片，它的识别准确率为 {value}；在 {n} 张{on}上测得，95% 置信区间为 {low} 至 {high}。",
        ).of(**values)
    if known:
        return Text(
            "Its {metric} is {value} — with 95% confidence between {low} and {high}, measured on {n} {on}.",
            "它的{metric}为 {value}；在 {n} 张{on}上测得，95% 置信区间为 {low} 至 {high}。",
        ).of(**values)
    if main.groups is not None:
        return Text(
            "Its {metric} is {value}, measured on {n} {on} of {groups} groups: too few groups to say how sure that is.",
            "它的{metric}为 {value}，在 {groups} 组共 {n} 张{on}上测得：组数太少，无法给出置信区间。",
        ).of(**values, groups=f"{main.groups:,}")
    return Text(
        "Its {metric} is {value}, measured on {n} {on}: too few, or too alike, to say how sure that is.",
        "它的{metric}为 {value}，在 {n} 张{on}上测得：图片太少或太相似，无法给出置信区间。",
    ).of(**values)


def _comparisons(material: Material) -> Iterator[Block]:
    count = len(material.answers)
    if count < FEW_IMAGES:
        yield Paragraph(
            Text("Only {n} images were measured: the range is wide.", "只测了 {n} 张图片：区间较宽。").of(
                n=f"{count:,}"
            ),
            "note",
        )
    counts, names = material.images_of_class, material.card.class_names
    if not material.several:
        most = int(counts.argmax())
        yield Paragraph(
            Text(
                "Always answering {name}, the most frequent class, would be right for {share}.",
                "若一律回答最常见的类别“{name}”，准确率为 {share}。",
            ).of(name=Name(names[most]), share=percent(counts[most] / max(counts.sum(), 1)))
        )
    recalls = material.evaluation.recall_intervals
    enough = np.flatnonzero(counts >= MIN_IMAGES)
    weakest = min(enough, key=lambda label: recalls[label].value, default=None)
    if weakest is None or recalls[weakest].value == 1:
        return
    each = recalls[weakest]
    ends = "" if each.low is None or each.high is None else f"{percent(each.low)}–{percent(each.high)}"
    yield Paragraph(
        Text(
            "Weakest on {name}: {value} of its {n} images are recognised{ends}.",
            "最弱的类别是“{name}”：{n} 张图片中识别出 {value}{ends}。",
        ).of(
            name=Name(names[weakest]), value=percent(each.value), n=f"{each.n:,}",
            ends=Text(" ({ends} with 95% confidence)", "（95% 置信区间 {ends}）").of(ends=ends) if ends else "",
        )
    )  # fmt: skip
