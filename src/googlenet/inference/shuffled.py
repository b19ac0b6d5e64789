"""A classifier that has learnt nothing: the graph of a bundle, the weights of each layer in a random order. No torch.

What a map of it says of an image it says without knowing anything (Adebayo et al., *Sanity checks for saliency maps*,
2018): a method whose maps stay as they were explains the image, not the network.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np

from googlenet.bundle import MODEL, Bundle, PackedBundle
from googlenet.checks.onnx_graph import read_constants

OF_IMAGES = ("images.", "maps.down.", "maps.across.", "probabilities.")  # constants that were not learnt


def shuffled(bundle: Bundle, seed: int = 0) -> PackedBundle:
    """Return a bundle, in memory, with the weights of each layer shuffled; it has the graph in floating point alone."""
    content, random = bytearray(bundle.read(MODEL)), np.random.default_rng(seed)
    for name, values in read_constants(content).items():  # views of the content
        if values.dtype.kind == "f" and not name.startswith(OF_IMAGES):
            random.shuffle(values.reshape(-1))
    files = {MODEL: bytes(content)}
    card = replace(bundle.card, files={MODEL: hashlib.sha256(files[MODEL]).hexdigest()}, precisions={})
    return PackedBundle(bundle.path, card, files)
