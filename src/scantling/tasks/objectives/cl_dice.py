"""Soft clDice: how well thin structures keep their centre lines, as a loss."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def soft_skeleton(maps: Tensor, steps: int) -> Tensor:
    """The skeleton of soft masks: what an opening takes away, at every depth of erosion.

    Args:
        maps: ``(B, S, H, W)`` in [0, 1].
        steps: erosions; at least half of the widest structure in pixels.

    Returns:
        ``(B, S, H, W)`` in [0, 1], differentiable.

    Source: Shit et al. 2021, CVPR, arXiv 2003.07311, algorithm 1.
    """
    skeleton = F.relu(maps - _open(maps))
    for _ in range(steps):
        maps = _erode(maps)
        more = F.relu(maps - _open(maps))
        skeleton = skeleton + F.relu(more - skeleton * more)
    return skeleton


def cl_dice_loss(probabilities: Tensor, label: Tensor, weight: Tensor, steps: int = 10, smooth: float = 1.0) -> Tensor:
    """``1 - clDice``, averaged over structures and images by weight.

    clDice is the harmonic mean of the share of the predicted skeleton inside the true mask (topology precision) and
    the share of the true skeleton inside the predicted mask (topology sensitivity).

    Args:
        probabilities: ``(B, S, H, W)``, 0 at pixels that do not count.
        label: 0 and 1, ``(B, S, H, W)``, 0 at pixels that do not count.
        weight: ``(B, S)``.
        steps: of :func:`soft_skeleton`.
        smooth: added to the sizes above and below.

    Source: Shit et al. 2021, arXiv 2003.07311, eq. 1 and 2.
    """
    both = soft_skeleton(torch.cat([probabilities, label], dim=1), steps)
    predicted, true = both.chunk(2, dim=1)
    precision = ((predicted * label).sum((2, 3)) + smooth) / (predicted.sum((2, 3)) + smooth)
    sensitivity = ((true * probabilities).sum((2, 3)) + smooth) / (true.sum((2, 3)) + smooth)
    lost = 1 - 2 * precision * sensitivity / (precision + sensitivity)
    return (lost * weight).sum() / weight.sum().clamp(min=torch.finfo(weight.dtype).tiny)


def _erode(maps: Tensor) -> Tensor:
    """The least value of the pixel and its four neighbours."""
    down = -F.max_pool2d(-maps, (3, 1), 1, (1, 0))
    across = -F.max_pool2d(-maps, (1, 3), 1, (0, 1))
    return torch.minimum(down, across)


def _open(maps: Tensor) -> Tensor:
    return F.max_pool2d(_erode(maps), 3, 1, 1)
