"""Several processes that train as one: ``torchrun`` starts them, each takes its slice of every batch.

Whatever a decision depends on (losses, counts, the clock, a signal) is summed over the processes or taken from the
first one, so that all decide alike. If a process dies or hangs, the others end within ``TIMEOUT``.
"""

from __future__ import annotations

import os
import socket
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.autograd import Function

from googlenet.errors import DeviceError
from googlenet.training.fabric import DDPStrategy, Fabric
from googlenet.training.torchrun import is_launched, local_world_size, world_size

TIMEOUT = timedelta(seconds=45)  # torchrun needs 30 more to kill a frozen process: 90 in all
T = TypeVar("T")


class Processes:
    """The processes that train together: ``rank`` is the number of this one, from 0, and ``count`` their number."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.rank, self.count = (dist.get_rank(), dist.get_world_size()) if _have_joined() else (0, 1)

    @property
    def count_here(self) -> int:
        """How many of them run on this machine."""
        return local_world_size()

    @property
    def is_first(self) -> bool:
        """Whether this is the process that writes, prints and draws."""
        return self.rank == 0

    def all_reduce(self, *numbers: float) -> list[float]:
        """Return each number summed over the processes, in double precision: whole numbers stay exact."""
        if self.count == 1:
            return list(numbers)
        totals = torch.tensor(numbers, dtype=torch.float64, device=self.device)
        dist.all_reduce(totals)
        summed: list[float] = totals.tolist()
        return summed

    def broadcast(self, value: T) -> T:
        """Return what the first process has."""
        values = [value]
        if self.count > 1:
            dist.broadcast_object_list(values, 0)
        return values[0]

    def all_gather(self, value: T) -> list[T]:
        """Return what each process has, by rank."""
        if self.count == 1:
            return [value]
        values: list[Any] = [None] * self.count
        dist.all_gather_object(values, value)
        return values

    def barrier(self) -> None:
        """Wait for all processes."""
        self.all_reduce(0.0)


def join(device: str) -> Processes:
    """Join the other processes, where ``torchrun`` started any: by NCCL on CUDA, by gloo elsewhere.

    Raises :class:`DeviceError` when it started more than this machine has GPUs.
    """
    if not is_launched():
        return Processes(torch.device(device))
    here = local_world_size()
    has = {"cpu": here, "mps": 1}.get(device, torch.cuda.device_count())
    if here > has:
        raise DeviceError(
            f"torchrun started {here} processes on {socket.gethostname()}, which has {has} {device}: "
            f"start --nproc-per-node {has}, or train with --device cpu"
        )
    if device == "cuda":
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    if not _have_joined():
        # After a restart torchrun's store still holds the addresses of ended processes: keep apart from them.
        store, rank, count = next(dist.rendezvous("env://"))  # type: ignore[attr-defined]
        attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
        store = dist.PrefixStore(f"attempt-{attempt}", store)  # type: ignore[attr-defined]
        backend = "nccl" if device == "cuda" else "gloo"
        dist.init_process_group(backend, store=store, rank=rank, world_size=count, timeout=TIMEOUT)
    return Processes(torch.device(device, torch.cuda.current_device()) if device == "cuda" else torch.device(device))


def _have_joined() -> bool:
    return dist.is_available() and dist.is_initialized()


def fabric_for(device: str, precision: Any) -> Fabric:
    """Make what wraps network and optimizer, for all processes that have joined."""
    if not is_launched():
        return Fabric(accelerator=device, devices=1, precision=precision)
    here = local_world_size()
    hosts = world_size() // here
    strategy = DDPStrategy(timeout=TIMEOUT, broadcast_buffers=False)
    fabric = Fabric(accelerator=device, devices=here, num_nodes=hosts, strategy=strategy, precision=precision)
    fabric.launch()
    return fabric


def says_lost_process(error: RuntimeError) -> bool:
    """Whether a collective operation failed because another process died or hangs."""
    text = str(error).lower()
    return isinstance(error, dist.DistError) or "gloo" in text or "connection closed by peer" in text


def synchronise(module: nn.Module, device: torch.device) -> None:
    """Make batch normalization use the whole batch of all processes, in place; the names of its state stay."""
    if device.type == "cuda":
        nn.SyncBatchNorm.convert_sync_batchnorm(module)  # type: ignore[no-untyped-call]
        return
    for layer in module.modules():
        if type(layer) is nn.BatchNorm2d:
            layer.__class__ = SyncBatchNorm2d


class SyncBatchNorm2d(nn.BatchNorm2d):
    """``nn.BatchNorm2d`` over the batches of all processes together, for CPU: PyTorch's own takes CUDA only.

    A process may have fewer images than the others, or none.
    """

    def forward(self, input: Tensor) -> Tensor:
        """(N, C, H, W) → the same. In evaluation, as ``nn.BatchNorm2d``."""
        if not self.training:
            return super().forward(input)
        x = input.float()
        mean, variance, count = _moments(x)
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        assert self.momentum is not None
        with torch.no_grad():
            self.num_batches_tracked.add_(1)
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * count / max(count - 1, 1), self.momentum)
        scale = self.weight * torch.rsqrt(variance + self.eps)
        centred = x - mean[:, None, None]
        return torch.addcmul(self.bias[:, None, None], centred, scale[:, None, None]).to(input.dtype)


def _moments(x: Tensor) -> tuple[Tensor, Tensor, float]:
    """(N, C, H, W) → mean (C,) and biased variance (C,) over all processes, and over how many values."""
    count = x.numel() // x.shape[1]
    mean = x.sum((0, 2, 3)) / max(count, 1)
    squares = (x - mean[:, None, None]).square().sum((0, 2, 3))
    # In double precision, in which Σx² - (Σx)² / n loses nothing that matters.
    mean, squares = mean.double(), squares.double()
    sums = torch.cat([mean * count, squares + count * mean.square(), mean.new_tensor([count])])
    sums = _AllReduce.apply(sums)
    total, squared = sums[:-1].chunk(2)
    n = sums[-1].item()
    mean = total / n
    return mean.to(x.dtype), (squared / n - mean.square()).to(x.dtype), n


class _AllReduce(Function):
    """The sum over all processes, and of the gradients on the way back."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        total = x.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        total = gradient.clone()
        dist.all_reduce(total)
        return total
