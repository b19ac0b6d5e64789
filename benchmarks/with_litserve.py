"""The same classifier behind LitServe, for ``servers.py``: ``python with_litserve.py RUN PORT COUNTED WORKERS``.

Images come as base64 in JSON, as in LitServe's examples; each worker process decodes them, and computes up to four at a
time. A byte is added to the file COUNTED for each image that was computed.
"""

import base64
import sys
from pathlib import Path
from typing import Any

import litserve
import numpy as np
from fastapi import Request

import googlenet

RUN, PORT, COUNTED, WORKERS = sys.argv[1:5]


class Images(litserve.LitAPI):
    """Bytes of an image to its label and probability."""

    def setup(self, device: str) -> None:
        """Load the bundle in a worker."""
        self.streams = 2 // int(WORKERS)
        self.classifier = googlenet.load(RUN)
        self.classifier.predict_pixels(np.zeros((1, *self.classifier.engine.image), np.uint8), streams=self.streams)

    def decode_request(self, request: Request) -> Any:  # LitServe passes what the JSON says
        """Read one image."""
        return self.classifier.preprocess(base64.b64decode(request["image"]))  # type: ignore[index]

    def predict(self, batch: list[Any]) -> list[Any]:
        """Compute several images."""
        with Path(COUNTED).open("ab") as file:
            file.write(b"." * len(batch))
        return self.classifier.predict_pixels(np.stack(batch), streams=self.streams)

    def batch(self, inputs: list[Any]) -> list[Any]:
        """Leave them as they are."""
        return inputs

    def unbatch(self, output: list[Any]) -> list[Any]:
        """Leave them as they are."""
        return output

    def encode_response(self, output: Any) -> dict[str, Any]:
        """Say what it is."""
        return {"label": output.label, "probability": output.probability}


if __name__ == "__main__":
    api = Images(max_batch_size=4, batch_timeout=0.0, api_path="/predict")
    litserve.LitServer(api, accelerator="cpu", workers_per_device=int(WORKERS)).run(
        host="127.0.0.1", port=int(PORT), log_level="error", generate_client_file=False
    )
