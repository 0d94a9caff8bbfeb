"""LesionPaste: augmented lesions of a few annotated images, pasted into images without any.

Source: Huang et al. 2022, arXiv 2203.06354 (published as AugPaste, DOI 10.1007/978-3-031-16525-2_1). The mixing weight
is drawn for every lesion, as the paper's text asks for; the released code pastes with weight 1 (``strength: [1, 1]``).
All lesions of a type are drawn from; the released code never draws the first one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from scantling.augment.lesion_paste.augment import (
    COLOUR_NUMBERS,
    GEOMETRY_NUMBERS,
    AugmentSettings,
    draw_colours,
    draw_geometry,
    recolour,
    resample,
    untinted,
)
from scantling.augment.lesion_paste.bank import LesionBank, make_bank
from scantling.augment.lesion_paste.counts import SEVERITY, check_severity, draw_counts
from scantling.augment.lesion_paste.donors import read_donors
from scantling.augment.lesion_paste.paste import Spots, as_abnormal, compose, values_at
from scantling.augment.lesion_paste.placement import Region, allowed, draw_centres, scaled_margins
from scantling.core.batch import IMAGE, INDEX, MASK
from scantling.core.errors import RecipeError
from scantling.core.numbers import children, keys_of, uniform
from scantling.core.recycling import Recycler
from scantling.core.seams import Inputs, Synthesizer

if TYPE_CHECKING:
    from tensordict import TensorDict

MARGINS = (10.0, 20.0, 20.0, 15.0)
"""Of microaneurysms, haemorrhages, hard and soft exudates, in pixels of an image of 512."""

NEIGHBOURHOOD = 16
"""The colour round a place is the mean over one of 16 x 16 parts of the image."""

_WHICH, _STRENGTH, _PLACE, _SOURCE = 0, 1, slice(2, 5), slice(5, 8)
_GEOMETRY = slice(8, 8 + GEOMETRY_NUMBERS)
_COLOUR = slice(_GEOMETRY.stop, _GEOMETRY.stop + COLOUR_NUMBERS)


class _Plan(NamedTuple):
    """Every lesion of a batch, in the order of pasting: its image, its number in the bank, and its random numbers."""

    image: np.ndarray
    lesion: np.ndarray
    numbers: np.ndarray


class LesionPaste(Synthesizer):
    """Pastes augmented lesions of annotated images into images without lesions, and says where.

    What an image gets depends on its key alone: not on the batch, its device's speed or the number of processes.

    Args:
        lesion: an annotated image, or a manifest of several (CSV or Parquet, with their masks).
        lesion_mask: mask of the annotated image; its lesions are what is above half of the range.
        types: names of the types of lesions, the mildest first; the mask then holds their numbers from 1.
        severity: falling thresholds of a severity from 0 to 100: above the last come two types, and so on.
        fewest: lesions at least, of the first type, of the second ...; the last one holds for all further ones.
        most: lesions at most of each type, as a multiple of those in the annotated images.
        strength: range of the weight of a lesion against the image below, in [0, 1].
        feather: pixels over which a lesion's rim is softened; 0 for a hard rim.
        match_colour: shift a lesion's colour by the difference between its old and its new surroundings.
        region: where lesions may lie: mask (the organ in the manifest's column organ, or mask), field (the lit part),
            everywhere, or auto: the organ where an image has one, else the field.
        margin: distance of a lesion's centre from the outside, in pixels of an image of 512; one for each type, the
            last one for all further ones.
        augment: how lesions vary.

    Raises:
        RecipeError: a setting outside its range.
    """

    def __init__(
        self,
        lesion: str | None = None,
        lesion_mask: str | None = None,
        types: Sequence[str] = (),
        severity: Sequence[int] = SEVERITY,
        fewest: Sequence[int] = (3, 1),
        most: float = 1.5,
        strength: tuple[float, float] = (0.5, 1.0),
        feather: int = 0,
        match_colour: bool = False,
        region: Region = "auto",
        margin: Sequence[float] = MARGINS,
        augment: AugmentSettings | None = None,
    ) -> None:
        low, high = strength
        if not 0 <= low <= high <= 1:
            raise RecipeError(f"a strength of {list(strength)}", where="synthesizer.strength", do="as [0.5, 1.0]")
        if not fewest or min(fewest) < 1 or most <= 0 or feather < 0 or not margin or min(margin) < 0:
            raise RecipeError(
                "fewest starts at 1, most above 0, feather and margin at 0", where="synthesizer", do="correct it"
            )
        self.lesion, self.lesion_mask, self.types = lesion, lesion_mask, tuple(types)
        self.severity, self.fewest, self.most = tuple(severity), tuple(fewest), most
        self.strength, self.feather, self.match_colour = (low, high), feather, match_colour
        self.region: Region = region
        self.margin, self.augment = tuple(margin), augment or AugmentSettings()
        self.bank: LesionBank | None = None
        self._memory = Recycler(keep=4)

    def configure(self, inputs: Inputs, preprocess: Any = None) -> None:
        """Read the annotated images, preprocessed as all others are, and cut their lesions out.

        Raises:
            RecipeError: no annotated image, or too few severities for its types.
            DataError: files that cannot be read, or masks without lesions.
        """
        if self.lesion is None:
            raise RecipeError("no annotated image", where="synthesizer", do="give --lesion FILE and --lesion-mask FILE")
        from scantling.data.preprocess import Preprocess

        frame = preprocess or Preprocess(inputs.size, channels=3 if inputs.channels == 3 else 1)
        donors, types = read_donors(self.lesion, self.lesion_mask, frame, self.types)
        self.use(make_bank(donors, types, self.augment.scale[1]))

    def use(self, bank: LesionBank) -> None:
        """Paste the lesions of this bank.

        Raises:
            RecipeError: too few severities for its types.
        """
        check_severity(self.severity, len(bank.types))
        self.bank = bank

    def __call__(self, batch: TensorDict, generator: torch.Generator) -> TensorDict:
        """The rows with lesions: ``image``, ``label`` 1, ``mask`` the type's number from 1 at every pixel of a lesion.

        An image in which nothing may be pasted (all black) stays as it is, with label 0.
        """
        return self.with_keys(batch, drawn_keys(len(batch), generator))

    def by_row(self, batch: TensorDict, seed: int) -> TensorDict:
        """The same rows every time: what an image gets follows from the seed and its ``index``."""
        return self.with_keys(batch, keys_of(seed, batch[INDEX].cpu().numpy()))

    def with_keys(self, batch: TensorDict, keys: np.ndarray) -> TensorDict:
        """The rows with the lesions that belong to ``keys (B,)``."""
        return as_abnormal(batch, self.spots(batch, keys), self._memory)

    def decoys(self, batch: TensorDict, generator: torch.Generator) -> TensorDict:
        """The rows with pieces of other normal images, of the shapes of lesions and pasted like them, labels unchanged.

        A network that sees them as normal cannot take the rim of what was pasted for the sign of a lesion.
        """
        keys = drawn_keys(len(batch), generator)
        out = batch.clone(recurse=False)
        out[IMAGE] = compose(batch[IMAGE], self.spots(batch, keys, decoys=True))[0]
        return out

    def spots(self, batch: TensorDict, keys: np.ndarray, decoys: bool = False) -> Spots:
        """All pixels of all lesions of a batch, in the order of pasting.

        Args:
            batch: ``image (B, C, H, W)`` float in [0, 1]; ``mask (B, H, W)``, above 0 in the organ, for that region.
            keys: of the images, ``(B,)`` uint64.
            decoys: pixels of the next image of the batch in the place of lesions.
        """
        images = batch[IMAGE]
        bank = self._bank(images)
        plan = self._plan(keys)
        inside = allowed(images, batch.get(MASK, None), self.region)
        margins = scaled_margins(self.margin, (images.shape[-2], images.shape[-1]))
        margin = margins[np.minimum(bank.kind[plan.lesion], len(margins) - 1)]
        centres = torch.stack(draw_centres(inside, plan.image, margin, plan.numbers[:, _PLACE]), 1)
        rows, offset, weight, value = self._frames(bank, plan, images)
        image = torch.from_numpy(plan.image).to(images.device)[rows]
        if decoys:
            source = (image + 1) % len(images)
            other = np.roll(np.arange(len(images)), -1)[plan.image]
            origin = torch.stack(draw_centres(inside, other, margin, plan.numbers[:, _SOURCE]), 1)
            place = origin[rows] + offset
            value = values_at(images, source, place[:, 0], place[:, 1])
        elif self.match_colour:
            value = value + self._shift(images, bank, plan, centres)[rows]
        colours = draw_colours(plan.numbers[:, _COLOUR], images.shape[1], self.augment).to(images.device)
        colours = untinted(colours, images, torch.from_numpy(plan.image).to(images.device))
        place = centres[rows] + offset
        kind = torch.from_numpy(bank.kind[plan.lesion] + 1).to(images.device)[rows]
        spots = Spots(image, place[:, 0], place[:, 1], value, weight, kind)
        height, width = inside.shape[1:]
        within = (place >= 0).all(1) & (place[:, 0] < height) & (place[:, 1] < width) & (centres[rows] >= 0).all(1)
        seen = within.nonzero()[:, 0]
        seen = seen[inside[image[seen], place[seen, 0], place[seen, 1]]]
        kept = spots[seen]
        recoloured = recolour(kept.value, colours[rows[seen]])
        return Spots(kept.image, kept.y, kept.x, recoloured, kept.weight, kept.kind)

    def _bank(self, images: Tensor) -> LesionBank:
        if self.bank is None:
            raise RecipeError("the lesion bank is empty", where="synthesizer", do="call configure(inputs) first")
        if self.bank.surroundings.shape[1] != images.shape[1]:
            raise RecipeError(
                f"lesions of {self.bank.surroundings.shape[1]} channels for images of {images.shape[1]}",
                where="synthesizer",
                do="set data.channels for both",
            )
        self.bank = self.bank.to(images.device)
        return self.bank

    def _plan(self, keys: np.ndarray) -> _Plan:
        assert self.bank is not None
        in_bank = self.bank.counts
        counts = draw_counts(uniform(keys, 1 + len(in_bank)), in_bank.tolist(), self.severity, self.fewest, self.most)
        image = np.repeat(np.arange(len(keys)), counts.sum(1))
        kind = np.repeat(np.tile(np.arange(len(in_bank)), len(keys)), counts.ravel())
        number = np.arange(len(image)) - np.repeat(np.cumsum(counts.sum(1)) - counts.sum(1), counts.sum(1))
        numbers = uniform(children(keys[image], number + 1), _COLOUR.stop)
        first = np.cumsum(in_bank) - in_bank
        lesion = first[kind] + np.floor(numbers[:, _WHICH] * in_bank[kind]).astype(np.int64)
        return _Plan(image, lesion, numbers)

    def _frames(self, bank: LesionBank, plan: _Plan, images: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Pixels of all augmented lesions: which lesion of the plan, offset from its centre, weight, value."""
        device, group_of = images.device, bank.group[plan.lesion]
        maps = draw_geometry(plan.numbers[:, _GEOMETRY], self.augment)
        low, high = self.strength
        strength = torch.from_numpy(low + (high - low) * plan.numbers[:, _STRENGTH]).to(images)
        channels = images.shape[1]
        parts = [(torch.empty(0, dtype=torch.int64, device=device), torch.empty(0, 2, dtype=torch.int64, device=device),
                  images.new_empty(0), images.new_empty(0, channels))]  # fmt: skip
        for number, group in enumerate(bank.groups):
            rows = torch.from_numpy(np.flatnonzero(group_of == number))
            if not len(rows):
                continue
            slots = torch.from_numpy(bank.slot[plan.lesion])[rows].to(device)
            frames = torch.cat([group.patches[slots], group.masks[slots]], 1)
            frames = resample(frames, maps[rows].to(device))
            cover = frames[:, -1]
            pixels = cover > cover.amax((1, 2), keepdim=True) / 2
            softness = self._softened(pixels)
            which, dy, dx = pixels.nonzero(as_tuple=True)
            lesion = rows.to(device)[which]
            offset = torch.stack([dy, dx], 1) - group.side // 2
            weight = strength[lesion] * softness[which, dy, dx]
            parts.append((lesion, offset, weight, frames[which, :-1, dy, dx]))
        lesion, offset, weight, value = (torch.cat(column) for column in zip(*parts, strict=True))
        order = lesion.argsort(stable=True)
        return lesion[order], offset[order], weight[order], value[order]

    def _softened(self, pixels: Tensor) -> Tensor:
        """Weights ``(n, S, S)`` of a lesion's pixels: 1, or less near the rim where it is feathered."""
        solid = pixels.float()
        if not self.feather:
            return solid
        width = 2 * self.feather + 1
        return F.avg_pool2d(solid[:, None], width, 1, self.feather)[:, 0]

    def _shift(self, images: Tensor, bank: LesionBank, plan: _Plan, centres: Tensor) -> Tensor:
        """New less old surrounding colour of every lesion ``(N, C)``."""
        coarse = F.interpolate(images, size=(NEIGHBOURHOOD, NEIGHBOURHOOD), mode="area")
        size = torch.tensor(images.shape[-2:], device=images.device)
        part = ((centres.clamp(min=0) + 0.5) * NEIGHBOURHOOD / size - 0.5).unbind(1)
        around = values_at(coarse, torch.from_numpy(plan.image).to(images.device), *part)
        return around - bank.surroundings[torch.from_numpy(plan.lesion).to(images.device)]


def drawn_keys(count: int, generator: torch.Generator) -> np.ndarray:
    """New keys ``(count,)`` uint64."""
    return torch.randint(2**62, (count,), generator=generator).numpy().astype(np.uint64)
