"""Fine-grained static saliency: how far a pixel differs from the mean of its surroundings, over six sizes of those.

Source: Montabone and Soto 2010, Human detection using a mobile platform and novel features derived from a visual
saliency mechanism, Image and Vision Computing 28(3); the detector that OpenCV calls "fine grained".
"""

from __future__ import annotations

from collections.abc import Sequence
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

SCALES = (12, 24, 48, 28, 56, 112)
"""Half sides of the surrounding squares, in pixels."""

STRIP = 2**18
"""Pixels that are worked on at a time on a CPU, so that they stay in its cache from step to step."""


class FineGrained(SaliencyDetector):
    """Fine-grained static saliency: lesions that are darker or brighter than what surrounds them. Needs no training.

    The widest surroundings are 224 pixels: larger images are looked at smaller, or the inside of a large lesion fades.

    Args:
        longest_side: images are reduced to at most so many pixels a side for the detection, from 32 up.

    Raises:
        RecipeError: fewer pixels than that.
    """

    def __init__(self, longest_side: int = 448) -> None:
        if longest_side < 32:
            raise RecipeError(f"saliency of {longest_side} pixels", where="longest_side", do="give 224 to 448")
        self.longest_side = longest_side
        self.settings = {"longest_side": longest_side}

    def detect(self, batch: TensorDict) -> Tensor:
        """Maps ``(B, 1, H, W)`` float32 in [0, 1]."""
        images = batch[IMAGE]
        size = (images.shape[-2], images.shape[-1])
        return enlarged(fine_grained(grey(reduced(images, self.longest_side))), size)


def fine_grained(images: Tensor) -> Tensor:
    """Saliency ``(B, 1, H, W)`` in [0, 1] of grey images ``(B, 1, H, W)`` in [0, 1]; zero for constant images.

    On 8-bit grey values ``g``, blurred twice by (1, 2, 1) / 4, with ``m_k`` the mean of the square from ``p - k + 1``
    to ``p + k`` without ``p``::

        on  = sum_k trunc(max(0, g - m_k))        off = sum_k trunc(max(0, m_k - g))
        S   = min(1, on / max(on) + off / max(off))

    Departure from OpenCV: where both are large the sum is cut at 1, and does not begin at 0 again.
    """
    strip = max(1, STRIP // images[0].numel()) if images.device.type == "cpu" else len(images)
    areas = [_areas(images.shape[-2], images.shape[-1], k, images.device) for k in SCALES]
    parts = [
        _centre_surround(_blurred(_blurred(p.mul(255).round_())), areas) for p in torch.split(images.float(), strip)
    ]
    on, off = (torch.cat(part) for part in zip(*parts, strict=True))
    share = [side.div_(side.amax((-2, -1), keepdim=True).clamp_(min=1)) for side in (on, off)]
    return share[0].add_(share[1]).clamp_(max=1)


def _centre_surround(levels: Tensor, areas: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Sums over all surroundings of how much a pixel is brighter, and darker, in whole grey levels.

    Exact, although in single precision: sums over a surrounding are whole numbers below 2^24, and a quotient of them
    that is no whole number lies farther from the next one than it is rounded.
    """
    # Differences of 32-bit sums stay right where the sums themselves overflow.
    table = F.pad(levels.to(torch.int32), (1, 0, 1, 0)).cumsum(-1, dtype=torch.int32).cumsum(-2, dtype=torch.int32)
    total, size = torch.zeros_like(levels), torch.zeros_like(levels)
    for k, area in zip(SCALES, areas, strict=True):
        box = _window_sums(_window_sums(table, k, -2), k, -1).float()
        difference = torch.addcmul(box.neg_(), levels, area).div_((area - 1).clamp_(min=1)).trunc_()
        total += difference
        size += difference.abs_()
    return total.add(size).div_(2), size.sub_(total).div_(2)


def _window_sums(table: Tensor, k: int, dim: int) -> Tensor:
    """Sums over positions ``p - k + 1 ... p + k`` along a dimension, from running sums that begin with a zero."""
    length = table.shape[dim] - 1
    inner = max(0, length - k - 1)
    shape = list(table.shape)
    shape[dim] = length
    out = table.new_empty(shape)
    out.narrow(dim, 0, inner).copy_(table.narrow(dim, length - inner, inner))
    out.narrow(dim, inner, length - inner).copy_(table.narrow(dim, length, 1))
    begun = min(length, k)
    out.narrow(dim, begun, length - begun).sub_(table.narrow(dim, 1, length - begun))
    return out


def _areas(height: int, width: int, k: int, device: torch.device) -> Tensor:
    """Pixels of every pixel's surrounding that lie in the image, itself included, ``(H, W)`` float32."""
    sides = [
        (torch.arange(n, device=device) + k + 1).clamp_(max=n) - (torch.arange(n, device=device) - k + 1).clamp_(min=0)
        for n in (height, width)
    ]
    return sides[0].unsqueeze(1).mul(sides[1]).float()


def _blurred(levels: Tensor) -> Tensor:
    """Whole grey levels, blurred by (1, 2, 1) / 4 down and across; mirrored at the edge, halves rounded to even."""
    if min(levels.shape[-2:]) < 2:
        return levels
    wide = F.pad(levels, (1, 1, 1, 1), mode="reflect")
    down = wide[..., 1:-1, :].mul(2).add_(wide[..., :-2, :]).add_(wide[..., 2:, :])
    both = down[..., 1:-1].mul(2).add_(down[..., :-2]).add_(down[..., 2:])
    return both.div_(16).round_()
