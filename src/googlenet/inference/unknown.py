"""How unusual an image is among those that a classifier knows: for "unknown" in place of a wrong class. numpy alone.

A detector knows the embeddings of held-out images. Its score of a new one is compared with theirs: the share of known
images that are at least as unusual is the image's p-value, and images with a p-value of at most 5 % are called
unknown. So about 5 % of known images are, too: a stated rate of false alarms (Bates et al., *Testing for outliers with
conformal p-values*, 2023).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

FALSE_ALARMS = 0.05  # share of known images that are called unknown, by default
