"""CutPaste: pieces of an image put elsewhere into the same image, as stand-ins for anything abnormal.

Source: Li et al. 2021, arXiv 2104.04015. Departures: brightness, hue and saturation of a piece change, not its
contrast; the score is the classifier's own, not the density of its features.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from scantling.augment.lesion_paste.augment import AugmentSettings, draw_colours, recolour, untinted
from scantling.augment.lesion_paste.paste import Spots, as_abnormal, values_at
from scantling.augment.lesion_paste.placement import Region, allowed, draw_centres
from scantling.augment.lesion_paste.synthesizer import drawn_keys
from scantling.core.batch import IMAGE, INDEX, MASK
from scantling.core.errors import RecipeError
from scantling.core.numbers import keys_of, uniform
from scantling.core.recycling import Recycler
from scantling.core.seams import Inputs, Synthesizer

if TYPE_CHECKING:
    from tensordict import TensorDict

COLOURS = AugmentSettings(gamma=0.0, brightness=0.1, offset=0.0, hue=0.1, saturation=0.1)
SCAR_OF = 256
"""Sizes of scars are in pixels of an image of this side."""


class CutPaste(Synthesizer):
    """Cuts a rectangle or a thin turned strip (a scar) out of each image, and pastes it elsewhere into it.

    Args:
        scars: share of images that get a scar in the place of a rectangle, in [0, 1].
        area: range of the rectangle's area, as a share of the image's.
        aspect: range of its shorter by its longer side.
        scar_width: range in pixels of an image of 256.
        scar_length: likewise.
        rotation: largest turn of a scar either way, in degrees.
        region: where pieces may lie: mask (the organ in the manifest's column organ, or mask), field (the lit part),
            everywhere, or auto: the organ where an image has one, else the field.

    Raises:
        RecipeError: a setting outside its range.
    """

    def __init__(
        self,
        scars: float = 0.5,
        area: tuple[float, float] = (0.02, 0.15),
        aspect: tuple[float, float] = (0.3, 1.0),
        scar_width: tuple[float, float] = (2.0, 16.0),
        scar_length: tuple[float, float] = (10.0, 25.0),
        rotation: float = 45.0,
        region: Region = "auto",
    ) -> None:
        ranges = {"area": area, "aspect": aspect, "scar_width": scar_width, "scar_length": scar_length}
        for name, (low, high) in ranges.items():
            if not 0 < low <= high or (name in {"area", "aspect"} and high > 1):
                raise RecipeError(f"{name} {[low, high]}", where="synthesizer", do="give a range above 0")
        if not 0 <= scars <= 1:
            raise RecipeError(f"a share of {scars:g} scars", where="synthesizer.scars", do="use 0 to 1")
        self.scars, self.area, self.aspect = scars, area, aspect
        self.scar_width, self.scar_length, self.rotation = scar_width, scar_length, rotation
        self.region: Region = region
        self._memory = Recycler(keep=4)

    def configure(self, inputs: Inputs, preprocess: Any = None) -> None:
        """Nothing to read."""

    def __call__(self, batch: TensorDict, generator: torch.Generator) -> TensorDict:
        """The rows with a piece moved: ``image``, ``label`` 1, ``mask`` 1 where it was pasted."""
        return self.with_keys(batch, drawn_keys(len(batch), generator))

    def by_row(self, batch: TensorDict, seed: int) -> TensorDict:
        """The same rows every time: what an image gets follows from the seed and its ``index``."""
        return self.with_keys(batch, keys_of(seed, batch[INDEX].cpu().numpy()))

    def with_keys(self, batch: TensorDict, keys: np.ndarray) -> TensorDict:
        """The rows with the pieces that belong to ``keys (B,)``."""
        return as_abnormal(batch, self.spots(batch, keys), self._memory)

    def spots(self, batch: TensorDict, keys: np.ndarray) -> Spots:
        """The pixels of every image's piece at their new places."""
        images = batch[IMAGE]
        size = (images.shape[-2], images.shape[-1])
        numbers = uniform(keys, 16)
        inside = allowed(images, batch.get(MASK, None), self.region)
        sides, angle = self._shapes(numbers[:, :5], size)
        each, none = np.arange(len(keys)), np.zeros(len(keys))
        to = torch.stack(draw_centres(inside, each, none, numbers[:, 5:8]), 1)
        limit = torch.tensor(size, device=images.device)
        half = (sides // 2).long().to(images.device)
        free = (limit - 2 * half).clamp(min=1)
        start = half + (torch.from_numpy(numbers[:, 8:10]).to(images.device) * free).long()
        which, offset, before = _pieces(sides.to(images.device), angle.to(images.device))
        place = to[which] + offset
        kept = (place >= 0).all(1) & (place < limit).all(1) & (to[which] >= 0).all(1)
        which, place, before = which[kept], place[kept], before[kept]
        there = inside[which, place[:, 0], place[:, 1]]
        which, place, source = which[there], place[there], start[which[there]] + before[there]
        colours = draw_colours(
            np.concatenate([none[:, None].repeat(3, 1), numbers[:, 10:14]], 1), images.shape[1], COLOURS
        )
        colours = untinted(colours.to(images.device), images, torch.from_numpy(each).to(images.device))
        value = recolour(values_at(images, which, source[:, 0], source[:, 1]), colours[which])
        ones = torch.ones(len(which), device=images.device)
        return Spots(which, place[:, 0], place[:, 1], value, ones, ones.long())

    def _shapes(self, numbers: np.ndarray, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """Height and width ``(B, 2)`` in whole pixels, and angle ``(B,)`` in radians, of every piece."""

        def between(bounds: tuple[float, float], draws: np.ndarray) -> np.ndarray:
            return bounds[0] + (bounds[1] - bounds[0]) * draws

        pixels = between(self.area, numbers[:, 1]) * size[0] * size[1]
        aspect = between(self.aspect, numbers[:, 2])
        aspect = np.where(numbers[:, 3] < 0.5, aspect, 1 / aspect)
        plain = np.stack([np.sqrt(pixels * aspect), np.sqrt(pixels / aspect)], 1)
        unit = min(size) / SCAR_OF
        scar = unit * np.stack([between(self.scar_length, numbers[:, 1]), between(self.scar_width, numbers[:, 2])], 1)
        scarred = numbers[:, 0] < self.scars
        sides = np.where(scarred[:, None], scar, plain).round().clip(1, np.asarray(size))
        angle = np.where(scarred, np.deg2rad(self.rotation) * (2 * numbers[:, 4] - 1), 0.0)
        return torch.from_numpy(sides), torch.from_numpy(angle)


def _pieces(sides: Tensor, angle: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Pixels of rectangles ``sides (B, 2)`` turned by ``angle (B,)``.

    Returns:
        Which piece ``(P,)``, offset from its centre ``(P, 2)`` int64, and the offset before it was turned ``(P, 2)``.
    """
    reach = math.ceil(float(sides.square().sum(1).sqrt().max()) / 2) + 1
    steps = torch.arange(-reach, reach + 1, device=sides.device, dtype=sides.dtype)
    dy, dx = steps.view(1, -1, 1), steps.view(1, 1, -1)
    cos, sin = angle.cos().view(-1, 1, 1), angle.sin().view(-1, 1, 1)
    before_y, before_x = cos * dy - sin * dx, sin * dy + cos * dx
    tall, wide = sides[:, 0].view(-1, 1, 1), sides[:, 1].view(-1, 1, 1)
    inside = (before_y >= -(tall // 2)) & (before_y < tall - tall // 2)
    inside &= (before_x >= -(wide // 2)) & (before_x < wide - wide // 2)
    which, row, column = inside.nonzero(as_tuple=True)
    offset = torch.stack([row, column], 1) - reach
    return which, offset, torch.stack([before_y[which, row, column], before_x[which, row, column]], 1)
