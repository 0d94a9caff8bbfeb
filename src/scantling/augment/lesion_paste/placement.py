"""Where lesions may lie: inside the lit field, inside an organ, or anywhere; and where each one is put."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from scantling.core.errors import DataError
from scantling.data.fundus import CONTRAST

Region = Literal["auto", "field", "mask", "everywhere"]
FINEST = 128
"""Places are chosen among cells; images with a longer side than this have cells of several pixels."""

LARGEST_REACH = 127
"""Up to here the sum of two squares of distances fits into 16 bits."""


def lit_field(images: Tensor) -> Tensor:
    """The field of view of photographs: what lies between lit pixels of its row and of its column.

    A pixel is lit when any channel is more than 10 of 255 above the darkest of the four corners; where no corner is
    dark, the whole image is field. In images with a side beyond 128 pixels cells of pixels are told apart, and those
    across the border count as dark.

    Args:
        images: ``(B, C, H, W)`` in [0, 1].

    Returns:
        ``(B, H, W)`` bool.
    """
    corners = images[:, :, [0, 0, -1, -1], [0, -1, 0, -1]].amax(1)
    level = corners.amin(1).view(-1, 1, 1)
    height, width = images.shape[2:]
    cell = cell_of((height, width))
    lit = _whole_cells(images.amax(1) > level + CONTRAST / 255, cell)
    field = (_between(lit, 1) & _between(lit, 2)) | (level > 2 * CONTRAST / 255)
    if cell > 1:
        count, rows, columns = field.shape
        larger = field[:, :, None, :, None].expand(-1, -1, cell, -1, cell)
        field = larger.reshape(count, rows * cell, columns * cell)[:, :height, :width]
    return field


def _whole_cells(true: Tensor, cell: int) -> Tensor:
    """Cells ``(B, ceil(H / cell), ceil(W / cell))`` whose pixels are all true; beyond the border none is."""
    if cell == 1:
        return true
    height, width = true.shape[1:]
    padded = F.pad(true, (0, -width % cell, 0, -height % cell))
    rows = functools.reduce(torch.logical_and, [padded[:, k::cell] for k in range(cell)])
    return functools.reduce(torch.logical_and, [rows[:, :, k::cell] for k in range(cell)])


def cell_of(size: tuple[int, int]) -> int:
    """Side in pixels of the cells among which places are chosen."""
    return math.ceil(max(size) / FINEST)


def _between(lit: Tensor, dim: int) -> Tensor:
    """Pixels between the first and the last lit one along a dimension."""
    size = lit.shape[dim]
    place = torch.arange(size, dtype=torch.int16, device=lit.device)
    place = place.view(-1, 1) if dim == 1 else place
    first = torch.where(lit, place, size).amin(dim, keepdim=True)
    last = torch.where(lit, place, -1).amax(dim, keepdim=True)
    return (place >= first) & (place <= last)


def allowed(images: Tensor, masks: Tensor | None, region: Region) -> Tensor:
    """Where lesions may lie ``(B, H, W)`` bool, in ``images (B, C, H, W)`` with organ masks ``(B, H, W)``.

    Raises:
        DataError: organ masks are wanted and there are none.
    """
    if region == "everywhere":
        return torch.ones_like(images[:, 0], dtype=torch.bool)
    if region == "field" or (region == "auto" and masks is None):
        return lit_field(images)
    if masks is None:
        raise DataError("no column 'mask' with the organ", do="give one, or use synthesizer.region field or everywhere")
    organ = masks > 0
    if region == "mask":
        return organ
    known = organ.flatten(1).any(1)
    return organ if bool(known.all()) else torch.where(known.view(-1, 1, 1), organ, lit_field(images))


def distance_inside(inside: Tensor, reach: int) -> Tensor:
    """Distance from every pixel to the nearest one outside, at most ``reach + 1``; beyond the border is outside.

    Args:
        inside: ``(B, H, W)`` bool.
        reach: largest distance of interest in pixels.

    Returns:
        ``(B, H, W)`` float32; 0 outside. Exact Euclidean distances between centres of pixels.
    """
    # Squares are small whole numbers, of which a processor compares twice as many at once as of floats.
    kind = torch.int16 if reach < LARGEST_REACH else torch.int32
    squared = F.pad(inside, (1, 1, 1, 1)).to(kind) * (reach + 1) ** 2
    for dim in (1, 2):
        squared = _nearest_along(squared, dim, reach)
    return squared[:, 1:-1, 1:-1].sqrt()


def _nearest_along(squared: Tensor, dim: int, reach: int) -> Tensor:
    """The least of the values along a dimension, each with the square of its distance added."""
    size = squared.shape[dim]
    nearest, moved = squared.clone(), torch.empty_like(squared)
    for shift in range(1, min(reach, size - 1) + 1):
        torch.add(squared, shift**2, out=moved)
        for here, there in ((shift, 0), (0, shift)):
            part = nearest.narrow(dim, here, size - shift)
            torch.minimum(part, moved.narrow(dim, there, size - shift), out=part)
    return nearest


def draw_centres(inside: Tensor, image: np.ndarray, margins: np.ndarray, draws: np.ndarray) -> tuple[Tensor, Tensor]:
    """A place for every lesion: uniform among the pixels that are farther than its margin from the outside.

    In images with a side beyond 128 pixels it is uniform among cells of which every pixel is inside, then inside the
    cell. Where a margin leaves nothing, lesions lie as far inside as the image allows.

    Args:
        inside: ``(B, H, W)`` bool.
        image: of every lesion, ``(N,)`` int64.
        margins: in pixels, ``(N,)``.
        draws: uniform in [0, 1), ``(N, 3)``: which cell, then where in it.

    Returns:
        Rows and columns ``(N,)`` int64 of the centres, on the device; -1 in images where nothing is inside.
    """
    height, width = inside.shape[1:]
    cell = cell_of((height, width))
    coarse = _whole_cells(inside, cell)
    kinds, kind = np.unique(margins, return_inverse=True)
    # Distances are between centres of cells; the true border may lie a diagonal nearer.
    needed = [m / cell + math.sqrt(2) if m else 0.0 for m in kinds.tolist()]
    distance = distance_inside(coarse, math.ceil(max(needed, default=0)) + 1)
    chosen = torch.empty(len(image), dtype=torch.int64, device=inside.device)
    for k, least in enumerate(needed):
        rows = np.flatnonzero(kind == k)
        chosen[torch.from_numpy(rows).to(chosen.device)] = _choose(distance, least, image[rows], draws[rows, 0])
    within = torch.from_numpy((draws[:, 1:3] * cell).astype(np.int64)).to(chosen.device)
    columns = coarse.shape[2]
    y = (chosen // columns) * cell + within[:, 0]
    x = (chosen % columns) * cell + within[:, 1]
    nowhere = chosen < 0
    return y.masked_fill(nowhere, -1), x.masked_fill(nowhere, -1)


def _choose(distance: Tensor, least: float, image: np.ndarray, draws: np.ndarray) -> Tensor:
    """Cells ``(n,)`` drawn with equal probability among those of each lesion's image that are far enough inside."""
    flat = distance.flatten(1)
    deepest = flat.amax(1, keepdim=True)
    free = flat > least
    if not bool((deepest > least).all()):
        free |= (flat == deepest) & (deepest <= least) & (deepest > 0)
    until = free.cumsum(1, dtype=torch.int32)
    of = torch.from_numpy(image).to(flat.device)
    total = until[:, -1][of]
    rank = (torch.from_numpy(draws).to(flat.device) * total).long().clamp(max=(total - 1).clamp(min=0)) + 1
    # One sorted line for all images: those of image b lie between b and b + 1 times the number of cells.
    step = flat.shape[1] + 1
    starts = torch.arange(len(flat), dtype=torch.int32, device=flat.device)[:, None] * step
    line = until.add_(starts).flatten()
    found = torch.searchsorted(line, (rank + of * step).int()) - of * flat.shape[1]
    return torch.where(total > 0, found, -1)


def scaled_margins(margins: Sequence[float], size: tuple[int, int]) -> np.ndarray:
    """Margins of a 512-pixel image, in pixels of images of this size.

    >>> scaled_margins([10, 20], (256, 256)).tolist()
    [5.0, 10.0]
    """
    return np.asarray(margins, dtype=np.float64) * min(size) / 512
