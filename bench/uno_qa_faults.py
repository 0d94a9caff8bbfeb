"""Faults that the bench of UNO-QA tests with: made in other ways than those it trains with.

Each takes images ``(B, C, H, W)`` float in [0, 1], a severity in (0, 1], and a generator; the same severity for all.
``KIN`` says of which kind of training (see ``scantling.assess.quality.degradations``) a fault is a relative; a fault
with no kin is of a kind that training never shows.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F


def defocus(images: Tensor, severity: float, generator: torch.Generator) -> Tensor:
    """A disc for a point, as of a lens out of focus; not a Gaussian."""
    radius = 0.6 + 0.022 * severity * images.shape[-1]
    reach = math.ceil(radius)
    axis = torch.arange(-reach, reach + 1.0)
    disc = (radius + 0.5 - torch.hypot(axis[:, None], axis[None, :])).clamp(0, 1)
    kernel = (disc / disc.sum()).expand(images.shape[1], 1, -1, -1)
    return F.conv2d(F.pad(images, (reach,) * 4, mode="reflect"), kernel, groups=images.shape[1])


def dark(images: Tensor, severity: float, generator: torch.Generator) -> Tensor:
    """Counted photons: fewer of them, then brightened again, so that it is noise and not the level that tells."""
    photons = 10 ** (3.2 - 2.0 * severity)
    return (torch.poisson(images * photons, generator) / photons).clamp(0, 1)


def gamma(images: Tensor, severity: float, generator: torch.Generator) -> Tensor:
    """A tone curve that darkens the middle."""
    return images ** (1 + 1.6 * severity)


def washed_out(images: Tensor, severity: float, generator: torch.Generator) -> Tensor:
    """Haze: a bright veil, uneven, that takes the contrast away."""
    coarse = torch.rand(len(images), 1, 3, 3, generator=generator)
    veil = F.interpolate(coarse, images.shape[-2:], mode="bicubic", align_corners=False).clamp(0, 1)
    lit = (images.amax(1, keepdim=True) > 0.03).float()
    return torch.lerp(images, torch.full_like(images, 0.62), lit * severity * (0.35 + 0.5 * veil))


def shifted_rows(images: Tensor, severity: float, generator: torch.Generator) -> Tensor:
    """The patient moves: from some rows on everything lies a little to the side. No streaks."""
    count, height, width = len(images), *images.shape[-2:]
    jumps = torch.rand(count, height, generator=generator) < (1 + 9 * severity) / height
    offset = torch.randn(count, height, generator=generator) * 0.03 * severity * width
    shift = (jumps * offset).cumsum(1)
    columns = (torch.arange(width) + (shift - shift.mean(1, keepdim=True)).round()[..., None]).long()
    columns = columns.clamp(0, width - 1)[:, None].expand_as(images)
    return images.gather(3, columns)


def blocks(images: Tensor, severity: float, generator: torch.Generator) -> Tensor:
    """JPEG, compressed far too much."""
    quality = round(34 - 28 * severity)
    out = []
    for image in images.mul(255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy():
        stream = io.BytesIO()
        Image.fromarray(image if image.shape[2] == 3 else image[..., 0]).save(stream, "JPEG", quality=quality)
        found = np.asarray(Image.open(stream))
        out.append(torch.from_numpy(found.reshape(*image.shape).copy()).permute(2, 0, 1))
    return torch.stack(out).float() / 255


def coarse(images: Tensor, severity: float, generator: torch.Generator) -> Tensor:
    """Too few pixels, enlarged without interpolation."""
    height, width = (max(8, round(side / (1 + 3 * severity))) for side in images.shape[-2:])
    small = F.interpolate(images, (height, width), mode="area")
    return F.interpolate(small, images.shape[-2:], mode="nearest")


def shadow(images: Tensor, severity: float, generator: torch.Generator) -> Tensor:
    """A band without light down the image, as behind bone or an eyelash."""
    width = images.shape[-1]
    at = torch.rand(len(images), 1, generator=generator) * 0.7 + 0.15
    half = 0.04 + 0.14 * severity
    gap = (torch.arange(width) / width - at).abs() / half
    return images * (1 - 0.85 * torch.sigmoid(12 * (1 - gap)))[:, None, None, :]


Fault = Callable[[Tensor, float, torch.Generator], Tensor]

FAULTS: dict[str, Fault] = {
    "defocus": defocus, "dark": dark, "gamma": gamma, "shadow": shadow, "washed_out": washed_out,
    "shifted_rows": shifted_rows, "blocks": blocks, "coarse": coarse,
}  # fmt: skip
"""Faults by name."""

KIN: dict[str, str | None] = {
    "defocus": "blur", "dark": "noise", "gamma": "low_signal", "shadow": "uneven_light", "washed_out": None,
    "shifted_rows": None, "blocks": None, "coarse": None,
}  # fmt: skip
"""The kind of training that is nearest, or none."""
