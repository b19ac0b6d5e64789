"""The HTTP API: routes, and what they say. The work is in ``service``, the checks before it in ``guard``."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError

from googlenet._version import __version__
from googlenet.errors import GoogLeNetError
from googlenet.serving import answers, page, v2
from googlenet.serving.answers import TOP, HeatMap, Options
from googlenet.serving.asking import Asking
from googlenet.serving.keeping import Keeper
from googlenet.serving.metrics import CONTENT_TYPE
from googlenet.serving.models import ServedModel
from googlenet.serving.multipart import Upload, read_body
from googlenet.serving.refusal import Refusal
from googlenet.serving.schemas import Answer, Failed, Model, ModelList
from googlenet.serving.service import Answered, Outcome
from googlenet.text import json_text, printable

MAX_TOP = 1000
_WHY = {
    400: "The request is not as it should be", 401: "A token is needed", 403: "A page of another site asked",
    404: "There is no such model", 405: "There is no such method", 408: "The body came too slowly",
    413: "Too large, or too many images", 415: "The body is compressed", 421: "This server has another name",
    422: "No image could be read, or the model does not do what is asked",
    503: "Busy, or stopping: Retry-After says when to ask again", 504: "The deadline passed",
}  # fmt: skip
ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"model": Failed, "description": why} for status, why in _WHY.items()
}

_IMAGE = {"type": "string", "format": "binary"}
_IMAGES = {
    "required": True,
    "content": {
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "properties": {"image": {"type": "array", "items": _IMAGE}},
                "required": ["image"],
            }
        },
        "application/octet-stream": {"schema": _IMAGE},
        "image/*": {"schema": _IMAGE},
    },
}
_ABOUT = """\
Classify images with a trained model.

    curl -F image=@daisy.jpg http://127.0.0.1:8000/v1/classify
    curl --data-binary @daisy.jpg -H 'Content-Type: image/jpeg' http://127.0.0.1:8000/v1/classify?top=3
"""

ModelName = Annotated[str | None, Query(description="The model to ask; by default the first.", examples=["flowers"])]


def create_app(asking: Asking, keeper: Keeper | None = None) -> FastAPI:
    """Return the application. ``keeper`` keeps images that people judged; without it none is kept."""
    app = FastAPI(title="googlenet", version=__version__, description=_ABOUT, docs_url=None, redoc_url=None,
                  responses=ERRORS, redirect_slashes=False)  # fmt: skip
    _add_errors(app)
    _add_classify(app, asking)
    _add_models(app, asking, keeper)
    _add_health(app, asking)
    if keeper is not None:
        keeper.add(app, asking)
    v2.add(app, asking)
    page.add(app)
    return app


class JSON(Response):
    """JSON as :func:`googlenet.text.json_text` writes it."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        """Return the bytes."""
        return json_text(content, compact=True).encode()


def _refused(request: Request, refusal: Refusal) -> Response:
    said = {"error": refusal.message} if request.url.path.startswith("/v2") else refusal.to_dict()
    return JSON(said, status_code=refusal.status, headers=refusal.headers)


def _add_errors(app: FastAPI) -> None:
    """Answer every error in the same form."""

    @app.exception_handler(Refusal)
    async def refused(request: Request, error: Refusal) -> Response:
        return _refused(request, error)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"][1:]))
        return _refused(request, Refusal(400, "bad_request", printable(f"{where}: {first['msg']}")))

    @app.exception_handler(404)
    async def missing(request: Request, error: Exception) -> Response:
        return _refused(
            request, Refusal(404, "no_route", f"{printable(request.url.path[:80])} is nothing of this server")
        )

    @app.exception_handler(405)
    async def method(request: Request, error: Any) -> Response:
        refusal = Refusal(405, "method", f"{request.method} is not for {request.url.path[:80]}", error.headers)
        return _refused(request, refusal)

    @app.exception_handler(GoogLeNetError)
    async def failed(request: Request, error: GoogLeNetError) -> Response:
        return _refused(request, Refusal(500, "failed", str(error)))


def _add_classify(app: FastAPI, asking: Asking) -> None:
    @app.post("/v1/classify", response_model=Answer, openapi_extra={"requestBody": _IMAGES}, tags=["Classify"])
    async def classify(
        request: Request,
        model: ModelName = None,
        top: Annotated[int, Query(ge=1, le=MAX_TOP, description="How many classes to name.")] = TOP,
        sets: Annotated[
            float | None,
            Query(gt=0, lt=1, description="Also name a set of classes that holds the true one this often."),
        ] = None,
        heatmap: Annotated[HeatMap, Query(description="Where in the image the network looked.")] = "none",
    ) -> Response:
        """Classify an image, or several in a form. One that cannot be read does not affect the others.

        The header X-Request-Timeout gives a deadline in seconds, after which the answer is 504 and nothing is computed.
        """
        found, options = asking.service.models.find(model), Options(top, sets, heatmap)
        options.check(found)
        async with asking.ask(request, found) as asked:
            kind = request.headers.get("content-type", "")
            form = await asked.parse(read_body, kind, asking.service.limits.images)
            asked.count(len(form.images))
            outcomes = await asked.classify(form.images, options)
            asking.metrics.record(found, outcomes)
            if heatmap == "png":  # drawing takes a while
                return await asyncio.to_thread(_said, found, form.images, outcomes, options)
            return _said(found, form.images, outcomes, options)


def _said(model: ServedModel, images: Sequence[Upload], outcomes: Sequence[Outcome], options: Options) -> Response:
    """Say what came of each image; an error where none could be read."""
    first = outcomes[0]
    if isinstance(first, Refusal) and (len(outcomes) == 1 or all(isinstance(each, Refusal) for each in outcomes)):
        raise first
    results = [{"name": image.name, **_result(model, outcome, options)}
               for image, outcome in zip(images, outcomes, strict=True)]  # fmt: skip
    return JSON({"model": _id(model), "results": results})


def _result(model: ServedModel, outcome: Outcome, options: Options) -> dict[str, Any]:
    if isinstance(outcome, Answered):
        return answers.to_dict(model, outcome.prediction, outcome.times, options, outcome.explanation)
    return outcome.to_dict()


def _id(model: ServedModel) -> dict[str, str]:
    return {"name": model.name, "sha256": model.sha256, "precision": model.precision}


def _add_models(app: FastAPI, asking: Asking, keeper: Keeper | None) -> None:
    models = asking.service.models

    @app.get("/v1/models", response_model=ModelList, tags=["Models"])
    async def every() -> Response:
        """Return the models of this server, the first of which answers where a request names none."""
        return JSON({"models": [_about(model) for model in models], "keep": keeper is not None})

    @app.get("/v1/models/{name}", response_model=Model, tags=["Models"])
    async def one(name: str) -> Response:
        """Return what a model is: its classes, what it can do, and how good it was on its held-out images."""
        return JSON(_about(models.find(name)))

    @app.get("/v1/models/{name}/examples/{number}", tags=["Models"], response_class=Response,
             responses={200: {"content": {"image/png": {}}, "description": "As the network sees it"}})  # fmt: skip
    async def example(name: str, number: int) -> Response:
        """Return one of the images that the model keeps to prove itself."""
        found = models.find(name)
        if not 0 <= number < len(found.examples):
            raise Refusal(404, "no_example", f"{found.name} has {len(found.examples)} examples, counted from 0")
        return Response(await asyncio.to_thread(found.example, number), media_type="image/png")

    @app.post("/v1/reload", tags=["Models"])
    def reload(request: Request) -> dict[str, str]:
        """Load models that have changed on disk. One that does not prove itself is refused, and the old one stays.

        Only where the server asks for a token; without one, send the process SIGHUP.
        """
        if not request.app.state.asks_for_token:
            raise Refusal(403, "no_token", "reload needs a server that was started with --token; or send it SIGHUP")
        return models.reload()


def _about(model: ServedModel) -> dict[str, Any]:
    card = model.classifier.card
    kept = {
        "network": card.name, "classes": list(card.class_names), "image_size": card.preprocessing.size,
        "multi_label": card.multi_label, "metrics": card.metrics, "intervals": card.intervals,
        "data": {name: card.data[name] for name in ("train", "val") if name in card.data},
    }  # fmt: skip
    able = {
        "heatmap": model.has_maps, "unknown": model.classifier.tells_unknown, "sets": model.highest_level,
        "examples": len(model.examples),
    }  # fmt: skip
    return json.loads(json_text(_id(model) | able | kept))  # type: ignore[no-any-return]  # no lone surrogates


def _add_health(app: FastAPI, asking: Asking) -> None:
    @app.get("/health/live", tags=["Health"])
    async def live() -> dict[str, str]:
        """Answer as long as the process lives."""
        return {"status": "live"}

    @app.get("/health/ready", tags=["Health"])
    async def ready() -> dict[str, str]:
        """Answer 200 while requests are taken, 503 once the server stops."""
        if not asking.service.is_ready:
            raise Refusal(503, "stopping", "the server stops")
        return {"status": "ready"}

    @app.get("/metrics", tags=["Health"], response_class=Response,
             responses={200: {"content": {"text/plain": {}}, "description": "Figures for Prometheus"}})  # fmt: skip
    async def metrics() -> Response:
        """Return figures for Prometheus."""
        return Response(asking.metrics.text(), media_type=CONTENT_TYPE)


ROUTES = ("/v1/classify", "/v1/models", "/v1/reload", "/v1/feedback", "/metrics", "/health/live", "/health/ready", "/")


def route_of(path: str) -> str:
    """Return what figures call a path, of which there must be few.

    >>> route_of("/v1/classify"), route_of("/v2/models/a/infer"), route_of("/x")
    ('/v1/classify', '/v2', 'other')
    """
    if path in ROUTES:
        return path
    return next((start for start in ("/v1/models", "/v2") if path.startswith(start)), "other")
