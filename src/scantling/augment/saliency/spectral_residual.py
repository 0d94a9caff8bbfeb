"""Spectral residual: what is left of an image's spectrum when what all images have in common is taken away.

Source: Hou and Zhang 2007, Saliency detection: a spectral residual approach, CVPR.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

from scantling.augment.saliency.detector import SaliencyDetector
from scantling.augment.saliency.grey import enlarged, grey, reduced
from scantling.core.batch import IMAGE
from scantling.core.errors import RecipeError

if TYPE_CHECKING:
    from tensordict import TensorDict

FAINTEST = 1e-4
"""Contrast, of grey values in [0, 1], below which an image is constant but for rounding."""


class SpectralResidual(SaliencyDetector):
    """Spectral residual: the odd thing out on a repeating background. Needs no training.

    It marks edges and small objects more than the inside of large ones; for lesions that fill much of the image take
    :class:`scantling.augment.saliency.FineGrained`.

    Args:
        longest_side: side in pixels at which the image is looked at, which sets the size of what is found; from 8 up.
        sigma: of the Gaussian that smooths the map, in pixels of that side; above 0.

    Raises:
        RecipeError: a value out of range.
    """

    def __init__(self, longest_side: int = 64, sigma: float = 2.5) -> None:
        if longest_side < 8 or not sigma > 0:
            what = f"a side of {longest_side} pixels and a sigma of {sigma:g}"
            raise RecipeError(what, where="SpectralResidual", do="give a side from 8 and a sigma above 0")
        self.longest_side, self.sigma = longest_side, sigma
        self.settings = {"longest_side": longest_side, "sigma": sigma}

    def detect(self, batch: TensorDict) -> Tensor:
        """Maps ``(B, 1, H, W)`` float32 in [0, 1]."""
        images = batch[IMAGE]
        size = (images.shape[-2], images.shape[-1])
        return enlarged(spectral_residual(reduced(grey(images), self.longest_side), self.sigma), size)


def spectral_residual(images: Tensor, sigma: float = 2.5) -> Tensor:
    """Saliency ``(B, 1, H, W)`` in [0, 1] of grey images ``(B, 1, H, W)``; zero for constant images.

    ``R = log|F| - mean_3x3(log|F|)``, ``S = gauss * |ifft(exp(R + i arg F))|^2`` (eq. 4 to 6), stretched to [0, 1]. The
    mean over frequencies goes round the spectrum's ends, which has none.
    """
    spectrum = torch.fft.fft2(images.float())
    strength = spectrum.abs().clamp(min=torch.finfo(torch.float32).eps)
    logarithm = strength.log()
    common = F.avg_pool2d(F.pad(logarithm, (1, 1, 1, 1), mode="circular"), 3, stride=1)
    residual = torch.polar((logarithm - common).exp(), spectrum.angle())
    energy = _smoothed(torch.fft.ifft2(residual).abs().square(), sigma)
    low, high = energy.amin((-2, -1), keepdim=True), energy.amax((-2, -1), keepdim=True)
    stretched = (energy - low) / (high - low).clamp(min=torch.finfo(torch.float32).tiny)
    contrast = images.amax((-2, -1), keepdim=True) - images.amin((-2, -1), keepdim=True)
    return torch.where(contrast > FAINTEST, stretched, 0)


def _smoothed(maps: Tensor, sigma: float) -> Tensor:
    """Maps ``(B, 1, H, W)`` under a Gaussian that is cut at three sigma; the edge is repeated."""
    reach = max(1, round(3 * sigma))
    place = torch.arange(-reach, reach + 1, device=maps.device, dtype=maps.dtype)
    kernel = torch.softmax(-(place**2) / (2 * sigma**2), 0)
    wide = F.pad(maps, (reach, reach, reach, reach), mode="replicate")
    return F.conv2d(F.conv2d(wide, kernel.view(1, 1, -1, 1)), kernel.view(1, 1, 1, -1))
