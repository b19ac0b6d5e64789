"""The run directory: its files, whether it may be written, and one training at a time. No torch."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from googlenet import bundle as bundles
from googlenet import files
from googlenet.data.splits import RECORD
from googlenet.errors import DiskFullError, RunError
from googlenet.files import check_output_path, lock, write_error
from googlenet.reporting import REPORT
from googlenet.text import csv_line, escape_surrogates, json_text, no_formula, no_formula_path, printable
from googlenet.training.run_json import read_run_json

SETTINGS, LOG, CURVE, UNREADABLE = "run.json", "log.csv", "learning_curve.png", "unreadable.csv"
CHECKPOINTS = "checkpoints"
TRIAL = ".trial-"  # folders in there, for the rehearsal before the first epoch
PRUNED, PRUNING = "pruned", "pruning.json"  # what `prune` starts a run from, and its record
TENSORBOARD, MLFLOW, WANDB = "tensorboard", "mlruns", "wandb"  # folders of loggers
_BEFORE = (PRUNED, PRUNING)  # written before the run that they belong to
_CONTENTS = (
    SETTINGS, RECORD, LOG, CURVE, REPORT, UNREADABLE, TENSORBOARD, MLFLOW, WANDB, CHECKPOINTS, bundles.IN_RUN, *_BEFORE
)  # fmt: skip


def check_free(run: Path, overwrite: bool) -> None:
    """Raise :class:`RunError` where no run can start in ``run``: something is there, or it cannot be written."""
    check_writable(run)
    _check_contents(run, overwrite)


def _check_contents(run: Path, overwrite: bool) -> None:
    try:
        there = [entry.name for entry in run.iterdir() if entry.name not in _BEFORE] if run.is_dir() else []
    except OSError as error:
        raise explain(error, run) from error
    if there and SETTINGS not in there:
        raise RunError(f"{_name(run)} is not empty and holds no run: choose another --out")
    if there and not overwrite:
        raise RunError(
            f"{_name(run)} holds a run: continue it with --resume, replace it with --overwrite, or choose another --out"
        )


def check_writable(run: Path) -> None:
    """Raise :class:`RunError` where ``run`` cannot be written, or is in use by another training."""
    if _training.locked():
        raise _another()
    check_output_path(run)
    if run.exists() and not run.is_dir():
        raise RunError(f"{_name(run)} is a file: --out names a directory for the run")
    if run.is_dir():
        with locked(run):
            pass


def start(run: Path, settings: dict[str, Any], record: bytes, overwrite: bool) -> None:
    """Write ``settings`` and the ``record`` of images of a new run; with ``overwrite``, delete the run that is there.

    Raises as :func:`check_free` does: another training may have run since.
    """
    _check_contents(run, overwrite)
    try:
        if overwrite:
            clear(run)
        run.mkdir(parents=True, exist_ok=True)
        write_settings(run, settings)  # first: a directory without it is no run
        (run / CHECKPOINTS).mkdir()
        write_whole(run / RECORD, record)
    except BaseException as error:
        with suppress(OSError):
            clear(run)
        if isinstance(error, DiskFullError):
            raise nothing_saved(run) from error
        if isinstance(error, OSError):
            raise explain(error, run) from error
        raise


def nothing_saved(run: Path) -> DiskFullError:
    """Return the error for a disk that was full before there was a checkpoint."""
    return DiskFullError(f"no space left for the run {_name(run)}: free some, then start again")


def clear(run: Path) -> None:
    """Delete the run in ``run``, ``run.json`` last. Raises :class:`OSError`."""
    clear_leftovers(run)
    for name in reversed(_CONTENTS):
        shutil.rmtree(run / name) if (run / name).is_dir() else (run / name).unlink(missing_ok=True)


def clear_leftovers(run: Path) -> None:
    """Delete what a killed process left half written in ``run``, or had rehearsed before its first epoch."""
    unfinished = (path for name in _CONTENTS for end in ("new", "old") for path in run.glob(f".{name}.*.{end}"))
    for path in (*unfinished, *(run / CHECKPOINTS).glob(f"{TRIAL}*")):
        shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)


def write_settings(run: Path, settings: dict[str, Any]) -> None:
    """Write what :func:`read_settings` reads. Raises as :func:`write_whole` does."""
    write_whole(run / SETTINGS, json_text(settings, indent=2).encode())


def check_resumable(run: Path) -> None:
    """Raise :class:`RunError` where checkpoints were deleted: resuming would start from scratch, over the old run."""
    trained = (run / bundles.IN_RUN).exists()
    if not (run / CHECKPOINTS).is_dir() or (not has_checkpoint(run) and (trained or (run / LOG).exists())):
        begin = f", or start a new run from its weights: --weights {_name(run)} --out NEW" if trained else ""
        raise RunError(f"{_name(run)} has no {CHECKPOINTS} to continue from: start again with --overwrite{begin}")


def read_settings(run: Path) -> dict[str, Any]:
    """Read what :func:`start` wrote. Raises :class:`RunError` where there is none, or it is damaged."""
    try:
        return read_run_json(run / SETTINGS)
    except FileNotFoundError as error:
        raise RunError(f"{_name(run)} holds no run to resume: leave --resume out to start one") from error


def has_checkpoint(run: Path) -> bool:
    """Whether there is a checkpoint to continue from."""
    return any((run / CHECKPOINTS).glob("step-*.safetensors"))


def write_unreadable(run: Path, unreadable: dict[str, str]) -> None:
    """Write ``unreadable.csv``, which names the images that could not be read, if there are any."""
    if unreadable:
        rows = ((no_formula_path(name), no_formula(reason)) for name, reason in sorted(unreadable.items()))
        write_csv(run / UNREADABLE, ("image", "reason"), rows)


def write_csv(path: Path, columns: Iterable[str], rows: Iterable[Iterable[Any]]) -> None:
    """Write a CSV file. Raises as :func:`write_whole` does."""
    text = "".join(map(csv_line, (columns, *rows)))
    write_whole(path, escape_surrogates(text).encode())


def write_whole(path: Path, content: bytes) -> None:
    """Write a file whole, or not at all. Raises :class:`DiskFullError` or :class:`RunError`."""
    try:
        files.write_whole(path, content)
    except OSError as error:
        raise explain(error, path) from error


def explain(error: OSError, path: Path) -> RunError:
    """Return the error for a file of a run that could not be written."""
    return write_error(path, error, "what was saved before is intact: free some space, then continue with --resume")


# One training at a time.

_training = threading.Lock()  # PyTorch has one random state: a second training would change the weights
_held: set[int] = set()  # handles of the directories that this process has locked


@contextmanager
def held(run: Path) -> Iterator[None]:
    """Lock this process, and ``run``, which is created if needed, against other trainings.

    Raises :class:`RunError` where either is locked; a kill unlocks both. A directory that was created here and is
    still empty at the end is removed.
    """
    if not _training.acquire(blocking=False):
        raise _another()
    made: list[Path] = []
    try:
        made = _make(run)
        with locked(run):
            yield
    finally:
        _training.release()
        for folder in made:
            with suppress(OSError):  # it is not empty any more
                folder.rmdir()


def _another() -> RunError:
    return RunError(
        "another training is running in this process, and both would share PyTorch's random numbers: wait for it, or "
        "start a process for each"
    )


def _make(run: Path) -> list[Path]:
    """Create the directory and its parents; return the new ones, the innermost first."""
    new = [folder for folder in (run, *run.parents) if not folder.exists()]
    try:
        run.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise explain(error, run) from error
    return new


@contextmanager
def locked(run: Path) -> Iterator[None]:
    """Lock a directory against other trainings. Raises :class:`RunError` where it is locked."""
    if os.name == "nt":  # it opens no folders
        yield
        return
    try:
        handle = os.open(run, os.O_RDONLY)
    except OSError as error:
        raise explain(error, run) from error
    _held.add(handle)
    try:
        lock(handle)
        yield
    except BlockingIOError as error:
        raise RunError(
            f"another training is running in {_name(run)}: wait for it, stop it, or choose another --out"
        ) from error
    finally:
        if handle in _held:
            _held.discard(handle)
            os.close(handle)


def _unlock_in_child() -> None:
    """Drop the locks in a forked process: killing the training process must unlock the directory at once."""
    while _held:
        os.close(_held.pop())


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_unlock_in_child)


def _name(path: Path) -> str:
    return printable(str(path))
