"""Every network by its name: a plain dict of data."""

from __future__ import annotations

from googlenet.errors import NetworkError, nearest
from googlenet.models import googlenet
from googlenet.models.spec import Network

NETWORKS: dict[str, Network] = {
    network.name: network
    for network in (
        googlenet.GOOGLENET,
        googlenet.GOOGLENET_PLAIN,
        googlenet.GOOGLENET_BN,
        googlenet.GOOGLENET_TORCHVISION,
        googlenet.INCEPTION5H,
        googlenet.GOOGLENET_NAIVE,
    )
}


def find(name: str) -> Network:
    """Look a network up by name. Raises :class:`NetworkError` naming the nearest.

    >>> find("googlenet").num_classes
    1000
    """
    if name not in NETWORKS:
        raise NetworkError(f"no network is called {name!r}: {nearest(name, NETWORKS)}")
    return NETWORKS[name]
