"""How an image is moved before each step, 3 of 4 parts of feature visualisation: shifted, scaled, turned.

An image that excites a channel only at one exact place is a pattern of the network's own making; one that still does
after small movements shows what the channel looks for (Olah et al., 2017, "Regularization").
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

SHIFT = 1 / 16  # of a side, to either side
SCALE = (0.95, 1.1)
TURN = 5.0  # degrees to either side


def moved(images: Tensor, random: torch.Generator, amount: float = 1.0) -> Tensor:
    """(N, C, H, W) → the same: each image shifted, scaled and turned by chance; its edges are mirrored.

    ``amount`` from 0 to 1 is how far; 0 leaves images as they are.

    >>> moved(torch.ones(2, 3, 8, 8), torch.Generator().manual_seed(0)).mean()
    tensor(1.)
    """
    drawn = torch.rand((4, len(images)), generator=random)
    scale = 1 + amount * (SCALE[0] - 1 + (SCALE[1] - SCALE[0]) * drawn[0])
    angle = amount * math.radians(TURN) * (2 * drawn[1] - 1)
    shift = amount * 2 * SHIFT * (2 * drawn[2:] - 1)  # a side is 2 long
    cosine, sine = torch.cos(angle) / scale, torch.sin(angle) / scale
    rows = (torch.stack([cosine, -sine, shift[0]], 1), torch.stack([sine, cosine, shift[1]], 1))
    grid = F.affine_grid(torch.stack(rows, 1), list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, padding_mode="reflection", align_corners=False)
