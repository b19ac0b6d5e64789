"""Every network by its name: a plain dict of data."""

from __future__ import annotations

from googlenet.errors import NetworkError
from googlenet.models import analysis
from googlenet.models.analysis import Analysis
from googlenet.models.networks import (
    classics,
    googlenet,
    inception_resnet,
    inception_v2,
    inception_v3,
    inception_v4,
    xception,
)
from googlenet.models.spec import Network, require_network
from googlenet.text import nearest

NETWORKS: dict[str, Network] = {
    network.name: network
    for network in (
        googlenet.GOOGLENET,
        googlenet.GOOGLENET_PLAIN,
        googlenet.GOOGLENET_BN,
        googlenet.GOOGLENET_SMALL,
        googlenet.GOOGLENET_TORCHVISION,
        googlenet.INCEPTION5H,
        googlenet.GOOGLENET_NAIVE,
        inception_v2.INCEPTION_V2,
        inception_v2.INCEPTION_V2_SMALL,
        inception_v3.INCEPTION_V3,
        inception_v3.INCEPTION_V3_SMALL,
        inception_v4.INCEPTION_V4,
        inception_v4.INCEPTION_V4_SMALL,
        inception_resnet.INCEPTION_RESNET_V1,
        inception_resnet.INCEPTION_RESNET_V1_SMALL,
        inception_resnet.INCEPTION_RESNET_V2,
        inception_resnet.INCEPTION_RESNET_V2_SMALL,
        xception.XCEPTION,
        xception.XCEPTION_SMALL,
        classics.LENET5,
        classics.ALEXNET,
        classics.ALEXNET_TORCHVISION,
        classics.NIN,
        classics.VGG11,
        classics.VGG11_BN,
        classics.VGG16,
        classics.VGG16_BN,
        classics.VGG19,
        classics.VGG19_BN,
        classics.RESNET18,
        classics.RESNET50,
    )
}


def find(name: str) -> Network:
    """Look a network up by name. Raises :class:`NetworkError` naming the nearest.

    >>> find("googlenet").num_classes
    1000
    """
    if not isinstance(name, str) or name not in NETWORKS:
        raise NetworkError(f"no network is called {name!r:.80}: {nearest(str(name), NETWORKS)}")
    return NETWORKS[name]


def resolve(network: str | Network) -> Network:
    """Return the network of that name, or what is one. Raises :class:`NetworkError` for anything else."""
    return find(network) if isinstance(network, str) else require_network(network)


def analyse(network: str | Network, size: int | None = None) -> Analysis:
    """Work out every row of a network's table for square images of ``size`` pixels.

    Args:
        network: a name of the zoo, or a ``Network`` of your own.
        size: of the images, in pixels; ``None`` takes the network's own.

    Raises:
        NetworkError: an unknown name, or a network that does not hold together.
        InputSizeError: ``size`` is smaller than the network can take, or no whole number.

    >>> table = analyse("googlenet")
    >>> table.parameters, table.macs, table.training_parameters, table.depth
    (6998552, 1582671872, 13378280, 22)
    """
    return analysis.analyse(resolve(network), size)
