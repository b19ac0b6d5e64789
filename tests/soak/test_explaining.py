"""A thousand explanations of a real GoogLeNet, by every part of a server's life: no memory is kept."""

import os
from dataclasses import replace

import numpy as np

import googlenet
from googlenet.exporting.bundles import write_untrained


def resident():
    with open("/proc/self/statm", "rb") as file:  # noqa: PTH123
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def test_a_thousand_explanations_add_no_memory(tmp_path):
    bundle = write_untrained(tmp_path / "bundle", replace(googlenet.NETWORKS["googlenet"], num_classes=10), 224)
    classifier = googlenet.load(bundle.path, "fp32")
    random = np.random.default_rng(0)

    def once(number):
        image = random.integers(0, 256, (240 + number % 7, 320, 3), dtype=np.uint8)  # of a size of its own
        prediction = classifier.predict(image)
        prediction.explain(against=classifier.class_names[(prediction.index + 1) % 10]).image()
        prediction.branches().image()

    for number in range(50):
        once(number)
    before = resident()
    for number in range(1000):
        once(number)
    assert resident() - before < 20
