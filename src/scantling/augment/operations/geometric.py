"""Operations that move pixels: maps from the result to the source, and the resampling of everything by them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from scantling.augment.geometry import identity_maps, rotation_maps, translation_maps


def rotate(values: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Turns by degrees about the centre."""
    return rotation_maps(values, size)


def shear_x(values: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Moves rows sideways, in proportion to their distance from the middle row."""
    maps = identity_maps(len(values))
    maps[:, 0, 1], maps[:, 0, 2] = values, -values * size[0] / 2
    return maps


def shear_y(values: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Moves columns up or down, in proportion to their distance from the middle column."""
    maps = identity_maps(len(values))
    maps[:, 1, 0], maps[:, 1, 2] = values, -values * size[1] / 2
    return maps


def translate_x(values: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Moves to the right by a share of the width, in whole pixels."""
    return translation_maps(np.rint(values * size[1]), np.zeros_like(values))


def translate_y(values: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Moves down by a share of the height, in whole pixels."""
    return translation_maps(np.zeros_like(values), np.rint(values * size[0]))


def zoom(values: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Enlarges by a factor about the centre."""
    maps = identity_maps(len(values))
    for axis, extent in enumerate((size[1], size[0])):
        maps[:, axis, axis] = 1 / values
        maps[:, axis, 2] = extent / 2 * (1 - 1 / values)
    return maps


def resample(
    images: Tensor, moved: Mapping[str, Tensor], maps: np.ndarray, size: tuple[int, int] | None = None,
    shifts: Tensor | None = None,
) -> tuple[Tensor, dict[str, Tensor]]:  # fmt: skip
    """Images and what lies on them, by the same maps.

    Args:
        images: ``(B, C, H, W)`` uint8 or float; bilinear, and 0 where the source ends.
        moved: further fields by name: classes ``(B, H, W)`` int64 take the nearest neighbour and -1 where the source
            ends, maps ``(B, 1, H, W)`` are treated as images.
        maps: result to source in pixels, ``(B, 3, 3)``.
        size: height and width of the result; left out, that of the images.
        shifts: by how much of the frame every point is displaced, ``(B, 2, H', W')`` as right and down.

    Returns:
        Images and fields of the given types.
    """
    height, width = images.shape[-2:]
    high, wide = size or (height, width)
    grid = _grid(maps, (height, width), (high, wide), images.device)
    if shifts is not None:
        grid = grid + 2 * shifts.to(grid).permute(0, 2, 3, 1)
    inside = None
    if shifts is not None or not covered(maps, (height, width), (high, wide)):
        inside = (grid[..., 0].abs() <= 1) & (grid[..., 1].abs() <= 1)
    out = {name: _sampled(field, grid, inside) for name, field in moved.items()}
    return _sampled(images, grid, inside), out


def covered(maps: np.ndarray, source: tuple[int, int], size: tuple[int, int]) -> bool:
    """Whether every pixel of every result of a size shows something of the source."""
    low, high = extent(maps, size)
    return bool((low >= 0).all() and (high <= source[::-1]).all())


def extent(maps: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Smallest and largest x and y, ``(2,)`` each, of the points of the sources that results of a size show."""
    ends = np.array([[x, y, 1.0] for x in (0.5, size[1] - 0.5) for y in (0.5, size[0] - 0.5)])
    points = ends @ maps[:, :2].transpose(0, 2, 1)
    return points.min((0, 1)), points.max((0, 1))


def _sampled(field: Tensor, grid: Tensor, inside: Tensor | None) -> Tensor:
    if field.ndim == 3:
        found = F.grid_sample(field[:, None].float(), grid, "nearest", "border", align_corners=False)[:, 0]
        classes = found.to(field.dtype)
        return classes if inside is None else torch.where(inside, classes, -1)
    found = F.grid_sample(field.float(), grid, "bilinear", "border", align_corners=False)
    if inside is not None:
        found.mul_(inside[:, None])
    return found if field.is_floating_point() else found.round_().to(field.dtype)


def _grid(maps: np.ndarray, source: tuple[int, int], size: tuple[int, int], device: torch.device) -> Tensor:
    """Sampling positions ``(B, *size, 2)`` in [-1, 1] of the source."""
    scaled = torch.from_numpy(maps[:, :2] * (2 / np.array([[source[1]], [source[0]]]))).float().to(device)
    y = torch.arange(size[0], device=device) + 0.5
    x = torch.arange(size[1], device=device) + 0.5
    by_column = scaled[:, :, 0, None] * x
    by_row = scaled[:, :, 1, None] * y + scaled[:, :, 2, None] - 1
    return (by_column[:, :, None, :] + by_row[:, :, :, None]).permute(0, 2, 3, 1)
