"""The sections about what the classifier costs, how to use it, and how to train it again."""

from __future__ import annotations

from collections.abc import Iterator

from googlenet.errors import GoogLeNetError
from googlenet.models.analysis import analyse
from googlenet.models.spec import Network, from_json
from googlenet.reporting import snippets
from googlenet.reporting.blocks import Block, Cell, Code, Column, Details, Facts, Inline, Name, Paragraph, Table, Text
from googlenet.reporting.material import Material
from googlenet.reporting.verdict import percent
from googlenet.text import json_text


def cost(material: Material) -> Iterator[Block]:
    """Show size, multiply-accumulates, and the time of an image."""
    card = material.card
    rows: list[tuple[Inline, Inline]] = [(Text("network", "网络"), Name(card.name))]
    rows += _size(material)
    rows.append((Text("file", "文件"), Text("{n} MB (model.onnx)", "{n} MB（model.onnx）").of(
        n=f"{material.model_bytes / 1e6:.1f}")))  # fmt: skip
    if material.latency is not None:
        rows.append((Text("one image", "单张图片"), Text(
            "{ms} ms on {where}, from pixels to probabilities, measured for this page",
            "{ms} 毫秒（{where}，从像素到概率，生成本页时测得）",
        ).of(ms=f"{1000 * material.latency:.2g}", where=Name(material.processor))))  # fmt: skip
    if speeds := [row["images_per_second"] for row in material.history if row.get("images_per_second", 0) > 0]:
        rows.append((Text("training", "训练"), Text("{n} images per second", "每秒 {n} 张图片").of(
            n=f"{sorted(speeds)[len(speeds) // 2]:,.0f}")))  # fmt: skip
    yield Facts(rows)
    if card.precisions:
        yield _precisions(material)


def _size(material: Material) -> list[tuple[Inline, Inline]]:
    card = material.card
    try:
        network = from_json(card.network)
        if not isinstance(network, Network):
            return []
        table = analyse(network, card.preprocessing.size)
    except GoogLeNetError:  # of classifiers joined into one, or of another version
        return []
    return [
        (Text("input", "输入"), Text("{n}×{n} pixels, {c} channels", "{n}×{n} 像素，{c} 通道").of(
            n=f"{card.preprocessing.size}", c=f"{card.preprocessing.channels}")),
        (Text("parameters", "参数"), f"{table.parameters:,}"),
        (Text("multiply-accumulates", "乘加运算"), f"{table.macs * card.views:,}"),
    ]  # fmt: skip


def _precisions(material: Material) -> Table:
    card = material.card
    rows = [
        [Cell(name, name), *(Cell(shown(each[key]) if key in each else "–", each.get(key, -1.0))
                             for key, shown in (("score", percent), ("latency_ms", lambda v: f"{v:.2f}"),
                                                ("images_per_second", lambda v: f"{v:,.0f}")))]
        for name, each in card.precisions.items()
    ]  # fmt: skip
    columns = [
        Column(Text("precision", "精度")),
        Column(Text("score", "得分"), True),
        Column(Text("ms per image", "毫秒/张"), True),
        Column(Text("images per second", "张/秒"), True),
    ]
    return Table(Text("Measured on {where}", "测于 {where}").of(where=Name(card.measured_on or "–")), columns, rows)


def use(material: Material) -> Iterator[Block]:
    """Show how to use the bundle."""
    bundle = material.path / "bundle" if material.run else material.path
    yield Code(Text("At a terminal", "命令行"), snippets.terminal(material.path))
    yield Code(
        Text("In Python, without PyTorch", "Python（无需 PyTorch）"), snippets.python(material.path, material.card)
    )
    yield Code(
        Text("With NumPy, Pillow and onnxruntime alone", "仅用 NumPy、Pillow 与 onnxruntime"),
        snippets.onnxruntime(bundle, material.card),
    )


def reproduce(material: Material) -> Iterator[Block]:
    """Show what it takes to train the same again."""
    card = material.card
    if card.recipe:
        yield Code(Text("The same again", "重新训练"), snippets.repeat(card, material.path))
    else:
        yield Paragraph(
            Text("It was not trained here: its weights were converted.", "该模型并非在此训练，而是由权重转换而来。"),
            "note",
        )
    if card.recipe.get("minutes") is not None:
        yield Paragraph(
            Text("Runs by minutes differ: how many steps fit into them depends on the machine.",
                 "按分钟训练的结果会有差异：能完成多少步取决于机器速度。"), "note")  # fmt: skip
    rows: list[tuple[Inline, Inline]] = []
    if "seed" in card.recipe:
        rows.append((Text("seed", "随机种子"), f"{card.recipe['seed']}"))
    rows += [(Name(name), Name(version)) for name, version in card.versions.items()]
    if isinstance(card.data.get("fingerprint"), str):
        rows.append((Text("images (fingerprint)", "图片指纹"), Name(card.data["fingerprint"])))
    rows += [(Name(name), Name(digest)) for name, digest in card.files.items()]
    yield Details(Text("Versions and hashes (sha256)", "版本与哈希（sha256）"), [Facts(rows)])
    if card.recipe:
        recipe = json_text(card.recipe, indent=2)
        yield Details(Text("The recipe", "训练配方"), [Code(Text("JSON", "JSON"), recipe)])
