"""Chest phantoms: CT slices of lungs that never were, healthy or with opacities, with exact masks of both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from scantling.core.errors import DataError
from scantling.data.phantoms.chest.anatomy import draw_chest, paint_chest
from scantling.data.phantoms.chest.lesions import paint_opacities, plan_opacities
from scantling.data.phantoms.lattice import generator
from scantling.data.phantoms.textures import cut, texture_bank

WINDOW = (-1350.0, 150.0)
"""Hounsfield units that are shown as black and as white: the usual window for lungs."""

_NOISE = 59


@dataclass(frozen=True)
class Scanner:
    """A scanner with its reconstruction.

    Args:
        blur: standard deviation of the point spread, in sides of the picture.
        noise: standard deviation of the noise in Hounsfield units.
        grain: share of the noise that is fine; the rest is blotchy.
        offset: Hounsfield units by which it is out of tune.
    """

    blur: float
    noise: float
    grain: float
    offset: float


SCANNERS = (Scanner(0.0030, 28, 0.75, 0), Scanner(0.0055, 16, 0.30, 25), Scanner(0.0018, 55, 0.95, -30))
"""The scanners of the sites, used again where there are more sites."""


@dataclass(frozen=True)
class ChestBatch:
    """``N`` slices with their truth.

    Args:
        images: lung window, ``(N, H, W)`` uint8.
        lung: mask of the lungs, lesions in them included, ``(N, H, W)`` bool.
        lesion: mask of the lesions, likewise.
        kinds: kinds of the lesions, joined by ``+``, ``(N,)`` str.
    """

    images: np.ndarray
    lung: np.ndarray
    lesion: np.ndarray
    kinds: np.ndarray


def draw_chests(
    index: Sequence[int],
    severity: Sequence[int],
    position: Sequence[float] | None = None,
    size: int = 256,
    seed: int = 0,
    site: Sequence[int] | None = None,
) -> ChestBatch:
    """Draw slices by their numbers.

    The anatomy depends on the number and the seed alone: the same slice can be drawn with and without lesions.

    Args:
        index: numbers of the images, ``N`` of them; ``2 p`` and ``2 p + 1`` are slices of patient ``p``.
        severity: of each, 0 (healthy) to 4.
        position: of each inside its severity, in [0, 1); left out, 0.5.
        size: side in pixels, at least 32.
        seed: number of the set, not negative.
        site: number of the scanner of each; left out, 0.

    Raises:
        DataError: a severity that is not 0 to 4.

    >>> batch = draw_chests([0, 0], [0, 3], size=64)
    >>> batch.images.shape, batch.lesion.any((1, 2)).tolist()
    ((2, 64, 64), [False, True])
    """
    if any(not 0 <= s <= 4 for s in severity):
        raise DataError(f"severity is {max(severity)}", do="give 0 to 4")
    count = len(index)
    places, sites = position or [0.5] * count, site or [0] * count
    images = np.empty((count, size, size), dtype=np.uint8)
    lung, lesion = np.empty((2, count, size, size), dtype=bool)
    kinds = []
    for i, (number, grade, place, scanner) in enumerate(zip(index, severity, places, sites, strict=True)):
        chest = draw_chest(seed, number)
        hu, depth = paint_chest(chest, seed, size)
        plan = plan_opacities(chest, grade, place, seed)
        lung[i] = depth > 0
        lesion[i] = paint_opacities(hu, depth, plan, seed, number) & lung[i]
        images[i] = _scan(hu, SCANNERS[scanner % len(SCANNERS)], generator(seed, _NOISE, number))
        kinds.append(plan.kinds)
    return ChestBatch(images, lung, lesion, np.array(kinds, dtype=str))


def _scan(hu: np.ndarray, scanner: Scanner, rng: np.random.Generator) -> np.ndarray:
    """The slice ``(H, W)`` as uint8: point spread, noise, window."""
    from scipy.ndimage import gaussian_filter

    size = hu.shape[-1]
    bank = texture_bank(size)
    seen = gaussian_filter(hu, max(scanner.blur * size, 0.3))
    noise = scanner.grain * cut(bank["grain"][..., 0], size, rng) + (1 - scanner.grain) * cut(bank["mottle"], size, rng)
    seen += np.float32(scanner.noise) * noise + np.float32(scanner.offset + rng.normal(0, 8))
    low, high = WINDOW
    return np.asarray(np.clip((seen - low) * (255 / (high - low)), 0, 255).astype(np.uint8))
