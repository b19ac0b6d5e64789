"""What an answer says, as JSON: the same values as :class:`~googlenet.inference.classifier.Prediction` has."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from typing import Any, Literal

from googlenet.errors import GoogLeNetError
from googlenet.explaining.explanation import Explanation, draw
from googlenet.inference.classifier import Prediction
from googlenet.serving.models import ServedModel
from googlenet.serving.refusal import Refusal
from googlenet.text import escape_surrogates

HeatMap = Literal["none", "numbers", "png"]
TOP = 5


@dataclass(frozen=True)
class Options:
    """What a request asks for besides the label.

    Attributes:
        top: how many classes to name, the most probable first.
        sets: the level of a conformal set, between 0 and 1; ``None``: none is made.
        heatmap: where in the image the network looked: ``"numbers"``, or drawn as a PNG.
    """

    top: int = TOP
    sets: float | None = None
    heatmap: HeatMap = "none"

    def check(self, model: ServedModel) -> None:
        """Raise :class:`Refusal` where the model cannot answer this."""
        if self.heatmap != "none" and not model.has_maps:
            raise Refusal(422, "no_heatmap", f"{model.name} has no heat maps: leave heatmap out")
        if self.sets is not None:
            try:
                model.limit_of(self.sets)
            except GoogLeNetError as error:
                raise Refusal(422, "no_sets", str(error)) from error


@dataclass(frozen=True)
class Times:
    """What an image took, in seconds."""

    decode: float
    queue: float
    infer: float

    def to_dict(self) -> dict[str, float]:
        """Return them in milliseconds."""
        return {f"{name}_ms": round(1000 * value, 3) for name, value in vars(self).items()}


def to_dict(
    model: ServedModel, prediction: Prediction, times: Times, options: Options, explanation: Explanation | None = None
) -> dict[str, Any]:
    """Return the answer to one image. Probabilities are those of the prediction, undiminished."""
    answer: dict[str, Any] = {
        "label": escape_surrogates(prediction.label),
        "probability": prediction.probability,
        "top": [
            {"label": escape_surrogates(name), "probability": value} for name, value in prediction.top(options.top)
        ],
    }
    if prediction.thresholds:
        answer["labels"] = [escape_surrogates(name) for name in prediction.labels]
    if options.sets is not None:
        names = model.set_of(prediction, options.sets)
        answer["set"] = {"level": options.sets, "labels": [escape_surrogates(name) for name in names]}
    answer["unknown"] = None if prediction.p_value is None else prediction.is_unknown
    answer["p_value"] = prediction.p_value
    if explanation is not None:
        answer["heatmap"] = _heatmap(explanation, options.heatmap)
    return answer | {"times": times.to_dict()}


def _heatmap(explanation: Explanation, how: HeatMap) -> dict[str, Any]:
    said = explanation.to_dict()
    kept = {name: said[name] for name in ("class", "unit", "total", "sentence", "grid")}
    if how == "numbers":
        return kept | {"values": said["values"]}
    png = io.BytesIO()
    draw([explanation]).save(png, "PNG")
    return kept | {"png": base64.b64encode(png.getvalue()).decode()}
