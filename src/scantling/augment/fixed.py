"""Fixed augmentation policies: a list of random operations whose probabilities and strengths do not change.

Source: the augmentation of Huang et al. 2023, "Identifying the Key Components in ResNet-50 for Diabetic Retinopathy
Grading from Fundus Images", Diagnostics 13(10):1664, arXiv 2110.14160.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import torch
from tensordict import TensorDict
from torch import Tensor

from scantling.augment.apply import Application
from scantling.augment.draws import Draw, draw
from scantling.augment.plan import Operation, plan
from scantling.augment.settings import Interpolation, Settings
from scantling.core.batch import FELLOW_IMAGE, IMAGE, MAPS, MASK
from scantling.core.errors import RecipeError, nearest
from scantling.core.recycling import Recycler
from scantling.core.seams import Policy

PRESETS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "dr_2021_12": {"crop_probability": 0.0, "order": ("crop", "flip", "colour", "rotate", "translate")},
        "dr_2022_03": {
            "saturation": 0.1,
            "hue": 0.1,
            "translation_probability": 0.0,
            "order": ("crop", "flip", "colour", "rotate", "translate"),
        },
        "dr_2022_10": {},
        "dr_fusion": {"order": ("flip", "crop", "colour", "rotate", "translate")},
    }
)
"""Settings of the configurations that were published for one paper, as differences from the defaults."""


class NoPolicy(Policy):
    """Leaves every batch as it is; uint8 images become float in [0, 1]."""

    def __call__(self, batch: TensorDict, generator: torch.Generator) -> TensorDict:
        """The batch, its images float32 in [0, 1]."""
        out = batch.copy()
        for name in (IMAGE, FELLOW_IMAGE, *MAPS):
            if name in batch and batch[name].dtype == torch.uint8:
                out[name] = batch[name].float().div_(255)
        return out


class FixedPolicy(Policy):
    """Flips, colour distortion, resized crop, rotation and translation, each sample by its own random numbers.

    The defaults are the published diabetic-retinopathy recipe (its release since October 2022). Every operation has a
    probability with which a sample gets it and a strength; probability 0, or leaving it out of ``order``, switches it
    off, and the random numbers of the others stay the same. A mask takes the geometry of its image, and so do maps such
    as the saliency, which are 0 where they show nothing. A fellow image is augmented by random numbers of its own.

    All geometric operations of a sample are composed and carried out by one bilinear resampling (nearest neighbour for
    masks), with the result of doing them one after the other: what one of them moves out of the frame is lost. Samples
    that are only flipped are not resampled. Only a ``blur``, or a colour operation after a rotation or translation, in
    the midst of geometric operations needs a second resampling.

    Departures from the published pipeline: it resamples after every operation, on 8-bit images; it draws the order of
    brightness, contrast, saturation and hue anew for every sample, here it is always this one; colour before a crop and
    after it differ only in where the mean grey value for the contrast is taken.

    Args:
        horizontal_flip: probability of a left-right flip.
        vertical_flip: probability of an upside-down flip.
        brightness: factor uniform in ``[max(0, 1 - brightness), 1 + brightness]``.
        contrast: factor on the distance from the image's mean grey value, uniform likewise.
        saturation: factor on the distance from each pixel's grey value, uniform likewise; three channels only.
        hue: turn of the colour circle, uniform in ``[-hue, hue]``, at most 0.5; three channels only.
        colour_probability: probability of the colour distortion, that is of these four together.
        crop_scale: range of the crop's area as a share of the image; see :func:`scantling.augment.geometry.crop_boxes`
            for why most of this range is without effect.
        crop_ratio: range of the crop's width divided by its height.
        crop_probability: probability of the resized crop.
        rotation: degrees, uniform in ``[-rotation, rotation]`` about the centre.
        rotation_probability: probability of the rotation.
        translation: largest shift as a share of the width and of the height, either way; whole pixels.
        translation_probability: probability of the translation.
        grayscale: probability of dropping the colours; three channels only.
        blur_probability: probability of a Gaussian blur.
        blur_sigma: range of its standard deviation in pixels.
        order: operations in the order in which they are applied.
        fill: value of pixels that no part of the image reaches, in [0, 1]; masks get -1 there.
        interpolation: bilinear, or nearest: faster, and what the rotation of the published pipeline does.

    Raises:
        RecipeError: a probability outside [0, 1], a strength out of range, an impossible ``order``.

    >>> batch = TensorDict({"image": torch.rand(2, 3, 8, 8)}, batch_size=[2])
    >>> FixedPolicy(rotation=30.0)(batch, torch.Generator().manual_seed(0))["image"].shape
    torch.Size([2, 3, 8, 8])
    """

    def __init__(
        self,
        horizontal_flip: float = 0.5,
        vertical_flip: float = 0.5,
        brightness: float = 0.2,
        contrast: float = 0.2,
        saturation: float = 0.0,
        hue: float = 0.0,
        colour_probability: float = 1.0,
        crop_scale: tuple[float, float] = (0.87, 1.15),
        crop_ratio: tuple[float, float] = (0.7, 1.3),
        crop_probability: float = 1.0,
        rotation: float = 180.0,
        rotation_probability: float = 1.0,
        translation: float = 0.2,
        translation_probability: float = 1.0,
        grayscale: float = 0.0,
        blur_probability: float = 0.0,
        blur_sigma: tuple[float, float] = (0.1, 2.0),
        order: tuple[Operation, ...] = ("flip", "colour", "crop", "rotate", "translate"),
        fill: float = 0.0,
        interpolation: Interpolation = "bilinear",
    ) -> None:
        self.settings = Settings(
            horizontal_flip=horizontal_flip,
            vertical_flip=vertical_flip,
            brightness=brightness,
            contrast=contrast,
            saturation=saturation,
            hue=hue,
            colour_probability=colour_probability,
            crop_scale=crop_scale,
            crop_ratio=crop_ratio,
            crop_probability=crop_probability,
            rotation=rotation,
            rotation_probability=rotation_probability,
            translation=translation,
            translation_probability=translation_probability,
            grayscale=grayscale,
            blur_probability=blur_probability,
            blur_sigma=blur_sigma,
            order=order,
            fill=fill,
            interpolation=interpolation,
        )
        self._steps = plan(self.settings.order)
        self._moves = tuple(step for step in self._steps if step.name == "warp")
        self._empty = replace(self.settings, fill=0.0)
        self._memory = Recycler()

    @classmethod
    def preset(cls, name: str, **settings: Any) -> FixedPolicy:
        """A policy by the name of its published configuration, one of :data:`PRESETS`, with changes.

        Raises:
            RecipeError: there is no such preset.
        """
        if name not in PRESETS:
            raise RecipeError(
                f"unknown augmentation preset '{name}'{nearest(name, PRESETS)}", do=f"use one of {', '.join(PRESETS)}"
            )
        return cls(**{**PRESETS[name], **settings})

    def __call__(self, batch: TensorDict, generator: torch.Generator) -> TensorDict:
        """A batch of the same shapes; other fields are passed on.

        Args:
            batch: with ``image (B, C, H, W)``, float in [0, 1] or uint8; optionally ``mask (B, H, W)`` and
                ``fellow_image``. It is not changed.
            generator: on the CPU or on the batch's device. A CPU generator gives the same augmentation on any device.
                A sample's random numbers depend on its place in the batch, not on what else the batch holds.

        Returns:
            The batch with images float32 in [0, 1].
        """
        out = batch.copy()
        drawn = self._draw(batch[IMAGE], generator)
        images, masks = self._augment(batch[IMAGE], batch.get(MASK, None), drawn)
        out[IMAGE] = images
        if masks is not None:
            out[MASK] = masks
        for name in MAPS:
            if name in batch:
                out[name] = self._move(batch[name], drawn)
        if FELLOW_IMAGE in batch:
            fellows = batch[FELLOW_IMAGE]
            out[FELLOW_IMAGE] = self._augment(fellows, None, self._draw(fellows, generator))[0]
        return out

    def _draw(self, images: Tensor, generator: torch.Generator) -> Draw:
        return draw(self.settings, len(images), (images.shape[-2], images.shape[-1]), generator)

    def _move(self, maps: Tensor, drawn: Draw) -> Tensor:
        """Maps ``(B, 1, H, W)`` moved with their images, float32 in [0, 1]."""
        size = (maps.shape[-2], maps.shape[-1])
        moved = torch.empty_like(maps, dtype=torch.float32)
        Application(self._moves, drawn, self._empty, size).run(maps, None, moved, None)
        return moved

    def _augment(self, images: Tensor, masks: Tensor | None, drawn: Draw) -> tuple[Tensor, Tensor | None]:
        size = (images.shape[-2], images.shape[-1])
        on_cpu = images.device.type == "cpu"
        pixels = self._memory.empty(images.shape) if on_cpu else torch.empty_like(images, dtype=torch.float32)
        classes = None if masks is None else torch.empty_like(masks)
        Application(self._steps, drawn, self.settings, size).run(images, masks, pixels, classes)
        return pixels, classes
