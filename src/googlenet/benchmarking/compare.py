"""``compare``: cost, speed on this machine and, after equal training, accuracy of networks side by side."""

from __future__ import annotations

import os
import platform
import shutil
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from importlib import metadata
from pathlib import Path
from statistics import median
from typing import Any

from googlenet.benchmarking.speed import latency, throughput
from googlenet.bundle import MODEL, WEIGHTS, Bundle
from googlenet.data.opening import open_data
from googlenet.errors import BundleError, DataError, NetworkError, NonFiniteLossError, RecipeError, StoppedError
from googlenet.extras import TRAINING, require
from googlenet.inference.engine import Engine, precisions, processor
from googlenet.models import papers, zoo
from googlenet.models.analysis import analyse
from googlenet.models.spec import Network
from googlenet.stages import stage
from googlenet.training.directory import CHECKPOINTS
from googlenet.training.recipe import Recipe
from googlenet.training.recipe_file import shipped_recipes
from googlenet.training.train import train

ROUNDS = 3  # over all networks in turn, so that a slow minute of the machine affects all alike

FAILURES = (NetworkError, NonFiniteLossError, BundleError)  # of one network; the others are still compared

Say = Callable[[str], None]
Report = Callable[[int, int], None]


@dataclass(frozen=True)
class Speed:
    """Speed of a network in one precision: milliseconds for one image, images per second in batches."""

    precision: str
    latency_ms: float
    images_per_second: float


@dataclass(frozen=True)
class Compared:
    """The row of a network. ``failure`` says why figures are missing.

    The figures are of the network as it was run: for colour images of ``size`` pixels and, when trained, with the
    classes of the data. ``file_bytes`` is the size of ``model.onnx``, ``top1`` the accuracy on the held-out images as
    a fraction of 1.
    """

    network: str
    size: int
    parameters: int | None = None
    macs: int | None = None
    activations: int | None = None
    file_bytes: int | None = None
    speeds: tuple[Speed, ...] = ()
    top1: float | None = None
    failure: str | None = None


@dataclass(frozen=True)
class Comparison:
    """Networks by ascending MACs, and the machine they were measured on.

    ``claims`` check common statements about these networks. ``data`` and ``recipe`` are those of the training, ``None``
    if there was none.
    """

    rows: tuple[Compared, ...]
    batch_size: int
    machine: dict[str, Any]
    data: str | None
    recipe: dict[str, Any] | None
    claims: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return a dictionary for ``json.dumps``."""
        return asdict(self)


def compare(
    networks: Iterable[str | Network] | None = None,
    *,
    image_size: int | None = None,
    data: str | Path | None = None,
    minutes: float | None = None,
    batch_size: int = 16,
    say: Say | None = None,
    progress: Report | None = None,
) -> Comparison:
    """Compare networks: parameters, MACs, activations, size on disk, latency, throughput, and accuracy after training.

    Args:
        networks: names of the zoo, or ``Network`` s of your own; by default all of the zoo.
        image_size: side of the images in pixels; by default each network's own or, in training, the recipe's.
        data: labelled images as ``train`` takes them: every network is trained on them with the same recipe, seed and
            image size. By default nothing is trained and the weights are fresh.
        minutes: how long each network is trained; by default the recipe's epochs.
        batch_size: images per batch where throughput is measured.
        say: called with a line of text when the training of a network begins.
        progress: called while speed is measured, with the number of measurements done and their total.

    Latency and throughput are those of ``model.onnx`` in the engine that predicts: medians over rounds in which the
    networks take turns. A network that fails, for example because the images are too small for it, has a row that
    says why.

    Raises:
        DataError, NetworkError, RecipeError: the data, a network or an argument is wrong; before any work is done.
        StoppedError: Ctrl-C or SIGTERM while training.

    ::

        for row in googlenet.compare(["googlenet", "googlenet_bn"], image_size=64).rows:
            print(row.network, row.parameters, row.speeds)
    """
    if minutes is not None and data is None:
        raise RecipeError("minutes are for training: give the images to train on too (--train DATA)")
    require("train", *TRAINING)
    training = _training(data, image_size, minutes)
    entrants = _entrants(networks, training.size if training else image_size, training)
    with tempfile.TemporaryDirectory() as folder:
        for number, entrant in enumerate(entrants, start=1):
            if training and say and entrant.runs:
                say(f"{number} of {len(entrants)}: {entrant.row.network}")
            _prepare(entrant, Path(folder) / str(number), training)
        _measure([entrant for entrant in entrants if entrant.runs], batch_size, progress)
    rows = sorted((entrant.row for entrant in entrants), key=lambda row: (row.macs is None, row.macs or 0))
    return Comparison(
        rows=tuple(rows),
        batch_size=batch_size,
        machine=_machine(),
        data=training.data if training else None,
        recipe=training.recipe.model_dump(mode="json") if training else None,
        claims=tuple(papers.claims([row.network for row in rows])),
    )


@dataclass(frozen=True)
class _Training:
    """How all networks are trained."""

    data: str
    classes: int
    recipe_name: str
    recipe: Recipe

    @property
    def size(self) -> int:
        assert self.recipe.image_size is not None
        return self.recipe.image_size


@dataclass
class _Entrant:
    """A network that is compared."""

    network: Network
    row: Compared
    bundle: Bundle | None = None
    measured: dict[str, list[Speed]] = field(default_factory=dict)

    @property
    def runs(self) -> bool:
        """Whether nothing has gone wrong so far."""
        return self.row.failure is None


def _training(data: str | Path | None, size: int | None, minutes: float | None) -> _Training | None:
    if data is None:
        return None
    name = str(data) if str(data) in shipped_recipes() else "default"  # some data sets have a recipe of their own
    recipe = Recipe.load(name, image_size=size, minutes=minutes)
    if recipe.image_size is None:
        raise RecipeError("all networks are trained at one size, and the recipe has none: give it with --image-size")
    with stage(f"reading {data}"):
        labelled = open_data(data, seed=recipe.seed, val_fraction=recipe.val_fraction)
    if labelled.multi_label:
        raise DataError(f"{data} has images with several labels or none: top-1 needs one label per image")
    return _Training(str(data), len(labelled.class_names), name, recipe)


def _entrants(networks: Iterable[str | Network] | None, size: int | None, training: _Training | None) -> list[_Entrant]:
    """Analyse every network as it will be run: for colour images and the classes of the data."""
    entrants = []
    for asked in dict.fromkeys(zoo.NETWORKS if networks is None else networks):
        network = zoo.find(asked) if isinstance(asked, str) else asked
        as_run = replace(network, in_channels=3, num_classes=training.classes if training else network.num_classes)
        row = Compared(network.name, size or network.input_size)
        try:
            analysis = analyse(as_run, row.size)
        except NetworkError as error:
            row = replace(row, failure=str(error))
        else:
            row = replace(
                row,
                parameters=analysis.parameters,
                macs=analysis.macs,
                activations=analysis.activations,
            )
        entrants.append(_Entrant(as_run, row))
    return entrants


def _prepare(entrant: _Entrant, path: Path, training: _Training | None) -> None:
    """Write the bundle that is measured, with trained or fresh weights."""
    if not entrant.runs:
        return
    with stage("loading PyTorch"):
        from googlenet.exporting.bundles import write_untrained
    try:
        entrant.bundle = bundle = (
            _trained(entrant, path, training) if training else write_untrained(path, entrant.network, entrant.row.size)
        )
    except FAILURES as error:
        entrant.row = replace(entrant.row, failure=str(error))
        return
    size = (bundle.path / MODEL).stat().st_size
    entrant.row = replace(entrant.row, file_bytes=size, top1=bundle.card.metrics.get("top1"))
    (bundle.path / WEIGHTS).unlink(missing_ok=True)  # the graph holds them too; this halves the disk space


def _trained(entrant: _Entrant, path: Path, training: _Training) -> Bundle:
    try:
        bundle = train(
            training.data, path, recipe=training.recipe_name, network=entrant.network,
            image_size=training.size, minutes=training.recipe.minutes,
        )  # fmt: skip
    except StoppedError as error:
        message = f"stopped while {entrant.row.network} was trained: a comparison cannot be resumed"
        raise StoppedError(message, error.exit_code) from error
    shutil.rmtree(path / CHECKPOINTS)
    return bundle


def _measure(entrants: Sequence[_Entrant], batch_size: int, progress: Report | None) -> None:
    """Measure the networks in turns, several rounds, and take the medians."""
    turns = [(entrant, precision) for _ in range(ROUNDS) for entrant in entrants for precision in precisions()]
    for done, (entrant, precision) in enumerate(turns):
        if progress:
            progress(done, len(turns))
        if not entrant.runs:
            continue
        assert entrant.bundle is not None
        try:
            speed = _speed(entrant.bundle, precision, batch_size)
        except FAILURES as error:
            entrant.row = replace(entrant.row, failure=str(error))
        else:
            entrant.measured.setdefault(precision, []).append(speed)
    for entrant in entrants:
        speeds = tuple(_median(speeds) for speeds in entrant.measured.values())
        entrant.row = replace(entrant.row, speeds=speeds)


def _speed(bundle: Bundle, precision: str, batch_size: int) -> Speed:
    """Measure one turn. Its engine is deleted afterwards: all of them together need too much memory."""
    engine = Engine(bundle, precision)
    return Speed(precision, latency(engine).p50, throughput(engine, batch_size))


def _median(speeds: Sequence[Speed]) -> Speed:
    return Speed(
        speeds[0].precision,
        median(speed.latency_ms for speed in speeds),
        median(speed.images_per_second for speed in speeds),
    )


def _machine() -> dict[str, Any]:
    """Return the machine that the figures were measured on."""
    packages = ("googlenet", "openvino", "torch", "numpy")
    versions = {name: metadata.version(name) for name in packages} | {"python": platform.python_version()}
    return {"processor": processor(), "cores": os.cpu_count(), "system": platform.system(), "versions": versions}
