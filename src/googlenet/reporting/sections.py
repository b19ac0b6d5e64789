"""The sections of the report, in one table. A new section is a function that yields blocks, and its entry here."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from googlenet.reporting import about_answers, about_data, about_trust, about_use, verdict
from googlenet.reporting.blocks import Block, Text
from googlenet.reporting.material import Material


@dataclass(frozen=True)
class Section:
    """A part of the page: the name that links lead to, its title, and what yields its blocks."""

    name: str
    title: Text
    build: Callable[[Material], Iterator[Block]]


SECTIONS: tuple[Section, ...] = (
    Section("verdict", Text("Verdict", "结论"), verdict.build),
    Section("mistakes", Text("Most confident mistakes", "最有把握的错误"), about_answers.mistakes),
    Section("confusion", Text("What is confused with what", "混淆矩阵"), about_answers.confusion),
    Section("classes", Text("Classes", "各类别"), about_answers.classes),
    Section("calibration", Text("Can the probabilities be believed?", "概率可信吗？"), about_trust.calibration),
    Section("certainty", Text("When it is not sure", "没有把握时"), about_trust.certainty),
    Section("data", Text("Data", "数据"), about_data.data),
    Section("curves", Text("How it learned", "学习过程"), about_data.curves),
    Section("cost", Text("Cost and speed", "成本与速度"), about_use.cost),
    Section("use", Text("How to use it", "如何使用"), about_use.use),
    Section("reproduce", Text("How to reproduce it", "如何复现"), about_use.reproduce),
)
