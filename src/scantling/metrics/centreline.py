"""Centre lines of thin structures, and how well a predicted mask keeps them."""

from __future__ import annotations

import numpy as np

from scantling.core.errors import DataError
from scantling.metrics.surface import UNKNOWN
from scantling.metrics.weights import ratio

_CLOCKWISE = ((-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1), (-1, -1))
"""Neighbours of a pixel from the one above it: bits 1, 2, 4 ... of its neighbourhood."""


def cl_dice(truth: np.ndarray, predicted: np.ndarray, num_classes: int) -> np.ndarray:
    """Centre-line Dice of every image and foreground class: for vessels, nerves, cracks, not for organs.

    The harmonic mean of the share of the predicted centre line inside the true mask and the share of the true centre
    line inside the predicted mask.

    Args:
        truth: ``(N, H, W)`` or ``(N, D, H, W)`` int classes; -1 and 255 are unknown and count nowhere. Volumes are
            thinned slice by slice.
        predicted: same shape.
        num_classes: K, with the background.

    Returns:
        ``(N, K - 1)`` in [0, 1]; NaN where a class is neither there nor called, 0 where only one of both.

    Raises:
        DataError: shapes that differ.

    Source: Shit et al. 2021, CVPR, arXiv 2003.07311, eq. 1 and 2.

    >>> line = np.zeros((1, 9, 9), dtype=int); line[0, 4, 1:8] = 1
    >>> cl_dice(line, line, 2).item(), cl_dice(line, np.roll(line, 2, axis=1), 2).item()
    (1.0, 0.0)
    """
    truth, predicted = np.asarray(truth), np.asarray(predicted)
    if truth.shape != predicted.shape:
        raise DataError(f"masks of shapes {truth.shape} and {predicted.shape}", do="resize the prediction first")
    known = ~np.isin(truth, UNKNOWN)
    out = np.empty((len(truth), num_classes - 1))
    for k in range(1, num_classes):
        true, called = (truth == k) & known, (predicted == k) & known
        precision = _inside(called, true)
        sensitivity = _inside(true, called)
        both = np.where(np.isnan(precision) & np.isnan(sensitivity), np.nan, 0.0)
        total = np.nan_to_num(precision) + np.nan_to_num(sensitivity)
        harmonic = 2 * np.nan_to_num(precision) * np.nan_to_num(sensitivity) / np.where(total > 0, total, 1.0)
        out[:, k - 1] = np.where(total > 0, harmonic, both)
    return out


def thin(masks: np.ndarray) -> np.ndarray:
    """Centre lines one pixel wide, connected as the masks are.

    Args:
        masks: boolean ``(..., H, W)``.

    Returns:
        Boolean of the same shape; all masks are thinned at once, by look-up of the eight neighbours.

    Source: Guo and Hall 1989, Communications of the ACM 32(3), algorithm A1.
    """
    stack = np.asarray(masks, dtype=bool).reshape(-1, *masks.shape[-2:])
    padded = np.pad(stack, ((0, 0), (1, 1), (1, 1)))
    first, second = _tables()
    inner = padded[:, 1:-1, 1:-1]
    # Only images that still change are looked at again.
    active = np.arange(len(padded))
    while len(active):
        changed = np.zeros(len(active), dtype=bool)
        for table in (first, second):
            removed = inner[active] & table[_neighbourhoods(padded[active])]
            changed |= removed.any((1, 2))
            inner[active] = inner[active] & ~removed
        active = active[changed]
    return inner.reshape(masks.shape).copy()


def _inside(lines_of: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Share ``(N,)`` of the centre line of one mask that lies inside the other; NaN without a line."""
    line = thin(lines_of)
    axes = tuple(range(1, line.ndim))
    return ratio((line & mask).sum(axes), line.sum(axes))


def _neighbourhoods(padded: np.ndarray) -> np.ndarray:
    """The eight neighbours of every inner pixel as the bits of one number, ``(N, H, W)`` uint8."""
    height, width = padded.shape[1] - 2, padded.shape[2] - 2
    out = np.zeros((len(padded), height, width), dtype=np.uint8)
    for bit, (down, right) in enumerate(_CLOCKWISE):
        out |= padded[:, 1 + down : 1 + down + height, 1 + right : 1 + right + width].astype(np.uint8) << np.uint8(bit)
    return out


def _tables() -> tuple[np.ndarray, np.ndarray]:
    """Which of the 256 neighbourhoods let their pixel go, in the first and in the second half of a round."""
    north, northeast, east, southeast, south, southwest, west, northwest = (
        ((np.arange(256) >> bit) & 1).astype(bool) for bit in range(8)
    )
    ways = [(east, northeast, north), (north, northwest, west), (west, southwest, south), (south, southeast, east)]
    crossings = sum((~a & (b | c)).astype(int) for a, b, c in ways)
    one = [(east | northeast), (north | northwest), (west | southwest), (south | southeast)]
    other = [(northeast | north), (northwest | west), (southwest | south), (southeast | east)]
    count = np.minimum(np.sum(one, axis=0), np.sum(other, axis=0))
    edge = (crossings == 1) & (count >= 2) & (count <= 3)
    first = edge & ~((northeast | north | ~southeast) & east)
    second = edge & ~((southwest | south | ~northwest) & west)
    return first, second
