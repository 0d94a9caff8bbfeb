"""One whole structure of a mask: its largest piece, without holes."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

CHUNK_PIXELS = 1 << 22
"""Pixels that are worked on at a time: memory does not grow with the number of masks."""

_IN_PLANE = np.zeros((3, 3, 3), dtype=bool)
_IN_PLANE[1] = ndimage.generate_binary_structure(2, 1)


def chunks(shape: tuple[int, ...]) -> list[slice]:
    """Slices over the first axis of ``(N, H, W)``, each of about :data:`CHUNK_PIXELS` pixels.

    >>> chunks((5, 2048, 1024))
    [slice(0, 2, None), slice(2, 4, None), slice(4, 5, None)]
    """
    step = max(1, CHUNK_PIXELS // max(1, shape[1] * shape[2]))
    return [slice(start, min(start + step, shape[0])) for start in range(0, shape[0], step)]


def clean(masks: np.ndarray) -> np.ndarray:
    """The largest piece of every mask, its holes filled.

    Pixels belong together when they share an edge. Pieces of the same size: the one whose first pixel comes first in
    reading order. A hole is a background that reaches no edge of the picture.

    Args:
        masks: ``(N, H, W)`` bool.

    Returns:
        ``(N, H, W)`` bool; an empty mask stays empty.
    """
    out = np.zeros(masks.shape, dtype=bool)
    for part in chunks(masks.shape):
        drawn = masks[part]
        rows, columns = (np.flatnonzero(drawn.any(axis=axes)) for axes in ((0, 2), (0, 1)))
        if not len(rows):
            continue
        box = (slice(None), slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
        out[part][box] = _filled(_largest(drawn[box]))
    return out


def _largest(masks: np.ndarray) -> np.ndarray:
    labels, count = ndimage.label(masks, structure=_IN_PLANE)
    if count == 0:
        return masks
    # Labels are given in reading order: those of one mask follow each other.
    last = np.maximum.accumulate(labels.reshape(len(labels), -1).max(1))
    pieces = np.diff(last, prepend=0)
    if pieces.max() == 1:
        return masks
    sizes = np.bincount(labels.ravel(), minlength=count + 1)[1:]
    owner = np.repeat(np.arange(len(masks)), pieces)
    order = np.lexsort((-sizes, owner))
    keep = np.zeros(count + 1, dtype=bool)
    keep[1 + order[np.unique(owner, return_index=True)[1]]] = True
    return keep[labels]


def _filled(masks: np.ndarray) -> np.ndarray:
    outside = np.pad(~masks, ((0, 0), (1, 1), (1, 1)), constant_values=True)
    labels, count = ndimage.label(outside, structure=_IN_PLANE)
    if count == len(masks):
        return masks
    return np.asarray(labels[:, 1:-1, 1:-1] != labels[:, :1, :1])
