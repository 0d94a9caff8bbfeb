"""OCTA phantoms: angiograms that never were, with exact vessels, avascular zone, grade and faults."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from scantling.core.errors import DataError
from scantling.data.phantoms.folder import check_least
from scantling.data.phantoms.lattice import generator
from scantling.data.phantoms.octa.anatomy import draw_macula
from scantling.data.phantoms.octa.scanner import FAULTS, GRADES, centre_of, draw_faults, scan

SMALLEST = 32
"""Smallest side of an image, in pixels."""

_GRADE, _FAULTS, _PLACE, _SCAN = range(80, 84)


@dataclass(frozen=True)
class OctaBatch:
    """``N`` phantoms with their truth.

    Args:
        images: ``(N, H, W)`` uint8.
        grade: 0 ungradable, 1 gradable, 2 outstanding, ``(N,)`` int64.
        vessel: where the image shows a vessel, ``(N, H, W)`` bool.
        zone: where it shows the foveal avascular zone, likewise.
        faults: strength of every one of ``FAULTS``, ``(N, 5)`` in [0, 1].
        index: number of the image in the set, ``(N,)`` int64; images 2 p and 2 p + 1 are the eyes of patient p.
    """

    images: np.ndarray
    grade: np.ndarray
    vessel: np.ndarray
    zone: np.ndarray
    faults: np.ndarray
    index: np.ndarray

    def __len__(self) -> int:
        return len(self.images)


def draw_octa(count: int, size: int = 256, seed: int = 0, outstanding: float = 0.5, start: int = 0) -> OctaBatch:
    """Draw the phantoms ``start`` to ``start + count - 1`` of the set ``seed``.

    An image depends on its number, the seed and the settings, and not on which others are drawn with it.

    Args:
        count: number of images.
        size: side in pixels, at least 32; the frame is 3 x 3 mm.
        seed: number of the set, not negative.
        outstanding: share of images of the best grade, in [0, 1]; of the rest, half are gradable.
        start: number of the first image.

    Raises:
        DataError: an option outside its range.

    >>> batch = draw_octa(4, size=64)
    >>> batch.images.shape, batch.grade.shape, batch.faults.shape
    ((4, 64, 64), (4,), (4, 5))
    """
    check_options(count, size, seed, outstanding, start)
    images = np.empty((count, size, size), dtype=np.uint8)
    masks = np.empty((2, count, size, size), dtype=bool)
    grades, faults = np.empty(count, dtype=np.int64), np.zeros((count, len(FAULTS)))
    for i, index in enumerate(range(start, start + count)):
        grades[i] = grade_of(seed, index, outstanding)
        drawn = draw_faults(int(grades[i]), generator(seed, _FAULTS, index))
        centre = centre_of(drawn, generator(seed, _PLACE, index))
        macula = draw_macula(seed, index, centre, size)
        images[i], shown = scan(macula, drawn, generator(seed, _SCAN, index))
        masks[0, i], masks[1, i] = shown.vessel, shown.zone
        faults[i] = [drawn.get(name, 0.0) for name in FAULTS]
    return OctaBatch(images, grades, masks[0], masks[1], faults, np.arange(start, start + count))


def grade_of(seed: int, index: int, outstanding: float) -> int:
    """The grade of an image."""
    at = float(generator(seed, _GRADE, index).random())
    if at < outstanding:
        return GRADES.index("outstanding")
    return int(at < 0.5 * (1 + outstanding))


def check_options(count: int, size: int, seed: int, outstanding: float, start: int = 0) -> None:
    """Refuse options outside their range.

    Raises:
        DataError: names the option and its range.
    """
    check_least(count=(count, 0), size=(size, SMALLEST), seed=(seed, 0), start=(start, 0))
    if not 0 <= outstanding <= 1:
        raise DataError(f"outstanding is {outstanding}", do="give a share from 0 to 1")
