"""What ``--recipe auto`` chooses: rules from facts about data, machine and time to settings of a recipe. No torch.

A rule is an entry of ``RULES``: docs/recipes.md shows them, and a test holds both together. They apply from top to
bottom; each sees what those above it chose. What the user gives is left as it is.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from googlenet.models import zoo
from googlenet.models.analysis import analyse, last_within, minimum_size
from googlenet.models.weights import layouts_of
from googlenet.training.facts import MAX_GLYPH_SIDE
from googlenet.training.inherit import TORCHVISION
from googlenet.training.local_weights import Pretrained
from googlenet.training.recipe import Recipe
from googlenet.training.situation import (
    LIMIT_MINUTES,
    Choice,
    Situation,
    own_size,
    passes_at,
    run_seconds,
    size_of,
)

MIN_PASSES = 10  # passes over the images that the time should allow, or the images are made smaller
MIN_PASSES_CACHED = 2  # where maps are kept: a linear classifier needs one, and small details more than passes
MIN_PASSES_UNFROZEN = 10  # or the first stages of pretrained weights are frozen
FROZEN_SHARE = 0.6  # of the multiply-accumulates, at most, that are then frozen
# What then learns: on kept maps, from a linear classifier on the averaged maps of all stages that are not frozen.
GRADUAL = {"unfreeze": "gradual", "cached_views": 4, "cached_share": 1.0, "freeze_norm": True, "lr": 0.0005}
MANY_PHOTOGRAPHS = 1000  # enough to train all stages of pretrained weights, not the last ones alone
SLIGHTLY_SMALLER = 0.74  # of the side that the weights expect (224 of 299 px): images that must then fit into the time
FEW_IMAGES = 3000  # photographs: with fewer, pretrained weights gain most
SMALL_SIDE = 96  # pixels a side up to which images are small
SIZES = ((16, 32), (64, 64), (96, 96), (160, 128))  # pixels a side of the images, up to which → of the input
INK_SIZES = ((32, 32), *SIZES[1:])  # single characters: strokes need no enlarging
OBLONG = (1.05, 1.5)  # longer side by shorter side, from … to: what cameras make
SMALLER = (256, 224, 192, 160, 128, 96)  # sizes to fall back to where the time is short
# The epochs of a recipe for 5,000 images, the least and the most: fewer images are seen more often, by the square root.
EPOCHS_AT = 5000
EPOCHS = {
    "default": (40, 10, 200),
    "photos": (40, 10, 200),
    "small": (40, 10, 200),
    "digits": (10, 5, 50),
    "finetune": (11, 8, 100),
    "finetune_photos": (11, 8, 100),
}  # least, most
MAX_CLASS_RATIO = 10  # of the largest to the smallest class: from there on, small classes count more
STEPS_PER_EPOCH = 10  # at least, or the batches are made smaller
MIN_BATCH = 8


Chosen = tuple[Mapping[str, Any], str] | None  # settings, and why; or None where a rule does not apply


@dataclass(frozen=True)
class Rule:
    """One rule: ``when`` it applies and what is ``then`` chosen, in words, and the function that does it."""

    when: str
    then: str
    choose: Callable[[Situation, Choice], Chosen]


def choose(situation: Situation) -> Choice:
    """Choose a recipe. The same situation always gives the same choice.

    >>> from googlenet.training.facts import Facts
    >>> choose(Situation(Facts(5000, 2000, 10, 500, 500, side=32))).settings["image_size"]
    64
    """
    network = situation.weights.network if situation.weights else situation.network
    choice = Choice("default", {}, network or zoo.find(Recipe().network), ())
    for rule in RULES:
        found = rule.choose(situation, choice)
        settings = {name: value for name, value in (found or ({}, ""))[0].items() if name not in situation.given}
        if found is None or not settings:
            continue
        choice = replace(choice, base=settings.pop("recipe", choice.base), settings={**choice.settings, **settings},
                         reasons=(*choice.reasons, *filter(None, found[1:])))  # fmt: skip
    return replace(choice, seconds=run_seconds(situation, choice))


def pick_weights(situation: Situation, found: list[Pretrained]) -> Pretrained | None:
    """Return the weights to start from, among those on this machine; ``None`` to train from scratch.

    Those that the user named are taken first, where their images are not much larger than these. Published ones are
    for photographs: the most accurate of which the time allows five passes with its first stages frozen, else the one
    that takes least.
    """
    facts = situation.facts
    if situation.facts.channels not in (1, 3):
        return next((each for each in found if each.named and each.channels == facts.channels), None)
    side = facts.side or SMALL_SIDE + 1
    named = [each for each in found if each.named and each.side <= 4 * side and each.channels in (1, 3)]
    published = [each for each in found if not each.named and side > SMALL_SIDE]
    quick = [each for each in published if _passes(situation, each, frozen=True) >= 5]
    slow = sorted(published, key=lambda each: analyse(each.network, each.side).macs)
    return next(iter((*named, *quick, *slow)), None)


def _passes(situation: Situation, weights: Pretrained, frozen: bool) -> float:
    """Return how often the time allows to see every image, starting from these weights."""
    freeze = {"freeze": last_within(weights.network, FROZEN_SHARE)} if frozen else {}
    choice = Choice("finetune", freeze, weights.network, ())
    return passes_at(situation, choice, weights.side)


def should_suggest_weights(situation: Situation) -> bool:
    """Whether there are so few photographs, and no weights, that pretrained ones should be fetched."""
    facts, network = situation.facts, situation.network
    if network is not None and TORCHVISION not in layouts_of(network):
        return False
    return facts.train < FEW_IMAGES and not facts.ink and (facts.side or 0) > SMALL_SIDE and facts.channels in (1, 3)


# The rules.


def _base(situation: Situation, choice: Choice) -> Chosen:
    side = situation.facts.side
    if situation.weights:
        return {"recipe": "finetune_photos" if _all_stages_can_learn(situation, choice) else "finetune"}, ""
    if side and side <= MAX_GLYPH_SIDE and situation.facts.ink:
        return {"recipe": "digits"}, "single characters learn quickly"
    if side and side <= SMALL_SIDE:
        return {"recipe": "small"}, ""
    return ({"recipe": "photos"}, "") if choice.network.norm else None  # Muon was not tried without normalization


def _all_stages_can_learn(situation: Situation, choice: Choice) -> bool:
    """Whether there are enough photographs to train every stage, and time enough, with images a little smaller."""
    facts, own = situation.facts, own_size(situation, choice)
    if facts.train < MANY_PHOTOGRAPHS or (facts.side or 0) <= SMALL_SIDE or not choice.network.norm:
        return False
    if situation.given.keys() & {"freeze", "unfreeze"}:
        return False
    tried = replace(choice, base="finetune_photos")
    sizes = [size for size in (own, *SMALLER) if own * SLIGHTLY_SMALLER <= size <= own]
    return any(passes_at(situation, tried, size) >= MIN_PASSES for size in sizes)


def _image_size(situation: Situation, choice: Choice) -> Chosen:
    side = situation.facts.side
    sizes = INK_SIZES if situation.facts.ink else SIZES
    size = next((size for most, size in sizes if side and side <= most), None)
    if situation.weights or size is None:
        return None
    size = max(min(size, choice.network.input_size), minimum_size(choice.network))
    return {"image_size": size}, f"{size} px show all of them"


def _smaller_images(situation: Situation, choice: Choice) -> Chosen:
    size = size_of(situation, choice)
    passes = MIN_PASSES_CACHED if choice.settings.get("cached_views") else MIN_PASSES
    if situation.speed is None or passes_at(situation, choice, size) >= passes:
        return None
    least = max(minimum_size(choice.network), size // 2)
    smaller = [each for each in SMALLER if least <= each < size]
    fits = [each for each in smaller if passes_at(situation, choice, each) >= passes]
    if not smaller:
        return None
    best = max(fits) if fits else min(smaller)
    return {"image_size": best}, f"{size} px would take too long"


def _freeze(situation: Situation, choice: Choice) -> Chosen:
    if not situation.weights or situation.speed is None or choice.base == "finetune_photos":
        return None
    last = last_within(choice.network, FROZEN_SHARE)
    if last is None or passes_at(situation, choice, size_of(situation, choice)) >= MIN_PASSES_UNFROZEN:
        return None
    if situation.given.keys() & {"freeze", "unfreeze"} or not choice.network.averages_then_classifies:
        return {"freeze": last}, "all stages would take too long"
    return {**GRADUAL, "pool_from": last}, "all stages would take too long"


def _epochs(situation: Situation, choice: Choice) -> Chosen:
    if "minutes" in situation.given:
        return None
    images = max(situation.facts.train, 1)
    at, least, most = EPOCHS[choice.base]
    epochs = round(min(max(at * math.sqrt(EPOCHS_AT / images), least), most))
    return {"epochs": epochs}, ""


def _fewer_epochs(situation: Situation, choice: Choice) -> Chosen:
    if situation.speed is None or "minutes" in situation.given:
        return None
    fits = int(passes_at(situation, choice, size_of(situation, choice)))
    wanted = choice.settings.get("epochs", 1)
    if fits >= wanted:
        return None
    return {"epochs": max(fits, min(wanted, 3))}, f"{wanted} epochs would take over {LIMIT_MINUTES:.0f} minutes"


def _batch_size(situation: Situation, choice: Choice) -> Chosen:
    recipe = choice.recipe
    size = recipe.batch_size
    if "batch_size" in situation.given:
        return None
    while size > MIN_BATCH and size * STEPS_PER_EPOCH > situation.facts.train:
        size //= 2
    if size >= recipe.batch_size:
        return None
    lr = float(f"{recipe.lr * math.sqrt(size / recipe.batch_size):.2g}")
    return {"batch_size": size, "lr": lr}, "small batches make more steps of few images"


def _grey(situation: Situation, choice: Choice) -> Chosen:
    if situation.weights or not situation.facts.grey or situation.facts.channels != 3:
        return None
    return {"in_channels": 1}, "no image has colours"


def _ink(situation: Situation, choice: Choice) -> Chosen:
    if not situation.facts.ink or choice.base == "digits":  # which does not mirror either
        return None
    return {"augmentation": "documents"}, "ink is never mirrored, and cropped little"


def _resize(situation: Situation, choice: Choice) -> Chosen:
    facts, (least, most) = situation.facts, OBLONG
    if (facts.side or 0) <= SMALL_SIDE or not least <= facts.aspect <= most:
        return None
    return {"resize": "squash"}, "the centre alone would not show all of an image"


def _class_balance(situation: Situation, choice: Choice) -> Chosen:
    ratio = situation.facts.largest / max(situation.facts.smallest, 1)
    if ratio <= MAX_CLASS_RATIO:
        return None
    return {"class_balance": "weighted_loss"}, f"one class has {ratio:.0f} times the images of another"


RULES = (
    Rule(
        "pretrained weights; single characters of up to 40 px a side; images of up to 96 px; others",
        "recipe `finetune` (`finetune_photos`: 1,000 photographs or more, and time for ten passes at three quarters "
        "of their size); `digits`; `small`; `photos`, or `default` for a network without batch normalization",
        _base,
    ),
    Rule(
        "from scratch, images of up to 16, 64, 96 or 160 px a side (single characters: 32, 64, …)",
        "`image_size` 32, 64, 96 or 128, at most the network's own; larger images: the network's own",
        _image_size,
    ),
    Rule(
        "recipe `finetune`, and time for fewer than ten passes over the images",
        "`unfreeze` `gradual`: the first stages are frozen, up to 60 % of the multiply-accumulates, and the classifier "
        "sees the averaged maps of all later ones (`pool_from`); else `freeze`",
        _freeze,
    ),
    Rule(
        "still time for fewer than ten passes, or two with `unfreeze`",
        "a smaller `image_size`: the largest of 256, 224, 192, 160, 128 and 96 with as many passes, at least half",
        _smaller_images,
    ),
    Rule(
        "no `--minutes`",
        "`epochs` 40·√(5,000 / images), 10 to 200; characters 10·√(…), 5 to 50; pretrained weights 11·√(…), 8 to 100",
        _epochs,
    ),
    Rule("no `--minutes`, and it would take longer than 60", "as many `epochs` as take 60 minutes", _fewer_epochs),
    Rule(
        "fewer than ten steps an epoch",
        "half the `batch_size`, down to 8; `lr` times the square root of their ratio",
        _batch_size,
    ),
    Rule("from scratch, and no image has colours", "`in_channels` 1", _grey),
    Rule(
        "ink on paper, or single characters: nearly no colours, on a ground of one brightness",
        "`augmentation` `documents`, which does not mirror; `digits` has its own",
        _ink,
    ),
    Rule(
        "images of more than 96 px whose sides differ by 5 to 50 % in the median",
        "`resize` `squash`: all of an image is seen, and random crops vary the proportions anyway",
        _resize,
    ),
    Rule("the largest class has more than ten times the images of the smallest", "`class_balance` `weighted_loss`",
         _class_balance),
)  # fmt: skip
