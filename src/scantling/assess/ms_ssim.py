"""MS-SSIM between random pairs of images of one class: the usual figure of diversity, to compare with.

Source: Wang et al. 2003; as a measure of diversity Odena et al. 2017, arXiv 1610.09585.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""Of the five scales."""
PAIRS = 500
_KERNEL, _BATCH = 11, 32


def random_pairs(codes: np.ndarray, count: int, generator: np.random.Generator) -> np.ndarray:
    """Pairs of different rows of one class ``(P, 2)``, each class as often as it has pairs; ``(0, 2)`` where none has.

    Args:
        codes: class of every row ``(N,)``.
        count: P.
        generator: source of the draws.
    """
    order = np.argsort(codes, kind="stable")
    sizes = np.bincount(codes)
    pairs = sizes * (sizes - 1.0)
    if not len(pairs) or pairs.sum() == 0:
        return np.empty((0, 2), dtype=np.int64)
    chosen = generator.choice(len(sizes), count, p=pairs / pairs.sum())
    start = np.cumsum(sizes) - sizes
    first = generator.integers(0, sizes[chosen])
    second = (first + generator.integers(1, sizes[chosen])) % sizes[chosen]
    return np.stack([order[start[chosen] + first], order[start[chosen] + second]], 1)


def ms_ssim(first: Tensor, second: Tensor) -> Tensor:
    """Multi-scale structural similarity of images pair by pair ``(P,)`` in [0, 1].

    As many of the five scales as the images have room for; the weights of those left out go to the others.

    Args:
        first: ``(P, C, H, W)`` uint8.
        second: their partners.

    Returns:
        NaN where images are smaller than 11 pixels.
    """
    from torchmetrics.functional.image import multiscale_structural_similarity_index_measure as measure

    side = min(first.shape[-2:])
    scales = sum(1 for k in range(len(WEIGHTS)) if side >> k >= _KERNEL)
    if not scales or not len(first):
        return torch.full((len(first),), float("nan"))
    total = sum(WEIGHTS[:scales])
    weights = tuple(w / total for w in WEIGHTS[:scales])
    found = [
        measure(
            a.float(), b.float(), gaussian_kernel=True, sigma=1.5, kernel_size=_KERNEL, reduction="none",
            data_range=255.0, betas=weights, normalize="relu",
        )
        for a, b in zip(first.split(_BATCH), second.split(_BATCH), strict=True)
    ]  # fmt: skip
    return torch.cat([f.reshape(-1) for f in found]).double()
