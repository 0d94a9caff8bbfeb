"""Virtual augmentation: every use of a lesion has a size, a turn and colours of its own."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from scantling.core.errors import RecipeError

GEOMETRY_NUMBERS, COLOUR_NUMBERS = 5, 7


@dataclass(frozen=True)
class AugmentSettings:
    """How lesions vary.

    Args:
        scale: range of the factors of width and height, drawn apart.
        flips: mirror at random, left to right and upside down.
        rotation: largest turn either way, in degrees.
        gamma: largest change of the exponent, of each channel on its own.
        brightness: largest change of the factor.
        offset: largest shift, of 1.
        hue: largest shift of the hue, of the colour circle; hue and saturation only in colour images.
        saturation: largest shift of the saturation, of 1.

    Raises:
        RecipeError: a range that cannot be.
    """

    scale: tuple[float, float] = (0.5, 1.0)
    flips: bool = True
    rotation: float = 45.0
    gamma: float = 0.1
    brightness: float = 0.1
    offset: float = 10 / 255
    hue: float = 10 / 255
    saturation: float = 10 / 255

    def __post_init__(self) -> None:
        if not 0 < self.scale[0] <= self.scale[1]:
            raise RecipeError(f"a scale of {list(self.scale)}", where="synthesizer.scale", do="as [0.5, 1.0]")
        for name in ("rotation", "gamma", "brightness", "offset", "hue", "saturation"):
            if getattr(self, name) < 0 or (name in {"gamma", "brightness"} and getattr(self, name) >= 1):
                raise RecipeError(f"{name} {getattr(self, name):g}", where="synthesizer", do="use 0 or more, below 1")


def draw_geometry(draws: np.ndarray, settings: AugmentSettings) -> Tensor:
    """Maps from the augmented frame back to the lesion's own: scaled, then mirrored, then turned.

    Args:
        draws: uniform in [0, 1), ``(N, 5)``.
        settings: the ranges.

    Returns:
        ``(N, 2, 2)`` float32 for offsets (x, y) from the centre; the frame does not grow.
    """
    low, high = settings.scale
    scale = low + (high - low) * draws[:, :2]
    flip = np.where((draws[:, 2:4] < 0.5) & settings.flips, -1.0, 1.0)
    angle = np.deg2rad(settings.rotation) * (2 * draws[:, 4] - 1)
    cos, sin = np.cos(angle), np.sin(angle)
    back = np.stack([np.stack([cos, sin], -1), np.stack([-sin, cos], -1)], 1)
    return torch.from_numpy((back * (flip / scale)[:, :, None]).astype(np.float32))


def resample(frames: Tensor, maps: Tensor) -> Tensor:
    """Frames ``(N, K, S, S)`` seen through the maps ``(N, 2, 2)`` of :func:`draw_geometry`, bilinear."""
    from torch.nn import functional as F

    theta = torch.cat([maps, torch.zeros_like(maps[:, :, :1])], 2)
    grid = F.affine_grid(theta, list(frames.shape), align_corners=False)
    return F.grid_sample(frames, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


def draw_colours(draws: np.ndarray, channels: int, settings: AugmentSettings) -> Tensor:
    """How the colours of every lesion change.

    Args:
        draws: uniform in [0, 1), ``(N, 7)``.
        channels: of the images.
        settings: the ranges.

    Returns:
        ``(N, C + 4)`` float32: exponents of the channels, factor, offset, hue, saturation.
    """
    around = 2 * draws - 1
    columns = [1 + settings.gamma * around[:, :channels], 1 + settings.brightness * around[:, 3:4]]
    columns += [
        size * around[:, k : k + 1]
        for k, size in ((4, settings.offset), (5, settings.hue), (6, settings.saturation))
    ]  # fmt: skip
    return torch.from_numpy(np.concatenate(columns, 1).astype(np.float32))


def untinted(colours: Tensor, images: Tensor, rows: Tensor) -> Tensor:
    """The changes ``(N, C + 4)`` without a tint where the image is grey: a tint there would give the lesion away.

    Args:
        colours: of :func:`draw_colours`.
        images: ``(B, C, H, W)``.
        rows: the image that each change is for, ``(N,)``.
    """
    channels = images.shape[1]
    if channels != 3:
        return colours
    some = images[:, :, ::8, ::8]
    grey = (some == some[:, :1]).flatten(1).all(1)[rows, None]
    plain = colours.clone()
    plain[:, 1:channels] = colours[:, :1]
    plain[:, channels + 2 :] = 0
    return torch.where(grey, plain, colours)


def recolour(values: Tensor, colours: Tensor) -> Tensor:
    """Values ``(P, C)`` in [0, 1] with the changes ``(P, C + 4)`` of :func:`draw_colours`, each pixel its lesion's.

    Gamma of every channel, then brightness, then hue and saturation; results are cut to [0, 1].
    """
    channels = values.shape[1]
    gamma, (factor, offset, hue, saturation) = colours[:, :channels], colours[:, channels:].unbind(1)
    values = values.clamp(0, 1).pow(gamma).mul(factor[:, None]).add(offset[:, None]).clamp(0, 1)
    if channels != 3 or not len(values):
        return values
    from kornia.color import hsv_to_rgb, rgb_to_hsv

    circle = 2 * math.pi
    hsv = rgb_to_hsv(values.t()[None, :, :, None])
    hsv = torch.stack(
        [
            (hsv[:, 0] + circle * hue[None, :, None]).remainder(circle),
            (hsv[:, 1] + saturation[None, :, None]).clamp(0, 1),
            hsv[:, 2],
        ],
        1,
    )
    return hsv_to_rgb(hsv)[0, :, :, 0].t().clamp(0, 1)
