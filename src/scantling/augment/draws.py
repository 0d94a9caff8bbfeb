"""The random numbers of a fixed policy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch

from scantling.augment import geometry
from scantling.augment.settings import Settings

CROP_TRIES = 10

NUMBERS = (
    "horizontal", "vertical", "colour", "brightness", "contrast", "saturation", "hue", "grayscale", "blur", "sigma",
    "crop", "rotate", "degrees", "translate", "right", "down",
)  # fmt: skip


@dataclass(frozen=True)
class Draw:
    """What was drawn for a batch, on the CPU.

    Args:
        chosen: which samples get an operation, ``(B,)`` bool each.
        strengths: of the operations that change colours or blur, ``(B,)`` each.
        maps: of the geometric operations, ``(B, 3, 3)`` each, the identity for samples that do not get it.
    """

    chosen: Mapping[str, np.ndarray]
    strengths: Mapping[str, np.ndarray]
    maps: Mapping[str, np.ndarray]


def draw(settings: Settings, batch: int, size: tuple[int, int], generator: torch.Generator) -> Draw:
    """Draw for ``batch`` images of ``size`` (height, width).

    Every number is drawn for every sample, used or not, and sample by sample. So no setting moves the random numbers of
    another one, and those of a sample depend only on the generator and the sample's place in the batch.
    """
    width = len(NUMBERS) + 2 * (CROP_TRIES + 1)
    uniform = torch.rand(batch, width, generator=generator, device=generator.device, dtype=torch.float64).cpu().numpy()
    number = dict(zip(NUMBERS, uniform.T, strict=False))
    chosen = {name: number[name] < probability for name, probability in settings.probabilities.items()}
    low, high = settings.blur_sigma
    strengths = {
        "brightness": _factor(number["brightness"], settings.brightness),
        "contrast": _factor(number["contrast"], settings.contrast),
        "saturation": _factor(number["saturation"], settings.saturation),
        "hue": _around(number["hue"], settings.hue),
        "blur": low + (high - low) * number["sigma"],
    }
    tries = uniform[:, len(NUMBERS) :].reshape(batch, CROP_TRIES + 1, 2)
    boxes, _ = geometry.crop_boxes(tries, size, settings.crop_scale, settings.crop_ratio)
    boxes = np.where(chosen["crop"][:, None], boxes, (0, 0, *size))
    right = np.rint(_around(number["right"], settings.translation * size[1])) * chosen["translate"]
    down = np.rint(_around(number["down"], settings.translation * size[0])) * chosen["translate"]
    degrees = _around(number["degrees"], settings.rotation) * chosen["rotate"]
    maps = {
        "flip": geometry.flip_maps(chosen["horizontal"], chosen["vertical"], size),
        "crop": geometry.crop_maps(boxes, size),
        "rotate": geometry.rotation_maps(degrees, size),
        "translate": geometry.translation_maps(right, down),
    }
    return Draw(chosen, strengths, maps)


def _factor(uniform: np.ndarray, strength: float) -> np.ndarray:
    low = max(0.0, 1 - strength)
    return low + (1 + strength - low) * uniform


def _around(uniform: np.ndarray, largest: float) -> np.ndarray:
    return largest * (2 * uniform - 1)
