"""The documentation as a whole: both languages say the same, links lead somewhere, the site is built strictly."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import yaml

import googlenet

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
CHINESE = re.compile(r"[\u4e00-\u9fff]")
IN_ENGLISH_ONLY = {"architecture", "contributing", "security", "changelog", "decisions"}
# Chinese counts in 万 and 亿: 8,000 万 is 80 million, 1.15 亿 115 million, 1200 万 12 million; 一亿 and 上千 are words.
SAID_OTHERWISE = {"80", "8,000", "115", "1.15", "12", "1200", "100", "1,000"}
PAIRS = [
    (ROOT / "README.md", ROOT / "README.zh-CN.md"),
    *((page, page.with_suffix(".zh.md")) for page in sorted(DOCS.glob("*.md"))
      if page.stem not in IN_ENGLISH_ONLY and not page.name.endswith(".zh.md")),
]  # fmt: skip


def code(page):
    """The fenced blocks of a page, without comments and blanks, which may be said in the page's own language."""
    blocks = FENCE.findall(page.read_text("utf-8"))
    return [[line for line in (re.sub(r"\s*#.*", "", each).rstrip() for each in block.splitlines()) if line]
            for block in blocks]  # fmt: skip


def prose(page):
    return FENCE.sub("", page.read_text("utf-8"))


def shape(page):
    """What has to be alike: headings by level, rows of tables, items of lists, images, marks, and links."""
    text = prose(page)
    links = (link.replace(".zh.md", ".md").replace("README.zh-CN.md", "README.md") for link in _links(text))
    return {
        "headings": re.findall(r"^(#+) ", text, re.MULTILINE),
        "rows": [row.count("|") for row in re.findall(r"^\|.*\|$", text, re.MULTILINE)],
        "items": len(re.findall(r"^- ", text, re.MULTILINE)),
        "marks": re.findall(r"^(?:\{\{|<!--).*$", text, re.MULTILINE),
        "links": Counter(link for link in links if link != "README.md"),
    }


def _links(text):
    return re.findall(r"\]\(([^)]+)\)", text)


def figures(page):
    """Every number of two digits or more, as both languages write it."""
    return Counter(re.findall(r"\d[\d,.]*\d", re.sub(r"[，、；]", " ", prose(page))))


@pytest.mark.parametrize(("english", "chinese"), PAIRS, ids=[pair[0].name for pair in PAIRS])
def test_both_languages_say_the_same(english, chinese):
    assert code(english) == code(chinese)
    assert shape(english) == shape(chinese)
    differ = set((figures(english) - figures(chinese)) | (figures(chinese) - figures(english))) - SAID_OTHERWISE
    assert not differ, f"figures that are in one language only: {sorted(differ)}"
    assert len(CHINESE.findall(prose(chinese))) > 100 or chinese.stem == "reference.zh"


@pytest.mark.parametrize("page", [*ROOT.glob("*.md"), *sorted(DOCS.rglob("*.md"))], ids=lambda page: page.name)
def test_links_lead_to_files(page):
    for link in _links(prose(page)):
        path, _, anchor = link.partition("#")
        if "://" in link or not path:
            continue
        target = page.parent / path
        assert target.exists(), f"{page}: {link}"
        if anchor:
            assert f"{{#{anchor}}}" in target.read_text("utf-8"), f"{page}: {link}"


def test_every_page_is_in_the_navigation():
    text = (ROOT / "mkdocs.yml").read_text("utf-8")
    named = re.findall(r"[\w/.-]+\.md", text.partition("\nnav:")[2])
    assert sorted(named) == sorted(page.name for page in DOCS.glob("*.md") if not page.name.endswith(".zh.md"))


def test_navigation_is_translated():
    text = (ROOT / "mkdocs.yml").read_text("utf-8")
    titles = re.findall(r"^ +- ([^:\n]+):", text.partition("\nnav:")[2], re.MULTILINE)
    section = text.partition("nav_translations:\n")[2].partition("\n  - ")[0]
    translated = re.findall(r"^ +([^:\n]+): (.+)$", section, re.MULTILINE)
    assert set(titles) == {title for title, _ in translated}


def test_the_reference_names_every_public_name_once():
    named = Counter(
        name for line in re.findall(r"\{\{ reference (.+) \}\}", (DOCS / "reference.md").read_text("utf-8"))
        for name in line.split() if name != "*"
    )  # fmt: skip
    assert max(named.values()) == 1
    assert set(named) >= {name for name in googlenet.__all__ if not name.startswith("_")}


def test_marks_are_replaced():
    spec = importlib.util.spec_from_file_location("hooks", DOCS / "hooks.py")
    hooks = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(hooks)
    assert hooks.public_names() == googlenet.__all__
    page = hooks.on_page_markdown("{{ reference train no_such_name }}\n\n{{ reference * }}\n\n{{ decisions }}")
    assert page.count("::: googlenet.") == len(googlenet.__all__)
    assert "no_such_name" not in page
    assert page.count("](decisions/") == len(list((DOCS / "decisions").iterdir()))
    included = hooks.on_page_markdown("{{ include SECURITY.md }}")
    assert "[Scale out](scaling.md)" in included
    assert "[decisions](decisions.md)" in included


def test_the_readme_is_one_screen_and_can_be_found():
    text = (ROOT / "README.md").read_text("utf-8")
    assert len(text.splitlines()) <= 120
    assert "image classification" in text.lower()
    assert "docs/images/predictions.png" in text


def test_benchmarks_say_what_was_measured_and_nothing_that_was_wanted():
    for page in ("benchmarks.md", "networks.md", "scaling.md"):
        text = (DOCS / page).read_text("utf-8").lower()
        assert not re.search(r"\bwanted\b|\bmissed\b|\bmissing by\b|fell short", text), page


def test_the_citation_is_whole():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    assert citation["cff-version"] == "1.2.0"
    assert {"message", "title", "authors", "version", "license", "preferred-citation", "references"} <= set(citation)
    assert citation["version"] == googlenet.__version__
    for work in (citation["preferred-citation"], *citation["references"]):
        assert {"type", "title", "authors", "year"} <= set(work)
        assert all({"family-names", "given-names"} <= set(author) or "name" in author for author in work["authors"])
    cited = " ".join(work.get("notes", "") for work in citation["references"])
    families = {re.match(r"[a-z]+", name)[0] for name in googlenet.NETWORKS}
    assert all(family in cited for family in families), "a network whose paper is not cited"


@pytest.mark.skipif(importlib.util.find_spec("mkdocs") is None, reason="needs googlenet[docs]")
def test_the_site_is_built_strictly_and_works_without_a_server(tmp_path):
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", tmp_path / "site"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for page in ("index.html", "zh/train.html", "architecture.html", "decisions/0014-results-that-survive.html"):
        assert (tmp_path / "site" / page).exists(), page
    train = (tmp_path / "site" / "zh" / "train.html").read_text("utf-8")
    assert not re.findall(r'(?:src|href)="(https?:)?//(?!pytorch\.org|squidfunk)[^"]*\.(?:js|css|woff2?)"', train)
    assert 'id="googlenet.train"' in (tmp_path / "site" / "reference.html").read_text("utf-8")
    decisions = (tmp_path / "site" / "decisions.html").read_text("utf-8")
    assert all(f"decisions/{page.stem}.html" in decisions for page in (DOCS / "decisions").iterdir())
    index = (tmp_path / "site" / "search" / "search_index.js").read_text("utf-8")  # which pages read without a server
    assert r"\u8bad\u7ec3" in index, "no 训练: the Chinese pages are not in the index"
    assert r"\u200b" in index, "Chinese is not cut into words: jieba is missing"
