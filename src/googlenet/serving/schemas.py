"""What answers look like, for the OpenAPI description."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class Problem(BaseModel):
    """Why something was not answered."""

    code: str = Field(examples=["unreadable"], description="A word that programs can compare.")
    message: str = Field(examples=["daisy.jpg is damaged: the file is truncated"])


class Failed(BaseModel):
    """A request, or an image of it, that was not answered."""

    error: Problem


class FailedV2(BaseModel):
    """The same in the Open Inference Protocol."""

    error: str


class Ranked(BaseModel):
    """A class and its calibrated probability, 0 to 1."""

    label: str = Field(examples=["daisy"])
    probability: float = Field(ge=0, le=1, examples=[0.982])


class LabelSet(BaseModel):
    """Classes that hold the true one in a stated share of cases."""

    level: float = Field(examples=[0.9])
    labels: list[str] = Field(examples=[["daisy"]])


class Times(BaseModel):
    """What an image took, in milliseconds."""

    decode_ms: float
    queue_ms: float
    infer_ms: float


class Result(BaseModel):
    """The answer to an image, or the error in its place."""

    name: str | None = Field(description="The file name that came with the image.")
    label: str | None = Field(default=None, examples=["daisy"])
    probability: float | None = Field(default=None, ge=0, le=1, examples=[0.982])
    top: list[Ranked] = []
    labels: list[str] | None = Field(default=None, description="Of a model with several labels: those of the image.")
    set: LabelSet | None = None
    unknown: bool | None = Field(default=None, description="Whether the image is unlike those of training.")
    p_value: float | None = Field(
        default=None, description="The share of known images at least as unusual; null if the model does not tell."
    )
    heatmap: dict[str, Any] | None = Field(
        default=None, description="Where in the image the network looked: numbers on a grid, or a PNG in base64."
    )
    times: Times | None = None
    error: Problem | None = None


class ModelId(BaseModel):
    """Which version of which model answered."""

    name: str = Field(examples=["flowers"])
    sha256: str
    precision: str = Field(examples=["fp32"])


class Answer(BaseModel):
    """The answers to the images of a request, in their order."""

    model: ModelId
    results: list[Result]


class Model(ModelId):
    """What a model is: from its card."""

    model_config = ConfigDict(extra="allow")

    classes: list[str]
    heatmap: bool = Field(description="Whether it has heat maps.")
    unknown: bool = Field(description="Whether it tells unknown images.")
    sets: float | None = Field(description="The highest level of its sets of classes; null if it makes none.")
    examples: int = Field(description="How many example images it has: /v1/models/NAME/examples/0 and so on.")


class ModelList(BaseModel):
    """The models of this server. The first one answers where a request names none."""

    models: list[Model]
    keep: bool = Field(description="Whether images that people judge are kept.")
