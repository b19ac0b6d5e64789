"""Pruning runs of several labels, of mirror images, of grey images and of five channels."""

import shutil
from functools import partial

import numpy as np
import pytest
import torch

import googlenet
from googlenet import bundle as bundles
from googlenet.evaluation.selection import select_images
from googlenet.explaining.shapley import modules_of
from tests.conftest import TINY, write_brightness, write_coloured_classes, write_list_of_squares
from tests.pruning.test_prune import rewritten
from tests.pruning.test_slicing import held

QUICK = {"epochs": 1, "workers": 0, "precision": "fp32"}
HOW = {"network": TINY, "batch_size": 8, "workers": 0, "precision": "fp32"}


KINDS = {
    "several labels": (write_list_of_squares, {}, "exact"),
    "several labels, mirrored": (write_list_of_squares, {"mirror": True}, "exact"),
    "mirrored": (partial(write_coloured_classes, per_class=30), {"mirror": True}, "top1"),
    "grey": (partial(write_brightness, channels=1), {"in_channels": 1}, "top1"),
    "five channels": (partial(write_brightness, channels=5), {"in_channels": 5}, "top1"),
}


@pytest.fixture(scope="module", params=KINDS)
def pruned(request, tmp_path_factory):
    """A run of each kind, and what pruning it found."""
    root = tmp_path_factory.mktemp("kinds")
    write, options, metric = KINDS[request.param]
    data = write(root / "data")
    card = googlenet.train(data, root / "run", epochs=2, **HOW, **options).card
    plain = (1.0,) * len(card.class_names) if card.multi_label else 1.0  # so that answers are means of the views
    rewritten(root / "run", googlenet.load_module(root / "run"), temperature=plain)
    return googlenet.prune(root / "run", None, root / "small", remove=3, images=20, **QUICK), metric


def logits(module, classifier, pixels, constants):
    """What a module says with branches held constant, (V, N, K): of the images and, where asked for, mirror images."""
    preprocessing = classifier.card.preprocessing
    mean, std = (torch.tensor(each).view(1, -1, 1, 1) for each in (preprocessing.mean, preprocessing.std))
    images = (torch.tensor(pixels).permute(0, 3, 1, 2) / 255 - mean) / std
    views = [images, images.flip(3)] if classifier.card.mirror else [images]
    return torch.stack([held(module, constants, view)[1].logits for view in views])


def test_before_fine_tuning_it_answers_as_the_original_with_these_branches_held(pruned):
    found, _ = pruned
    classifier = googlenet.load(found.run, "fp32")
    items = select_images(classifier.bundle, None, to_choose=True).images.evenly(20)
    pixels = np.stack([classifier.preprocess(item.source) for item in items])
    module = googlenet.load_module(found.run)
    means = {branch.key: _means(module, classifier, pixels, branch) for branch in found.removed}
    temperature = torch.tensor(classifier.card.temperature)
    answers = logits(module, classifier, pixels, means) / temperature
    expected = (answers.sigmoid() if classifier.card.multi_label else answers.softmax(2)).mean(0)
    cut = googlenet.load(found.bundle.path.parent / "pruned", "fp32")
    np.testing.assert_allclose([each.probabilities for each in cut.predict_pixels(pixels)], expected, atol=1e-5)


def _means(module, classifier, pixels, branch):
    """The mean of each channel of a branch, over images, their mirror images and places."""
    seen = []
    handle = module.get_submodule(branch.module).register_forward_hook(lambda _, __, output: seen.append(output))
    logits(module, classifier, pixels, {})
    handle.remove()
    of_module = modules_of(module.network, pixels.shape[1], None)[branch.module]
    at, ends = of_module.names.index(branch.name), np.cumsum([0, *of_module.channels])
    return torch.cat(seen)[:, ends[at] : ends[at + 1]].mean((0, 2, 3)).numpy()


def test_the_kind_of_the_original_is_that_of_the_pruned_run(pruned, call):
    found, metric = pruned
    run = found.bundle.path.parent
    before, after = bundles.read(found.run).card, bundles.read(run).card
    for name in ("multi_label", "mirror", "class_names", "preprocessing"):
        assert getattr(after, name) == getattr(before, name)
    assert after.recipe["mirror"] == before.mirror
    assert found.metric == metric
    assert found.states[2].score == googlenet.evaluate(run, precision="fp32").intervals[metric]
    assert googlenet.verify(run).largest_difference < 1e-4
    shutil.rmtree(run)
    options = ("--out", run, "--remove", 1, "--images", 10, "--epochs", 1, "--workers", 0)
    code, out, err = call("prune", found.run, *options)
    assert code == 0, err
    assert {"exact": "exact match", "top1": "top-1"}[metric] in out
