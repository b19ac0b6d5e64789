"""Every command and every Python block of README.md and of the task pages, run on small data.

How: the blocks of a page run in order, in a folder that has all the files that the documentation names (``world``), so
that no path is changed. Four things make them short, and nothing else is touched:

- ``train``, ``compare`` and ``benchmark`` get the options of ``SHORT``, in place of those in the page where
  both are there; a run that is not used further on trains ``lenet5``. In Python, ``googlenet.train`` gets the
  keywords of ``SHORT_TRAIN``, and the same network.
- ``evaluate --crops``, which computes up to 144 crops of each image, and ``explain``, which draws each, do so with the
  few images of ``more/`` in place of ``photos/``; not ``explain --check``, which chooses a few itself.
- A command that trains a new run deletes a run of the same name first, as the world has ``runs/flowers`` already.
- ``googlenet demo``, which uses nothing of the world, is run by ``tests/cli/test_cli.py``.
- A ``toml`` block with a title is written to the file of that name.

A comment before a block says that it is not run and why: ``<!-- not run: needs the network -->``. Then its commands of
``googlenet`` are parsed by the real command line, so that an unknown option or command fails.
"""

from __future__ import annotations

import ast
import os
import re
import shlex
import shutil
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import googlenet

ROOT = Path(__file__).parents[2]
PAGES = ["README.md", "docs/index.md", *(f"docs/{name}.md" for name in (
    "get-started", "doctor", "train", "augmentation", "tune", "finetune", "lists", "evaluate", "predict", "certainty",
    "report", "explain", "serve", "web", "quantize", "prune", "weights", "scaling", "benchmark", "paper", "deploy",
    "recipes",
    "networks", "benchmarks",
))]  # fmt: skip

SHORT = {
    "train": {"--epochs": "1", "--image-size": "32", "--batch-size": "8", "--precision": "fp32", "--workers": "0"},
    "tune": {
        "--epochs": "1",
        "--trials": "2",
        "--network": "lenet5",
        "--batch-size": "8",
        "--settings": "lr",
        "--workers": "0",
    },
    "compare": {"--image-size": "32"},
    "prune": {"--epochs": "1", "--images": "8", "--batch-size": "8", "--precision": "fp32", "--workers": "0"},
    "benchmark": {"--seconds": "0.02"},
}
# At 64 px the maps of the default network are 2×2: `explain` refuses one place.
SHORT_TRAIN = {"epochs": 1, "image_size": 64, "batch_size": 8, "precision": "fp32", "workers": 0}
SHORT_MINUTES = 0.02
SMALLEST = "lenet5"
RUN_ELSEWHERE = ("googlenet demo",)
COMES_WITH_A_NETWORK = {"--network", "--weights", "--recipe", "--resume"}

OPTION = r"--[a-z0-9][a-z0-9-]*"
BLOCK = re.compile(
    r"^(?:<!-- not run: (?P<reason>[^\n]+?) -->\n)?```(?P<language>\w+)(?: title=\"(?P<title>[^\"]+)\")?\n"
    r"(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True)
class Block:
    """A fenced block of a page: where it begins, what it is, and why it is not run, if it is not."""

    where: str
    language: str
    text: str
    title: str | None
    reason: str | None

    @property
    def commands(self) -> list[str]:
        """The lines of a shell block, without comments, continued lines joined."""
        lines = self.text.replace("\\\n", " ").splitlines()
        words = (shlex.split(line, comments=True) for line in lines)
        return [shlex.join(line) if not _is_pipeline(line) else " ".join(_quoted(line)) for line in words if line]


def _is_pipeline(words: list[str]) -> bool:
    return "|" in words


def _quoted(words: list[str]) -> list[str]:
    return [word if word == "|" else shlex.quote(word) for word in words]


def blocks_of(page: str) -> list[Block]:
    """Read the blocks of a page."""
    text = (ROOT / page).read_text("utf-8")
    return [
        Block(f"{page}:{text[: found.start()].count(chr(10)) + 1}", found["language"], found["text"], found["title"],
              found["reason"])
        for found in BLOCK.finditer(text)
    ]  # fmt: skip


# The world.

COLOURS = {"blue": (40, 60, 200), "green": (40, 180, 60), "red": (200, 50, 40)}


def _image(colour: tuple[int, int, int], random: np.random.Generator) -> Image.Image:
    return Image.fromarray(np.clip(np.array(colour) + random.normal(0, 25, (40, 48, 3)), 0, 255).astype(np.uint8))


def _classes(folder: Path, names: list[str], per_class: int, random: np.random.Generator, mode: str = "RGB") -> None:
    for name in names:
        (folder / name).mkdir(parents=True)
        for number in range(per_class):
            _image(COLOURS[name], random).convert(mode).save(folder / name / f"{number:03d}.png")


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make every file that the documentation names, with a trained run of the default network."""
    world, random = tmp_path_factory.mktemp("world"), np.random.default_rng(0)
    _classes(world / "photos", list(COLOURS), 27, random)
    _classes(world / "more", list(COLOURS), 2, random)
    _classes(world / "roses", ["blue", "red"], 12, random)
    _classes(world / "xrays", ["blue", "red"], 12, random, "L")
    for name in ("daisy.jpg", "a.jpg", "b.jpg", "holiday/1.jpg", "new/1.jpg", "new/2.jpg", "archive/1.png",
                 "archive/deep/2.png", "inbox/1.jpg", "inbox/2.jpg"):  # fmt: skip
        (world / name).parent.mkdir(parents=True, exist_ok=True)
        _image(COLOURS["red"], random).save(world / name)
    (world / "list.csv").write_text("file,taken\na.jpg,2024\nb.jpg,2025\n")
    with zipfile.ZipFile(world / "photos.zip", "w") as archive:
        for file in sorted((world / "photos").rglob("*.png")):
            archive.write(file, file.relative_to(world / "photos"))
    _lists(world, random)
    # As many are held out as conformal sets and unknown images take, at the levels of the documentation.
    googlenet.train(world / "photos", world / "runs" / "flowers", val_fraction=0.5, **SHORT_TRAIN)  # type: ignore[arg-type]
    return world


def _lists(world: Path, random: np.random.Generator) -> None:
    (world / "scans").mkdir()
    scans, specimens = ["path,label,split,group"], ["photo_file,species"]
    for number in range(1, 37):
        label = ("nodule|fracture", "nodule", "fracture", "")[number % 4]
        split = ("train", "train", "val")[number // 4 % 3]
        _image(COLOURS["red" if "nodule" in label else "blue"], random).save(world / f"scans/{number:03d}.png")
        scans.append(f"scans/{number:03d}.png,{label},{split},patient {number}")
        specimens.append(f"scans/{number:03d}.png,{('oak', 'elm')[number % 2]}")
    (world / "scans.csv").write_text("\n".join(scans) + "\n")
    (world / "specimens.csv").write_text("\n".join(specimens) + "\n")


@pytest.fixture
def world(prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fresh copy of the world as the working directory, with ``googlenet`` on the PATH."""
    there = tmp_path / "world"
    shutil.copytree(prepared, there)
    command = tmp_path / "bin" / "googlenet"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m googlenet "$@"\n')
    command.chmod(0o755)
    monkeypatch.setenv("PATH", f"{command.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.chdir(there)
    return there


# Making things short.


def shorten(words: list[str]) -> list[str]:
    """Put the short options into a command: ``["googlenet", "train", …]``."""
    command, options = words[1], dict(SHORT.get(words[1], {}))
    if "--crops" in words or (command == "explain" and "--check" not in words):
        words = ["more/" if word == "photos/" else word for word in words]
    if command == "tune" and "--resume" in words:
        options = {"--trials": "2"}
    elif "--minutes" in words and command != "tune":
        words[words.index("--minutes") + 1] = str(SHORT_MINUTES)
        options.pop("--epochs", None)
    if command == "train":
        if "--resume" in words:  # of a run with one epoch: for longer where the page says so
            options = {"--epochs": "2"} if "--epochs" in words else {}
        elif not COMES_WITH_A_NETWORK & set(words) and "runs/flowers" not in words:
            options["--network"] = SMALLEST
    for option, value in options.items():
        if option in words:
            words[words.index(option) + 1] = value
        else:
            words += [option, value]
    return words


class _ShortTraining(ast.NodeTransformer):
    """Gives each call of ``googlenet.train`` the keywords of ``SHORT_TRAIN``, in place of its own, and the smallest
    network where it does not come with one."""

    def visit_Call(self, node: ast.Call) -> ast.Call:
        self.generic_visit(node)
        if ast.unparse(node.func) == "googlenet.train":
            own = [keyword for keyword in node.keywords if keyword.arg not in SHORT_TRAIN and keyword.arg != "minutes"]
            options: dict[str, Any] = dict(SHORT_TRAIN)
            comes_with_one = {"network", "weights"} & {keyword.arg for keyword in own}
            if not comes_with_one and "runs/flowers" not in ast.unparse(node):
                options["network"] = SMALLEST
            node.keywords = own + [ast.keyword(name, ast.Constant(value)) for name, value in options.items()]
        return node


# Running and parsing.


def run_command(line: str, call: Any) -> None:
    """Run one line of a shell block; it must succeed."""
    words = shlex.split(line)
    if _is_pipeline(words):
        done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=False)
        code, err = done.returncode, done.stderr
    else:
        assert words[0] == "googlenet", f"{line!r} is no command of this project: mark its block as not run"
        words = shorten(words)
        if words[1] == "train" and "--resume" not in words:
            shutil.rmtree(words[words.index("--out") + 1], ignore_errors=True)
        code, _, err = call(*words[1:])
    assert code == 0, f"{line}\n  as {shlex.join(words)}\n  exit code {code}: {err}"


def run_python(block: Block, names: dict[str, Any]) -> None:
    """Run a Python block among the names that earlier blocks of its page made."""
    tree = ast.fix_missing_locations(_ShortTraining().visit(ast.parse(block.text, block.where)))
    exec(compile(tree, block.where, "exec"), names)


def check_options(line: str, call: Any) -> str:
    """Let the real command line parse a ``googlenet`` command in a line, without running it; return what is wrong.

    ``--help`` ends a command after its words were parsed: an option or command that does not exist is an error before.
    """
    words = [word.strip() for word in shlex.split(line)]
    if "googlenet" not in words:
        return ""
    code, _, err = call(*words[words.index("googlenet") + 1 :], "--help")
    return f"{line}\n  {err}" if code else ""


def run_block(block: Block, names: dict[str, Any], call: Any) -> list[str]:
    """Run a block; return what failed in it."""
    failed = []
    for line in block.commands if block.language == "bash" else ():
        if line in RUN_ELSEWHERE:
            continue
        try:
            run_command(line, call)
        except AssertionError as error:
            failed.append(f"{block.where}: {error}")
    if block.language == "python":
        try:
            run_python(block, names)
        except Exception as error:  # noqa: BLE001 - whatever a reader would see
            failed.append(f"{block.where}: {type(error).__name__}: {error}")
    if block.language == "toml":
        assert block.title, f"{block.where} has no title to be written to"
        Path(block.title).write_text(block.text)
    return failed


@pytest.mark.parametrize("page", PAGES)
def test_every_block_of_a_page_runs(page, world, call, capsys):
    names: dict[str, Any] = {"__name__": "__main__"}
    blocks = blocks_of(page)
    assert blocks
    failed = [one for block in blocks if not block.reason for one in run_block(block, names, call)]
    capsys.readouterr()
    assert not failed, "\n".join(failed)


@pytest.mark.parametrize("page", PAGES)
def test_commands_that_are_not_run_have_options_that_exist(page, call):
    blocks = [block for block in blocks_of(page) if block.reason and block.language == "bash"]
    wrong = [
        f"{block.where}: {error}"
        for block in blocks
        for error in (check_options(line, call) for line in block.commands)
        if error
    ]
    assert not wrong, "\n".join(wrong)


def test_every_command_and_every_option_is_on_a_page(call):
    text = " ".join((ROOT / page).read_text("utf-8") for page in PAGES)
    on_a_page = set(re.findall(OPTION, text))
    _, overview, _ = call("--help")
    commands = re.findall(r"^  ([a-z]+)  ", overview.partition("Commands:")[2], re.MULTILINE)
    assert {"demo", "train", "push"} <= set(commands)
    for command in commands:
        assert f"googlenet {command}" in text
        _, options, _ = call(command, "--help")
        missing = set(re.findall(OPTION, options)) - on_a_page
        assert not missing, f"{command}: {sorted(missing)} are on no page"


def test_every_block_says_what_it_is():
    for page in PAGES:
        fences = re.findall(r"^```(.*)$", (ROOT / page).read_text("utf-8"), re.MULTILINE)
        opening = fences[::2]
        assert all(opening), f"{page}: a block without a language is tested by nothing"
        assert {fence.split()[0] for fence in opening} <= {"bash", "python", "toml", "csv", "text"}
        assert len(blocks_of(page)) == len(opening)


def test_an_unknown_option_is_noticed(call):
    known = "torchrun --nproc-per-node 2 -m googlenet train photos/ --out runs/a"
    assert not check_options(known, call)
    assert "--no-such-option" in check_options(f"{known} --no-such-option", call)
    assert "trian" in check_options("googlenet trian photos/", call)
