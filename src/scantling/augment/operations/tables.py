"""Histograms of 8-bit images and tables of new values for old ones, for whole batches."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

VALUES = 256
PAIRS = VALUES * VALUES


def histograms(images: Tensor) -> Tensor:
    """How often each value occurs, ``(n, C, 256)`` int64, in ``images (n, C, H, W)`` uint8."""
    n, channels, height, width = images.shape
    planes = images.reshape(n * channels, height * width)
    if images.device.type == "cpu":
        found = torch.stack([torch.bincount(plane, minlength=VALUES) for plane in planes])
    else:
        rows = torch.arange(len(planes), device=images.device).mul_(VALUES)[:, None]
        found = torch.bincount((planes + rows).view(-1), minlength=len(planes) * VALUES)
    return found.view(n, channels, VALUES)


def look_up(images: Tensor, tables: Tensor) -> Tensor:
    """``images (n, C, H, W)`` uint8 with every value replaced by its entry in ``tables (n, C, 256)`` uint8."""
    n, channels, height, width = images.shape
    planes, table = images.reshape(n * channels, height * width), tables.reshape(n * channels, VALUES)
    if _in_pairs(planes):
        high = table.to(torch.int16).bitwise_left_shift(8)
        pairs = high[:, :, None].bitwise_or(table[:, None, :]).view(-1, PAIRS).numpy().view(np.uint16)
        out = torch.empty_like(planes)
        # Planes are long here: a loop over them costs nothing, and NumPy needs no wider copy of all indices at once.
        for pair, plane, place in zip(pairs, _words(planes), _words(out), strict=True):
            pair.take(plane, out=place, mode="clip")
        return out.view(images.shape)
    return torch.gather(table, 1, planes.long()).view(images.shape)


def identity_tables(n: int, channels: int, device: torch.device) -> Tensor:
    """Tables ``(n, C, 256)`` uint8 that change nothing."""
    return torch.arange(VALUES, dtype=torch.uint8, device=device).repeat(n, channels, 1)


def _in_pairs(planes: Tensor) -> bool:
    """Whether two pixels at a time save time: half the look-ups, in tables of 65 536 entries."""
    pixels = planes.shape[1]
    return planes.device.type == "cpu" and pixels % 2 == 0 and pixels >= 2 * PAIRS


def _words(planes: Tensor) -> np.ndarray:
    """Two neighbouring values of ``planes (n, P)`` as one number, ``(n, P / 2)``, in the same memory."""
    return planes.numpy().view(np.uint16)
