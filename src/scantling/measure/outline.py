"""Outlines of structures as points, to a fraction of a pixel, and how much of each pixel a structure covers.

What a network gives is a probability for each pixel; the structure's border is where it crosses one half.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from scantling.measure.clean import clean

HALF = 0.5


def isolate(probabilities: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The one structure of every map: probabilities of it alone and where they are one half or more.

    Args:
        probabilities: ``(N, H, W)``, float in [0, 1] or bool.

    Returns:
        ``(N, H, W)`` float32 and bool.
    """
    values = np.asarray(probabilities)
    structure = clean(values if values.dtype == bool else values >= HALF)
    values = values.astype(np.float32, copy=False)
    return np.where(structure == (values >= HALF), values, structure.astype(np.float32)), structure


def coverage(probabilities: np.ndarray, structure: np.ndarray) -> np.ndarray:
    """How much of each pixel lies inside the border, ``(N, H, W)`` float32 in [0, 1].

    The distance of a pixel's centre from the border is ``(p - 1/2) / |grad p|``, so that the steepness of the
    probabilities does not matter; a border that runs through the pixel at that distance covers a share of it. Of masks
    of 0 and 1 the share is 0 or 1.

    Args:
        probabilities: of one structure alone, ``(N, H, W)`` float, as :func:`isolate` gives them.
        structure: where they are one half or more, likewise bool.
    """
    out = structure.astype(np.float32)
    near = np.zeros_like(structure)
    for axis in (1, 2):
        before, after = _neighbours(structure, axis)
        change = before != after
        near_before, near_after = _neighbours(near, axis)
        near_before |= change
        near_after |= change
    image, row, column = np.nonzero(near)
    height, width = structure.shape[1:]
    value = probabilities[image, row, column].astype(np.float64)
    up, down = np.maximum(row - 1, 0), np.minimum(row + 1, height - 1)
    left, right = np.maximum(column - 1, 0), np.minimum(column + 1, width - 1)
    gy = (probabilities[image, down, column] - probabilities[image, up, column]) / np.maximum(down - up, 1)
    gx = (probabilities[image, row, right] - probabilities[image, row, left]) / np.maximum(right - left, 1)
    # At distance d the share is 1/2 + d / (|cos| + |sin|) of the border's normal, until the border leaves the pixel.
    slope = np.abs(gx) + np.abs(gy)
    share = HALF + (value - HALF) / np.where(slope > 0, slope, np.inf)
    out[image, row, column] = np.where(slope > 0, np.clip(share, 0, 1), value >= HALF)
    return out


def border_points(
    probabilities: np.ndarray, structure: np.ndarray, place: Literal["edges", "centres"] = "edges"
) -> np.ndarray:
    """Points of the outer border in pixel coordinates.

    The edge of the picture is no border: a structure that is cut by it has no points there.

    Args:
        probabilities: of one structure alone, ``(N, H, W)``, as :func:`isolate` gives them.
        structure: where they are one half or more, likewise bool.
        place: ``edges``: where the probability crosses one half between two neighbouring pixels, by linear
            interpolation; of masks, half-way. ``centres``: the centres of the pixels that have a neighbour outside,
            which lie about half a pixel inside.

    Returns:
        ``(N, P, 2)`` float64 as x, y; P is the largest number of points, and shorter lists end in NaN.
    """
    found: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    if place == "centres":
        inner = np.zeros_like(structure)
        for axis in (1, 2):
            before, after = _neighbours(structure, axis)
            inner_before, inner_after = _neighbours(inner, axis)
            inner_before |= before & ~after
            inner_after |= after & ~before
        image, row, column = np.nonzero(inner)
        found.append((image, column.astype(np.float64), row.astype(np.float64)))
    else:
        for axis, step in ((1, (1, 0)), (2, (0, 1))):
            before, after = _neighbours(structure, axis)
            image, row, column = np.nonzero(before != after)
            low = probabilities[image, row, column].astype(np.float64)
            high = probabilities[image, row + step[0], column + step[1]].astype(np.float64)
            share = (HALF - low) / (high - low)
            found.append((image, column + share * step[1], row + share * step[0]))
    image, x, y = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return _padded(image, np.stack([x, y], -1), len(structure))


def _neighbours(values: np.ndarray, axis: int) -> tuple[np.ndarray, np.ndarray]:
    """Views of all pixels that have a next one along an axis, and of these next ones."""
    if axis == 1:
        return values[:, :-1], values[:, 1:]
    return values[:, :, :-1], values[:, :, 1:]


def _padded(owner: np.ndarray, points: np.ndarray, count: int) -> np.ndarray:
    """Points ``(T, 2)`` of several images as ``(count, P, 2)``, filled up with NaN."""
    order = np.argsort(owner, kind="stable")
    owner, points = owner[order], points[order]
    lengths = np.bincount(owner, minlength=count)
    starts = np.cumsum(lengths) - lengths
    out = np.full((count, int(lengths.max(initial=0)), 2), np.nan)
    out[owner, np.arange(len(owner)) - starts[owner]] = points
    return out
