"""``create``: a module with weights from elsewhere, and a report of what it was given."""

import copy
import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import googlenet
from googlenet.errors import NetworkError, WeightsError


def answers(module, images):
    with torch.inference_mode():
        return module.eval()(images)


def test_the_weights_of_a_run_give_its_answers(trained_run, tiny):
    module = googlenet.create(tiny, weights=trained_run)
    assert module.network.num_classes == 3  # as the weights have
    assert (module.loaded.unused, module.loaded.new) == ([], [])
    assert str(module.loaded).startswith("loaded ")
    classifier = googlenet.load(trained_run, "fp32")
    pixels = classifier.preprocess(trained_run.parent / "photos" / "red" / "001.png")
    rule = classifier.card.preprocessing
    images = torch.from_numpy(((pixels / 255 - rule.mean) / rule.std).astype(np.float32)).permute(2, 0, 1)[None]
    expected = classifier.engine.probabilities(pixels[None])
    logits = answers(module, images) / classifier.card.temperature
    np.testing.assert_allclose(logits.softmax(1), expected, atol=1e-5)
    assert str(pickle.loads(pickle.dumps(module)).loaded) == str(copy.deepcopy(module).loaded) == str(module.loaded)


def test_what_does_not_fit_stays_fresh_and_is_reported(trained_run, tiny):
    torch.manual_seed(0)
    module = googlenet.create(tiny, 5, weights=str(trained_run))
    fresh = ["aux1.3.weight", "aux1.3.bias", "fc.weight", "fc.bias"]
    assert sorted(module.loaded.new) == sorted(module.loaded.unused) == sorted(fresh)
    theirs, ours = load_file(trained_run / "bundle" / "weights.safetensors"), module.state_dict()
    for name, tensor in theirs.items():
        if not name.endswith("num_batches_tracked"):
            assert (name in fresh) != (ours[name].shape == tensor.shape and bool((ours[name] == tensor).all())), name
    assert ours["fc.weight"].std() > 0  # fresh, not nothing


def test_a_file_and_other_channels(trained_run, tiny):
    path = trained_run / "bundle" / "weights.safetensors"
    module = googlenet.create(tiny, 3, weights=path, in_channels=1, aux=0)
    assert module.loaded.new == []
    assert module.network.in_channels == 1
    assert answers(module, torch.zeros(1, 1, 32, 32)).shape == (1, 3)
    assert googlenet.create(tiny).loaded is None


@pytest.mark.parametrize(
    ("network", "weights", "error", "says"),
    [
        ("lenet5", "RUN", WeightsError, "nothing of .* fits lenet5"),
        ("lenet5", "nowhere.pth", WeightsError, "nowhere.pth does not exist"),
        ("lenet5", 5, WeightsError, "weights are named by their path, or 'torchvision', got 5"),
        ("lenet5", "torchvision", WeightsError, "torchvision publishes no weights for lenet5"),
        ("lenet", "RUN", NetworkError, "did you mean 'lenet5'"),
    ],
)
def test_weights_that_cannot_be_loaded(trained_run, network, weights, error, says):
    with pytest.raises(error, match=says):
        googlenet.create(network, weights=str(trained_run) if weights == "RUN" else weights)


def test_networks_are_listed_by_pattern():
    assert googlenet.list_networks("inception_v3*") == ["inception_v3", "inception_v3_small"]
    assert googlenet.list_networks() == sorted(googlenet.NETWORKS)
    assert googlenet.list_networks("Nothing*") == []
    with pytest.raises(NetworkError, match="a pattern is a text"):
        googlenet.list_networks(5)


def test_a_variant_of_ones_own(trained_run, tiny):
    module = googlenet.create(replace(tiny, name="mine", aux=()), weights=trained_run)
    assert (module.loaded.new, {key.split(".")[0] for key in module.loaded.unused}) == ([], {"aux1"})
