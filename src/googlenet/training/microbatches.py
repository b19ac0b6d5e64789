"""A batch in parts: their gradients are added up, so that a step of a large batch needs the memory of a small one."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn

from googlenet import machine
from googlenet.errors import MachineError
from googlenet.models.build import ConvNet
from googlenet.preprocessing import Preprocessing
from googlenet.training.fabric import Fabric
from googlenet.training.memory import free_bytes
from googlenet.training.objective import Objective
from googlenet.training.recipe import Recipe
from googlenet.training.task import OneLabel, Task

PROBE_IMAGES = 2, 4  # in the two passes whose difference is what an image needs
GRADIENT_SHARE = 1.3  # of what the forward pass keeps: steps of googlenet_bn took 0.82 to 1.13 times as much
COPIES_OF_WEIGHTS = 5  # gradients, two moments, the moving average, a checkpoint in the making
SAFE_SHARE = 0.5  # of free memory: a step that is expected to need less is not tried


def accumulate_gradients(
    fabric: Fabric, objective: nn.Module, task: Task, images: Tensor, labels: Tensor, parts: int,
    weight: Callable[[int], float],
) -> list[float]:  # fmt: skip
    """Add the gradients of a batch to those of the parameters, in ``parts`` one after another.

    The mean loss of each part counts by ``weight(n)``, n being its images: with n / N the gradients of all parts are
    those of the batch of N, up to rounding, but for batch normalization, whose statistics are of one part.

    Returns, summed over the images: the loss, its unweighted terms, and the right answers, of each head as well.
    """
    sums: list[float] = []
    pairs = zip(images.tensor_split(parts), labels.tensor_split(parts), strict=True)
    for number, (some, theirs) in enumerate(pairs, start=1):
        n, truth = len(theirs), fabric.to_device(theirs)
        # Several processes exchange their gradients once, after the last part.
        with fabric.no_backward_sync(objective, enabled=number < parts):  # type: ignore[arg-type]
            losses = objective(fabric.to_device(some), truth)
            fabric.backward(losses.total * weight(n))
        means: list[float] = [losses.total.item(), *losses.parts.tolist()]
        right = (float(task.correct(logits, truth)) for logits in (losses.logits, *losses.aux))
        counted = [*(n * x if n else 0.0 for x in means), *right]
        sums = [a + b for a, b in zip(sums, counted, strict=True)] if sums else counted
    return sums


def parts_of(recipe: Recipe, count: int, processes: int) -> int:
    """Return in how many parts ``count`` images of all processes are taken: batch normalization needs two in each."""
    return max(1, min(recipe.accumulate, count // (2 * processes)))


def fit_into_memory(
    recipe: Recipe, network: ConvNet, preprocessing: Preprocessing, fabric: Fabric, processes: int
) -> int:
    """Return the parts of a batch, ``recipe.accumulate`` or more, whose training step fits into the free memory.

    What a step needs is estimated from what two images need. Where that is not far below what is free, a step is
    tried. Raises :class:`MachineError` where not even two images at a time fit.
    """
    batch = recipe.batch_size // processes
    with torch.random.fork_rng(devices=[fabric.device] if fabric.device.type == "cuda" else []):
        objective = Objective(copy.deepcopy(network), preprocessing, 0.0, OneLabel(network.network.num_classes))
        objective.to(fabric.device).to(memory_format=torch.channels_last).train()
        parts = recipe.accumulate
        of_image = _bytes_of_an_image(objective, preprocessing.size, fabric)
        while not _fits(objective, preprocessing.size, fabric, -(-batch // parts), of_image):
            if parts >= batch // 2:
                raise MachineError(machine.MEMORY)
            parts = min(2 * parts, batch // 2)
    return parts


def _fits(objective: Objective, size: int, fabric: Fabric, images: int, of_image: float) -> bool:
    free = free_bytes(fabric.device)
    weights = sum(parameter.nbytes for parameter in objective.parameters())
    needed = images * of_image * GRADIENT_SHARE + COPIES_OF_WEIGHTS * weights
    if free is not None and (needed < SAFE_SHARE * free or needed > free):
        return needed < free
    try:
        _step(objective, size, fabric, images)
    except (MemoryError, RuntimeError) as error:
        if machine.explain(error) != machine.MEMORY:
            raise
        return False
    finally:
        objective.zero_grad(set_to_none=True)
        if fabric.device.type == "cuda":
            torch.cuda.empty_cache()
    return True


def _bytes_of_an_image(objective: Objective, size: int, fabric: Fabric) -> float:
    """Return what the forward pass keeps of each image for the backward pass, in bytes."""
    totals = []
    for images in PROBE_IMAGES:
        kept: dict[int, int] = {}

        def note(tensor: Tensor, kept: dict[int, int] = kept) -> Tensor:
            kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            _step(objective, size, fabric, images)
        totals.append(sum(kept.values()))
    objective.zero_grad(set_to_none=True)
    return (totals[1] - totals[0]) / (PROBE_IMAGES[1] - PROBE_IMAGES[0])


def _step(objective: Objective, size: int, fabric: Fabric, images: int) -> None:
    channels = objective.network.network.in_channels
    batch = torch.zeros(images, channels, size, size, dtype=torch.uint8, device=fabric.device)
    with fabric.autocast():
        loss = objective(batch, torch.zeros(images, dtype=torch.long, device=fabric.device)).total
    loss.backward()
