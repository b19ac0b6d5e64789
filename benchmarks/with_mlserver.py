"""The same classifier behind MLServer, for ``servers.py``: the runtime that its settings name.

Images come as base64 in the JSON of the Open Inference Protocol. A byte is added to a file for each image that was
computed.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from mlserver import MLModel
from mlserver.codecs import Base64Codec, NumpyCodec, StringCodec
from mlserver.types import InferenceRequest, InferenceResponse

import googlenet


class Images(MLModel):  # type: ignore[misc]
    """Bytes of images to their labels and probabilities."""

    async def load(self) -> bool:
        """Load the bundle in a worker."""
        extra = self.settings.parameters.extra
        self.streams, self.counted = extra["streams"], Path(extra["counted"])
        self.classifier = googlenet.load(extra["run"])
        self.classifier.predict_pixels(np.zeros((1, *self.classifier.engine.image), np.uint8), streams=self.streams)
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """Decode and compute the images of a request, or of several."""
        images = [self.classifier.preprocess(each) for each in Base64Codec.decode_input(payload.inputs[0])]
        with self.counted.open("ab") as file:
            file.write(b"." * len(images))
        found = self.classifier.predict_pixels(np.stack(images), streams=self.streams)
        outputs = [
            StringCodec.encode_output("label", [each.label for each in found]),
            NumpyCodec.encode_output("probability", np.array([[each.probability] for each in found])),
        ]
        return InferenceResponse(model_name=self.name, outputs=outputs)


def write_settings(folder: Path, run: Path, port: int, counted: Path, workers: int) -> None:
    """Write what ``mlserver start FOLDER`` reads."""
    server = {"http_port": port, "grpc_port": port + 1, "metrics_port": port + 2, "host": "127.0.0.1",
              "parallel_workers": workers, "debug": False, "metrics_dir": str(folder / "metrics")}  # fmt: skip
    extra = {"run": str(run.absolute()), "counted": str(counted), "streams": 2 // workers}
    model = {"name": "images", "implementation": "with_mlserver.Images", "max_batch_size": 4, "max_batch_time": 0.005,
             "parameters": {"extra": extra}}  # fmt: skip
    (folder / "settings.json").write_text(json.dumps(server))
    (folder / "model-settings.json").write_text(json.dumps(model))
