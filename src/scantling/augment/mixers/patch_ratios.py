"""SPMix's weights: how much of the labelled image every patch of a mix shows.

Source: Wei et al. 2024, arXiv 2406.10801, patch ratios.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

FLAT = 1e-5
"""Range of a map's patch means, relative to the largest, up to which they differ by rounding alone."""


def patch_scores(saliency: Tensor, patch_size: int) -> Tensor:
    """Mean saliency of every patch, stretched for each image to [0.5, 1]; 0.5 all over where the map is constant.

    Args:
        saliency: ``(B, 1, H, W)``, any scale; H and W are multiples of ``patch_size``.
        patch_size: side of a patch in pixels.

    Returns:
        ``(B, 1, H / patch_size, W / patch_size)`` float32.
    """
    mean = F.avg_pool2d(saliency.float(), patch_size)
    low, high = mean.amin((-2, -1), keepdim=True), mean.amax((-2, -1), keepdim=True)
    least = torch.maximum(high.abs(), low.abs()).mul_(FLAT).clamp_(min=torch.finfo(torch.float32).tiny)
    return (mean - low).div_(torch.maximum(high - low, least)).mul_(0.5).add_(0.5)


def patch_ratios(labelled: Tensor, background: Tensor, cap: float = 0.8) -> Tensor:
    """Weight of the labelled image: high on its own lesion and on the other one's, half where neither has any.

    ``r_i = min(cap, max(s_labelled,i, s_background,i))``.

    Args:
        labelled: scores of :func:`patch_scores` of the labelled images, ``(B, 1, h, w)``.
        background: of the images below them, likewise.
        cap: largest weight, in [0.5, 1].

    Returns:
        ``(B, 1, h, w)`` in [0.5, cap].

    >>> flat = patch_scores(torch.ones(1, 1, 4, 4), 2)
    >>> patch_ratios(flat, flat).unique()
    tensor([0.5000])
    """
    return torch.maximum(labelled, background).clamp_(max=cap)
