"""Grad-CAM and integrated gradients of a trained network, by captum, as explanations like all others."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from captum.attr import IntegratedGradients, LayerGradCam
from numpy.typing import NDArray
from torch import Tensor

from googlenet.exchange.module import load_module
from googlenet.explaining.explanation import Explanation
from googlenet.explaining.stage_maps import last_maps
from googlenet.images.decode import Pixels
from googlenet.inference.classifier import Classifier
from googlenet.inference.explained import Question
from googlenet.models.build import Normalise

MAX_ERROR = 0.01  # of what the logit grew by: how far integrated gradients may be from adding up to it
FIRST_STEPS, MAX_STEPS = 64, 1024  # on the way from the baseline to the image
BATCH = 16  # images of that way for which gradients are computed at a time
MAX_CELLS = 56  # cells a side of the grid that the values of pixels are added up on


class Attribution:
    """The network of a classifier as a PyTorch module, and what its gradients say of an image.

    Args:
        classifier: what answers; its bundle must have weights.
        stage: for Grad-CAM, by default the last one whose maps have more than one place.
    """

    def __init__(self, classifier: Classifier, stage: str | None = None) -> None:
        self.classifier = classifier
        network, size = classifier.bundle.network, classifier.card.preprocessing.size
        self.module = load_module(classifier.bundle.path).requires_grad_(False)
        self.normalise = Normalise(classifier.card.preprocessing)
        self.stage = stage or last_maps(network, size)

    def explain(self, question: Question, method: str) -> Explanation:
        """Explain an answer by ``"gradcam"`` or ``"ig"``."""
        return self.grad_cam(question) if method == "gradcam" else self.integrated_gradients(question)

    def grad_cam(self, question: Question) -> Explanation:
        """Return Grad-CAM (Selvaraju et al., *Grad-CAM: visual explanations from deep networks*, 2017), with its sign.

        The maps of a stage, (C, h, w), are weighted with the mean gradient of the logit by each of them, times the
        number of places: at a stage that global average pooling and one linear layer follow it is the class activation
        map without the bias.
        """
        images = self._images(question.pixels).requires_grad_()
        by_layer = LayerGradCam(self._logit(question), self.module.get_submodule(self.stage))
        found = by_layer.attribute(images)[0, 0].detach().numpy()
        note = f"Grad-CAM estimates: gradients are averaged over the {found.shape[0]}×{found.shape[1]} places."
        return replace(self._explanation(question, found * found.size, images, "gradcam", note), stage=self.stage)

    def integrated_gradients(self, question: Question) -> Explanation:
        """Return integrated gradients (Sundararajan et al., *Axiomatic attribution for deep networks*, 2017).

        The baseline is an image of the mean colour. Values add up to what the logit grew by from there (completeness):
        steps are doubled until they do to 1 %. Those of the channels, and of the pixels of a cell, are added up.
        """
        images, logit = self._images(question.pixels), self._logit(question)
        baseline = torch.zeros_like(images)
        with torch.no_grad():
            start, end = (float(logit(each)[0]) for each in (baseline, images))
        steps = FIRST_STEPS
        while True:
            by_pixel = IntegratedGradients(logit, multiply_by_inputs=True)
            found = by_pixel.attribute(images, baseline, n_steps=steps, internal_batch_size=BATCH)
            error = abs(float(found.sum(dtype=torch.float64)) - (end - start)) / max(abs(end - start), 1e-6)
            if error <= MAX_ERROR or steps >= MAX_STEPS:
                break
            steps *= 2
        cells = on_grid(found[0].sum(0).detach().numpy())
        note = (
            f"Integrated gradients: from an image of the mean colour the logit grew by {end - start:+.2f}; in {steps} "
            f"steps the map adds up to that to {error:.1%}" + ("." if error <= MAX_ERROR else ", which is too coarse.")
        )
        return self._explanation(question, cells * cells.size, images, "ig", note)

    def _images(self, pixels: Pixels) -> Tensor:
        """(S, S, C) uint8 → (1, C, S, S), normalised."""
        images: Tensor = self.normalise(torch.tensor(pixels)[None].permute(0, 3, 1, 2))
        return images

    def _logit(self, question: Question) -> Callable[[Tensor], Tensor]:
        def logit(images: Tensor) -> Tensor:
            """(N, C, S, S) → (N,): the logit of the class, less that of the other one."""
            logits: Tensor = self.module(images)
            chosen = logits[:, question.index]
            return chosen if question.against is None else chosen - logits[:, question.against]

        return logit

    def _explanation(
        self, question: Question, values: NDArray[Any], images: Tensor, method: str, note: str
    ) -> Explanation:
        with torch.no_grad():
            total = float(self._logit(question)(images)[0])
        notes = [note]
        if self.classifier.card.mirror:
            notes.append("Gradients are of the image alone, the answer is a mean with its mirror image.")
        if (precision := self.classifier.engine.precision) != "fp32":
            notes.append(f"The answer is of the {precision} graph, gradients are of the network in fp32.")
        found = self.classifier.explanation(question, values, total, method, "logit", "fp32")
        return replace(found, temperature=self.classifier.temperature_of(question.index), notes=tuple(notes))


def on_grid(values: NDArray[Any]) -> NDArray[Any]:
    """Add up the values of pixels (S, S) in cells of nearly the same size, at most 56 a side; their sum stays.

    >>> on_grid(np.ones((112, 112))).shape, float(on_grid(np.ones((100, 100))).sum())
    ((56, 56), 10000.0)
    """
    size = len(values)
    begins = np.linspace(0, size, min(size, MAX_CELLS), endpoint=False).astype(int)
    return np.asarray(np.add.reduceat(np.add.reduceat(values.astype(np.float64), begins, axis=0), begins, axis=1))
