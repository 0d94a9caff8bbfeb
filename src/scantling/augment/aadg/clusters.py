"""Groups of images that look alike, for data that name no site."""

from __future__ import annotations

import torch
from torch import Tensor

STARTS, ROUNDS = 10, 50


def image_statistics(images: Tensor) -> Tensor:
    """How images look as a whole: mean, deviation and roughness of every channel.

    Roughness is the mean absolute difference of neighbouring pixels; noise raises it, blur lowers it.

    Args:
        images: ``(B, C, H, W)``, uint8 or float.

    Returns:
        ``(B, 3 C)`` float32, in units of the images.
    """
    pixels = images.float()
    across, down = pixels.diff(dim=-1).abs().mean((2, 3)), pixels.diff(dim=-2).abs().mean((2, 3))
    return torch.cat([pixels.mean((2, 3)), pixels.std((2, 3)), (across + down) / 2], dim=1)


def clusters(points: Tensor, number: int, generator: torch.Generator) -> Tensor:
    """k-means with k-means++ starts: cluster of every point, ``(N,)`` int64, of the best of ten starts.

    Every column is brought to mean 0 and deviation 1 first. Clusters are numbered by the first point that they hold.

    Args:
        points: ``(N, d)``, at least as many different ones as clusters.
        number: of clusters.
        generator: on the CPU.
    """
    scaled = (points - points.mean(0)) / points.std(0).clamp(min=1e-6)
    centres = _spread(scaled, number, generator)
    rows = torch.arange(STARTS)[:, None]
    for _ in range(ROUNDS):
        nearest = torch.cdist(scaled.expand(STARTS, -1, -1), centres).argmin(2)
        sums = torch.zeros_like(centres).index_put_((rows, nearest), scaled.expand(STARTS, -1, -1), accumulate=True)
        counts = torch.zeros(STARTS, number).index_put_((rows, nearest), torch.ones(nearest.shape), accumulate=True)
        centres = torch.where(counts[..., None] > 0, sums / counts.clamp(min=1)[..., None], centres)
    distance, nearest = torch.cdist(scaled.expand(STARTS, -1, -1), centres).min(2)
    best = nearest[distance.square().sum(1).argmin()]
    first = (best[None] == torch.arange(number)[:, None]).int().argmax(1)
    return first.argsort().argsort()[best]


def _spread(points: Tensor, number: int, generator: torch.Generator) -> Tensor:
    """First centres ``(STARTS, number, d)``: each next one drawn by its squared distance from those before."""
    chosen = points[torch.randint(len(points), (STARTS, 1), generator=generator)]
    for _ in range(number - 1):
        distance = torch.cdist(points.expand(STARTS, -1, -1), chosen).amin(2).square()
        following = torch.multinomial(distance + 1e-12, 1, generator=generator)
        chosen = torch.cat([chosen, points[following]], dim=1)
    return chosen
