"""``create``: a network as a PyTorch module, with fresh weights or pretrained ones."""

from __future__ import annotations

from pathlib import Path

from googlenet.errors import WeightsError
from googlenet.models import build, zoo
from googlenet.models.build import ConvNet
from googlenet.models.spec import Network


def create(
    network: str | Network = "googlenet",
    num_classes: int | None = None,
    *,
    weights: str | Path | None = None,
    in_channels: int | None = None,
    aux: int | None = None,
    dropout: float | None = None,
    init: str | None = None,
    download: bool = False,
) -> ConvNet:
    """Build a network as a PyTorch module: images (N, C, H, W) → logits (N, K).

    Args:
        network: a name of the zoo, or a ``Network`` of your own.
        num_classes: number of logits K, 1 or more. By default that of the weights, else the network's own
            (1000 for most).
        weights: pretrained weights: a run, a bundle, a file that :func:`googlenet.convert` reads, or
            ``"torchvision"`` for those that torchvision publishes. Every tensor whose name and shape fit is loaded,
            the others stay fresh: a final layer for another number of classes, for example. ``module.loaded``
            reports what was loaded, left out and new. By default all weights are fresh.
        in_channels: channels C of the images, 1 for grey, 3 for colour. By default that of the weights, else the
            network's own. A first convolution for colour images is adapted to another number.
        aux: number of auxiliary heads to keep, the first ones; by default all.
        dropout: probability of every dropout layer outside the heads, from 0 to below 1; by default the network's own.
        init: how fresh weights are drawn: ``"kaiming"``, ``"xavier"`` or ``"truncated_normal"``; by default the
            network's own.
        download: allow torchvision's weights to be downloaded where they are not on this machine.

    Raises:
        NetworkError: there is no network or initialisation of that name, or a number is out of range.
        WeightsError, BundleError: the weights are missing or damaged, fit nowhere, or may not be downloaded.
        MachineError: there is not enough memory for so many parameters.

    ::

        network = googlenet.create("googlenet", num_classes=5, weights="runs/base")
        print(network.loaded)  # loaded 112 tensors (...) from runs/base: ...

    >>> network = create("googlenet", num_classes=5)
    >>> import torch
    >>> network(torch.zeros(2, 3, 224, 224)).shape
    torch.Size([2, 5])
    """
    if weights is None:
        return build.create(network, num_classes, in_channels=in_channels, aux=aux, dropout=dropout, init=init)
    if not isinstance(weights, (str, Path)):
        raise WeightsError(f"weights are named by their path, or 'torchvision', got {weights!r:.80}")
    from googlenet.training.sources import open_source
    from googlenet.training.transfer import load_matching

    source = open_source(weights, zoo.resolve(network), download)
    theirs = source.network
    if theirs is not None:
        num_classes = theirs.num_classes if num_classes is None else num_classes
        in_channels = theirs.in_channels if in_channels is None else in_channels
    built = build.create(network, num_classes, in_channels=in_channels, aux=aux, dropout=dropout, init=init)
    built.loaded = load_matching(built, source, None, built.network.preprocessing())
    return built
