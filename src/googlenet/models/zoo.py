"""The zoo: every network by its name, as a plain dict of data."""

from __future__ import annotations

from fnmatch import fnmatchcase

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


def list_networks(pattern: str = "*") -> list[str]:
    """Return the names of the zoo's networks that match ``pattern``, sorted. ``*`` and ``?`` are wildcards.

    Raises :class:`NetworkError` where ``pattern`` is no text. A pattern that matches nothing returns an empty list.

    >>> list_networks("vgg1?")
    ['vgg11', 'vgg16', 'vgg19']
    """
    if not isinstance(pattern, str):
        raise NetworkError(f"a pattern is a text such as 'inception*', got {pattern!r:.80}")
    return sorted(name for name in NETWORKS if fnmatchcase(name, pattern))


def find(name: str) -> Network:
    """Return the network of that name. Raises :class:`NetworkError` naming the nearest where there is none.

    >>> find("googlenet").num_classes
    1000
    """
    if not isinstance(name, str) or name not in NETWORKS:
        raise NetworkError(f"no network is called {name!r:.80}: {nearest(str(name), NETWORKS)}")
    return NETWORKS[name]


def resolve(network: str | Network) -> Network:
    """Return the zoo's network of that name; a ``Network`` as it is. Raises :class:`NetworkError` for anything else."""
    return find(network) if isinstance(network, str) else require_network(network)


def analyse(network: str | Network, size: int | None = None) -> Analysis:
    """Compute the sizes, parameters and multiply-accumulates of every stage of a network, without PyTorch.

    Args:
        network: a name of the zoo, or a ``Network`` of your own.
        size: side of the square input images, in pixels; by default the network's own.

    Raises:
        NetworkError: there is no network of that name, or its layers do not fit together.
        InputSizeError: ``size`` is below the network's minimum, or not a whole number.

    >>> table = analyse("googlenet")
    >>> table.parameters, table.macs, table.training_parameters, table.depth
    (6998552, 1582671872, 13378280, 22)
    """
    return analysis.analyse(resolve(network), size)
