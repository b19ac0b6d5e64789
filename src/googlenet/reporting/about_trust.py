"""The section about how far the probabilities can be believed, and when to hold back an answer."""

from __future__ import annotations

from collections.abc import Iterator

from googlenet.evaluation.certainty import shown_temperature
from googlenet.evaluation.reliability import Reliability
from googlenet.inference.certainty import MIN_CALIBRATION_IMAGES
from googlenet.inference.unknown import FALSE_ALARMS
from googlenet.reporting.blocks import Block, Cell, Chart, Column, Command, Facts, Inline, Paragraph, Row, Table, Text
from googlenet.reporting.certainty import Sets, measure_sets, reliability_bins, sample_of, share_unknown
from googlenet.reporting.charts import reliability
from googlenet.reporting.material import Material
from googlenet.reporting.verdict import percent

MIN_IMAGES = 40  # for a diagram that shows anything


def calibration(material: Material) -> Iterator[Block]:
    """Draw the share of right answers over the stated probability, with the band of a perfect model."""
    stated, right = sample_of(material.answers)
    if len(material.answers) < MIN_IMAGES or (len(material.card.class_names) == 1 and not material.several):
        yield Paragraph(
            Text("Too little was measured to tell how far the probabilities can be believed: {n} images or more are "
                 "needed, of two classes.", "测量的图片太少，无法判断概率是否可信：至少需要两个类别的 {n} 张图片。").of(
                n=f"{MIN_IMAGES}"),
            "note",
        )  # fmt: skip
        return
    found = material.evaluation.reliability
    if found.verdict:
        yield Paragraph(_verdict(found.error.is_visible), "lead")
    chart = Chart(
        reliability(reliability_bins(stated, right), Text("stated probability", "给出的概率"),
                    Text("share that is right", "实际正确率"), Text("band: a perfect model", "灰带：完美模型")),
        Text("Reliability: points in the band are as good as a perfect model of so many images",
             "可靠性图：落在灰带内的点与同样图片数的完美模型无异"),
    )  # fmt: skip
    yield Row([chart, Facts(_facts(material, found))])
    if material.calibrated_on_these:
        yield Paragraph(
            Text("The temperature was fitted on the same images, so this is slightly too good.",
                 "温度是用同一批图片拟合的，因此结果略偏乐观。"), "note")  # fmt: skip


def _verdict(visible: bool) -> Text:
    if visible:
        return Text(
            "The probabilities differ from how often answers are right, by more than chance explains.",
            "给出的概率与实际正确率的差异超出了偶然范围。",
        )
    return Text(
        "The probabilities can be believed: no more error shows than a perfect model would show by chance.",
        "给出的概率可信：误差不超过完美模型在偶然情况下的误差。",
    )


def _facts(material: Material, found: Reliability) -> list[tuple[Inline, Inline]]:
    card, error = material.card, found.error
    shown = Text(
        "no more than chance (a perfect model stays below {perfect})", "不超过偶然误差（完美模型低于 {perfect}）"
    )
    if error.is_visible or not found.verdict:
        shown = Text("{error}, corrected for chance (a perfect model stays below {perfect})",
                     "{error}，已扣除偶然误差（完美模型低于 {perfect}）")  # fmt: skip
    rows: list[tuple[Inline, Inline]] = [
        (Text("calibration error", "校准误差"), shown.of(error=error.shown, perfect=percent(error.perfect))),
    ]
    if not card.calibration:
        text = Text("not fitted: that takes {n} held-out images", "未拟合：需要至少 {n} 张留出图片").of(
            n=f"{MIN_CALIBRATION_IMAGES}")  # fmt: skip
        return [*rows, (Text("temperature", "温度"), text)]
    fitted = Text("{t}, fitted on {n} held-out images", "{t}，用 {n} 张留出图片拟合")
    rows.append(
        (Text("temperature", "温度"), fitted.of(t=shown_temperature(card, "–"), n=f"{card.calibration['images']:,.0f}"))
    )
    before, after = card.calibration["log_loss_uncalibrated"], card.calibration["log_loss"]
    return [*rows, (Text("log loss", "对数损失"), f"{before:.4g} → {after:.4g}")]


def certainty(material: Material) -> Iterator[Block]:
    """Show sets of classes with a stated probability, and how many known images are called unknown."""
    sets = measure_sets(material.certainty, material.answers)
    if material.several:
        yield Paragraph(
            Text("With several labels for an image, each label has its own threshold in place of sets.",
                 "多标签图片没有集合预测，每个标签各有阈值。"), "note")  # fmt: skip
    elif not sets:
        yield Paragraph(
            Text("Sets of classes need held-out images that calibrate them: this bundle has too few.",
                 "集合预测需要留出图片来校准：该模型的留出图片太少。"), "note")  # fmt: skip
    else:
        yield Paragraph(Text(
            "Where one answer is not safe enough, ask for a set: {command} returns as many classes as it takes to hold "
            "the true one in 90% of cases, on average over images like the held-out ones.",
            "单一答案不够可靠时可要求集合：{command} 会给出若干类别，"
            "对与留出图片同类的图片，平均有 90% 的情况包含真实类别。",
        ).of(command=Command("googlenet predict RUN IMAGE --sets 0.9")))  # fmt: skip
        yield _sets_table(material, sets)
    unknown = share_unknown(material.answers.p_values, material.answers.groups)
    if unknown is None:
        yield Paragraph(
            Text("This bundle cannot tell unknown images.", "该模型不能识别“未知”图片。"), "note")  # fmt: skip
        return
    yield Paragraph(Text(
        "Images unlike those it knows can be called unknown ({command}). By design up to about {stated} of known "
        "images are, too; of the measured ones it was {value}.",
        "与所学图片差异很大的图片可标为“未知”（{command}）。"
        "按设计，最多约 {stated} 的已知图片也会被标出；测量的图片中为 {value}。",
    ).of(
        command=Command("googlenet predict RUN IMAGE --unknown"), stated=f"{FALSE_ALARMS:.0%}",
        value=percent(unknown.value),
    ))  # fmt: skip


def _sets_table(material: Material, sets: list[Sets]) -> Table:
    rows = [
        [Cell(f"{each.level:.0%}", each.level), Cell(str(each.coverage), each.coverage.value),
         Cell(f"{each.size:.2f}", each.size), Cell(percent(each.single), each.single)]
        for each in sets
    ]  # fmt: skip
    columns = [Column(Text("level", "水平")), Column(Text("hold the true class", "包含真实类别"), True),
               Column(Text("mean size", "平均大小"), True), Column(Text("one class", "单一类别"), True)]  # fmt: skip
    what = Text("Sets of the measured images", "测量图片的集合")
    if material.calibrated_on_these:
        what = Text("Sets of the measured images, which also calibrated them", "测量图片的集合（校准用的也是这些图片）")
    return Table(what, columns, rows)
