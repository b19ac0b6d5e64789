"""How much is to be removed, and which branches that makes. No torch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from googlenet.errors import RecipeError
from googlenet.explaining.branches import LastModule
from googlenet.models.analysis import analyse
from googlenet.models.spec import Network
from googlenet.pruning.ranking import Branch, Ranking, costs_of
from googlenet.pruning.slicing import drop_branches
from googlenet.text import printable

MACS = 0.75  # of the multiply-accumulates that are left by default


@dataclass(frozen=True)
class Budget:
    """How many branches to ``remove``, or the share of the multiply-accumulates, ``macs``, to be left at most."""

    remove: int | None
    macs: float | None

    @classmethod
    def of(cls, remove: Any, macs: Any) -> Budget:
        """Check what was asked for. Raises :class:`RecipeError`."""
        if remove is not None and macs is not None:
            raise RecipeError("--remove and --macs exclude each other: give one")
        if remove is not None and (isinstance(remove, bool) or not isinstance(remove, int) or remove < 1):
            raise RecipeError(f"remove = {remove!r}: should be a number of branches, 1 or more")
        share = MACS if macs is None else macs
        if isinstance(share, bool) or not isinstance(share, int | float) or not 0 < share < 1:
            raise RecipeError(f"macs = {macs!r}: should be the share of multiply-accumulates to keep, above 0, below 1")
        return cls(remove, None if remove is not None else float(share))

    def check(self, network: Network, size: int, modules: Mapping[str, LastModule]) -> None:
        """Raise :class:`RecipeError` where more is to be removed than there is: each module keeps a branch."""
        name, most = printable(network.name), sum(len(module.names) - 1 for module in modules.values())
        if self.remove is not None and self.remove > most:
            raise RecipeError(
                f"--remove {self.remove}: {name} has {most + len(modules)} branches that can be removed, in "
                f"{len(modules)} modules which keep one each: give {most} or less"
            )
        if self.macs is not None and self.macs < (least := self._least(network, size, modules)):
            raise RecipeError(
                f"--macs {self.macs:g}: with one branch left in each module, {name} still needs "
                f"{least:.1%} of its multiply-accumulates: give more than that"
            )

    def _least(self, network: Network, size: int, modules: Mapping[str, LastModule]) -> float:
        costs = costs_of(network, size, modules)
        kept = {(name, min(module.names, key=lambda each: costs[name, each])) for name, module in modules.items()}
        return analyse(drop_branches(network, costs.keys() - kept), size).macs / analyse(network, size).macs

    def choose(self, network: Network, size: int, ranking: Ranking) -> tuple[Branch, ...]:
        """Return what is removed, in the order of the ranking; the last branch of a module stays.

        Raises :class:`RecipeError` where the branches that would have to stay cost too much.
        """
        left, chosen = Counter(branch.module for branch in ranking.branches), list[Branch]()
        whole = macs = analyse(network, size).macs
        for branch in ranking.branches:
            if len(chosen) == self.remove or (self.macs is not None and macs <= self.macs * whole):
                break
            if left[branch.module] > 1:
                left[branch.module] -= 1
                chosen.append(branch)
                macs = analyse(drop_branches(network, {each.key for each in chosen}), size).macs
        if self.macs is not None and macs > self.macs * whole:
            raise RecipeError(
                f"--macs {self.macs:g}: once each module has only its most useful branch left, {macs / whole:.1%} of "
                "the multiply-accumulates are needed: give that or more"
            )
        return tuple(chosen)
