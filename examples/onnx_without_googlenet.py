"""Classify images with the model.onnx of a bundle, without this package: only ONNX Runtime, Pillow and NumPy.

    python onnx_without_googlenet.py runs/flowers/bundle daisy.jpg

Needs: pip install onnxruntime pillow numpy
"""

import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image, ImageOps


def load_image(path, preprocessing):
    """Decode, crop and resize an image: (size, size, 3) uint8 RGB. Normalisation is inside the graph."""
    image = ImageOps.exif_transpose(Image.open(path)).convert("RGB")
    if preprocessing["resize"] == "pad":
        image = ImageOps.pad(image, (max(image.size), max(image.size)), color=(127, 127, 127))
    width, height = image.size
    wide, high = (width, height) if preprocessing["resize"] == "squash" else (min(width, height), min(width, height))
    size = preprocessing["size"]
    kept = size / round(size / preprocessing["crop_fraction"])  # of each side
    left, top = (width - wide * kept) / 2, (height - high * kept) / 2
    box = (left, top, left + wide * kept, top + high * kept)
    return np.asarray(image.resize((size, size), Image.Resampling.BILINEAR, box=box))


bundle = Path(sys.argv[1])
card = json.loads((bundle / "card.json").read_text("utf-8"))
session = onnxruntime.InferenceSession(bundle / "model.onnx", providers=["CPUExecutionProvider"])

images = np.stack([load_image(path, card["preprocessing"]) for path in sys.argv[2:]])  # (N, size, size, 3)
(probabilities,) = session.run(["probabilities"], {"images": images})  # (N, K)
for path, row in zip(sys.argv[2:], probabilities, strict=True):
    best = int(row.argmax())
    print(f"{path}: {card['class_names'][best]} ({row[best]:.1%})")
