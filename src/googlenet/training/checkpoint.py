"""Checkpoints on disk: safetensors files, tensors and JSON, no pickle.

A file is written to a temporary sibling, synced and renamed, so that at any moment the file under its name is whole. It
holds the sha256 of everything else in it, so damage is detected and the previous checkpoint is used instead.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save_file as save_tensors
from torch import Tensor, nn
from torch.optim import Optimizer

from googlenet.errors import CheckpointError
from googlenet.files import open_regular, replace_file
from googlenet.text import first_few, printable
from googlenet.training.directory import explain

SHA256 = "sha256"
_DAMAGE = (ValueError, LookupError, TypeError, AttributeError, RecursionError, MemoryError)
KEPT = 2  # the newest, and the previous one in case it is damaged


class Checkpoints:
    """The checkpoints of a run in one folder: ``step-N`` to continue from, ``best-E`` the weights of the best epoch E.

    The last two of each are kept. The best weights are saved before the checkpoint that refers to them, and older ones
    are deleted after it, so that every checkpoint finds its best weights however the process ended.

    ::

        checkpoints = Checkpoints(Path("runs/flowers/checkpoints"))
        tensors, state = load(checkpoints.newest_first()[0])
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def step(self, number: int) -> Path:
        """Return the path of the checkpoint after a ``number`` of steps."""
        return self.folder / f"step-{number:06d}.safetensors"

    def best(self, epoch: int) -> Path:
        """Return the path of the weights of an epoch that was the best so far."""
        return self.folder / f"best-{epoch:04d}.safetensors"

    def newest_first(self, kind: str = "step") -> list[Path]:
        """Return the files of ``kind`` ``step`` or ``best``, the newest first."""
        found = self.folder.glob(f"{kind}-*.safetensors")
        return sorted((path for path in found if _number(path) >= 0), key=_number, reverse=True)

    def save(self, number: int, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
        """Write a checkpoint, then delete those that are no longer needed."""
        save(self.step(number), tensors, state)
        for kind in ("step", "best"):
            for path in self.newest_first(kind)[KEPT:]:
                path.unlink(missing_ok=True)

    def go_back(self, to: Path, best: int) -> None:
        """Remove what comes after the checkpoint ``to`` and its best epoch ``best``: it will be trained again.

        A checkpoint that cannot be used is renamed to ``….damaged``; half-written files are deleted.
        """
        for path in self.newest_first():
            if _number(path) > _number(to):
                path.replace(path.with_name(f"{path.name}.damaged"))
        later = [path for path in self.newest_first("best") if _number(path) > best]
        for path in (*later, *self.folder.glob(".*.new")):
            path.unlink(missing_ok=True)


def _number(path: Path) -> int:
    digits = path.stem.partition("-")[2]
    return int(digits) if digits.isdecimal() else -1


def save(path: Path, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> str:
    """Write tensors and a ``state`` for JSON, and return their sha256.

    Raises :class:`DiskFullError`; a file of that name stays as it is.
    """
    kept = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    text = json.dumps(state, sort_keys=True)
    metadata = {"state": text, SHA256: _digest(kept, text)}
    try:
        replace_file(path, lambda fresh: _save_tensors(kept, fresh, metadata))
    except OSError as error:
        raise explain(error, path) from error
    return metadata[SHA256]


def load(path: Path, sha256: str = "") -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what :func:`save` wrote, and compare it with the ``sha256`` that it returned, if given.

    Raises :class:`CheckpointError` where the file is missing, damaged or of something else.
    """
    try:
        with open_regular(path) as file:
            content = file.read()
        header_size = int.from_bytes(content[:8], "little")
        metadata = json.loads(content[8 : 8 + header_size])["__metadata__"]
        tensors = load_tensors(content)
        if metadata[SHA256] != _digest(tensors, metadata["state"]):
            raise CheckpointError(f"{printable(str(path))} is damaged: its sha256 does not match")
        if sha256 and metadata[SHA256] != sha256:
            raise CheckpointError(f"{printable(str(path))} belongs to another run")
        state: dict[str, Any] = json.loads(metadata["state"])
    except FileNotFoundError as error:
        raise CheckpointError(f"{printable(str(path))} does not exist") from error
    except OSError as error:
        raise CheckpointError(f"{printable(str(path))} cannot be read: {error.strerror}") from error
    except (*_DAMAGE, SafetensorError) as error:
        raise CheckpointError(f"{printable(str(path))} is damaged or not a checkpoint") from error
    if not isinstance(state, dict):
        raise CheckpointError(f"{printable(str(path))} is damaged or not a checkpoint")
    return tensors, state


@contextmanager
def damage_in(path: Path) -> Iterator[None]:
    """Turn the errors that wrong names, types and shapes in a checkpoint cause into :class:`CheckpointError`."""
    try:
        yield
    except (*_DAMAGE, RuntimeError) as error:
        raise CheckpointError(f"{printable(str(path))} is damaged: it does not hold the state of this run") from error


def _save_tensors(tensors: dict[str, Tensor], path: Path, metadata: dict[str, str]) -> None:
    """Write without a second copy in memory. Raises :class:`OSError`, as writing in Python does."""
    try:
        save_tensors(tensors, path, metadata)
    except SafetensorError as error:
        number = re.search(r"os error (\d+)", str(error))
        if number is None:
            raise
        raise OSError(int(number[1]), os.strerror(int(number[1]))) from error


def optimizer_tensors(optimizer: Optimizer) -> dict[str, Tensor]:
    """Return the state of an optimizer, such as its momentum, by the number of the parameter."""
    state = optimizer.state_dict()["state"]
    return {
        f"{number}.{name}": torch.as_tensor(value)
        for number, values in state.items()
        for name, value in values.items()
        if value is not None
    }


def restore_optimizer(optimizer: Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Restore what :func:`optimizer_tensors` returned."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        number, _, name = key.partition(".")
        parameter = parameters[int(number)]
        if tensor.shape == parameter.shape:
            # A fused step walks memory in order: the state needs the memory format of its parameter (channels last).
            tensor = torch.empty_like(parameter).copy_(tensor)
        state.setdefault(int(number), {})[name] = tensor
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def with_prefix(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Put every name under ``prefix``."""
    return {f"{prefix}.{name}": tensor for name, tensor in tensors.items()}


def under_prefix(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors whose names start with ``prefix``, without it."""
    start = f"{prefix}."
    return {name[len(start) :]: tensor for name, tensor in tensors.items() if name.startswith(start)}


def restore_module(module: nn.Module, tensors: Mapping[str, Tensor], path: Path) -> None:
    """Load the state of a module. Raises :class:`CheckpointError` where it does not fit, or is not finite."""
    broken = [name for name, t in tensors.items() if t.is_floating_point() and not torch.isfinite(t).all()]
    if broken:
        raise CheckpointError(f"{printable(str(path))} has weights that are not finite: {first_few(broken)}")
    try:
        module.load_state_dict(dict(tensors))
    except RuntimeError as error:
        raise CheckpointError(f"{printable(str(path))} belongs to another network") from error


def _digest(tensors: Mapping[str, Tensor], text: str) -> str:
    digest = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name}{tensor.dtype}{tuple(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
