"""``--device`` and ``--precision`` of the commands that answer."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

PredictOn = Annotated[
    Literal["cpu", "gpu", "npu", "cuda", "coreml"],
    typer.Option(
        "--device",
        help="Where to compute: gpu (Intel) or npu through OpenVINO; cuda or coreml through ONNX Runtime, which "
        "pip install 'googlenet[gpu]' brings.",
    ),
]
PredictIn = Annotated[
    Literal["fp32", "bf16", "int8"] | None,
    typer.Option(
        "--precision",
        help="What to compute in. By default the fastest that was measured to be as accurate as fp32.",
    ),
]
