"""The folder for the Hub: no name is Markdown, HTML or front matter."""

from __future__ import annotations

import dataclasses
import json

import pytest
from markdown_it import MarkdownIt

from googlenet import bundle as bundles
from googlenet.bundle import Bundle
from googlenet.exchange.hub import readme

NAMES = (
    "cat",
    "a_b c-d",
    "---\nlicense: mit\n---",
    "# heading",
    "<script>alert(1)</script>",
    "![x](https://evil.example/x.png)",
    "[x](javascript:alert(1))",
    "https://evil.example",
    "`code` ``more``",
    "*bold* _it_ __x__",
    "| a | b |",
    "$x^2$",
    "@someone",
    ":dog:",
    "\\",
    "&amp;",
    "",
    " ",
    "猫",
)


@pytest.fixture
def written(trained_run):
    """The README of a bundle that somebody made to look like more than it is, and its text without code."""
    there = bundles.read(trained_run)
    card = there.card
    odd = {"name": "tiny\n---\nlicense: mit", "paper": "<img src=x onerror=alert(1)> [a](https://evil.example)"}
    network = {"Network": {**card.network["Network"], **odd}}
    metrics = {"top1": 0.5, "<b>|x": 1.0}
    bundle = Bundle(there.path, dataclasses.replace(card, class_names=NAMES, network=network, metrics=metrics))
    return readme(bundle, "me/new", for_timm=False)


def test_the_front_matter_is_ours_alone(written):
    front = written.split("\n---\n")[0].splitlines()
    assert [line for line in front if not line.startswith('- "')] == [
        "---",
        "library_name: googlenet",
        "# license: choose one, for example apache-2.0",
        "pipeline_tag: image-classification",
        "tags:",
    ]
    assert json.loads(front[-1][2:]) == r"tiny\n---\nlicense: mit"


def test_what_a_reader_sees_are_the_names(written):
    body = written.split("\n---\n", 1)[1]
    tokens = MarkdownIt("commonmark", {"html": True}).enable("table").parse(body)
    inline = [token for each in tokens for token in each.children or ()]
    kinds = {token.type for token in (*tokens, *inline)}
    assert not kinds & {"html_block", "html_inline", "link_open", "image", "em_open", "strong_open", "hr"}
    headings = [tokens[at + 1].content for at, token in enumerate(tokens) if token.type == "heading_open"]
    assert headings == ["new", "Classes", "Metrics", "Input", "Use"]
    [classes] = [tokens[at + 3] for at, token in enumerate(tokens) if token.content == "Classes" and token.children]
    code = [token.content for token in classes.children if token.type == "code_inline"]
    assert code == [
        *(name.replace("\n", "\\n") for name in NAMES[2:16] if name),
        " ",
    ]
    plain = "".join(token.content for token in classes.children if token.type == "text")
    assert plain.startswith("cat, a_b c-d, ")
    assert plain.endswith("(empty), , 猫")
