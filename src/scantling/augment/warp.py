"""Resampling of images and masks by affine maps."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from scantling.augment.geometry import Visible
from scantling.augment.workspace import workspace


def warp(
    images: Tensor,
    maps: np.ndarray,
    shown: Visible,
    fill: float,
    masks: Tensor | None = None,
    out: tuple[Tensor, Tensor | None] | None = None,
    interpolation: str = "bilinear",
) -> tuple[Tensor, Tensor | None]:
    """Resample images, and masks by nearest neighbour, wherever anything is visible.

    Args:
        images: ``(B, C, H, W)`` float, finite.
        maps: result to source, ``(B, 3, 3)``, see :mod:`scantling.augment.geometry`.
        shown: visible pixels of the result.
        fill: value of image pixels that show nothing; mask pixels become -1.
        masks: ``(B, H, W)``, integers below 2**24.
        out: tensors of the results' shapes to write to.
        interpolation: of the images, ``bilinear`` or ``nearest``.

    Returns:
        Images and masks of the same shapes.
    """
    pixels, classes = out or (torch.empty_like(images), None if masks is None else torch.empty_like(masks))
    rows, columns = _window(shown)
    _fill_around(pixels, rows, columns, fill)
    if classes is not None:
        _fill_around(classes, rows, columns, -1)
    if rows.start == rows.stop:
        return pixels, classes
    height, width = images.shape[-2:]
    grid = _grid(maps, (height, width), rows, columns, images.device)
    weight = _weight(shown, rows, columns, width, images.device)
    target = pixels[:, :, rows, columns]
    sampled = F.grid_sample(images, grid, interpolation, "border", align_corners=False)
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
    (top, _, left, _), (_, bottom, _, right) = occupied.min(0).tolist(), occupied.max(0).tolist()
    return slice(top, bottom), slice(left, right)


def _fill_around(target: Tensor, rows: slice, columns: slice, value: float) -> None:
    """Set what lies outside a window of ``target (..., H, W)``."""
    target[..., : rows.start, :] = value
    target[..., rows.stop :, :] = value
    target[..., rows, : columns.start] = value
    target[..., rows, columns.stop :] = value


def _grid(maps: np.ndarray, size: tuple[int, int], rows: slice, columns: slice, device: torch.device) -> Tensor:
    """Sampling positions ``(B, rows, columns, 2)`` in [-1, 1] for a part of the result; all x lie before all y."""
    x, y = np.arange(columns.start, columns.stop) + 0.5, np.arange(rows.start, rows.stop) + 0.5
    scaled = maps[:, :2] * (2 / np.array([[size[1]], [size[0]]]))
    by_column = torch.from_numpy((scaled[..., :1] * x).astype(np.float32)).to(device)
    by_row = torch.from_numpy((scaled[..., 1:2] * y + scaled[..., 2:] - 1).astype(np.float32)).to(device)
    grid = workspace("grid", (len(maps), 2, len(y), len(x)), device)
    return torch.add(by_column[:, :, None, :], by_row[:, :, :, None], out=grid).permute(0, 2, 3, 1)


def _weight(shown: Visible, rows: slice, columns: slice, width: int, device: torch.device) -> Tensor | None:
    """1 for visible and 0 for other pixels of a window, ``(B, 1, rows, columns)``; None where all of it is visible."""
    left, right = shown.left[:, rows], shown.right[:, rows]
    if left.max() <= columns.start and right.min() >= columns.stop:
        return None
    from_left, to_right = _steps(width, device)
    weight = from_left.index_select(0, torch.from_numpy(left.ravel()).to(device))
    weight.bitwise_and_(to_right.index_select(0, torch.from_numpy(right.ravel()).to(device)))
    return weight.view(len(left), 1, -1, width)[..., columns].float()


@lru_cache(maxsize=4)
def _steps(width: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Every row that is 1 from a column on, and every row that is 1 up to a column, ``(width + 1, width)`` uint8.

    Copying rows is ten times faster than comparing positions with limits.
    """
    with torch.inference_mode(False):
        position = torch.arange(width, device=device)
        limit = torch.arange(width + 1, device=device)[:, None]
        return (position >= limit).to(torch.uint8), (position < limit).to(torch.uint8)
