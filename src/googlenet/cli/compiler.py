"""PyTorch's compiler, which no command uses and half of the time that training takes to start: loaded when it is used.

PyTorch's optimizers, Fabric and torchvision all import ``torch._dynamo``, although they need nothing of it as long as
nothing is compiled. Until then a stand-in has the few names that they take from it. Whatever else is asked of the
stand-in loads the compiler, so that other versions of these libraries work as they do, only later.
"""

from __future__ import annotations

import functools
import importlib
import sys
from collections.abc import Callable, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

NAME = "torch._dynamo"
UTILS = f"{NAME}.utils"


def defer_compiler() -> None:
    """Make the next import of ``torch._dynamo`` import a stand-in for it, in this process."""
    if NAME not in sys.modules:
        sys.meta_path.insert(0, _Finder())


def _loaded() -> ModuleType | None:
    module = sys.modules.get(NAME)
    return None if isinstance(module, _StandIn) else module


def _load() -> ModuleType:
    """Put the compiler into the place of its stand-in."""
    for finder in [finder for finder in sys.meta_path if isinstance(finder, _Finder)]:
        sys.meta_path.remove(finder)
    for name in (NAME, UTILS):
        if isinstance(sys.modules.get(name), _StandIn):
            del sys.modules[name]
    return importlib.import_module(NAME)


class _StandIn(ModuleType):
    """A module that has some names; any other name loads the module that it stands for."""

    def __getattr__(self, name: str) -> Any:
        _load()
        return getattr(importlib.import_module(self.__name__), name)


class _Compiled(type):
    def __instancecheck__(cls, instance: Any) -> bool:
        module = _loaded()
        return module is not None and isinstance(instance, module.OptimizedModule)


class _OptimizedModule(metaclass=_Compiled):
    """What is an instance of it is a compiled network."""


def _disable(function: Callable[..., Any] | None = None, *how: Any, **more: Any) -> Any:
    """Return a function that is not compiled, once there is a compiler."""
    if function is None:
        return _load().disable(None, *how, **more)

    @functools.wraps(function)
    def disabled(*args: Any, **kwargs: Any) -> Any:
        module = _loaded()
        return (module.disable(function, *how, **more) if module else function)(*args, **kwargs)

    return disabled


def _graph_break(*how: Any, **more: Any) -> None:
    """Divide what is being compiled, where something is."""
    module = _loaded()
    if module:
        module.graph_break(*how, **more)


def _is_compile_supported(device: Any) -> Any:
    _load()
    return importlib.import_module(UTILS).is_compile_supported(device)


_OF_A_MODULE: dict[str, Any] = {"__file__": None, "__path__": []}  # what `inspect` and the import of a part ask for
NAMES: dict[str, dict[str, Any]] = {
    NAME: {"OptimizedModule": _OptimizedModule, "disable": _disable, "graph_break": _graph_break} | _OF_A_MODULE,
    UTILS: {"is_compile_supported": _is_compile_supported, "__file__": None},
}


class _Finder(MetaPathFinder, Loader):
    """Finds the stand-ins, and loads the compiler where another module inside it is imported."""

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        if name in NAMES:
            return ModuleSpec(name, self)
        if not name.startswith(f"{NAME}."):
            return None
        compiler = _load()
        loaded = sys.modules.get(name)
        return PathFinder.find_spec(name, compiler.__path__) if loaded is None else ModuleSpec(name, _Again(loaded))

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        module = _StandIn(spec.name)
        vars(module).update(NAMES[spec.name])
        return module

    def exec_module(self, module: ModuleType) -> None:
        """Nothing is left to do."""


class _Again(Loader):
    """Returns a module that was imported already, unchanged."""

    def __init__(self, module: ModuleType) -> None:
        self.module, self.spec = module, module.__spec__

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return self.module

    def exec_module(self, module: ModuleType) -> None:
        module.__spec__ = self.spec
