"""How an image is written as numbers to be changed, 2 of 4 parts of feature visualisation: a decorrelated spectrum.

Gradient ascent on pixels makes noise of high frequencies. On a Fourier spectrum whose frequencies are weighted as in
photographs, and on colours that are as little correlated as photographs' are, the same gradients make smooth shapes
(Olah, Mordvintsev & Schubert, *Feature visualization*, Distill, 2017, "Preconditioning and parameterization").
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

DEVIATION = 0.05  # of the spectrum at the beginning
CONTRAST = 0.25
# A square root of the covariance of R, G and B in photographs (of ImageNet, as published with the article above).
COLOURS = ((0.26, 0.09, 0.02), (0.27, 0.00, -0.05), (0.27, -0.09, 0.03))


class Spectrum(nn.Module):
    """N images of ``side`` × ``side`` pixels as spectra, which ``random`` draws: nearly grey at first.

    >>> Spectrum(2, 3, 32, torch.Generator().manual_seed(0))().shape
    torch.Size([2, 3, 32, 32])
    """

    def __init__(self, count: int, channels: int, side: int, random: torch.Generator) -> None:
        super().__init__()
        self.side = side
        down, across = torch.fft.fftfreq(side)[:, None], torch.fft.rfftfreq(side)[None]
        frequency = torch.sqrt(down**2 + across**2).clamp(min=1 / side)
        self.weight: Tensor
        self.register_buffer("weight", (side / frequency)[..., None])
        shape = (count, channels, *frequency.shape, 2)
        self.spectrum = nn.Parameter(DEVIATION * torch.randn(shape, generator=random))

    def forward(self) -> Tensor:
        """Return the images, (N, C, side, side), from 0 to 1."""
        complex_spectrum = torch.view_as_complex(self.spectrum * self.weight)
        values = CONTRAST * torch.fft.irfft2(complex_spectrum, s=(self.side, self.side))
        if values.shape[1] == len(COLOURS):
            colours = torch.tensor(COLOURS)
            values = torch.einsum("ij,njhw->nihw", colours / colours.norm(dim=0).max(), values)
        return torch.sigmoid(values)

    def keep(self, numbers: Tensor) -> None:
        """Go on with these images only, some perhaps more than once."""
        self.spectrum = nn.Parameter(self.spectrum.detach()[numbers].clone())
