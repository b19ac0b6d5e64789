"""``--recipe auto`` and ``--weights auto``: the data is looked at, then rules choose what nobody gave. No torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from googlenet.models import zoo
from googlenet.models.spec import Network
from googlenet.stages import stage
from googlenet.terminal import console, duration, say
from googlenet.training import auto, local_weights, speed, torchrun
from googlenet.training.facts import facts_of
from googlenet.training.local_weights import Pretrained
from googlenet.training.options import RunOptions, absent_devices
from googlenet.training.plan import AUTO, NONE, Plan, check_freeze, look
from googlenet.training.recipe import Recipe
from googlenet.training.situation import Choice, Situation, own_size
from googlenet.training.speed import Speed


@dataclass(frozen=True)
class Request:
    """What was asked of ``train``: recipe, the settings that were given, and weights."""

    recipe: str | Path | Recipe | None
    settings: Mapping[str, Any]
    weights: str | Path | None

    @property
    def chooses_recipe(self) -> bool:
        """Whether the recipe is to be chosen: no other was named."""
        return self.recipe is None or self.recipe == AUTO

    @property
    def chooses_weights(self) -> bool:
        """Whether weights are to be looked for: with a recipe that was named, only where that was asked for."""
        return str(self.weights) == AUTO or (self.weights is None and self.chooses_recipe)

    @property
    def given(self) -> dict[str, Any]:
        """The settings that were given."""
        return {name: value for name, value in self.settings.items() if value is not None}


@dataclass(frozen=True)
class Decision:
    """What was chosen, for all processes of a run: recipe, weights, and what ``run.json`` records of it."""

    recipe: str | Path | Recipe | None
    weights: str | Path | None
    record: dict[str, Any]


def decide(plan: Plan, request: Request, options: RunOptions, measure: Callable[[], Speed]) -> Decision:
    """Choose recipe and weights for the images of a plan, and print them. ``measure`` loads PyTorch, where it must.

    Raises what :func:`~googlenet.training.local_weights.find` does; :class:`RecipeError` for stages that are to be
    frozen although there are no weights.
    """
    with stage("looking at the images"):
        facts = facts_of(plan.data, plan.preprocessing.channels)
    asked = request.given.get("network")
    network = zoo.resolve(asked) if asked is not None else None
    found = local_weights.find(network) if request.chooses_weights else []
    if not found and request.chooses_weights:
        named = {name: request.given[name] for name in ("freeze", "unfreeze") if request.given.get(name)}
        check_freeze(Recipe(**named), None)
    given = {name: value for name, value in request.given.items() if name != "network"}
    situation = Situation(facts, given, network, _explicit(plan, request), _speed(request, options, measure))
    weights = auto.pick_weights(situation, found) if request.chooses_weights else None
    situation = replace(situation, weights=weights or situation.weights)
    lines, recipe = [], request.recipe
    record: dict[str, Any] = {"facts": facts.to_json(), "speed": situation.speed and situation.speed.to_json()}
    if request.chooses_recipe:
        choice = auto.choose(situation)
        recipe, lines = choice.recipe, describe(situation, choice)
        if request.chooses_weights and weights is None and auto.should_suggest_weights(situation):
            lines.append(_suggestion(network))
    if weights is not None:
        where = f"{weights.path} ({weights.found})"
        lines.append(f"weights: {weights.network.name} from {where}; --weights none starts from scratch")
    for line in lines:
        say(line, to=console(stderr=True))
    path = weights.path if weights else None if request.chooses_weights else request.weights
    return Decision(recipe, path, record | {"lines": lines})


def carry_out(plan: Plan, request: Request, decision: Decision) -> Plan:
    """Return the plan with what was decided, for the images that were found."""
    planned = look(plan.run, decision.recipe, request.settings, decision.weights or NONE, overwrite=plan.overwrite)
    value_range = plan.preprocessing.value_range
    return replace(planned, data=plan.data, described=plan.described, record=plan.record, choice=decision.record,
                   preprocessing=replace(planned.preprocessing, value_range=value_range))  # fmt: skip


def describe(situation: Situation, choice: Choice) -> list[str]:
    """Return three lines: what was chosen, why, and how to change it."""
    recipe = choice.recipe.override(**situation.given)
    facts, size = situation.facts, recipe.image_size or own_size(situation, choice)
    length = f"{recipe.minutes:g} minutes" if recipe.minutes else f"{recipe.epochs} epoch{'s' * (recipe.epochs > 1)}"
    about = f" in about {duration(choice.seconds)}" if choice.seconds and not recipe.minutes else ""
    last = recipe.freeze or (recipe.pool_from if recipe.unfreeze == "gradual" else None)
    frozen = f", frozen up to {last}" if last else ""
    start = "from pretrained weights" if situation.weights else "from scratch"
    what = (f"auto: {choice.network.name} at {size} px {start}{frozen}, recipe {choice.base}, {length}{about}, "
            f"batches of {recipe.batch_size}")  # fmt: skip
    seen = f"{facts.side or 'unknown'} px" + (", ink" if facts.ink else ", grey" if facts.grey else "")
    why = f"because: {facts.train:,} training images of {facts.classes} classes, {seen}"
    why += "".join(f"; {reason}" for reason in choice.reasons)
    how = "any option replaces its part, such as --image-size or --minutes; --recipe RUN repeats this run"
    return [what, why, how]


def _suggestion(network: Network | None) -> str:
    named = f" --network {network.name}" if network is not None else ""
    ways = f"--weights torchvision{named} --download"
    return f"few photographs, and no pretrained weights on this machine: fetch some to be more accurate: {ways}"


def _explicit(plan: Plan, request: Request) -> Pretrained | None:
    """Describe weights that were named, as the plan found them."""
    if request.chooses_weights or plan.weights is None:
        return None
    fed = plan.preprocessing
    return Pretrained(str(plan.weights), plan.network, "named", fed.size, fed.channels, named=True)


def _speed(request: Request, options: RunOptions, measure: Callable[[], Speed]) -> Speed | None:
    """Return the speed of this machine where it decides something: on processors, where no epochs were given."""
    if "epochs" in request.given or not request.chooses_recipe:
        return None
    on_cpu = options.device == "cpu" or (options.device == "auto" and {"cuda", "mps"} <= absent_devices())
    if not on_cpu or torchrun.is_launched():  # several processes share the work
        return None
    return speed.cached() or measure()
