"""Near-duplicates inside a synthetic set."""

from __future__ import annotations

import torch
from torch import Tensor

EXACT = 1 - 1e-5
"""Similarity from which on two images are copies, in single precision."""
QUANTILE = 0.99


def near_duplicates(synthetic: Tensor, real: Tensor) -> dict[str, float]:
    """Shares of synthetic images with a twin in their own set.

    Args:
        synthetic: similarity of every synthetic image to its nearest other synthetic image ``(M,)``.
        real: the same among real images ``(N,)``.

    Returns:
        ``threshold``, the similarity that one real image in a hundred reaches; ``share`` of synthetic images above it
        (0.01 where the sets are alike); ``copies``, the share with a copy in the set; ``copies_real``, the same of the
        real set.
    """
    if not len(real) or not len(synthetic):
        return dict.fromkeys(("threshold", "share", "copies", "copies_real"), float("nan"))
    threshold = float(torch.quantile(real.double(), QUANTILE, interpolation="lower"))
    return {
        "threshold": threshold,
        "share": float((synthetic.double() > threshold).double().mean()),
        "copies": float((synthetic >= EXACT).double().mean()),
        "copies_real": float((real >= EXACT).double().mean()),
    }
