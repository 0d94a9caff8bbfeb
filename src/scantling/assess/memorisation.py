"""Are synthetic images copies of real ones? The nearest real neighbour against what real images have among themselves.

Source of authenticity: Alaa et al. 2022, arXiv 2102.08921.
"""

from __future__ import annotations

import torch
from torch import Tensor

from scantling.assess.duplicates import EXACT, QUANTILE


def memorisation(to_real: Tensor, nearest_real: Tensor, among_real: Tensor) -> dict[str, float]:
    """How much closer synthetic images are to real ones than real ones are to one another.

    Args:
        to_real: similarity of every synthetic image to its nearest real image ``(M,)``.
        nearest_real: that image's row ``(M,)`` int64.
        among_real: similarity of every real image to its nearest other real image ``(N,)``.

    Returns:
        ``threshold``, the similarity that one real image in a hundred reaches; ``share`` of synthetic images above it
        (0.01 where images are new, 1 where they are copies); ``copies``, the share that is a real image;
        ``authenticity``, the share that is further from its nearest real image than that one from another real image
        (about a half where images are new, 0 where they are copies); ``mean`` and ``mean_real``, the two mean
        similarities.
    """
    names = ("threshold", "share", "copies", "authenticity", "mean", "mean_real")
    if not len(among_real) or not len(to_real):
        return dict.fromkeys(names, float("nan"))
    threshold = float(torch.quantile(among_real.double(), QUANTILE, interpolation="lower"))
    values = (
        threshold,
        float((to_real.double() > threshold).double().mean()),
        float((to_real >= EXACT).double().mean()),
        float((to_real < among_real[nearest_real]).double().mean()),
        float(to_real.double().mean()),
        float(among_real.double().mean()),
    )
    return dict(zip(names, values, strict=True))
