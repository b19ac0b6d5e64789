"""``prune``: everything is checked before any work, without PyTorch; then rank, remove, fine-tune and compare."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypedDict

from googlenet import bundle as bundles
from googlenet.bundle import Bundle
from googlenet.data.image_set import DataLike, LabelledData
from googlenet.errors import BundleError, DataError, RecipeError, RunError, StoppedError
from googlenet.evaluation.selection import select_images
from googlenet.explaining.branches import LastModule
from googlenet.extras import TRAINING, require
from googlenet.files import check_output_path
from googlenet.models.spec import Network
from googlenet.pruning.budget import Budget
from googlenet.pruning.ranking import rank, removable
from googlenet.pruning.recipe import check_options, recipe_for
from googlenet.pruning.record import Record
from googlenet.pruning.result import Pruning
from googlenet.stages import stage
from googlenet.text import first_few, printable
from googlenet.training import directory, torchrun
from googlenet.training.augmentation import Augmentation
from googlenet.training.choosing import Request
from googlenet.training.directory import PRUNED, PRUNING, SETTINGS
from googlenet.training.options import split_options
from googlenet.training.recipe import BestBy
from googlenet.training.train import planned, train

if TYPE_CHECKING:
    from typing_extensions import Unpack

IMAGES = 500
Report = Callable[[str, int, int], object]


class PruneOptions(TypedDict, total=False):
    """The keyword options of :func:`googlenet.prune`: how many images rank, and how the network is fine-tuned."""

    images: int | None
    progress: Report | None
    epochs: int | None
    minutes: float | None
    patience: int | None
    best_by: BestBy | None
    batch_size: int | None
    accumulate: int | None
    lr: float | None
    augmentation: Augmentation | Mapping[str, Any] | str | None
    precision: Literal["auto", "fp32", "bf16"] | None
    device: Literal["auto", "cpu", "cuda", "mps"] | None
    workers: int | None
    on_bad_image: Literal["skip", "stop"] | None
    checkpoint_minutes: float | None
    callbacks: Sequence[Any] | None


def prune(
    run: str | Path,
    data: DataLike | None,
    out: str | Path,
    *,
    remove: int | None = None,
    macs: float | None = None,
    resume: bool = False,
    overwrite: bool = False,
    **options: Unpack[PruneOptions],
) -> Pruning:
    """Remove the least useful branches of a trained network, fine-tune what is left, and compare it with the original.

    A branch is worth as much as the loss of held-out images grows when its channels are held at their means, so that it
    tells images apart no longer. Those that are worth least for each multiply-accumulate are removed; what follows them
    is left with fewer input channels, and with the means in its biases. Before it is fine-tuned, the pruned network
    answers as the original with these branches at their means does (Molchanov et al., *Pruning convolutional neural
    networks for resource efficient inference*, 2017, prune channels by an estimate of the same loss).

    ``out`` is then a run like any other, whose network is data in its ``run.json`` and on the card of its bundle.

    Args:
        run: a run of :func:`googlenet.train`, or a bundle, with weights. It is not changed.
        data: labelled images of the same classes, as :func:`googlenet.train` takes them. ``None``: those that ``run``
            was trained on.
        out: the run directory of the pruned network. It must not exist yet, unless ``resume`` or ``overwrite``.
        remove: how many branches to remove, 1 or more; each module keeps one.
        macs: the share of the multiply-accumulates, between 0 and 1, that is left at most. By default 0.75; it and
            ``remove`` exclude each other.
        resume: continue where it was stopped; with more ``epochs`` or ``minutes``, fine-tune for longer.
        overwrite: delete the run in ``out`` first.
        images: how many held-out images rank the branches, evenly over the classes; by default 500.
        epochs, minutes: how long to fine-tune, by default 5 epochs. The time to rank and to compare is not included.
        lr: the highest learning rate, by default a quarter of that of ``run``.
        patience, best_by, batch_size, accumulate, augmentation: as :func:`googlenet.train` takes them, by default as
            for ``run``.
        precision, device, workers, on_bad_image, checkpoint_minutes, callbacks: the same.
        progress: called with what is measured, how much of it is done, and all of it.

    Raises:
        NetworkError, RecipeError, DataError, BundleError, RunError: the network has no branches that can be removed,
            less than there is is to be left, the images have other classes, the bundle has no weights, or ``out`` holds
            something else; before any work is done.
        StoppedError: Ctrl-C or a signal while it was fine-tuned, after saving.
        GoogLeNetError: what :func:`googlenet.train` raises.

    ::

        pruned = googlenet.prune("runs/flowers", "photos/", "runs/small", macs=0.7)
        print(pruned.verdict, [branch.name for branch in pruned.removed])
    """
    require("train", *TRAINING)
    _check_call(run, out, resume=resume, overwrite=overwrite)
    images, progress = options.pop("images", None), options.pop("progress", None)
    check_options(options)
    budget = Budget.of(remove, macs)
    bundle = _bundle_of(run)
    work = _Work(Path(run), _data_of(bundle, data), Path(out), bundle, dict(options), progress or (lambda *_: None))
    record = work.record() if resume else work.begin(budget, _whole(images), overwrite)
    work.fine_tune()
    return work.compare(record)


@dataclass(frozen=True)
class _Work:
    """What is done, once the call was checked."""

    run: Path
    data: DataLike
    out: Path
    bundle: Bundle
    options: dict[str, Any]
    progress: Report

    @property
    def network(self) -> Network:
        return self.bundle.network

    @property
    def size(self) -> int:
        return self.bundle.card.preprocessing.size

    def begin(self, budget: Budget, images: int, overwrite: bool) -> Record:
        """Rank the branches, and write the bundle without the least useful ones."""
        modules = self._checked(budget, overwrite)
        selection = select_images(self.bundle, self.data, to_choose=True)
        with stage("ranking branches"):
            ranking = rank(self.bundle, modules, selection.images.evenly(images), self._report("ranking branches"))
        removed = budget.choose(self.network, self.size, ranking)
        with stage("loading PyTorch"):
            from googlenet.pruning.cut import write_cut
        if overwrite:
            directory.clear(self.out)
        with stage("removing branches"):
            sliced = write_cut(self.out / PRUNED, self.bundle, ranking, removed)
        record = Record(self._weights, ranking.images, ranking.branches, removed, sliced.bordered)
        record.write(self.out)
        return record

    def _checked(self, budget: Budget, overwrite: bool) -> dict[str, LastModule]:
        """Check all that could fail later. Returns the modules with branches that can be removed."""
        directory.check_free(self.out, overwrite)
        if (self.out / PRUNING).exists() and not overwrite:
            raise RunError(f"{printable(str(self.out))} holds a pruning: continue with --resume, or --overwrite it")
        modules = removable(self.network, self.size)
        budget.check(self.network, self.size, modules)
        settings, run_options = split_options(self.options)
        recipe = recipe_for(self.bundle.card, settings)
        request = Request(recipe, {"network": self.network}, self.run)
        plan = planned(self.data, self.out, request, run_options, overwrite=overwrite)
        _check_classes(plan.data, self.bundle, self.run)
        return modules

    def record(self) -> Record:
        """Read what a pruning that was stopped had found. Raises :class:`RunError` where it is of another run."""
        record = Record.read(self.out)
        if record.weights != self._weights:
            raise RunError(f"{printable(str(self.out))} was pruned from other weights than {printable(str(self.run))}")
        return record

    def fine_tune(self) -> None:
        """Train the pruned network, or go on with it."""
        settings, _ = split_options(self.options)
        machine = {name: value for name, value in self.options.items() if name not in settings}
        going_on = (self.out / SETTINGS).exists()
        try:
            if going_on:
                train(self.data, self.out, resume=True, **settings, **machine)
            else:
                pruned = bundles.read(self.out / PRUNED)
                recipe = recipe_for(self.bundle.card, settings)
                train(self.data, self.out, recipe=recipe, network=pruned.network, weights=pruned.path, **machine)
        except StoppedError as error:
            words = ["googlenet", "prune", str(self.run), _name(self.data), "--out", str(self.out), "--resume"]
            line = f"stopped while fine-tuning, saved; continue with: {shlex.join(words)}"
            raise StoppedError(line, error.exit_code) from error

    def compare(self, record: Record) -> Pruning:
        """Compare the network before, in between and after, and keep that in the run."""
        from googlenet.pruning.measuring import measure  # loads scipy: not before all was checked

        found = measure(self.run, self.out, self.data, record, self.progress)
        record.write(self.out, found.to_dict())
        return found

    def _report(self, what: str) -> Callable[[int, int], object]:
        return lambda done, total: self.progress(what, done, total)

    @property
    def _weights(self) -> str:
        return self.bundle.card.files[bundles.WEIGHTS]


def _check_call(run: Any, out: Any, **switches: Any) -> None:
    for name, value in (("run", run), ("out", out)):
        if not isinstance(value, str | os.PathLike) or not str(value):
            raise RunError(f"{name} should be the path of a run directory, got {value!r:.80}")
    for name, value in switches.items():
        if not isinstance(value, bool):
            raise RecipeError(f"{name} should be True or False, got {value!r}")
    if torchrun.is_launched():
        raise RunError("prune ranks, trains and measures one after another: start it without torchrun")
    check_output_path(Path(out))
    if Path(out).exists() and Path(run).exists() and Path(out).resolve() in (Path(run).resolve(),
                                                                            *Path(run).resolve().parents):  # fmt: skip
        raise RunError(f"{printable(str(out))} is, or holds, the run that is pruned: choose another --out")


def _whole(images: Any) -> int:
    if images is None:
        return IMAGES
    if isinstance(images, bool) or not isinstance(images, int) or images < 2:
        raise RecipeError(f"images = {images!r}: branches are ranked on 2 images or more")
    return images


def _bundle_of(run: str | Path) -> Bundle:
    """Read the bundle. Raises :class:`BundleError` where it has no weights."""
    bundle = bundles.read(run)
    if bundles.WEIGHTS not in bundle.card.files:
        raise BundleError(
            f"{printable(str(run))} holds no weights, as it averages several classifiers: prune one of its folds, such "
            "as fold-1 beside its bundle"
        )
    return bundle


def _data_of(bundle: Bundle, data: DataLike | None) -> DataLike:
    name = bundle.card.data.get("name") if data is None else data
    if name is None:
        raise DataError(f"{printable(str(bundle.path))} does not record what it was trained on: name labelled images")
    return name


def _name(data: DataLike) -> str:
    return data.name if isinstance(data, LabelledData) else str(data)


def _check_classes(data: LabelledData, bundle: Bundle, run: Path) -> None:
    """Raise :class:`DataError` unless the images have the classes of the network, as many labels each."""
    mine, theirs = bundle.card.class_names, data.class_names
    if set(mine) != set(theirs):
        raise DataError(
            f"{printable(data.name)} has the classes {first_few(theirs)}, {printable(str(run))} has {first_few(mine)}: "
            "prune with images of the same classes"
        )
    if data.multi_label != bundle.card.multi_label:
        how = "several labels or none" if bundle.card.multi_label else "one label each"
        raise DataError(f"{printable(str(run))} was trained on images with {how}: prune with such images")
