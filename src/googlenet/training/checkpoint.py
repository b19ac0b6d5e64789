"""Where a run stands, on disk: safetensors files, all tensors and numbers, no pickle.

Written to a temporary sibling, synced, renamed: at any moment the file under the name is whole. Its sha256 is
inside, over everything else, so that a damaged file is known for one; the one before it is there to go on from.
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
KEPT = 2  # the newest, and the one before it for the case that it is damaged


class Checkpoints:
    """The checkpoints of a run in one folder: ``step-N`` to go on from, ``best-E`` the best weights, of epoch E.

    The last two of each are kept. The best weights are saved before the checkpoint that knows of them, and what is
    older is deleted after it, so that every checkpoint finds its best weights however the process ended.

    ::

        checkpoints = Checkpoints(Path("runs/flowers/checkpoints"))
        tensors, state = load(checkpoints.newest_first()[0])
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def step(self, number: int) -> Path:
        """Name the checkpoint after so many steps."""
        return self.folder / f"step-{number:06d}.safetensors"

    def best(self, epoch: int) -> Path:
        """Name the weights of an epoch that was the best so far."""
        return self.folder / f"best-{epoch:04d}.safetensors"

    def newest_first(self, kind: str = "step") -> list[Path]:
        """List what is there of ``step`` or ``best``, the latest first."""
        found = self.folder.glob(f"{kind}-*.safetensors")
        return sorted((path for path in found if _number(path) >= 0), key=_number, reverse=True)

    def save(self, number: int, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
        """Save as :func:`save` does, then delete what is no longer needed."""
        save(self.step(number), tensors, state)
        for kind in ("step", "best"):
            for path in self.newest_first(kind)[KEPT:]:
                path.unlink(missing_ok=True)

    def go_back(self, to: Path, best: int) -> None:
        """Put away what lies after the checkpoint ``to`` and its best epoch ``best``: it is to be done again.

        A checkpoint that was of no use is renamed to ``….damaged``; what a killed process left half written is deleted.
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
    """Write tensors and a JSON-able ``state``, and return their sha256.

    Raises :class:`DiskFullError`; the file before stays intact.
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
    """Read back what :func:`save` wrote, and hold it against the ``sha256`` that it gave, where one is told.

    Raises :class:`CheckpointError` on a damaged or foreign file.
    """
    try:
        with open_regular(path) as file:
            content = file.read()
        header_size = int.from_bytes(content[:8], "little")
        metadata = json.loads(content[8 : 8 + header_size])["__metadata__"]
        tensors = load_tensors(content)
        if metadata[SHA256] != _digest(tensors, metadata["state"]):
            raise CheckpointError(f"{printable(str(path))} is damaged: its sha256 does not fit")
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
    """Turn what wrong names, types and shapes in a checkpoint lead to into :class:`CheckpointError`."""
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
    """Flatten the state of an optimizer: momentum and the like, by the number of the parameter."""
    state = optimizer.state_dict()["state"]
    return {
        f"{number}.{name}": torch.as_tensor(value)
        for number, values in state.items()
        for name, value in values.items()
        if value is not None
    }


def restore_optimizer(optimizer: Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Put back what :func:`optimizer_tensors` gave."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        number, _, name = key.partition(".")
        parameter = parameters[int(number)]
        if tensor.shape == parameter.shape:
            # A fused step walks memory as it lies: the state must lie as its parameter does (channels last, say).
            tensor = torch.empty_like(parameter).copy_(tensor)
        state.setdefault(int(number), {})[name] = tensor
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def with_prefix(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Put every name under ``prefix``."""
    return {f"{prefix}.{name}": tensor for name, tensor in tensors.items()}


def under_prefix(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Pick the names under ``prefix``, without it."""
    start = f"{prefix}."
    return {name[len(start) :]: tensor for name, tensor in tensors.items() if name.startswith(start)}


def restore_module(module: nn.Module, tensors: Mapping[str, Tensor], path: Path) -> None:
    """Load a module's state. Raises :class:`CheckpointError` naming what does not fit, or is not finite."""
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
