"""Ultrasound phantoms: standard planes of fetuses that never were, with exact masks and lengths."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from scantling.data.phantoms.folder import check_fractions, check_least
from scantling.data.phantoms.lattice import generator, lattice, split_of
from scantling.data.phantoms.ultrasound.fetus import PLANES, WEEKS, Shape, draw_shape
from scantling.data.phantoms.ultrasound.scanner import SCANNERS, beams, develop, frame_of
from scantling.data.phantoms.ultrasound.tissue import paint
from scantling.data.shapes import fill_ellipses, fill_rectangles

SMALLEST = 48
"""Smallest width of a picture, in pixels."""

LENGTHS = ("hc", "bpd", "ofd", "ac", "fl")

_SHAPE, _FRAME, _TISSUE, _ECHOES = range(60, 64)


@dataclass(frozen=True)
class UltrasoundBatch:
    """``N`` phantoms with their truth.

    Args:
        images: ``(N, H, W)`` uint8; H is three quarters of W.
        mask: what is measured, ``(N, H, W)`` bool: a filled ellipse, or a filled rectangle for a femur.
        plane: ``head``, ``abdomen`` or ``femur``, ``(N,)`` str.
        centre: of the shape, x and y in pixels, ``(N, 2)``; 0 is the centre of the first pixel.
        semi_axes: half of its longer and shorter diameter (sides of the rectangle), in pixels, ``(N, 2)``.
        angle: of the longer one, radians from x towards y, ``(N,)``.
        lengths: exact millimetres of :data:`LENGTHS`, ``(N, 5)``; NaN for those that another plane shows.
        spacing: millimetres in a pixel, ``(N,)``.
        weeks: gestational age of the fetus, ``(N,)``.
        index: number of the image in the set, ``(N,)`` int64.
        patient: number of the patient, likewise: images ``3 p`` to ``3 p + 2`` are the planes of patient ``p``.
        site: number of the site, likewise.
        split: ``train``, ``val`` or ``test``, ``(N,)`` str.
    """

    images: np.ndarray
    mask: np.ndarray
    plane: np.ndarray
    centre: np.ndarray
    semi_axes: np.ndarray
    angle: np.ndarray
    lengths: np.ndarray
    spacing: np.ndarray
    weeks: np.ndarray
    index: np.ndarray
    patient: np.ndarray
    site: np.ndarray
    split: np.ndarray

    def __len__(self) -> int:
        return len(self.images)


def draw_ultrasound(
    count: int,
    size: int = 256,
    seed: int = 0,
    sites: int = 1,
    fractions: Sequence[float] = (0.7, 0.1, 0.2),
    start: int = 0,
) -> UltrasoundBatch:
    """Draw the phantoms ``start`` to ``start + count - 1`` of the set ``seed``.

    An image depends on its number, the seed and the settings, and not on which others are drawn with it.

    Args:
        count: number of images; three planes a patient.
        size: width in pixels, at least 48; the height is three quarters of it.
        seed: number of the set, not negative.
        sites: number of sites, each with its own scanner.
        fractions: shares of train, val and test, by patient.
        start: number of the first image.

    Raises:
        DataError: an option outside its range.

    >>> batch = draw_ultrasound(3, size=64)
    >>> batch.images.shape, batch.plane.tolist(), batch.patient.tolist()
    ((3, 48, 64), ['head', 'abdomen', 'femur'], [0, 0, 0])
    """
    check_options(count, size, seed, sites, start)
    check_fractions(fractions)
    index = np.arange(start, start + count)
    patient = index // len(PLANES)
    place = lattice(seed, patient).reshape(count, 3)
    weeks = WEEKS[0] + place[:, 0] * (WEEKS[1] - WEEKS[0])
    site = (place[:, 2] * sites).astype(np.int64)
    shape = (round(0.75 * size), size)
    images = np.empty((count, *shape), dtype=np.uint8)
    masks = np.empty((count, *shape), dtype=bool)
    drawn = [
        _draw(seed, int(i), float(w), int(s), images[k], masks[k])
        for k, (i, w, s) in enumerate(zip(index, weeks, site, strict=True))
    ]
    return UltrasoundBatch(
        images, masks, np.array([PLANES[i % len(PLANES)] for i in index], dtype=str),
        np.array([d[1] for d in drawn]).reshape(count, 2), np.array([d[2] for d in drawn]).reshape(count, 2),
        np.array([d[0].angle for d in drawn]),
        np.array([[d[0].lengths.get(n, np.nan) for n in LENGTHS] for d in drawn]).reshape(count, len(LENGTHS)),
        np.array([d[3] for d in drawn]), weeks, index, patient, site,
        np.array([split_of(seed, int(p), fractions) for p in patient], dtype=str),
    )  # fmt: skip


def check_options(count: int, size: int, seed: int, sites: int, start: int = 0) -> None:
    """Refuse options outside their range.

    Raises:
        DataError: names the option and its range.
    """
    check_least(count=(count, 0), size=(size, SMALLEST), seed=(seed, 0), sites=(sites, 1), start=(start, 0))


def _draw(
    seed: int, index: int, weeks: float, site: int, image: np.ndarray, mask: np.ndarray
) -> tuple[Shape, np.ndarray, np.ndarray, float]:
    """Fill ``image`` and ``mask (H, W)``; return the shape, its centre and semi-axes in pixels, and the spacing."""
    shape = draw_shape(PLANES[index % len(PLANES)], weeks, generator(seed, _SHAPE, index))
    scanner = SCANNERS[site % len(SCANNERS)]
    rng = generator(seed, _FRAME, index)
    reach = (shape.y + max(shape.semi_axes[0], 15.0)) * float(rng.uniform(1.04, 1.35))
    where = beams(scanner, reach, image.shape)
    echoes = paint(shape, where, generator(seed, _TISSUE, index))
    image[:] = develop(echoes, scanner, where, float(rng.normal(2, 3)), generator(seed, _ECHOES, index))
    spacing, column, row = frame_of(scanner, reach, image.shape)
    centre = np.array([shape.x / spacing + column, shape.y / spacing + row])
    axes = np.array(shape.semi_axes) / spacing
    turn = np.array([shape.angle])
    if shape.plane == "femur":
        mask[:] = fill_rectangles(mask.shape, centre[None], 2 * axes[None], turn)[0]
    else:
        mask[:] = fill_ellipses(mask.shape, centre[None], axes[None], turn)[0]
    return shape, centre, axes, spacing
