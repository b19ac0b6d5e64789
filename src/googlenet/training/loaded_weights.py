"""What a network loaded of pretrained weights, as lines for people: tensors by stage, and classes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import groupby

import torch
from torch import Tensor

from googlenet.text import first_few


@dataclass(frozen=True)
class Classes:
    """The classes of a source, none where ``known`` is ``None``, beside those that are to be learnt.

    A class that is new begins with the mean of the rows that are kept: an average answer, whatever constant all
    logits share, which a softmax does not see.

    >>> changed = Classes(("cat", "dog"), ("bird", "dog", "cat"))
    >>> str(changed)
    'classes: kept cat, dog; new bird'
    >>> import torch
    >>> changed.rows(torch.tensor([1.0, 3.0])).tolist()
    [2.0, 3.0, 1.0]
    """

    known: tuple[str, ...] | None
    wanted: tuple[str, ...]

    @property
    def same(self) -> bool:
        """Whether they are the same, in the same order."""
        return self.known == self.wanted

    @property
    def kept(self) -> list[str]:
        """The classes of the source that are wanted."""
        return [name for name in self.known or () if name in self.wanted]

    @property
    def reason(self) -> str:
        """Why a classifier starts fresh."""
        return "its classes are unknown" if self.known is None else "other classes"

    def rows(self, given: Tensor) -> Tensor | None:
        """Return the rows of a classifier (K, ...) for the classes that are wanted; ``None`` if it has others."""
        known = {name: row for row, name in enumerate(self.known or ())}
        if not given.ndim or len(given) != len(known) or not given.is_floating_point():
            return None
        mean = given[[known[name] for name in self.kept]].float().mean(0).to(given.dtype)
        return torch.stack([given[known[name]] if name in known else mean for name in self.wanted])

    def __str__(self) -> str:
        """Return a line: what was kept, what is new, what is gone."""
        new = [name for name in self.wanted if name not in set(self.known or ())]
        gone = [name for name in self.known or () if name not in set(self.wanted)]
        parts = (
            (f"kept {first_few(self.kept)}", True),
            (f"new {first_few(new)}", new),
            (f"gone {first_few(gone)}", gone),
        )
        return "classes: " + "; ".join(text for text, there in parts if there)


@dataclass(frozen=True)
class LoadedWeights:
    """What a network loaded from a :class:`Source`: the keys of the ``matched`` tensors and their ``parameters``.

    ``own`` and ``theirs`` are all keys of the network and of the source. ``reason`` says why classifiers are new
    where the classes differ; where some are the same, ``classes`` says whose rows were kept.
    """

    source: str
    matched: list[str]
    parameters: int
    own: list[str] = field(repr=False)
    theirs: list[str] = field(repr=False)
    reason: str = ""
    notes: tuple[str, ...] = ()
    classes: Classes | None = None

    @property
    def unused(self) -> list[str]:
        """The tensors of the source that fit nowhere."""
        return _without(self.theirs, self.matched)

    @property
    def new(self) -> list[str]:
        """The tensors of the network that start fresh."""
        return _without(self.own, self.matched)

    def __str__(self) -> str:
        """Return up to three lines, by stage, one about the classes, and a line for each note."""
        count = f"{len(self.matched)} tensors ({self.parameters:,} parameters)"
        lines = [f"loaded {count} from {self.source}: {_by_stage(self.matched, self.own)}"]
        if self.unused:
            lines.append(f"unused: {_by_stage(self.unused, self.theirs)}")
        if self.new:
            lines.append(f"new: {_by_stage(self.new, self.own)}" + (f" ({self.reason})" if self.reason else ""))
        lines += [str(self.classes)] if self.classes else []
        lines += [f"note: {note}" for note in self.notes]
        return "\n".join(lines)


def _by_stage(keys: Sequence[str], whole: Iterable[str]) -> str:
    """Name the stages that are in ``keys`` with all of their ``whole`` keys, and the layers of others.

    >>> _by_stage(["a.w", "b.w", "c.w", "d.0.w", "d.0.b"], ["a.w", "b.w", "c.w", "d.0.w", "d.0.b", "d.1.w"])
    'a to c, d.0'
    """
    among = set(keys)
    names: list[str] = []
    stages = [(stage, list(inside)) for stage, inside in groupby(whole, stage_of)]
    for is_whole, group in groupby(stages, lambda stage: among.issuperset(stage[1])):
        if is_whole:
            names += _span([stage for stage, _ in group])
        else:
            inside = [key for _, every in group for key in every if key in among]
            names += [first_few(dict.fromkeys(".".join(key.split(".")[:2]) for key in inside))] if inside else []
    return ", ".join(names)


def stage_of(key: str) -> str:
    """Return the stage of a tensor: the first part of its key."""
    return key.partition(".")[0]


def _span(stages: list[str]) -> list[str]:
    return stages if len(stages) < 3 else [f"{stages[0]} to {stages[-1]}"]


def _without(keys: Iterable[str], others: Iterable[str]) -> list[str]:
    there = set(others)
    return [key for key in keys if key not in there]
