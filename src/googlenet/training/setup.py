"""The set-up of a run: device, network with its pretrained weights, precision, and the trainer of all of them."""

from __future__ import annotations

import logging
import warnings
from dataclasses import replace

import torch

from googlenet.errors import DeviceError, WeightsError
from googlenet.models.build import ConvNet, create
from googlenet.stages import stage
from googlenet.text import printable
from googlenet.training import distributed, transfer
from googlenet.training.display import say
from googlenet.training.distributed import Processes
from googlenet.training.fabric import Fabric
from googlenet.training.microbatches import fit_into_memory
from googlenet.training.plan import Plan
from googlenet.training.precision import fastest
from googlenet.training.sources import Source, open_source
from googlenet.training.trainer import Trainer


def choose_device(device: str) -> str:
    """Return the device to compute on; ``"auto"`` is the best. Raises :class:`DeviceError` where it is missing."""
    available = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if device == "auto":
        return next(name for name in ("cuda", "mps", "cpu") if available[name])
    if not available[device]:
        usable = ", ".join(name for name, there in available.items() if there)
        raise DeviceError(f"this machine has no {device}: it has {usable}; --device auto takes the best")
    return device


def read_weights(plan: Plan) -> tuple[Plan, Source | None]:
    """Read pretrained weights, if there are any, and return the plan that they lead to.

    Raises :class:`WeightsError` where they are not those of the run that is repeated.
    """
    if plan.weights is None or plan.resume:
        return plan, None
    with stage(f"reading {plan.weights}"):
        source = open_source(plan.weights, plan.asked, plan.options.download)
    expected = (plan.origin or {}).get("sha256", source.sha256)
    if source.sha256 != expected:
        raise WeightsError(
            f"{printable(source.name)} is not what the run to repeat was trained from any more: give --weights, or put "
            "back what was there"
        )
    return plan.with_weights(source.preprocessing, source.record()), source


def make_network(plan: Plan, source: Source | None, show: bool) -> ConvNet:
    """Build the network with fresh weights, then load what of ``source`` matches, and freeze the first stages."""
    recipe, class_names = plan.recipe, plan.data.class_names
    network = create(plan.network, num_classes=len(class_names), dropout=recipe.dropout, init=recipe.init)
    if source:
        loaded = transfer.load_matching(network, source, class_names, plan.preprocessing)
        for line in str(loaded).splitlines() if show else ():
            say(line)
    transfer.freeze_through(network, recipe.freeze)
    return network


def with_precision(plan: Plan, network: ConvNet, processes: Processes, device: str) -> Plan:
    """Return the plan with the fastest precision where it says auto: it is recorded, so that a resumed run keeps it."""
    if plan.recipe.precision != "auto":
        return plan
    with stage("trying precisions"):
        chosen = fastest(network, plan.preprocessing, plan.recipe.batch_size // processes.count, device)
    return replace(plan, recipe=plan.recipe.model_copy(update={"precision": processes.broadcast(chosen)}))


def with_parts_that_fit(plan: Plan, network: ConvNet, processes: Processes, device: str) -> Plan:
    """Return the plan with as many parts of a batch as the memory needs: they are recorded, as the precision is."""
    fabric, recipe = make_fabric(device, plan.recipe.precision), plan.recipe
    with stage("looking whether a batch fits into memory"):
        parts = max(processes.all_gather(fit_into_memory(recipe, network, plan.preprocessing, fabric, processes.count)))
    if parts == recipe.accumulate:
        return plan
    if processes.is_first:
        say(
            f"memory is short: each batch of {recipe.batch_size} is taken in {parts} parts whose gradients are added "
            f"(--accumulate {parts}); batch normalization sees one part at a time"
        )
    return replace(plan, recipe=recipe.model_copy(update={"accumulate": parts}))


def make_trainer(plan: Plan, network: ConvNet, device: str) -> Trainer:
    """Make the trainer of a plan."""
    fabric = make_fabric(device, plan.recipe.precision)
    return Trainer(network, plan.data, plan.recipe, plan.preprocessing, fabric, plan.options, plan.begun, plan.identity)


def make_fabric(device: str, precision: str) -> Fabric:
    """Make what wraps network and optimizer for the device, the precision and the processes that train together."""
    logging.getLogger("lightning_fabric").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="lightning_fabric")
    return distributed.fabric_for(device, "bf16-mixed" if precision == "bf16" else "32-true")
