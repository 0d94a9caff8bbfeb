"""Carries out what a fixed policy has drawn."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from scantling.augment import colour, geometry
from scantling.augment.draws import Draw
from scantling.augment.parallel import CACHED_VALUES, in_parts
from scantling.augment.plan import FILLING, Step
from scantling.augment.settings import Settings
from scantling.augment.warp import warp
from scantling.augment.workspace import workspace
from scantling.core.mirror import mirror


@dataclass(frozen=True)
class _Resampling:
    maps: np.ndarray
    shown: geometry.Visible
    mirrored: np.ndarray


class Application:
    """The steps of a policy with the numbers drawn for one batch.

    Args:
        steps: what to do, in order.
        drawn: the numbers.
        settings: of the policy.
        size: height and width of the images.
    """

    def __init__(self, steps: tuple[Step, ...], drawn: Draw, settings: Settings, size: tuple[int, int]) -> None:
        self.steps, self.drawn, self.settings = steps, drawn, settings
        self._resamplings = {step: _resampling(step, drawn, size) for step in steps if step.name == "warp"}
        self._boxes = {step: _boxes(step, drawn, size) for step in steps if step.name == "colour"}

    def run(self, images: Tensor, masks: Tensor | None, pixels: Tensor, classes: Tensor | None) -> None:
        """Augment ``images (B, C, H, W)`` and ``masks (B, H, W)`` into ``pixels`` (float32) and ``classes``.

        On a CPU a few images at a time, on as many threads as torch uses; on other devices all at once.
        """

        def work(part: slice) -> None:
            self._run(part, images, masks, pixels, classes)

        in_parts(images, work, CACHED_VALUES)

    def _run(self, part: slice, images: Tensor, masks: Tensor | None, pixels: Tensor, classes: Tensor | None) -> None:
        now, now_classes = _floats(images[part]), None if masks is None else masks[part]
        target = pixels[part], None if classes is None else classes[part]
        for step in self.steps:
            if step.name == "warp":
                into = target if step is self.steps[-1] else None
                now, now_classes = self._warp(step, part, now, now_classes, into)
            else:
                self._recolour(step, part, now)
        if not self.steps or self.steps[-1].name != "warp":
            target[0].copy_(now)
            if target[1] is not None and now_classes is not None:
                target[1].copy_(now_classes)

    def _warp(
        self, step: Step, part: slice, images: Tensor, masks: Tensor | None, into: tuple[Tensor, Tensor | None] | None
    ) -> tuple[Tensor, Tensor | None]:
        """Resample a part of the batch; samples that are only mirrored keep their exact values."""
        whole, fill = self._resamplings[step], self.settings.fill
        maps, shown, codes = whole.maps[part], whole.shown[part], whole.mirrored[part]
        if (codes < 0).all():
            return warp(images, maps, shown, fill, masks, into, self.settings.interpolation)
        pixels, classes = into or (torch.empty_like(images), None if masks is None else torch.empty_like(masks))
        for code in np.unique(codes):
            rows = (codes == code).nonzero()[0]
            at = torch.from_numpy(rows).to(images.device)
            some, some_masks = images[at], None if masks is None else masks[at]
            if code < 0:
                some, some_masks = warp(
                    some, maps[rows], shown[rows], fill, some_masks, None, self.settings.interpolation
                )
            else:
                some = mirror(some, code)
                some_masks = None if some_masks is None else mirror(some_masks, code)
            pixels[at] = some
            if classes is not None and some_masks is not None:
                classes[at] = some_masks
        return pixels, classes

    def _recolour(self, step: Step, part: slice, images: Tensor) -> None:
        """Change ``images`` in place where the operation was drawn."""
        coloured = images.shape[1] == 3
        rows = self.drawn.chosen[step.name][part].nonzero()[0]
        if not len(rows) or (step.name == "grayscale" and not coloured):
            return
        everyone, at = len(rows) == len(images), torch.from_numpy(rows).to(images.device)
        some = images if everyone else images[at]
        if step.name == "grayscale":
            some.copy_(colour.grey(some).expand_as(some))
        elif step.name == "blur":
            colour.blur(some, self._strengths("blur", part, rows, images))
        else:
            self._distort(step, part, rows, some)
        if not everyone:
            images[at] = some

    def _distort(self, step: Step, part: slice, rows: np.ndarray, images: Tensor) -> None:
        settings, coloured, boxes = self.settings, images.shape[1] == 3, self._boxes[step]
        if settings.brightness or settings.contrast:
            brightness, contrast = (self._strengths(n, part, rows, images) for n in ("brightness", "contrast"))
            within = None if boxes is None else torch.from_numpy(boxes[part][rows]).to(images.device)
            colour.adjust_brightness_and_contrast(images, brightness, contrast, within)
        if settings.saturation and coloured:
            colour.adjust_saturation(images, self._strengths("saturation", part, rows, images))
        if settings.hue and coloured:
            colour.shift_hue(images, self._strengths("hue", part, rows, images))

    def _strengths(self, name: str, part: slice, rows: np.ndarray, images: Tensor) -> Tensor:
        return torch.from_numpy(self.drawn.strengths[name][part][rows].astype(np.float32)).to(images.device)


def _floats(images: Tensor) -> Tensor:
    """A copy as float32 in [0, 1]."""
    copy = workspace("images", images.shape, images.device).copy_(images)
    return copy.mul_(1 / 255) if images.dtype == torch.uint8 else copy


def _resampling(step: Step, drawn: Draw, size: tuple[int, int]) -> _Resampling:
    frames = geometry.compose([drawn.maps[name] for name in step.geometry])
    filling = [frame for name, frame in zip(step.geometry, frames, strict=True) if name in FILLING]
    return _Resampling(frames[0], geometry.visible(filling or frames[:1], size), geometry.mirrored(frames[0], size))


def _boxes(step: Step, drawn: Draw, size: tuple[int, int]) -> np.ndarray | None:
    """The part of an image that flips and a crop would have left: top, left, height, width, ``(B, 4)``."""
    if "crop" not in step.geometry:
        return None
    maps = geometry.compose([drawn.maps[name] for name in step.geometry])[0]
    across, down = maps[:, 0, 0] * size[1], maps[:, 1, 1] * size[0]
    left, top = maps[:, 0, 2] + np.minimum(across, 0), maps[:, 1, 2] + np.minimum(down, 0)
    return np.rint(np.stack([top, left, np.abs(down), np.abs(across)], 1)).astype(np.int64)
