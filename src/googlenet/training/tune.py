"""``tune``: search for better settings in some minutes. Each trial is an ordinary run; bad ones are ended early."""

from __future__ import annotations

import shlex
import shutil
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from googlenet.data.image_set import DataLike, LabelledData
from googlenet.errors import RecipeError, RunError, StoppedError
from googlenet.extras import TRAINING, require
from googlenet.files import check_output_path
from googlenet.metrics import metrics_for
from googlenet.models.spec import Network, from_json, to_json
from googlenet.stopping import CODE
from googlenet.terminal import console, duration, say
from googlenet.text import printable
from googlenet.training import directory, torchrun
from googlenet.training.choosing import Request
from googlenet.training.lr_range import MIN_STEPS, STEPS, LRRange, range_test
from googlenet.training.options import RunOptions, TrainOptions, split_options
from googlenet.training.plan import AUTO, NONE, Plan
from googlenet.training.recipe import Recipe, recipe_from_json
from googlenet.training.search import JOURNAL, Search
from googlenet.training.search_space import SPACE, Start, space_around, values_of
from googlenet.training.train import planned
from googlenet.training.trials import TRIALS, Trials
from googlenet.training.tuning import RECIPE, RESULTS, Tuning

if TYPE_CHECKING:
    from typing_extensions import Unpack

MAX_TRIALS = 10_000
LR_SHARE = 0.05  # of the minutes, at most, for the learning-rate range test
MIN_CHANGE = 1.25  # factor by which the rate that it finds differs from the recipe's, to be tried


class TuneOptions(TrainOptions, total=False):
    """The keyword options of :func:`googlenet.tune`: those of ``train``, how many trials, and what is tried."""

    trials: int | None
    settings: Sequence[str] | None


def tune(
    data: DataLike,
    out: str | Path,
    *,
    recipe: str | Path | Recipe | None = None,
    network: str | Network | None = None,
    weights: str | Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
    **options: Unpack[TuneOptions],
) -> Tuning:
    """Search for better settings: train many times, with other settings each time, and keep the best run.

    Optuna proposes the settings (Akiba et al., 2019), by a tree-structured Parzen estimator (Bergstra et al., 2011)
    after four trials. The first trial is the recipe as it is; the second has the learning rate that a range test finds
    (:func:`googlenet.find_lr`). A trial whose held-out images are answered worse than in most trials at the same share
    of the schedule ends early.

    Args:
        data, recipe, network, weights: as :func:`googlenet.train` takes them. ``"auto"`` chooses once, for all trials.
        out: a directory, which must not exist yet unless ``resume`` or ``overwrite``: ``trial-0001`` and so on are the
            runs, of which the best keeps its bundle; ``recipe.toml`` is the best recipe, ``trials.json`` all results.
        resume: go on with a search that was stopped or killed, with the trial that it was in. With more ``minutes`` or
            ``trials``, also one that had ended.
        overwrite: delete the search in ``out`` first.
        minutes: wall time of the whole search, everything included. Needed, unless ``resume``.
        epochs: the length of a trial. By default trials have equal shares of the minutes.
        trials: how many trials at most, 1 to 10,000. By default as many as the time allows: 12 whole ones, or more
            where some end early.
        settings: what is tried, of ``"lr"``, ``"weight_decay"``, ``"augmentation"``, ``"image_size"``,
            ``"label_smoothing"`` and ``"dropout"``. By default all that no option sets.

    All other options are those of :func:`googlenet.train`, and hold for every trial.

    The best is chosen by the images held out to choose the best epoch. The best of many trials is better there than on
    new images: ``.honest`` says how good it is on images kept to report, where there are any.

    Raises:
        MissingExtraError: Optuna is not installed: ``pip install 'googlenet[tune]'``.
        RecipeError: no ``minutes``, or an option out of range.
        RunError: ``out`` holds something else, or no trial finished in time.
        StoppedError: Ctrl-C or a signal; what was found is kept.
        GoogLeNetError: what :func:`googlenet.train` raises.

    ::

        found = googlenet.tune("photos/", "runs/tuned", minutes=60)
        print(found.best.values, found.best.score)
        googlenet.train("photos/", "runs/flowers", recipe=found.recipe_file, minutes=30)
    """
    begun, out = time.perf_counter(), Path(out)
    require("train", *TRAINING)
    require("tune", "optuna")
    limit, names = options.pop("trials", None), options.pop("settings", None)
    settings, run_options = split_options(options)
    given = {name: value for name, value in {**settings, "network": network}.items() if value is not None}
    _check(given, limit, names, resume)
    _check_out(out, resume, overwrite)
    made = not out.exists()
    out.mkdir(parents=True, exist_ok=True)
    try:
        with directory.locked(out), _explain_interrupt(data, out):
            request = Request(recipe, given, weights)
            if resume:
                trials = _continued(data, out, request, run_options, begun)
            else:
                trials = _begun(data, out, request, run_options, names, limit, begun)
            trials.run(limit or trials.record["trials"])
            return trials.result(final=True)
    finally:
        if made and not any(out.iterdir()):
            out.rmdir()


def _check(given: Mapping[str, Any], limit: Any, names: Any, resume: bool) -> None:
    if given.get("minutes") is None and not resume:
        raise RecipeError("tune needs --minutes: the time of the whole search, 60 for example")
    if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int) or not 1 <= limit <= MAX_TRIALS):
        raise RecipeError(f"trials = {limit!r}: should be a whole number, 1 to {MAX_TRIALS:,}")
    if isinstance(names, str) or (resume and names is not None):
        what = "leave it out with --resume" if resume else f"should be a list of some of {', '.join(SPACE)}"
        raise RecipeError(f"settings = {names!r}: {what}")
    Recipe(**({"minutes": given["minutes"]} if "minutes" in given else {}))  # its range
    if torchrun.is_launched():
        raise RunError("tune trains one run after another: start it without torchrun")


def _check_out(out: Path, resume: bool, overwrite: bool) -> None:
    """Raise :class:`RunError` unless a search may be begun, or continued, in ``out``."""
    check_output_path(out)
    name = printable(str(out))
    if out.exists() and not out.is_dir():
        raise RunError(f"{name} is a file: --out names a directory for the search")
    there = out.is_dir() and any(out.iterdir())
    ours = (out / JOURNAL).exists()
    if there and not ours:
        raise RunError(f"{name} is not empty and holds no search: choose another --out")
    if resume and not ours:
        raise RunError(f"{name} holds no search to resume: leave --resume out to start one")
    if ours and not resume and not overwrite:
        raise RunError(f"{name} holds a search: continue it with --resume, or replace it with --overwrite")


def _clear(out: Path) -> None:
    for path in out.iterdir():
        if path.name.startswith("trial-") and path.is_dir():
            shutil.rmtree(path)
    for name in (RESULTS, RECIPE, f"{JOURNAL}.lock", JOURNAL):
        (out / name).unlink(missing_ok=True)


def _begun(
    data: DataLike, out: Path, request: Request, options: RunOptions, names: Sequence[str] | None, limit: int | None,
    begun: float,
) -> Trials:  # fmt: skip
    """Plan all trials, and note what ``--resume`` needs."""
    given = dict(request.settings)
    minutes = given.pop("minutes")
    of_trial = {} if "epochs" in given else {"minutes": float(f"{(1 - LR_SHARE) * minutes / (limit or TRIALS):.2g}")}
    plan = _planned(data, out, replace(request, settings={"network": None, **given, **of_trial}), options)
    names_tried = list(space_around(Start(plan), names, given))  # wrong names are refused before any work
    _clear(out)
    least = STEPS if "epochs" in given else MIN_STEPS  # trials by epochs repeat: nothing in them depends on the clock
    found = _range_test(plan, 60 * LR_SHARE * minutes, least) if "lr" in names_tried else None
    if found is not None and plan.recipe.precision == "auto":
        plan = replace(plan, recipe=plan.recipe.model_copy(update={"precision": found.precision}))
    search = Search(out)
    record = {
        "asked": {name: str(value) for name, value in request.settings.items() if name != "minutes"},
        "minutes": minutes,
        "trials": limit,
        "by_epochs": "epochs" in given,
        "recipe": plan.recipe.model_dump(mode="json"),
        "network": to_json(plan.asked) if isinstance(plan.asked, Network) else None,
        "weights": None if plan.weights is None else str(plan.weights),
        "settings": names_tried,
        "lr_range": found and asdict(found),
        "fingerprint": plan.described["fingerprint"],
    }
    trials = _trials(plan, out, search, record, begun)
    own = values_of(trials.start, trials.space)
    search.add(own)
    if found and found.suggestion and not 1 / MIN_CHANGE < found.suggestion / plan.recipe.lr < MIN_CHANGE:
        search.add({**own, "lr": found.suggestion})
    search.note("record", record)  # last: without it, nothing is there to go on with
    return trials


def _continued(data: DataLike, out: Path, request: Request, options: RunOptions, begun: float) -> Trials:
    """Plan the trials of a search that was begun before, with the recipe that was chosen then."""
    search = Search(out)
    record = search.noted("record")
    if record is None:
        raise RunError(f"{printable(str(out))} was stopped before its first trial: start again with --overwrite")
    given = dict(request.settings)
    minutes = given.pop("minutes", None)
    differing = [name for name, value in given.items() if record["asked"].get(name) != str(value)]
    differing += [] if request.recipe in (None, AUTO) else ["recipe"]
    differing += [] if str(request.weights) in ("None", AUTO, NONE, str(record["weights"])) else ["weights"]
    if differing:
        what = ", ".join(f"--{name.replace('_', '-')}" for name in differing)
        raise RunError(f"{printable(str(out))} goes on with the settings that it was started with: leave {what} out")
    if minutes is not None:
        record["minutes"] = max(minutes, record["minutes"])
        search.note("record", record)
    network = record["network"] and from_json(record["network"])
    recipe = recipe_from_json(record["recipe"])
    plan = _planned(data, out, Request(recipe, {"network": network}, record["weights"] or NONE), options)
    if plan.described["fingerprint"] != record["fingerprint"]:
        raise RunError(f"{printable(str(out))} was started on other images: start again with --overwrite")
    return _trials(plan, out, search, record, begun)


def _planned(data: DataLike, out: Path, request: Request, options: RunOptions) -> Plan:
    plan = planned(data, out / "trial-0001", request, options, overwrite=True)
    for note in plan.data.notes:
        say(note, to=console(stderr=True))
    return plan


def _trials(plan: Plan, out: Path, search: Search, record: Mapping[str, Any], begun: float) -> Trials:
    measured = record["lr_range"]
    lr_range = (
        LRRange(**{**measured, **{name: tuple(measured[name]) for name in ("rates", "losses")}}) if measured else None
    )
    start = Start(plan, None if lr_range is None else lr_range.suggestion)
    space = space_around(start, record["settings"], {})
    search.begin(space, plan.recipe.seed)
    metric = plan.recipe.best_by or metrics_for(plan.data.multi_label)[0].name
    return Trials(search, start, space, out, metric, record, lr_range, begun)


def _range_test(plan: Plan, seconds: float, least: int) -> LRRange | None:
    """Make a learning-rate range test in the time there is for it, and say what it found."""
    began, stderr = time.perf_counter(), console(stderr=True)
    found = range_test(plan, STEPS, seconds, least)
    if found is None:
        say(f"no learning-rate range test: {least} steps would take over {duration(seconds)}", to=stderr)
    else:
        suggested = f"suggests {found.suggestion:g}" if found.suggestion else "suggests none, as the loss did not fall"
        took = duration(time.perf_counter() - began)
        say(f"learning-rate range test, {len(found.rates)} steps in {took}: {suggested}; "
            f"the recipe has {plan.recipe.lr:g}", to=stderr)  # fmt: skip
    return found


@contextmanager
def _explain_interrupt(data: DataLike, out: Path) -> Iterator[None]:
    """Where the search is interrupted, say how to go on, if anything of it is kept."""
    name = data.name if isinstance(data, LabelledData) else str(data)
    command = shlex.join(["googlenet", "tune", name, "--out", str(out), "--resume"])
    try:
        yield
    except (KeyboardInterrupt, StoppedError) as error:
        if not (out / JOURNAL).exists():
            raise
        code = error.exit_code if isinstance(error, StoppedError) else CODE + signal.SIGINT
        kept = f"; the best so far is in {printable(str(out / RECIPE))}" if (out / RECIPE).exists() else ""
        raise StoppedError(f"stopped, saved{kept}; continue with: {command}", code) from error
