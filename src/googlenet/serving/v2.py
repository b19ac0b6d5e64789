"""The Open Inference Protocol, version 2: what clients of Triton, KServe and OpenVINO Model Server speak.

Inputs of a model: ``images``, UINT8 (N, size, size, C), which the caller has decoded and resized; or ``image``, BYTES
(N,), images as files, which are read as everywhere else. Outputs: ``probabilities`` FP32 (N, K) and ``label`` BYTES
(N,).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from fastapi import APIRouter, FastAPI, Request, Response

from googlenet._version import __version__
from googlenet.serving.asking import Asked, Asking
from googlenet.serving.models import ServedModel
from googlenet.serving.multipart import Upload
from googlenet.serving.refusal import Refusal
from googlenet.serving.schemas import FailedV2
from googlenet.serving.service import Answered
from googlenet.serving.v2_wire import HEADER, InferRequest, Tensor, bad, read_request, write_response
from googlenet.text import escape_surrogates

PIXELS, FILES = "images", "image"
OUTPUTS = ("probabilities", "label")
VERSION = "1"
MICROSECONDS = 1e6


def add(app: FastAPI, asking: Asking) -> None:
    """Add the routes of the protocol to an application."""
    errors: dict[int | str, dict[str, Any]] = {status: {"model": FailedV2} for status in app.router.responses}
    for router in (_health(asking), _models(asking)):
        app.include_router(router, responses=errors)


def _health(asking: Asking) -> APIRouter:
    router = APIRouter(prefix="/v2", tags=["Open Inference Protocol"])

    @router.get("")
    async def server() -> dict[str, Any]:
        """Return what this server is."""
        return {"name": "googlenet", "version": __version__, "extensions": ["binary_tensor_data"]}

    @router.get("/health/live", response_class=Response)
    async def live() -> Response:
        """Answer as long as the process lives."""
        return Response()

    @router.get("/health/ready", response_class=Response)
    async def ready() -> Response:
        """Answer 200 while requests are taken."""
        return _is_ready(asking)

    return router


def _models(asking: Asking) -> APIRouter:
    router = APIRouter(prefix="/v2/models/{name}", tags=["Open Inference Protocol"])

    @router.get("")
    @router.get("/versions/{version}")
    async def model(name: str, version: str = VERSION) -> dict[str, Any]:
        """Return the inputs and outputs of a model."""
        return _metadata(_find(asking, name, version))

    @router.get("/ready", response_class=Response)
    @router.get("/versions/{version}/ready", response_class=Response)
    async def is_ready(name: str, version: str = VERSION) -> Response:
        """Answer 200 if the model can be asked."""
        _find(asking, name, version)
        return _is_ready(asking)

    @router.post("/infer", openapi_extra={"requestBody": _BODY})
    @router.post("/versions/{version}/infer", openapi_extra={"requestBody": _BODY})
    async def infer(name: str, request: Request, version: str = VERSION) -> Response:
        """Classify a batch of images."""
        found = _find(asking, name, version)
        return await _infer(asking, found, request)

    return router


_EXAMPLE = {"inputs": [{"name": FILES, "shape": [1], "datatype": "BYTES", "data": ["iVBORw0KGgo…"]}]}
_BODY = {
    "required": True,
    "content": {"application/json": {"schema": {"type": "object"}, "example": _EXAMPLE}},
}


def _is_ready(asking: Asking) -> Response:
    if not asking.service.is_ready:
        raise Refusal(503, "stopping", "the server stops")
    return Response()


def _find(asking: Asking, name: str, version: str) -> ServedModel:
    model = asking.service.models.find(name)
    if version != VERSION:
        raise Refusal(404, "no_model", f"{model.name} has version {VERSION} only, got {version[:20]!r}")
    return model


def _metadata(model: ServedModel) -> dict[str, Any]:
    size, channels = model.classifier.card.preprocessing.size, model.classifier.card.preprocessing.channels
    return {
        "name": model.name,
        "versions": [VERSION],
        "platform": "openvino_onnx",
        "inputs": [
            {"name": PIXELS, "datatype": "UINT8", "shape": [-1, size, size, channels]},
            {"name": FILES, "datatype": "BYTES", "shape": [-1]},
        ],
        "outputs": [
            {"name": "probabilities", "datatype": "FP32", "shape": [-1, len(model.classifier.class_names)]},
            {"name": "label", "datatype": "BYTES", "shape": [-1]},
        ],
    }


async def _infer(asking: Asking, model: ServedModel, request: Request) -> Response:
    async with asking.ask(request, model) as asked:
        wanted = await asked.parse(read_request, request.headers.get(HEADER))
        unknown = [name for name in wanted.outputs if name not in OUTPUTS]
        if unknown:
            raise bad(f"no output is called {unknown[0][:50]!r}: there are {', '.join(OUTPUTS)}")
        asked.allow(_seconds(wanted.parameters))
        answers = await _answers(asked, model, wanted.inputs)
    asking.metrics.record(model, answers)
    about = {
        "model_name": model.name, "model_version": VERSION,
        "parameters": {"sha256": model.sha256, "precision": model.precision},
    }  # fmt: skip
    content, length = write_response(about, _outputs(answers, wanted), wanted)
    headers = {} if length is None else {HEADER: str(length)}
    kind = "application/json" if length is None else "application/octet-stream"
    return Response(content, media_type=kind, headers=headers)


def _seconds(parameters: Mapping[str, Any]) -> float | None:
    """Return the timeout of a request in seconds: the protocol has it in microseconds; 0 is none."""
    given = parameters.get("timeout")
    if given is not None and (type(given) is not int or given < 0):
        raise bad("timeout is a whole number of microseconds")
    return given / MICROSECONDS if given else None


async def _answers(asked: Asked, model: ServedModel, inputs: Mapping[str, Tensor]) -> list[Answered]:
    if len(inputs) != 1 or not inputs.keys() <= {PIXELS, FILES}:
        raise bad(f"the input is {PIXELS} (UINT8) or {FILES} (BYTES), got {', '.join(inputs)[:100]}")
    (tensor,) = inputs.values()
    asked.count(tensor.shape[0])
    if tensor.name == PIXELS:
        wanted = model.classifier.engine.image
        if tensor.datatype != "UINT8" or len(tensor.shape) != 4 or tensor.shape[1:] != wanted:
            raise bad(f"{PIXELS} is UINT8 of shape {[-1, *wanted]}, got {tensor.datatype} {list(tensor.shape)}")
        return list(await asked.predict_pixels(list(tensor.values)))
    if tensor.datatype != "BYTES" or len(tensor.shape) != 1:
        raise bad(f"{FILES} is BYTES of shape [-1], got {tensor.datatype} {list(tensor.shape)}")
    outcomes = await asked.classify([Upload(content, f"image {n}") for n, content in enumerate(tensor.values)])
    for outcome in outcomes:
        if isinstance(outcome, Refusal):  # the protocol has no error of one image
            raise outcome
    return [outcome for outcome in outcomes if isinstance(outcome, Answered)]


def _outputs(answers: list[Answered], wanted: InferRequest) -> dict[str, Any]:
    every = {
        "probabilities": np.stack([each.prediction.probabilities for each in answers]),
        "label": np.array([escape_surrogates(each.prediction.label).encode() for each in answers], object),
    }
    return {name: every[name] for name in (wanted.outputs or OUTPUTS)}
