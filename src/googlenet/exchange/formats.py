"""The formats that weights are written in for other projects: one table. Adding one is one entry, with its writer.

No torch is imported before something is written.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from googlenet.errors import RunError, WeightsError
from googlenet.exchange.load_expression import load_expression
from googlenet.files import check_output_path
from googlenet.models import weights
from googlenet.models.spec import Network
from googlenet.text import nearest, printable

if TYPE_CHECKING:
    from googlenet.bundle import Bundle


@dataclass(frozen=True)
class WeightsFormat:
    """``write(bundle, path)`` returns the files to write beside each other, by name.

    ``layout`` names the layout whose networks can be written, ``None`` where all can. ``suffixes`` are those of the
    file at ``path``; without any, ``path`` is a folder. ``also`` are suffixes of files written beside it.
    ``usage(path)`` returns what people do with it, as (step, line) pairs.
    """

    title: str
    write: Callable[[Bundle, Path], dict[str, bytes]]
    usage: Callable[[Path], list[tuple[str, str]]]
    layout: str | None = None
    suffixes: tuple[str, ...] = ()
    also: tuple[str, ...] = ()


def find_format(name: str) -> WeightsFormat:
    """Return a format by its name. Raises :class:`WeightsError` where there is none of that name."""
    if not isinstance(name, str) or name not in FORMATS:
        raise WeightsError(f"no format of weights is called {name!r:.80}: {nearest(str(name), FORMATS)}")
    return FORMATS[name]


def check_export(network: Network, path: Path, to: str) -> None:
    """Raise where weights of ``network`` cannot be written in the format ``to``, or not to ``path``."""
    format_ = find_format(to)
    check_output_path(path)
    if format_.suffixes:
        taken = [each for each in (path, *map(path.with_suffix, format_.also)) if each.exists()]
    else:
        taken = [path] if path.exists() and not (path.is_dir() and not any(path.iterdir())) else []
    if taken:
        raise RunError(f"{printable(str(taken[0]))} already exists: choose another --out")
    if format_.suffixes and path.suffix not in format_.suffixes:
        allowed = ", ".join(format_.suffixes)
        raise WeightsError(f"--out {printable(str(path))}: the file of {to} weights ends in one of {allowed}")
    layouts = (None, *weights.layouts_of(network))
    if format_.layout not in layouts:
        able = [name for name, each in FORMATS.items() if each.layout in layouts]
        raise WeightsError(
            f"{to} has no network {network.name}: its weights can be written with --to {' or '.join(able)}"
        )


def _torch(bundle: Bundle, path: Path) -> dict[str, bytes]:
    from googlenet.exchange.state_dicts import torch_files

    return torch_files(bundle, path)


def _use_torch(path: Path) -> list[tuple[str, str]]:
    program = path.with_suffix(".py").name
    return [
        ("build", f'network = runpy.run_path({program!a})["build"]()      # needs torch, not this project'),
        ("load", f"network.load_state_dict({load_expression(path.name)})"),
    ]


def _torchvision(bundle: Bundle, path: Path) -> dict[str, bytes]:
    from googlenet.exchange.state_dicts import torchvision_files

    return torchvision_files(bundle, path)


def _timm(bundle: Bundle, path: Path) -> dict[str, bytes]:
    from googlenet.exchange.state_dicts import timm_files

    return timm_files(bundle)


_STATE_DICT = (".pth", ".pt", ".safetensors")

FORMATS = {
    "torch": WeightsFormat(
        "a state dict, and a .py file that builds the network with PyTorch alone",
        _torch, _use_torch, suffixes=_STATE_DICT, also=(".py",),
    ),
    "torchvision": WeightsFormat(
        "a state dict for torchvision's module of that name",
        _torchvision, lambda path: [], layout="torchvision", suffixes=_STATE_DICT,
    ),
    "timm": WeightsFormat(
        "a folder for timm.create_model",
        _timm, lambda path: [("load", f'timm.create_model("local-dir:{path}", pretrained=True)')], layout="timm",
    ),
}  # fmt: skip
