"""What the tests of several rooms share: labelled folders, a small trained run, the data outside the project."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from PIL import Image

import googlenet
from googlenet import stages
from googlenet.benchmarking import speed as inference_speed
from googlenet.cli import main
from googlenet.data.image_set import ImageSet, LabelledImage
from googlenet.images import budget
from googlenet.models.networks.googlenet import HALVE, inception
from googlenet.models.spec import AuxTap, BatchNorm, Conv, Dropout, Linear, Network, Pool, Stage, classifier
from googlenet.training import speed

# Compiled graphs of tests do not belong into the cache of whoever runs them; other processes inherit this.
_CACHE = tempfile.TemporaryDirectory(prefix="googlenet-cache-")
os.environ["XDG_CACHE_HOME"] = _CACHE.name
# What a machine has of pretrained weights and settings decides nothing here.
os.environ["TORCH_HOME"] = os.environ["HF_HOME"] = os.environ["XDG_CONFIG_HOME"] = f"{_CACHE.name}/nothing"
os.environ.pop("HF_HUB_CACHE", None)

# How fast a machine is decides nothing either, and would take seconds to measure beside other tests.
speed.remember(speed.Speed(0.0035, 0.03))
# Measured for half a second, latency and throughput would only be more exact.
inference_speed.SECONDS = 0.01

# How slow a machine is decides which stages are named: in this process, and in those that it starts, none is.
stages.MAX_SILENCE = 3600.0
_QUIET = """
try:
    import googlenet.stages
    googlenet.stages.MAX_SILENCE = 3600.0
except ImportError:  # a Python without this project
    pass
"""
(Path(_CACHE.name) / "sitecustomize.py").write_text(_QUIET)
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [_CACHE.name, os.environ.get("PYTHONPATH", "")]))

SHARED = Path(__file__).parents[1].parent / "shared"


def without_stages(stderr: str) -> str:
    """What a command said on stderr, without the stages that it names on a slow machine."""
    return "".join(line for line in stderr.splitlines(keepends=True) if not line.endswith(" ...\n"))


# A shell that runs the tests in the background ignores Ctrl-C, nohup ignores SIGHUP, and every process that a test
# starts would inherit that.
for _number, _default in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
    if signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, _default)


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


TORCH = ("torch.nn", "torchvision.models", "nncf.torch")

# As an import hook: whoever loads one of the modules says so, and ends at once with a code that nothing else has.
FORBIDDEN = """
import os, sys
class Forbidden:
    def find_spec(self, name, path=None, target=None):
        if name in {modules!r}:
            os.write(2, f"{{name}} was imported\\n".encode()); os._exit(99)
sys.meta_path.insert(0, Forbidden())
"""


def forbidding(folder: Path, *modules: str) -> dict[str, str]:
    """Return the environment of a process that may not load these modules, by a hook in ``folder``."""
    (folder / "sitecustomize.py").write_text(FORBIDDEN.format(modules=modules))
    return os.environ | {"PYTHONPATH": os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")])}


@pytest.fixture(scope="session")
def without_torch(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of a process that may not load PyTorch."""
    return forbidding(tmp_path_factory.mktemp("hook"), *TORCH)


COLOURS = {"blue": (40, 60, 200), "green": (40, 180, 60), "red": (200, 50, 40)}


def write_coloured_classes(root: Path, per_class: int = 12, classes: int = 3, side: int = 40) -> Path:
    """Write one folder per colour, of noisy images of it: separable, but not constant."""
    noise = np.random.default_rng(0)
    for name, colour in list(COLOURS.items())[:classes]:
        (root / name).mkdir(parents=True)
        for number in range(per_class):
            pixels = np.clip(np.array(colour) + noise.normal(0, 25, (side, side + 8, 3)), 0, 255)
            Image.fromarray(pixels.astype(np.uint8)).save(root / name / f"{number:03d}.png")
    return root


SQUARES = {"blue": (30, 40, 220), "red": (220, 40, 30)}


def write_squares(folder: Path, count: int, side: int = 32) -> ImageSet:
    """Write grey noise with a blue square, a red one, both or neither, anywhere: images of several labels or none."""
    folder.mkdir(parents=True)
    random = np.random.default_rng(len(folder.name))
    items = []
    for number in range(count):
        labels = ((), (0,), (1,), (0, 1))[number % 4]
        pixels = random.normal(128, 20, (side, side, 3))
        for label in labels:
            x, y = random.integers(0, side - 10, 2)
            pixels[y : y + 10, x : x + 10] = list(SQUARES.values())[label]
        path = folder / f"{number:03d}.png"
        Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(path)
        items.append(LabelledImage(path.name, labels, path))
    return ImageSet(tuple(SQUARES), tuple(items))


def write_list_of_squares(folder: Path, count: int = 96) -> Path:
    """Write such images, and the list that names them."""
    images = write_squares(folder, count)
    rows = [f"{item.name},{'|'.join(images.class_names[label] for label in item.labels)}" for item in images.items]
    (folder / "list.csv").write_text("\n".join(["path,label", *rows]) + "\n")
    return folder / "list.csv"


def write_brightness(root: Path, per_class: int = 30, channels: int = 1) -> Path:
    """Write two classes that differ in the brightness of the last channel: grey images, or arrays of more channels."""
    noise = np.random.default_rng(0)
    for name, brightness in {"dark": -60, "light": 70}.items():
        (root / name).mkdir(parents=True)
        for number in range(per_class):
            pixels = noise.normal(120, 30, (40, 48, channels))
            pixels[:, :, -1] += brightness
            array = pixels.clip(0, 255).astype(np.uint8)
            if channels == 1:
                Image.fromarray(array[:, :, 0]).save(root / name / f"{number}.png")
            else:
                np.save(root / name / f"{number}.npy", array)
    return root


@pytest.fixture
def coloured(tmp_path: Path) -> Path:
    return write_coloured_classes(tmp_path / "photos")


# Like GoogLeNet in kind, small enough to train and export in a second or two.
TINY = Network(
    "tiny",
    stages=[
        Stage("conv1", [Conv(8, 3, stride=2)]),
        Stage("inception_1", inception(4, 4, 8, 2, 4, 4)),
        Stage("maxpool1", [HALVE]),
        Stage("inception_2", inception(8, 4, 8, 2, 4, 4)),
        *classifier(dropout=0.2),
    ],
    aux=[AuxTap("aux1", "inception_1", [Pool("avg", output=2), Linear(16, relu=True), Dropout(0.5), Linear()])],
    norm=BatchNorm(),
    input_size=32,
)


@pytest.fixture(scope="session")
def tiny() -> Network:
    return TINY


@pytest.fixture(scope="session")
def trained_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of `train` on three colours, shared by all tests that only read it."""
    root = tmp_path_factory.mktemp("trained")
    photos = write_coloured_classes(root / "photos", per_class=40)
    googlenet.train(photos, root / "run", recipe="default", network=TINY, epochs=4, batch_size=8)
    return root / "run"


def fill_up(disk: Path) -> None:
    """Leave no free byte on a file system."""
    with contextlib.suppress(OSError), (disk / "filler").open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))


@pytest.fixture
def small_disk(tmp_path):
    """A real file system of 8 MB, that can be filled and made read-only."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if os.geteuid() or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", disk], check=False).returncode:
        pytest.skip("needs the right to mount a small file system")
    yield disk
    # Lazily: a process that a test killed may hold a file there for another moment.
    subprocess.run(["umount", "--lazy", disk], check=True)


@pytest.fixture
def call(capsys):
    """Run a command line in this process: exit code, stdout, stderr."""

    def run(*arguments):
        with pytest.raises(SystemExit) as stopped:
            main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        return stopped.value.code, out, err

    megapixels = os.environ.get(budget.VARIABLE)
    yield run
    # --max-megapixels stands in the environment, for the processes that a command starts: not for the next test.
    os.environ.pop(budget.VARIABLE, None)
    if megapixels is not None:
        os.environ[budget.VARIABLE] = megapixels


@pytest.fixture(scope="session")
def caffe_onnx() -> onnx.ModelProto:
    """Caffe's GoogLeNet as the onnx package ships it, without weights: filled here with random numbers."""
    model = onnx.load(Path(onnx.__file__).parent / "backend/test/data/light/light_inception_v1.onnx")
    random = np.random.default_rng(0)
    shapes = {i.name: numpy_helper.to_array(i) for i in model.graph.initializer}
    for node in [node for node in model.graph.node if node.op_type == "ConstantOfShape"]:
        shape = tuple(int(side) for side in shapes[node.input[0]])
        fan_in = int(np.prod(shape[1:])) if len(shape) > 1 else 100
        values = random.normal(0, np.sqrt(2 / fan_in), shape).astype(np.float32)
        model.graph.node.remove(node)
        model.graph.initializer.append(numpy_helper.from_array(values, node.output[0]))
    for initializer in model.graph.initializer:
        if initializer.name.endswith("_b_0"):
            values = random.normal(0, 0.1, tuple(initializer.dims)).astype(np.float32)
            initializer.CopyFrom(numpy_helper.from_array(values, initializer.name))
    return model
