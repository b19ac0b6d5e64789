"""Lightning Fabric, without torchmetrics, of which it needs the version alone: importing all of it takes long.

It is there where the ``log`` extra is installed.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from types import ModuleType

__all__ = ["DDPStrategy", "Fabric"]


@contextmanager
def _without(package: str) -> Iterator[None]:
    """Meanwhile let the import of a package, where it is installed, return a module that has its version alone."""
    stand_in = ModuleType(package)
    try:
        vars(stand_in)["__version__"] = version(package)
    except PackageNotFoundError:
        yield
        return
    if sys.modules.setdefault(package, stand_in) is not stand_in:  # it was imported before
        yield
        return
    try:
        yield
    finally:
        del sys.modules[package]


with _without("torchmetrics"):
    from lightning_fabric import Fabric
    from lightning_fabric.strategies.ddp import DDPStrategy
