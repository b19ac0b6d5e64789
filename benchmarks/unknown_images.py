"""How well images of none of the classes are told from known ones: a run on 8 of cifar10-mini's classes.

    python benchmarks/unknown_images.py cifar10-mini photos [--epochs 24] [--out runs/eight]
    python benchmarks/unknown_images.py cifar10-mini photos --run runs/cifar --left-out ''    # of all classes

Trains the recipe for small images on all classes but cat and truck. A third of the held-out images of known classes
makes each score, another third its limit (the detector divides both in halves). Of the last third, prints the share
that is called unknown at 5 %, and how well the score tells from these (AUROC) cats and trucks (near), photographs,
handwritten digits and noise (far). No score has seen an unknown image.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.covariance import LedoitWolf
from sklearn.datasets import load_digits
from sklearn.metrics import roc_auc_score

import googlenet
from googlenet import bundle as bundles
from googlenet.checks.arrays import read_safetensors
from googlenet.data.image_set import ImageSet, LabelledData
from googlenet.inference.classifier import Classifier
from googlenet.inference.unknown import Detector

NEAR = "cat,truck"
BEFORE, DEFAULT = "distance + doubt", "distance / 2 + doubt"  # embeddings as they are; of one length (the default)
RATE, FAR_IMAGES = 0.05, 200
Floats = NDArray[np.float64]


class Answers:
    """Embeddings (N, D), logits (N, K) and probabilities (N, K) of images."""

    def __init__(self, classifier: Classifier, sources: list[object], weight: Floats, bias: Floats) -> None:
        self.embeddings = classifier.embed(sources).astype(float)
        self.logits = self.embeddings @ weight.T + bias
        self.probabilities = classifier.probabilities(sources).astype(float)

    def part(self, rows: NDArray[np.int64]) -> Answers:
        """Return some of them."""
        found = object.__new__(Answers)
        for name, values in vars(self).items():
            setattr(found, name, values[rows])
        return found


Score = Callable[[Answers], Floats]


def scores(fitted: Answers, labels: NDArray[np.int64], weight: Floats, bias: Floats) -> dict[str, Score]:
    """Return the scores, each made from ``fitted`` alone: higher is more unusual."""
    x, classes = fitted.embeddings, len(weight)
    means = np.stack([x[labels == number].mean(axis=0) for number in range(classes)])
    precision = LedoitWolf().fit(x - means[labels]).precision_

    def mahalanobis(answers: Answers) -> Floats:
        centred = [answers.embeddings - mean for mean in means]
        return np.min([((each @ precision) * each).sum(axis=1) for each in centred], axis=0)

    def unit(values: Floats) -> Floats:
        return values / np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-12)

    def knn(answers: Answers) -> Floats:
        return -np.partition(unit(answers.embeddings) @ unit(x).T, -5, axis=1)[:, -5]

    def energy(answers: Answers) -> Floats:
        top = answers.logits.max(axis=1, keepdims=True)
        return -(top[:, 0] + np.log(np.exp(answers.logits - top).sum(axis=1)))

    origin = -np.linalg.pinv(weight) @ bias
    values, vectors = np.linalg.eigh(np.cov((x - origin).T))
    rest = vectors[:, : len(values) // 2]
    scale = fitted.logits.max(axis=1).mean() / np.linalg.norm((x - origin) @ rest, axis=1).mean()

    def vim(answers: Answers) -> Floats:
        return scale * np.linalg.norm((answers.embeddings - origin) @ rest, axis=1) + energy(answers)

    return {"highest probability": lambda a: -a.probabilities.max(axis=1), "energy": energy, "Mahalanobis": mahalanobis,
            "kNN": knn, "ViM": vim}  # fmt: skip


def _scores(detector: Detector, answers: Answers) -> Floats:
    return detector.scores(answers.embeddings.astype(np.float32), answers.probabilities).astype(float)


def far(side: int) -> dict[str, list[object]]:
    """Return digits and noise."""
    from PIL import Image

    random = np.random.default_rng(0)
    digits = [
        np.asarray(Image.fromarray((image * 15.9).astype(np.uint8)).resize((side, side)).convert("RGB"))
        for image in load_digits().images[:FAR_IMAGES]
    ]
    noise = random.integers(0, 256, (FAR_IMAGES, side, side, 3), dtype=np.uint8)
    return {"digits": list(digits), "noise": list(noise)}


def without(data: LabelledData, names: tuple[str, ...]) -> LabelledData:
    """Return data without the images of some classes."""
    keep = [number for number, name in enumerate(data.class_names) if name not in names]
    splits = {}
    for split, images in data.splits.items():
        items = [item for item in images.items if item.label in keep]
        renamed = tuple(vars(item) | {"labels": (keep.index(item.label),)} for item in items)
        splits[split] = ImageSet(tuple(data.class_names[k] for k in keep), tuple(type(items[0])(**r) for r in renamed))
    return LabelledData(f"{data.name} without {' and '.join(names)}", tuple(data.class_names[k] for k in keep), splits,
                        data.made_here)  # fmt: skip


def main() -> None:
    """Train, and print false alarms and AUROC of each score."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--epochs", type=int, default=24)
    parser.add_argument("--out", type=Path, default=Path("runs/eight"))
    parser.add_argument("--left-out", default=NEAR, help="the classes that the network does not know; '' for none")
    parser.add_argument("--run", type=Path, help="a run that was trained by this script, instead of training one")
    given = parser.parse_args()
    every = googlenet.open_data(given.data)
    near = tuple(filter(None, given.left_out.split(",")))
    known = without(every, near) if near else every
    if given.run is None:
        googlenet.train(known, given.out, recipe="small", epochs=given.epochs, overwrite=True)
    run = given.run or given.out
    bundle, classifier = bundles.read(run), googlenet.load(run, "fp32")
    tensors = read_safetensors(bundle.read("weights.safetensors"))
    (weight,) = [v for k, v in tensors.items() if v.ndim == 2 and len(v) == len(known.class_names) and "aux" not in k]
    (bias,) = [v for k, v in tensors.items() if v.shape == (len(known.class_names),) and k.startswith(
        next(n for n, each in tensors.items() if each is weight).removesuffix("weight"))]  # fmt: skip
    held_out = Answers(classifier, [item.source for item in known.val.items], weight, bias)
    labels = np.array([item.label for item in known.val.items])
    order = np.random.default_rng(0).permutation(len(labels))
    first, second, third = np.array_split(order, 3)
    fitted, limits, new = map(held_out.part, (first, second, third))
    both = held_out.part(np.concatenate([first, second]))
    strange = {
        **({"near": [i.source for i in every.val.items if every.class_names[i.label] in near]} if near else {}),
        "photographs": sorted(path for path in given.photos.iterdir() if path.suffix.lower() in (".jpeg", ".jpg")),
        **far(32),
    }
    unknown = {name: Answers(classifier, sources, weight, bias) for name, sources in strange.items()}
    found, limits_of = scores(fitted, labels[first], weight, bias), dict[str, Floats]()
    for name, several in ((BEFORE, True), (DEFAULT, False)):
        detector = Detector.fit(both.embeddings.astype(np.float32), both.probabilities, several)
        assert detector is not None
        limits_of[name] = detector.known
        found[name] = partial(_scores, detector)
    print(f"top-1 {(held_out.probabilities.argmax(axis=1) == labels).mean():.2%} on held-out images of known classes")
    print(f"{'score':24}alarms  " + "".join(f"{name:>13}" for name in unknown))
    for name, score in found.items():
        usual = score(new)
        limit = np.quantile(limits_of[name] if name in limits_of else score(limits), 1 - RATE)
        areas = [
            roc_auc_score(np.r_[np.zeros(len(usual)), np.ones(len(s))], np.r_[usual, s])
            for s in map(score, unknown.values())
        ]
        print(f"{name:24}{(usual > limit).mean():6.1%}  " + "".join(f"{area:13.3f}" for area in areas))


if __name__ == "__main__":
    main()
