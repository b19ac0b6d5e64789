"""A small run of classes whose names are not of one script, and every command run on it in terminals, two at a time."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import googlenet
from tests.conftest import TINY
from tests.terminal.screen import Shown, show
from tests.terminal.screen import googlenet as command

CLASSES = {":dog:": (40, 60, 200), "cat [red]": (200, 50, 40), "猫 [b]": (40, 180, 60), "שלום\x1b[31m": (240, 240, 90)}
FOLDER = "my [bold]photos"
OWN = "own run {}"  # a copy of the run, for commands that change it


def write_images(root: Path, per_class: int = 12) -> Path:
    noise = np.random.default_rng(0)
    for name, colour in CLASSES.items():
        (root / name).mkdir(parents=True)
        for number in range(per_class):
            pixels = np.clip(np.array(colour) + noise.normal(0, 25, (40, 48, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(root / name / f"IMG_{number} [edited].png")
    return root


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder to run commands in: labelled images, a run, an image that cannot be read."""
    root = tmp_path_factory.mktemp("terminal")
    write_images(root / FOLDER)
    how = {"recipe": "default", "network": TINY, "epochs": 2, "batch_size": 8, "workers": 0, "precision": "fp32"}
    googlenet.train(root / FOLDER, root / "a run", **how)  # with the auxiliary head that early-exit needs
    (root / "new").mkdir()
    for number in range(3):
        name = f"IMG_{number} [edited] \x1b[31mred of a name that is long enough to be folded.png"
        Image.new("RGB", (40, 40), (200, 50, 40)).save(root / "new" / name)
    (root / "new" / "bad [red].png").write_bytes(b"no image")
    return root


TRAIN = (
    "train",
    FOLDER,
    "--network",
    "lenet5",
    "--epochs",
    2,
    "--workers",
    0,
    "--batch-size",
    8,
    "--precision",
    "fp32",
)
COMMANDS: dict[str, tuple[object, ...]] = {
    "table": ("table",),
    "table of many widths": ("table", "inception_v3"),
    "table naive": ("table", "--naive"),
    "train": (*TRAIN, "--out", "run [{}]"),
    "evaluate": ("evaluate", "a run", FOLDER, "--plot", "confusion {}.png"),
    "predict": ("predict", "a run", "new", "--top", 3),
    "predict csv": ("predict", "a run", "new", "--csv"),
    "predict out": ("predict", "a run", "new", "--out", "out {}.csv"),
    "explain": ("explain", "a run", "new", "--out", "why {}"),
    "doctor": ("doctor", FOLDER, "--image-size", 64),
    "augment": ("augment", FOLDER, "--sheet", "sheet {}.png", "--image-size", 32, "--count", 3, "--views", 2),
    "verify": ("verify", "a run"),
    "benchmark": ("benchmark", "a run", "--seconds", 0.01, "--batch-size", 1),
    "push": ("push", "a run", "me/mine", "--folder", "hub {}"),
    "export": ("export", "a run", "--to", "onnx", "--out", "exported {}"),
    "wrong": ("predict", "no [/b] run \x1b[31m", "new"),
    "usage": ("predict", "--no-\x1b[31m:dog:"),
}
SLOW: dict[str, tuple[object, ...]] = {
    "demo": ("demo", "--epochs", 1, "--out", "demo {}"),
    "compare": (
        "compare",
        "lenet5",
        "--train",
        FOLDER,
        "--minutes",
        0.05,
        "--image-size",
        32,
        "--plot",
        "compare {}.png",
    ),
    "quantize": ("quantize", OWN),
    "early-exit": ("early-exit", OWN, "--tolerance", 0.5, "--confidence", 0.9),
    "ablate": (
        "ablate",
        FOLDER,
        "--network",
        "googlenet_small",
        "--image-size",
        16,
        "--heads",
        "0,1",
        "--seeds",
        2,
        "--epochs",
        1,
        "--workers",
        0,
        "--batch-size",
        8,
        "--precision",
        "fp32",
        "--out",
        "heads {}",
    ),
    "prune": ("prune", "a run", "--remove", 2, "--epochs", 1, "--workers", 0, "--out", "pruned {}"),
    "tune": ("tune", FOLDER, *TRAIN[2:], "--minutes", 5, "--trials", 2, "--out", "tuned {}"),
}


def run(place: Path, name: str, columns: int = 80, **how: object) -> Shown:
    """Run one of the commands, its outputs in places of their own."""
    own = (
        hashlib.sha256(f"{columns} {how}".encode())
        .hexdigest()[:12]
        .translate(str.maketrans("0123456789", "ghijklmnop"))
    )
    given = (COMMANDS | SLOW)[name]
    if OWN in given:
        shutil.copytree(place / "a run", place / OWN.replace("{}", own), dirs_exist_ok=True)
    arguments = [str(each).replace("{}", own) for each in given]
    return show(command(*arguments), columns=columns, cwd=place, **how)  # type: ignore[arg-type]


@pytest.fixture(scope="session")
def start(place: Path) -> Iterator[Callable[..., Future[Shown]]]:
    """Run commands beside each other, two at a time."""
    with ThreadPoolExecutor(2) as pool:
        yield lambda name, *more, **how: pool.submit(run, place, name, *more, **how)
        pool.shutdown(cancel_futures=True)
