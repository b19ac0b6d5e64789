"""``googlenet serve``."""

from __future__ import annotations

import gc
import os
from pathlib import Path
from typing import Annotated

import typer

from googlenet.cli.devices import PredictIn
from googlenet.cli.limits import megapixels_option
from googlenet.images.budget import VARIABLE

MEGAPIXELS = 20  # of an image, by default: 60 MB in memory
TOKEN = "GOOGLENET_TOKEN"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("serve", short_help="Serve a page to drop images on, and an HTTP API (no PyTorch).")(serve)


def serve(
    runs: Annotated[
        list[str],
        typer.Argument(help="Runs of `googlenet train`, or bundles; NAME=RUN gives one a name.", metavar="RUN…"),
    ],
    host: Annotated[str, typer.Option(help="The address to listen at; 0.0.0.0 for other machines.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="The port; 0 takes a free one.")] = 8000,
    token: Annotated[
        str | None,
        typer.Option(envvar=TOKEN, help="Answer only requests that know this token; better given in the environment."),
    ] = None,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="A name under which browsers and programs may call this server; repeat it."),
    ] = None,
    keep: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Keep images that people judge on the page, in a folder for each class."),
    ] = None,
    queue: Annotated[
        int, typer.Option(min=1, help="Images inside the server at a time; further requests are told when to return.")
    ] = 64,
    deadline: Annotated[float, typer.Option(min=0.001, help="Seconds after which a request is given up.")] = 30.0,
    max_body: Annotated[float, typer.Option(min=0.001, metavar="MB", help="The largest body of a request.")] = 32.0,
    precision: PredictIn = None,
    max_megapixels: Annotated[float | None, megapixels_option(MEGAPIXELS)] = None,
) -> None:
    """Example: googlenet serve runs/flowers

    Serve models until Ctrl-C or SIGTERM: open the address that it prints in a browser, and drop images on the page; or
    call the API: curl -F image=@daisy.jpg http://127.0.0.1:8000/v1/classify

    No image is stored unless you pass --keep. SIGHUP loads models that have changed on disk, once they proved
    themselves.
    """
    from googlenet.extras import require

    require("serve", "fastapi", "uvicorn", "python_multipart", "prometheus_client")
    from googlenet import bundle
    from googlenet.serving.models import named

    paths = named(runs)
    for path in paths.values():
        bundle.read(path)
    gc.disable()  # 80,000 objects are made by the imports, and none is garbage
    from googlenet.cli.output import warn
    from googlenet.serving.limits import MEGA, Limits
    from googlenet.serving.server import Settings, serve_models

    gc.enable()

    if max_megapixels is None:
        os.environ.setdefault(VARIABLE, str(MEGAPIXELS))
    limits = Limits(body=int(max_body * MEGA), waiting_images=queue, deadline=deadline)
    settings = Settings(paths, host, port, precision, tuple(allow_host or ()), token or None, keep, limits)
    serve_models(settings, tell=warn)
    warn("stopped: every request that was accepted is answered")
