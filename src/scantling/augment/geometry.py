"""Geometric augmentation: affine maps of whole batches and one resampling for any chain of them.

Coordinates are pixels measured from the upper left corner of the frame, so that the centre of the first pixel is
``(0.5, 0.5)`` and the frame is ``[0, W] x [0, H]``. A map is a ``(B, 3, 3)`` float64 matrix that takes a point of the
*result* to the point of the *source* that it shows. Maps live on the CPU; the resampling runs on the images' device.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional as F

TOLERANCE = 1e-6
"""Pixels by which a point may lie outside a frame through rounding alone."""


def identity_maps(batch: int) -> Tensor:
    """Maps ``(B, 3, 3)`` that change nothing."""
    return torch.eye(3, dtype=torch.float64).repeat(batch, 1, 1)


def flip_maps(horizontal: Tensor, vertical: Tensor, size: tuple[int, int]) -> Tensor:
    """Maps ``(B, 3, 3)`` that mirror the samples chosen by ``horizontal (B,)`` and ``vertical (B,)``, bool.

    >>> flip_maps(torch.tensor([True]), torch.tensor([False]), (4, 6))[0, 0].tolist()
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
    draws: Tensor, size: tuple[int, int], scale: tuple[float, float], ratio: tuple[float, float]
) -> tuple[Tensor, Tensor]:
    """Boxes of a random resized crop, by torchvision's rule: the first of a few tries that fits, or the whole image.

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
    area = height * width * torch.lerp(*_pair(scale), draws[:, :-1, 0])
    aspect = torch.lerp(*_pair((math.log(ratio[0]), math.log(ratio[1]))), draws[:, :-1, 1]).exp()
    wide, high = (area * aspect).sqrt().round(), (area / aspect).sqrt().round()
    fits = (wide > 0) & (wide <= width) & (high > 0) & (high <= height)
    fitted, first = fits.any(1), fits.to(torch.uint8).argmax(1, keepdim=True)
    whole_high, whole_wide = _largest_box(size, ratio)
    high = torch.where(fitted, high.gather(1, first)[:, 0], float(whole_high))
    wide = torch.where(fitted, wide.gather(1, first)[:, 0], float(whole_wide))
    top = torch.where(fitted, (draws[:, -1, 0] * (height - high + 1)).floor(), (height - high) // 2)
    left = torch.where(fitted, (draws[:, -1, 1] * (width - wide + 1)).floor(), (width - wide) // 2)
    return torch.stack([top, left, high, wide], 1).long(), fitted


def _pair(values: tuple[float, float]) -> tuple[Tensor, Tensor]:
    return torch.tensor(values[0], dtype=torch.float64), torch.tensor(values[1], dtype=torch.float64)


def _largest_box(size: tuple[int, int], ratio: tuple[float, float]) -> tuple[int, int]:
    height, width = size
    if width / height < ratio[0]:
        return round(width / ratio[0]), width
    if width / height > ratio[1]:
        return height, round(height * ratio[1])
    return height, width


def crop_maps(boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """Maps ``(B, 3, 3)`` that enlarge ``boxes (B, 4)`` (top, left, height, width) to the whole frame."""
    height, width = size
    top, left, high, wide = boxes.double().unbind(1)
    maps = identity_maps(len(boxes))
    maps[:, 0, 0], maps[:, 0, 2] = wide / width, left
    maps[:, 1, 1], maps[:, 1, 2] = high / height, top
    return maps


def rotation_maps(degrees: Tensor, size: tuple[int, int]) -> Tensor:
    """Maps ``(B, 3, 3)`` that turn by ``degrees (B,)``, counter-clockwise, about the centre of the frame."""
    height, width = size
    angle = degrees.double().deg2rad()
    cos, sin = angle.cos(), angle.sin()
    maps = identity_maps(len(degrees))
    maps[:, 0, 0], maps[:, 0, 1] = cos, -sin
    maps[:, 1, 0], maps[:, 1, 1] = sin, cos
    maps[:, 0, 2] = width / 2 - cos * width / 2 + sin * height / 2
    maps[:, 1, 2] = height / 2 - sin * width / 2 - cos * height / 2
    return maps


def translation_maps(right: Tensor, down: Tensor) -> Tensor:
    """Maps ``(B, 3, 3)`` that move the content by ``right (B,)`` and ``down (B,)`` pixels."""
    maps = identity_maps(len(right))
    maps[:, 0, 2], maps[:, 1, 2] = -right.double(), -down.double()
    return maps


def compose(maps: Sequence[Tensor]) -> list[Tensor]:
    """From the result of a chain to every frame on its way: entry k maps it to what step k was given.

    Args:
        maps: one ``(B, 3, 3)`` for every step, in the order in which the steps are applied.

    Returns:
        As many maps; the first one leads to the source.
    """
    frames: list[Tensor] = []
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

    left: Tensor
    right: Tensor
    box: Tensor

    def __getitem__(self, rows: slice | Tensor) -> Visible:
        return Visible(self.left[rows], self.right[rows], self.box[rows])


def visible(frames: Sequence[Tensor], size: tuple[int, int]) -> Visible:
    """The pixels of a result that lie inside every frame.

    What leaves a frame on the way is lost, as if every step had been resampled: a corner that a rotation pushed out
    does not come back with a translation.

    Args:
        frames: maps ``(B, 3, 3)`` from the result to each frame.
        size: height and width of all frames.
    """
    height, width = size
    rows = torch.arange(height, dtype=torch.float64) + 0.5
    maps = torch.stack(list(frames), 1)[:, :, :2]
    limit = torch.tensor([[float(width)], [float(height)]], dtype=torch.float64)
    slope, offset = maps[..., :1], maps[..., 1:2] * rows + maps[..., 2:]
    level = slope.abs() < 1e-9
    divisor = torch.where(level, 1.0, slope)
    one, other = -offset / divisor, (limit - offset) / divisor
    inside = (offset >= -TOLERANCE) & (offset <= limit + TOLERANCE)
    first = torch.where(level, torch.where(inside, -math.inf, math.inf), torch.minimum(one, other))
    last = torch.where(level, math.inf, torch.maximum(one, other))
    left = (first.amax((1, 2)) - 0.5 - TOLERANCE).ceil().clamp(0, width).long()
    right = ((last.amin((1, 2)) - 0.5 + TOLERANCE).floor() + 1).clamp(0, width).long()
    right = torch.maximum(left, right)
    shows = right > left
    some = shows.any(1)
    row = shows.to(torch.uint8)
    top, bottom = row.argmax(1), height - row.flip(1).argmax(1)
    box = torch.stack([top, bottom, left.where(shows, width).amin(1), right.where(shows, 0).amax(1)], 1)
    return Visible(left, right, box * some[:, None])


def mirrored(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Which maps only mirror: 0 unchanged, 1 horizontally, 2 vertically, 3 both, -1 for all others; ``(B,)`` int64."""
    options = torch.arange(4)
    plain = flip_maps(options % 2 == 1, options >= 2, size)
    same = (maps[:, None] == plain).all(-1).all(-1)
    return torch.where(same.any(1), same.to(torch.uint8).argmax(1), -1)


def mirror(images: Tensor, code: int) -> Tensor:
    """``images (..., H, W)`` mirrored without resampling, by a code of :func:`mirrored`."""
    return images.flip([d for d, bit in ((-1, 1), (-2, 2)) if code & bit])


def warp(
    images: Tensor,
    maps: Tensor,
    shown: Visible,
    fill: float,
    masks: Tensor | None = None,
    out: tuple[Tensor, Tensor | None] | None = None,
) -> tuple[Tensor, Tensor | None]:
    """Resample images bilinearly and masks by nearest neighbour, once, wherever anything is visible.

    Args:
        images: ``(B, C, H, W)`` float, finite.
        maps: result to source, ``(B, 3, 3)``.
        shown: visible pixels of the result, from :func:`visible`.
        fill: value of image pixels that show nothing; mask pixels become -1.
        masks: ``(B, H, W)``, integers below 2**24.
        out: tensors of the results' shapes to write to.

    Returns:
        Images and masks of the same shapes.
    """
    height, width = images.shape[-2:]
    pixels, classes = out or (torch.empty_like(images), None if masks is None else torch.empty_like(masks))
    rows, columns = _window(shown)
    _fill_around(pixels, rows, columns, fill)
    if classes is not None:
        _fill_around(classes, rows, columns, -1)
    if rows.start == rows.stop:
        return pixels, classes
    grid = _grid(maps, (height, width), rows, columns, images.device)
    weight = _weight(shown, rows, columns, width, images.device)
    target = pixels[:, :, rows, columns]
    sampled = F.grid_sample(images, grid, "bilinear", "border", align_corners=False)
    if weight is None:
        target.copy_(sampled)
    elif fill == 0:
        torch.mul(sampled, weight, out=target)
    else:
        torch.where(weight > 0, sampled, sampled.new_tensor(fill), out=target)
    if masks is not None and classes is not None:
        nearest = F.grid_sample(masks[:, None].float(), grid, "nearest", "border", align_corners=False)
        if weight is not None:
            nearest = nearest.add_(1).mul_(weight).sub_(1)
        classes[:, rows, columns] = nearest[:, 0].to(classes.dtype)
    return pixels, classes


def _window(shown: Visible) -> tuple[slice, slice]:
    """Rows and columns of the smallest box that holds what is visible of all samples."""
    occupied = shown.box[shown.box[:, 1] > 0]
    if not len(occupied):
        return slice(0, 0), slice(0, 0)
    (top, left), (bottom, right) = occupied[:, ::2].amin(0).tolist(), occupied[:, 1::2].amax(0).tolist()
    return slice(top, bottom), slice(left, right)


def _fill_around(target: Tensor, rows: slice, columns: slice, value: float) -> None:
    """Set what lies outside a window of ``target (..., H, W)``."""
    target[..., : rows.start, :] = value
    target[..., rows.stop :, :] = value
    target[..., rows, : columns.start] = value
    target[..., rows, columns.stop :] = value


def _grid(maps: Tensor, size: tuple[int, int], rows: slice, columns: slice, device: torch.device) -> Tensor:
    """Sampling positions ``(B, rows, columns, 2)`` in [-1, 1] for a part of the result."""
    height, width = size
    x = torch.arange(columns.start, columns.stop, dtype=torch.float64) + 0.5
    y = torch.arange(rows.start, rows.stop, dtype=torch.float64) + 0.5
    scaled = maps[:, :2] * (2 / torch.tensor([width, height], dtype=torch.float64)[:, None])
    by_column = (scaled[..., :1] * x).float().to(device)
    by_row = (scaled[..., 1:2] * y + scaled[..., 2:] - 1).float().to(device)
    grid = torch.empty(len(maps), len(y), len(x), 2, device=device)
    for axis in range(2):
        torch.add(by_column[:, axis, None, :], by_row[:, axis, :, None], out=grid[..., axis])
    return grid


def _weight(shown: Visible, rows: slice, columns: slice, width: int, device: torch.device) -> Tensor | None:
    """1 for visible and 0 for other pixels of a window, ``(B, 1, rows, columns)``; None where all of it is visible."""
    left, right = shown.left[:, rows], shown.right[:, rows]
    if bool((left <= columns.start).all()) and bool((right >= columns.stop).all()):
        return None
    from_left, to_right = _steps(width, device)
    weight = from_left.index_select(0, left.flatten().to(device)).mul_(
        to_right.index_select(0, right.flatten().to(device))
    )
    return weight.view(len(left), 1, -1, width)[..., columns]


@lru_cache(maxsize=4)
def _steps(width: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Every row that is 1 from a column on, and every row that is 1 up to a column, ``(width + 1, width)``.

    Copying rows is ten times faster than comparing positions with limits.
    """
    position = torch.arange(width, device=device)
    limit = torch.arange(width + 1, device=device)[:, None]
    return (position >= limit).float(), (position < limit).float()
