"""Shapley values of branches against the sums that are exact, and against all orders counted by hand in PyTorch."""

from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest
import torch

import googlenet
from googlenet.errors import BundleError, GoogLeNetError, NetworkError
from googlenet.explaining.shapley import modules_of
from googlenet.models.zoo import NETWORKS
from tests.explaining.conftest import CLASSES, photo

FIRST = (4, 8, 4, 4)  # channels of the branches of tiny's first module


def by_all_orders(module, pixels, class_index):
    """What each branch of the first module adds, averaged over the 24 orders of switching the branches on."""
    mean, std = (torch.tensor(each).view(1, 3, 1, 1) for each in (module.network.mean, module.network.std))
    x = (torch.tensor(pixels)[None].permute(0, 3, 1, 2) / 255 - mean) / std
    known = {}

    def value(on):
        if on not in known:
            mask = torch.tensor(np.repeat([branch in on for branch in range(4)], FIRST)).view(1, -1, 1, 1)
            handle = module.inception_1.register_forward_hook(lambda _, __, output: output * mask)
            with torch.inference_mode():
                known[on] = float(module(x)[0, class_index])
            handle.remove()
        return known[on]

    orders = list(permutations(range(4)))
    parts = np.zeros(4)
    for order in orders:
        for at, branch in enumerate(order):
            parts[branch] += value(frozenset(order[: at + 1])) - value(frozenset(order[:at]))
    return parts / len(orders), value(frozenset())


def test_they_are_those_of_all_orders_and_add_up(write, tiny):
    bundle, module = write(tiny)
    classifier, image = googlenet.load(bundle.path), photo(32)
    for number, name in enumerate(CLASSES[:2]):
        found = classifier.branches(image, name, module="inception_1")
        parts, rest = by_all_orders(module, classifier.preprocess(image), number)
        np.testing.assert_allclose(found.parts, parts, atol=1e-4)
        assert found.rest == pytest.approx(rest, abs=1e-4)
        assert found.parts.sum(dtype=np.float64) + found.rest == pytest.approx(found.total, abs=1e-4)
        assert found.total == pytest.approx(classifier.explain(image, name).total, abs=1e-4)
        assert found.method == "shapley"
    assert found.image().width > 500


def test_of_a_last_module_they_are_the_parts_of_the_logit(write, tiny):
    bundle, _ = write(tiny)
    classifier, image = googlenet.load(bundle.path), photo(32)
    exact = classifier.branches(image, "cow", against="bee")
    found = classifier.branches(image, "cow", against="bee", module="inception_2")
    np.testing.assert_allclose(found.parts, exact.parts, atol=1e-4)
    assert found.rest == pytest.approx(exact.rest, abs=1e-4)


def narrow(layer):
    out = getattr(layer, "out", None)
    return layer if out is None else replace(layer, out=max(2, out // 16))


def test_they_serve_where_a_convolution_follows_the_join(write):
    bundle, _ = write(NETWORKS["inception_resnet_v1_small"].rewrite(narrow), size=48)
    classifier, image = googlenet.load(bundle.path), photo(48)
    with pytest.raises(GoogLeNetError, match="a convolution follows the join"):
        classifier.branches(image)
    for module in ("block_8.4.body.0", "reduction_b"):
        found = classifier.branches(image, "cow", module=module)
        size = max(1, abs(found.total))
        assert found.parts.sum(dtype=np.float64) + found.rest == pytest.approx(found.total, abs=1e-4 * size)
        assert len(found.parts) in (2, 4)


def test_what_has_no_shapley_values_says_why(write, tiny, call):
    bundle, _ = write(tiny)
    with pytest.raises(NetworkError, match=r"tiny has no module 'inception_3': .*inception_1, inception_2"):
        googlenet.load(bundle.path).branches(photo(32), module="inception_3")
    code, _, err = call("explain", bundle.path, "nothing.png", "--module", "conv1")
    assert (code, "tiny has no module 'conv1'" in err) == (2, True)
    flat, _ = write(NETWORKS["nin"].rewrite(narrow), name="flat")
    with pytest.raises(NetworkError, match="nin has no branches"):
        googlenet.load(flat.path).branches(photo(32), module="a")
    mirrored, _ = write(tiny, name="mirrored", mirror=True)
    with pytest.raises(GoogLeNetError, match="a mean over the image and its mirror image: leave the module out"):
        googlenet.load(mirrored.path).branches(photo(32), module="inception_1")


def test_every_module_of_the_zoo_is_found():
    names = {name: list(modules_of(network, network.input_size)) for name, network in NETWORKS.items()}
    modules = ["3a", "3b", "4a", "4b", "4c", "4d", "4e", "5a", "5b"]
    assert names["googlenet"] == [f"inception_{each}" for each in modules]
    assert {"inception_a.0", "inception_c.2", "reduction_a"} <= set(names["inception_v4"])
    assert "block_8.9.body.0" in names["inception_resnet_v2"]
    assert names["resnet18"] == []


def test_a_graph_of_an_earlier_version_is_refused(write, tiny):
    bundle, _ = write(tiny)
    classifier = googlenet.load(bundle.path)
    with pytest.raises(BundleError, match="has no node 'nothing': an earlier version wrote it"):
        classifier._cut("nothing")
