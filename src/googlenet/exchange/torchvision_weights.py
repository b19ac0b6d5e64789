"""The weights that torchvision publishes: read from PyTorch's cache, downloaded only when asked to."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import torch

from googlenet.errors import WeightsError
from googlenet.models import weights
from googlenet.models.spec import Network

TORCHVISION = "torchvision"  # the name of these weights, and of their layout


def published(network: Network, download: bool) -> Path:
    """Return the file of torchvision's newest published weights for ``network``, in PyTorch's cache.

    Raises :class:`WeightsError` if there are none, they are not on this machine and may not be downloaded, the
    download fails, or the file is damaged (the start of its sha256 is in its name).

    ::

        path = published(zoo.find("googlenet_torchvision"), download=True)
    """
    if TORCHVISION not in weights.layouts_of(network):
        known = ", ".join(name for name, layouts in weights.LAYOUTS.items() if TORCHVISION in layouts)
        raise WeightsError(f"torchvision publishes no weights for {network.name}: it does for {known}")
    url = _url(network)
    path = Path(torch.hub.get_dir()) / "checkpoints" / url.rpartition("/")[2]
    if not path.exists() and not download:
        raise WeightsError(f"torchvision's weights for {network.name} are not at {path}: give --download to fetch them")
    start = _start_of_sha256(path)
    if not path.exists():
        _fetch(url, path, start)
    elif not hashlib.sha256(path.read_bytes()).hexdigest().startswith(start):
        raise WeightsError(f"{path} is damaged, its sha256 does not begin with {start}: delete it and give --download")
    return path


def _url(network: Network) -> str:
    from torchvision.models import get_model_weights

    url: str = get_model_weights(network.name.removesuffix(f"_{TORCHVISION}")).DEFAULT.url
    return url


def _start_of_sha256(path: Path) -> str:
    found = re.search(r"-([0-9a-f]{8,})\.", path.name)
    return found[1] if found else ""


def _fetch(url: str, path: Path, start: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(url, str(path), hash_prefix=start)
    except (OSError, RuntimeError) as error:
        raise WeightsError(f"{path.name} could not be fetched: {error}") from error
