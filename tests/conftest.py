"""What the tests of several rooms share: labelled folders, a small trained run, the data outside the project."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

SHARED = Path(__file__).parents[1].parent / "shared"


@pytest.fixture(scope="session")
def table1_csv() -> Path:
    return _outside("table1.csv")


@pytest.fixture(scope="session")
def cifar() -> Path:
    return _outside("data/cifar10-mini")


def _outside(name: str) -> Path:
    if not (SHARED / name).exists():
        pytest.skip(f"needs {name}, which is kept outside of the project")
    return SHARED / name


COLOURS = {"blue": (40, 60, 200), "green": (40, 180, 60), "red": (200, 50, 40)}


def write_coloured_classes(root: Path, per_class: int = 12, classes: int = 3, side: int = 40) -> Path:
    """Write one folder per colour, of noisy pictures of it: separable, but not constant."""
    noise = np.random.default_rng(0)
    for name, colour in list(COLOURS.items())[:classes]:
        (root / name).mkdir(parents=True)
        for number in range(per_class):
            pixels = np.clip(np.array(colour) + noise.normal(0, 25, (side, side + 8, 3)), 0, 255)
            Image.fromarray(pixels.astype(np.uint8)).save(root / name / f"{number:03d}.png")
    return root


@pytest.fixture
def coloured(tmp_path: Path) -> Path:
    return write_coloured_classes(tmp_path / "photos")


@pytest.fixture(scope="session")
def trained_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of `train` on three colours, shared by all tests that only read it."""
    import googlenet

    root = tmp_path_factory.mktemp("trained")
    photos = write_coloured_classes(root / "photos", per_class=24)
    googlenet.train(photos, root / "run", recipe=small_recipe(root), epochs=3)
    return root / "run"


def small_recipe(folder: Path, **changes: object) -> Path:
    """Write a recipe that trains in seconds: 32 px, the small batch."""
    settings = {"network": "googlenet_bn", "epochs": 2, "image_size": 32, "batch_size": 8, "averaging": 0.0} | changes
    path = folder / "small.toml"
    lines = [f"{key} = {f'{value!r}' if isinstance(value, str) else value}" for key, value in settings.items()]
    path.write_text("\n".join(lines) + "\n")
    return path
