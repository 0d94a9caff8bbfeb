"""Geometric augmentation: affine maps of a batch's samples, and what is left visible by a chain of them.

Coordinates are pixels measured from the upper left corner of the frame, so that the centre of the first pixel is
``(0.5, 0.5)`` and the frame is ``[0, W] x [0, H]``. A map is a ``(B, 3, 3)`` float64 matrix that takes a point of the
*result* to the point of the *source* that it shows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

TOLERANCE = 1e-6
"""Pixels by which a point may lie outside a frame through rounding alone."""


def identity_maps(batch: int) -> np.ndarray:
    """Maps ``(B, 3, 3)`` that change nothing."""
    maps = np.zeros((batch, 3, 3))
    maps[:, range(3), range(3)] = 1.0
    return maps


def flip_maps(horizontal: np.ndarray, vertical: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Maps ``(B, 3, 3)`` that mirror the samples chosen by ``horizontal (B,)`` and ``vertical (B,)``, bool.

    >>> flip_maps(np.array([True]), np.array([False]), (4, 6))[0, 0].tolist()
    [-1.0, 0.0, 6.0]
    """
    height, width = size
    maps = identity_maps(len(horizontal))
    maps[:, 0, 0] -= 2.0 * horizontal
    maps[:, 1, 1] -= 2.0 * vertical
    maps[:, 0, 2] = float(width) * horizontal
    maps[:, 1, 2] = float(height) * vertical
    return maps


def crop_boxes(
    draws: np.ndarray, size: tuple[int, int], scale: tuple[float, float], ratio: tuple[float, float]
) -> tuple[np.ndarray, np.ndarray]:
    """Boxes of a random resized crop by torchvision's rule: the first of a few tries that fits, or the whole image.

    An area above the image's, or an aspect ratio that leaves it, makes a try fail. So a wide nominal range gives a weak
    crop: with ``scale=(0.87, 1.15)`` and ``ratio=(0.7, 1.3)`` on squares one try in ten fits and a third of the images
    stay whole. An image whose own aspect ratio is outside ``ratio`` falls back to the largest centred box inside it.

    Args:
        draws: uniform numbers in [0, 1), ``(B, tries + 1, 2)``: area and log aspect ratio of every try, then the place.
        size: height and width of the images.
        scale: range of the box's area as a share of the image's area.
        ratio: range of the box's width divided by its height; its logarithm is uniform.

    Returns:
        Boxes ``(B, 4)`` int64 as top, left, height, width, and whether a try fitted, ``(B,)`` bool.
    """
    height, width = size
    area = height * width * (scale[0] + (scale[1] - scale[0]) * draws[:, :-1, 0])
    low, high = math.log(ratio[0]), math.log(ratio[1])
    aspect = np.exp(low + (high - low) * draws[:, :-1, 1])
    wide, tall = np.rint(np.sqrt(area * aspect)), np.rint(np.sqrt(area / aspect))
    fits = (wide > 0) & (wide <= width) & (tall > 0) & (tall <= height)
    fitted, first = np.asarray(fits.any(1)), fits.argmax(1)
    every = np.arange(len(draws))
    whole_tall, whole_wide = _largest_box(size, ratio)
    tall = np.where(fitted, tall[every, first], whole_tall)
    wide = np.where(fitted, wide[every, first], whole_wide)
    top = np.where(fitted, np.floor(draws[:, -1, 0] * (height - tall + 1)), (height - tall) // 2)
    left = np.where(fitted, np.floor(draws[:, -1, 1] * (width - wide + 1)), (width - wide) // 2)
    return np.stack([top, left, tall, wide], 1).astype(np.int64), fitted


def _largest_box(size: tuple[int, int], ratio: tuple[float, float]) -> tuple[int, int]:
    height, width = size
    if width / height < ratio[0]:
        return round(width / ratio[0]), width
    if width / height > ratio[1]:
        return height, round(height * ratio[1])
    return height, width


def crop_maps(boxes: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Maps ``(B, 3, 3)`` that enlarge ``boxes (B, 4)`` (top, left, height, width) to the whole frame."""
    height, width = size
    maps = identity_maps(len(boxes))
    maps[:, 0, 0], maps[:, 0, 2] = boxes[:, 3] / width, boxes[:, 1]
    maps[:, 1, 1], maps[:, 1, 2] = boxes[:, 2] / height, boxes[:, 0]
    return maps


def rotation_maps(degrees: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Maps ``(B, 3, 3)`` that turn by ``degrees (B,)``, counter-clockwise, about the centre of the frame."""
    height, width = size
    angle = np.deg2rad(degrees)
    cos, sin = np.cos(angle), np.sin(angle)
    maps = identity_maps(len(degrees))
    maps[:, 0, 0], maps[:, 0, 1] = cos, -sin
    maps[:, 1, 0], maps[:, 1, 1] = sin, cos
    maps[:, 0, 2] = width / 2 - cos * width / 2 + sin * height / 2
    maps[:, 1, 2] = height / 2 - sin * width / 2 - cos * height / 2
    return maps


def translation_maps(right: np.ndarray, down: np.ndarray) -> np.ndarray:
    """Maps ``(B, 3, 3)`` that move the content by ``right (B,)`` and ``down (B,)`` pixels."""
    maps = identity_maps(len(right))
    maps[:, 0, 2], maps[:, 1, 2] = -right, -down
    return maps


def compose(maps: Sequence[np.ndarray]) -> list[np.ndarray]:
    """From the result of a chain to every frame on its way: entry k maps it to what step k was given.

    Args:
        maps: one ``(B, 3, 3)`` for every step, in the order in which the steps are applied.

    Returns:
        As many maps; the first one leads to the source.
    """
    frames: list[np.ndarray] = []
    for step in reversed(maps):
        frames.insert(0, step @ frames[0] if frames else step)
    return frames


@dataclass(frozen=True)
class Visible:
    """The pixels of a result that show something: in each row one interval, as frames are convex.

    Args:
        left: first visible column of every row, ``(B, H)`` int64.
        right: the column after the last one; equal to ``left`` where a row shows nothing.
        box: top, bottom, left and right of the box around all visible pixels, ``(B, 4)`` int64; zeros without any.
    """

    left: np.ndarray
    right: np.ndarray
    box: np.ndarray

    def __getitem__(self, rows: slice | np.ndarray) -> Visible:
        return Visible(self.left[rows], self.right[rows], self.box[rows])


def visible(frames: Sequence[np.ndarray], size: tuple[int, int]) -> Visible:
    """The pixels of a result that lie inside every frame.

    What leaves a frame on the way is lost, as if every step had been resampled: a corner that a rotation pushed out
    does not come back with a translation.

    Args:
        frames: maps ``(B, 3, 3)`` from the result to each frame.
        size: height and width of all frames.
    """
    height, width = size
    rows = np.arange(height) + 0.5
    maps = np.stack(frames, 1)[:, :, :2]
    limit = np.array([[float(width)], [float(height)]])
    slope, offset = maps[..., :1], maps[..., 1:2] * rows + maps[..., 2:]
    level = np.abs(slope) < 1e-9
    divisor = np.where(level, 1.0, slope)
    one = -offset / divisor
    other = one + limit / divisor
    first, last = np.minimum(one, other), np.maximum(one, other)
    if level.any():
        outside = (offset < -TOLERANCE) | (offset > limit + TOLERANCE)
        first = np.where(level, np.where(outside, np.inf, -np.inf), first)
        last = np.where(level, np.inf, last)
    left = np.clip(np.ceil(first.max((1, 2)) - 0.5 - TOLERANCE), 0, width).astype(np.int64)
    right = np.clip(np.floor(last.min((1, 2)) + 0.5 + TOLERANCE), 0, width).astype(np.int64)
    right = np.maximum(left, right)
    shows = right > left
    top, bottom = shows.argmax(1), height - shows[:, ::-1].argmax(1)
    box = np.stack([top, bottom, np.where(shows, left, width).min(1), np.where(shows, right, 0).max(1)], 1)
    return Visible(left, right, box * shows.any(1)[:, None])


def mirrored(maps: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Which maps only mirror: 0 unchanged, 1 horizontally, 2 vertically, 3 both, -1 for all others; ``(B,)``."""
    options = np.arange(4)
    same = (maps[:, None] == flip_maps(options % 2 == 1, options >= 2, size)).all((2, 3))
    return np.where(same.any(1), same.argmax(1), -1)
