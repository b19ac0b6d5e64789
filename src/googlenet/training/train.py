"""``train``: everything is checked before any work, without PyTorch; then :mod:`~googlenet.training.run` does it."""

from __future__ import annotations

import os
import time
from contextlib import nullcontext, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from googlenet.bundle import Bundle
from googlenet.data.image_set import DataLike
from googlenet.data.splits import hashes_with_progress
from googlenet.errors import DataError, RecipeError, RunError
from googlenet.extras import TRAINING, require
from googlenet.machine import explained
from googlenet.models.spec import Network
from googlenet.stages import stage
from googlenet.training import directory, inherit, torchrun
from googlenet.training.choosing import Request, carry_out, decide
from googlenet.training.data import look_at_data
from googlenet.training.directory import SETTINGS
from googlenet.training.function import with_function
from googlenet.training.options import RunOptions, TrainOptions, split_options
from googlenet.training.plan import Plan, look
from googlenet.training.recipe import Recipe

if TYPE_CHECKING:
    from typing_extensions import Unpack

INDUCTOR = "TORCHINDUCTOR_CACHE_DIR"  # a folder that PyTorch makes as it is loaded, for what is never compiled here


def train(
    data: DataLike,
    out: str | Path,
    *,
    recipe: str | Path | Recipe | None = None,
    network: str | Network | None = None,
    weights: str | Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
    **options: Unpack[TrainOptions],
) -> Bundle:
    """Train a classifier and write it, with its log, checkpoints and learning curve, to the run directory ``out``.

    Args:
        data: a folder with one sub-folder of images per class, one with ``train/`` and ``val/``, a list (``.csv`` or
            ``.jsonl``), ``"digits"``, the name of a data set that was fetched, a :class:`googlenet.DataSource` that
            also says how to read it, or :class:`googlenet.LabelledData`. Where images may have several labels, each
            class has a probability of its own, and a threshold from which on it is named.
        out: the run directory. It must not exist yet, unless ``resume`` or ``overwrite``.
        recipe: ``"auto"``, the default, chooses network, image size, epochs and more by the images, this machine and
            the ``minutes``, and says what and why (docs/recipes.md has its rules). Or a :class:`googlenet.Recipe`, the
            name of one (``"default"``, ``"photos"``, ``"small"``, ``"finetune"``, ``"finetune_photos"``, ``"digits"``,
            ``"notes"``, ``"paper"``), a TOML file, or a run, whose recipe, network and weights are then used again.
        network: a name of the zoo, or a ``Network`` of your own. Default: that of ``weights``, else the recipe's.
        weights: pretrained weights to start from: a run, a bundle, any file that :func:`googlenet.convert` reads, or
            ``"torchvision"``. Every tensor whose name and shape match is loaded; a classifier keeps the rows of the
            classes it knows. ``"auto"``, the default where the recipe is chosen, takes those on this machine that suit
            the images; ``"none"`` starts from scratch.
        resume: continue from the newest intact checkpoint in ``out``, exactly where it stopped, with the same images
            wherever they are now. With more ``epochs``, ``minutes`` or ``patience`` it trains for longer, even a
            finished run: the learning rate is then that of a run of the new length at the same point.
        overwrite: delete the run in ``out`` first.
        epochs, minutes: how long to train: passes over the training images, or minutes of wall time with everything
            included. Two runs by minutes differ, because their speeds do.
        patience, best_by: end after so many epochs in a row without a better one; the metric of the held-out images
            that chooses the best epoch, which is what the bundle is made of.
        image_size, crop_fraction, in_channels, resize: what the network sees of an image.
        mirror: answer with the mean of the probabilities of an image and its mirror image, in validation, too.
        keep_neighbours: keep thumbnails and embeddings of training images in the bundle, where others can see them.
        initial_size, growth_fraction, max_batches_per_step: smaller images at the start of training.
        batch_size, accumulate, precision: images per step over all processes, in how many parts they are taken one
            after another, and the number format to compute in. Where memory is short, a new run takes more parts.
        optimizer, lr, momentum, nesterov, weight_decay: the optimizer and its highest learning rate.
        schedule, warmup, step_epochs, lr_gamma: how the learning rate changes.
        lr_decay, freeze: slower learning in earlier stages, and none up to the stage ``freeze``, whose auxiliary heads
            are left out (with ``weights``).
        pool_from: the first stage whose averaged maps the classifier sees, besides those of all later ones.
        freeze_norm: with ``weights``, batch normalization keeps the statistics that it has.
        unfreeze, cached_views, cache_after, cached_share: with ``weights``, a linear classifier first, then the last
            stages on maps of the first ones that are computed once, then all stages.
        label_smoothing, ema_decay, dropout, init, aux: regularization, the initial weights, and auxiliary heads.
        val_fraction, test_fraction: the share of each class, 0 to 1, held out to choose the best epoch, and the share
            that training never looks at, where ``data`` does not name these images itself.
        seed: decides the initial weights, the order of images, augmentation and the held-out split.
        class_balance: what to do about classes of unequal size: ``"none"``, ``"weighted_loss"`` or ``"oversample"``
            (not with several labels).
        augmentation: random changes of the training images: ``"photos"``, ``"documents"``, ``"microscopy"``,
            ``"aerial"`` or ``"none"``, or a table of those settings that change (docs/augmentation.md).
        device: ``"cpu"``, ``"cuda"``, ``"mps"``, or ``"auto"``: a GPU if there is one.
        workers: processes that read and augment images. Default: one per core, at most 8. They change no
            weight, and may differ when a run is resumed.
        on_bad_image: ``"skip"`` an image that cannot be read, or ``"stop"``.
        checkpoint_minutes: minutes between checkpoints within an epoch; each epoch ends with one.
        cache_gib: GiB of disk for maps of frozen stages; default: a quarter of the memory.
        log: ``"tensorboard"``, ``"mlflow"`` or ``"wandb"``: log there as well.
        callbacks: objects with ``on_step``, called with a :class:`googlenet.StepResult` after every step, or
            ``on_epoch``, called with a :class:`googlenet.EpochResult` after every validation, or both. Where one
            raises, the run is saved and stops.
        download: allow the weights that ``"torchvision"`` stands for to be downloaded.
        augment: a function of your own, called last with each training image, (H, W, C) uint8, and a
            :class:`numpy.random.Generator`; it returns an image of the same shape and type. Its name is recorded; to
            resume, give it again.

    All options after ``overwrite`` but the last nine are settings of the recipe, which :class:`googlenet.Recipe`
    describes with their units, ranges and defaults; ``None`` keeps the recipe's value.

    Images that are skipped, or read otherwise than the list says, are named on stderr.

    Where ``torchrun`` started several processes, they train as one: ``batch_size`` is split among them, the first
    one writes, and all return the same bundle (docs/scaling.md).

    Raises:
        DataError, RecipeError, NetworkError, DeviceError, RunError: before any work is done.
        WeightsError, BundleError: ``weights`` cannot be read or do not fit; before any work is done.
        StoppedError: Ctrl-C, SIGTERM or a closed terminal, after a checkpoint was written.
        CallbackError: a callback, or the logger, failed; the run is saved.
        MachineError: the machine refused memory, open files, processes or a place to write.
        NonFiniteLossError: the loss became NaN or infinite; it names the images.
        DiskFullError: a checkpoint could not be written; the one before is intact.

    ::

        bundle = googlenet.train("photos/", "runs/flowers", epochs=30)
    """
    begun = time.perf_counter()
    require("train", *TRAINING)
    _check_types(out, resume=resume, overwrite=overwrite)
    run = Path(out)
    settings, run_options = split_options(options)
    if torchrun.is_launched():
        resume = _work().broadcast_from_first(run_options.device, resume or _was_restarted(run))
    request = Request(recipe, {**settings, "network": network}, weights)
    plan = replace(planned(data, run, request, run_options, resume=resume, overwrite=overwrite), begun=begun)
    with directory.held(run) if torchrun.is_first_process() else nullcontext(), explained():
        bundle: Bundle = _work().train(plan)
        return bundle


def planned(
    data: DataLike, run: Path, request: Request, options: RunOptions, *, resume: bool = False, overwrite: bool = False
) -> Plan:
    """Check everything, and choose what nobody gave. Raises what :func:`train` raises before any work is done."""
    network, weights = request.settings.get("network"), request.weights
    if network is None and not resume and inherit.must_be_read(weights):
        network = _work().network_of(weights)
    request = replace(request, settings={**request.settings, "network": network})
    plan = look(run, request.recipe, request.settings, weights, resume=resume, overwrite=overwrite)
    plan = with_function(plan, options.augment, options.workers)
    plan = look_at_data(plan, data, _work().hashes_together if torchrun.is_launched() else hashes_with_progress)
    val_fraction = request.settings.get("val_fraction")
    if val_fraction is not None and not resume and not plan.data.made_here:
        raise DataError(
            f"{plan.data.name} names its {' and '.join(plan.data.splits)} images itself: "
            f"--val-fraction {val_fraction:g} is for data that does not; leave it out"
        )
    if not resume and (request.chooses_recipe or request.chooses_weights):
        plan = _chosen(plan, request, options)
    return replace(plan, options=options)


def _chosen(plan: Plan, request: Request, options: RunOptions) -> Plan:
    """Choose what nobody gave: in the first process, for all of them."""
    decision = None
    if torchrun.is_first_process():
        decision = decide(plan, request, options, lambda: _work().measure())
    if torchrun.is_launched():
        decision = _work().broadcast_from_first(options.device, decision)
    assert decision is not None
    return with_function(carry_out(plan, request, decision), options.augment, options.workers)


def _work() -> Any:
    """Load what trains, with PyTorch: not before everything was checked."""
    was_set = INDUCTOR in os.environ
    with stage("loading PyTorch"):
        from googlenet.training import run
    if not was_set:
        with suppress(OSError, KeyError):  # it is not empty
            Path(os.environ[INDUCTOR]).rmdir()
    return run


def _was_restarted(run: Path) -> bool:
    """Whether torchrun started this run before, and again after a process failed."""
    if not torchrun.is_restarted() or not (run / SETTINGS).exists():
        return False
    return bool(directory.read_settings(run).get("launch") == torchrun.launch_id())


def _check_types(out: Any, **switches: Any) -> None:
    if not isinstance(out, (str, os.PathLike)) or not str(out):
        raise RunError(f"out should be the path of the run directory, got {out!r}")
    for name, value in switches.items():
        if not isinstance(value, bool):  # "no" would be taken for yes
            raise RecipeError(f"{name} should be True or False, got {value!r}")
