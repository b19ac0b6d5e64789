"""The trained network as a PyTorch module answers as its bundle does."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from safetensors.torch import load, save

import googlenet
from googlenet import bundle as bundles
from googlenet.errors import BundleError
from googlenet.images.decode import decode
from googlenet.images.resize import resize_and_crop


def test_its_answers_are_those_of_the_bundle(trained_run):
    module, classifier = googlenet.load_module(trained_run), googlenet.load(trained_run, "fp32")
    preprocessing = classifier.card.preprocessing
    paths = sorted((trained_run.parent / "photos").glob("*/*.png"))[::9]
    pixels = np.stack([resize_and_crop(decode(path), preprocessing) for path in paths]).astype(np.float32)
    images = (pixels / 255 - np.array(preprocessing.mean)) / np.array(preprocessing.std)
    with torch.no_grad():
        logits = module(torch.from_numpy(images).float().permute(0, 3, 1, 2))
    assert not module.training
    expected = np.stack([answer.probabilities for answer in classifier.predict_many(paths)])
    np.testing.assert_allclose((logits / classifier.card.temperature).softmax(1).numpy(), expected, atol=1e-4)
    assert len(np.unique(expected.argmax(1))) > 1


def test_it_has_the_auxiliary_heads_with_their_weights(trained_run):
    module = googlenet.load_module(trained_run / "bundle")
    assert [tap.name for tap in module.network.aux] == ["aux1"]
    assert module.forward_with_aux(torch.zeros(2, 3, 32, 32)).logits.shape == (2, 3)


def test_weights_that_are_not_those_of_the_network_are_refused(trained_run, tmp_path):
    bundle = bundles.read(trained_run)
    files = {name: bundle.read(name) for name in bundle.card.files}
    tensors = load(files[bundles.WEIGHTS])
    del tensors["fc.bias"]
    bundles.write(tmp_path / "mixed", bundle.card, files | {bundles.WEIGHTS: save(tensors)})
    with pytest.raises(BundleError, match=r"weights.safetensors does not hold the weights of tiny: copy"):
        googlenet.load_module(tmp_path / "mixed")
    with pytest.raises(BundleError, match=r"holds no card.json"):
        googlenet.load_module(tmp_path)
