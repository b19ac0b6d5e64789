"""``load_module``: the network of a bundle as a PyTorch module, with its trained weights."""

from __future__ import annotations

from pathlib import Path

from googlenet import bundle as bundles
from googlenet.errors import BundleError
from googlenet.exchange.state_dicts import tensors_of
from googlenet.models.build import ConvNet, create
from googlenet.text import printable


def load_module(run: str | Path) -> ConvNet:
    """Load the trained network of a run or bundle as a PyTorch module on the CPU, in evaluation mode.

    It maps normalized images (N, C, H, W), float32, to logits (N, K); ``forward_with_aux`` returns those of the
    auxiliary heads as well. The card says how images are prepared: resized and cropped to ``preprocessing.size``, then
    (pixel / 255 - ``mean``) / ``std`` for each channel; colours are in the order of ``channel_order``.

    Args:
        run: a run of :func:`googlenet.train`, or a bundle.

    Raises:
        BundleError: there is no bundle, or its weights are missing, damaged or not those of its network.

    ::

        module = googlenet.load_module("runs/flowers")
        logits = module(images)
        probabilities = logits.softmax(1)  # logits.sigmoid() where an image may have several labels
    """
    bundle = bundles.read(run)
    module = create(bundle.network)
    try:
        module.load_state_dict(tensors_of(bundle))
    except RuntimeError as error:
        raise BundleError(
            f"{printable(str(bundle.path / bundles.WEIGHTS))} does not hold the weights of {bundle.card.name}: copy "
            "the bundle again"
        ) from error
    return module.eval()
