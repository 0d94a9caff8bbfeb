"""Statistics of an image's light, edges and rows: what blur, noise, motion and blocks change in any picture."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

SCALES = 3
"""The image as it is, and halved so many times less one."""

STATISTICS = 8 + 16 * SCALES
"""How many numbers an image gives."""

_FLOOR = 1e-4


def image_statistics(images: Tensor) -> Tensor:
    """Statistics ``(B, 56)`` of images ``(B, C, H, W)`` in [0, 1], at least 16 pixels high and wide.

    Of the mean of the channels: mean, standard deviation, five quantiles and the share of white pixels; and at three
    scales the logarithms of the mean, the standard deviation and the tail of differences across, down and of the
    Laplacian; the greatest, the mean of the greatest 5 % and the spread of the differences row by row and column by
    column, against their median; and the ratio of differences across to those down.

    Source: in the manner of the statistics of natural scenes of Mittal et al. 2013 (NIQE), IEEE Signal Process. Lett.
    20(3), whose Gaussian of good images the scorers use as well; the statistics themselves are ours.
    """
    grey = images.float().mean(1, keepdim=True)
    flat = grey.flatten(1)
    levels = torch.tensor([0.02, 0.25, 0.5, 0.75, 0.98], device=images.device)
    found = [
        flat.mean(1, keepdim=True),
        flat.std(1, keepdim=True),
        flat.sort(1).values[:, (levels * (flat.shape[1] - 1)).round().long()],
        (flat > 0.98).float().mean(1, keepdim=True),
    ]
    for scale in range(SCALES):
        plane = F.avg_pool2d(grey, 2**scale)[:, 0] if scale else grey[:, 0]
        across, down = plane.diff(dim=2), plane.diff(dim=1)
        around = 4 * plane[:, 1:-1, 1:-1] - plane[:, :-2, 1:-1] - plane[:, 2:, 1:-1]
        around = around - plane[:, 1:-1, :-2] - plane[:, 1:-1, 2:]
        found += [_tail(difference) for difference in (across, down, around)]
        columns, rows = across.abs().mean(1) + _FLOOR, down.abs().mean(2) + _FLOOR
        found += [_uneven(columns), _uneven(rows), (columns.mean(1) / rows.mean(1)).log()[:, None]]
    return torch.cat(found, 1)


def _tail(difference: Tensor) -> Tensor:
    """Logarithms of mean size, spread, and fourth root of the fourth moment over the spread, ``(B, 3)``."""
    flat = difference.flatten(1)
    spread = flat.std(1) + _FLOOR
    fourth = (flat.square().square().mean(1) + _FLOOR**4) ** 0.25
    return torch.stack([(flat.abs().mean(1) + _FLOOR).log(), spread.log(), (fourth / spread).log()], 1)


def _uneven(profile: Tensor) -> Tensor:
    """Logarithm of a profile ``(B, n)`` over its median: greatest, mean of the greatest 5 %, spread, ``(B, 3)``."""
    level = (profile / profile.median(1, keepdim=True).values).log()
    top = level.topk(max(2, level.shape[1] // 20), dim=1).values
    return torch.stack([top[:, 0], top.mean(1), level.std(1)], 1)
