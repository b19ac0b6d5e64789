"""How far fine-tuning goes, chosen once from its time and the machine, and recorded in the run's recipe."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace

import torch

from googlenet.models.analysis import analyse
from googlenet.models.build import ConvNet
from googlenet.models.spec import Network
from googlenet.stages import stage
from googlenet.training.display import say
from googlenet.training.distributed import Processes
from googlenet.training.frozen import maps_shape
from googlenet.training.maps import bytes_of
from googlenet.training.plan import Plan
from googlenet.training.precision import seconds_of_a_step
from googlenet.training.recipe import Recipe

MAX_SHARE = 0.5  # of a network's multiplications, in the stages that learn from cached maps
MIN_EPOCHS = 6  # on cached maps: the less time there is, the fewer stages learn
MIN_WHOLE_EPOCHS = 2  # of all stages; with less time for them, that phase is left out
OVERHEAD_SECONDS = 10.0  # of a run: loading, checking, writing the bundle
TRIAL_IMAGES = 8  # of a step
MEMORY_SHARE, DISK_SHARE = 0.25, 0.5  # of the memory there is and of the free disk, for maps by default
GIB = 2**30


def with_phases(plan: Plan, network: ConvNet, processes: Processes, device: str) -> Plan:
    """Return the plan with what its recipe leaves open: the stage whose maps are kept, of how many views, how long.

    Says where there is room for fewer views than the recipe asks for.
    """
    recipe = plan.recipe
    if plan.resume:
        return plan
    if recipe.unfreeze == "gradual" and recipe.cache_after is None:
        with stage("timing a training step"):
            seconds = _step_seconds(network, plan, device) / processes.count if recipe.minutes else 0.0
        recipe = processes.broadcast(_deepest(recipe, network.network, plan, seconds))
    frozen = recipe.freeze if recipe.unfreeze == "none" else recipe.cache_after
    if recipe.cached_views and frozen is not None:
        recipe = processes.broadcast(_with_room(recipe, plan, network, frozen, processes))
    if recipe.unfreeze == "gradual" and processes.is_first:
        then = "" if recipe.cached_share == 1 else "; then all that are not frozen do"
        say(f"the stages after {recipe.cache_after} learn for {recipe.cached_share:.0%} of the time{then}")
        if not recipe.cached_views:
            say("a new classifier begins at zero: with cached_views in the recipe it would be fitted before")
    return replace(plan, recipe=recipe)


def _deepest(recipe: Recipe, network: Network, plan: Plan, seconds: float) -> Recipe:
    """Choose the first stages to freeze, so that the time is enough for some epochs of the others.

    ``seconds`` are those of training the whole network on an image; 0 in a run by epochs.
    """
    whole = seconds * len(plan.data.train)  # an epoch
    total = 60 * (recipe.minutes or 0)
    share = recipe.cached_share
    if whole and (1 - share) * total < MIN_WHOLE_EPOCHS * whole:
        share = 1.0
    most = MAX_SHARE if not whole else min(MAX_SHARE, (share * total - OVERHEAD_SECONDS) / (MIN_EPOCHS * whole))
    name = last_frozen(network, plan.preprocessing.size, most, recipe.freeze)
    if network.pooled and len(network.through(name)) > len(network.through(network.pooled[0])):
        name = network.pooled[0]  # later stages' maps alone are not all that the classifier sees
    return recipe.model_copy(update={"cache_after": name, "cached_share": share})


def last_frozen(network: Network, size: int, most: float, freeze: str | None = None) -> str:
    """Return the first stage after which stages with parameters have at most the share ``most`` of multiplications.

    It is not before ``freeze``, and leaves something to learn.

    >>> from googlenet.models.zoo import find
    >>> last_frozen(find("inception_v3"), 299, 0.5), last_frozen(find("inception_v3"), 299, 0.0)
    ('mixed_6b', 'dropout')
    """
    costs = {row.name: row.cost for row in analyse(network, size).rows}
    total = sum(cost.macs for cost in costs.values())
    names = [each.name for each in network.stages]
    first = 0 if freeze is None else names.index(freeze)
    last = max(at for at, name in enumerate(names) if costs[name].parameters) - 1
    for at in range(first, last):
        if sum(costs[name].macs for name in names[at + 1 :]) <= most * total:
            return names[at]
    return names[last]


def _with_room(recipe: Recipe, plan: Plan, network: ConvNet, frozen: str, processes: Processes) -> Recipe:
    """Keep as many views as there is room for."""
    if processes.count > 1:
        say(f"maps are not kept where {processes.count} processes train: the frozen stages are computed in every epoch")
        return recipe.model_copy(update={"cached_views": 0})
    shape = maps_shape(network, plan.preprocessing, frozen)
    view, held_out = (bytes_of((len(part), *shape)) for part in (plan.data.train, plan.data.val))
    held_out *= 1 + recipe.mirror
    room = _room(plan)
    views = max(0, min(recipe.cached_views, int((room - held_out) // view)))
    needed = f"maps after {frozen} take {view / GIB:.2g} GiB a view, and there is room for {max(0, room) / GIB:.2g} GiB"
    if not views:
        say(f"{needed}: they are computed anew in every epoch; --cache-gib allows more")
    elif views < recipe.cached_views:
        say(f"{needed}: {views} of {recipe.cached_views} views are kept; --cache-gib allows more")
    return recipe.model_copy(update={"cached_views": views})


def _room(plan: Plan) -> float:
    """Return the bytes for maps."""
    if plan.options.cache_gib is not None:
        return plan.options.cache_gib * GIB
    folder = next(path for path in (plan.run.absolute(), *plan.run.absolute().parents) if path.is_dir())
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else 16 * GIB
    return min(MEMORY_SHARE * memory, DISK_SHARE * shutil.disk_usage(folder).free)


def _step_seconds(network: ConvNet, plan: Plan, device: str) -> float:
    """Return the seconds that a training step of the whole network takes for each image."""
    dtype = torch.bfloat16 if plan.recipe.precision == "bf16" else torch.float32
    with torch.random.fork_rng(devices=[]):
        (seconds,) = seconds_of_a_step(network, plan.preprocessing, TRIAL_IMAGES, (dtype,), device)
    return seconds / TRIAL_IMAGES
