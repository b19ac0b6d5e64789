"""Names that people, cameras, archives and attackers give, and data in which everything is called so."""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import googlenet

# All are names that a file can have; none is hidden, and none needs a file system that tells no case apart.
NAMES = (
    "-rf", "--help", "=cmd|'  C calc'!A0", "+1+1", "@SUM(A1)", "-1", "\t=1", "\r=1", "'=1", "=1",
    "IMG [edited]", "[b]", ":dog:", "US$10_a$\\b", "$5", "$HOME", "~", "`id`", "<script>alert(1)<",
    "%s%n", "{x}", "*?", "a\nb", "a\tb", "\x1b[31mred", "\x9b31m", "\u202etxt.exe", "a\u2028b",
    "猫", "🐶", "👩\u200d🔬", "עברית", "كلب", "cafe\u0301", "Dog", "dog", "CON", "NUL.txt",
    "trailing.", "trailing ", " leading", " ", "back\\slash", 'a,"b"', "a;b", "a|b", "#1", "null", "007", "unsure",
    "x" * 249, os.fsdecode(b"caf\xe9"),
)  # fmt: skip
CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def write_named(root: Path, names: tuple[str, ...] = NAMES) -> Path:
    """Write a class of every name, with images of three names: each name is an image's, too. One image in val."""
    noise = np.random.default_rng(0)
    for at, name in enumerate(names):
        for split, shift in (("train", 0), ("train", 1), ("val", 2)):
            folder = root / split / name
            folder.mkdir(parents=True, exist_ok=True)
            pixels = noise.integers(0, 256, (32, 32, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / f"{names[(at + shift) % len(names)]}.png", "PNG")
    return root


@pytest.fixture(scope="session")
def home(tmp_path_factory) -> Path:
    """A folder whose own name is odd."""
    folder = tmp_path_factory.mktemp("names") / "-my [b]$5 %s {x}\n猫\udce9\x1b[1m" / "~"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture(scope="session")
def named(home) -> Path:
    return write_named(home / "data *?")


@pytest.fixture(scope="session")
def run(home, named, tiny) -> Path:
    googlenet.train(named, home / "$HOME", network=tiny, epochs=1, batch_size=32, workers=0, precision="fp32")
    return home / "$HOME"
