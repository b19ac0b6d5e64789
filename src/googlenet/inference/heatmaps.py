"""Class activation maps laid over the image they are of."""

from __future__ import annotations

import numpy as np
from PIL import Image

from googlenet.images.resize import crop_box, inside
from googlenet.inference.engine import Floats
from googlenet.preprocessing import Preprocessing


def evidence_in(logits: Floats) -> Floats:
    """Return the evidence for a class in its activation map (h, w): from 0 (none, or against it) to 1 (most)."""
    evidence = np.maximum(logits, 0)
    return np.asarray(evidence / max(float(evidence.max()), 1e-12), np.float32)


def lay_over(evidence: Floats, width: int, height: int, preprocessing: Preprocessing) -> Floats:
    """Enlarge a map (h, w) of the crop that the network saw to the image (H, W). Outside of the crop it is 0."""
    whole = crop_box(width, height, preprocessing)
    seen = inside(whole, width, height)
    across = evidence.shape[1] / (whole[2] - whole[0])
    down = evidence.shape[0] / (whole[3] - whole[1])
    on_map = (
        (seen[0] - whole[0]) * across, (seen[1] - whole[1]) * down,
        (seen[2] - whole[0]) * across, (seen[3] - whole[1]) * down,
    )  # fmt: skip
    left, top, right, bottom = (round(edge) for edge in seen)
    size = (max(right - left, 1), max(bottom - top, 1))
    enlarged = Image.fromarray(evidence.astype(np.float32)).resize(size, Image.Resampling.BILINEAR, box=on_map)
    heat = np.zeros((height, width), np.float32)
    heat[top : top + size[1], left : left + size[0]] = np.asarray(enlarged)
    return heat
