"""Libraries that import what they need only for others: it is hidden from them while they are imported themselves."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

# scikit-learn looks whether pandas is there: where it is, that is a third of a second, as long as Matplotlib takes.
SPARED = {"sklearn.utils.fixes": "pandas"}


def spare_imports() -> None:
    """Hide what ``SPARED`` names from the modules there, in this process. It can be imported before and afterwards."""
    sys.meta_path.insert(0, _Finder())


class _Finder(MetaPathFinder):
    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        if name not in SPARED or SPARED[name] in sys.modules:
            return None
        spec = PathFinder.find_spec(name, path)
        if spec is not None and spec.loader is not None:
            spec.loader = _Without(spec.loader, SPARED[name])
        return spec


class _Without(Loader):
    """Loads a module as its own loader does, and does not let it import another one."""

    def __init__(self, own: Any, hidden: str) -> None:
        self.own, self.hidden = own, hidden

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        made: ModuleType | None = self.own.create_module(spec)
        return made

    def exec_module(self, module: ModuleType) -> None:
        module.__loader__ = self.own
        if module.__spec__ is not None:
            module.__spec__.loader = self.own
        sys.modules[self.hidden] = None  # type: ignore[assignment]
        try:
            self.own.exec_module(module)
        finally:
            del sys.modules[self.hidden]
