"""The random numbers of a fixed policy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

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

    chosen: Mapping[str, Tensor]
    strengths: Mapping[str, Tensor]
    maps: Mapping[str, Tensor]


def draw(settings: Settings, batch: int, size: tuple[int, int], generator: torch.Generator) -> Draw:
    """Draw for ``batch`` images of ``size`` (height, width).

    Every number is drawn for every sample, used or not, and sample by sample. So no setting moves the random numbers of
    another one, and those of a sample depend only on the generator and the sample's place in the batch.
    """
    width = len(NUMBERS) + 2 * (CROP_TRIES + 1)
    numbers = torch.rand(batch, width, generator=generator, device=generator.device, dtype=torch.float64).cpu()
    uniform = dict(zip(NUMBERS, numbers.unbind(1), strict=False))
    around = {name: 2 * uniform[name] - 1 for name in ("hue", "degrees", "right", "down")}
    chosen = {name: uniform[name] < probability for name, probability in settings.probabilities.items()}
    low, high = settings.blur_sigma
    strengths = {
        "brightness": _factor(uniform["brightness"], settings.brightness),
        "contrast": _factor(uniform["contrast"], settings.contrast),
        "saturation": _factor(uniform["saturation"], settings.saturation),
        "hue": settings.hue * around["hue"],
        "blur": low + (high - low) * uniform["sigma"],
    }
    tries = numbers[:, len(NUMBERS) :].unflatten(1, (CROP_TRIES + 1, 2))
    boxes, _ = geometry.crop_boxes(tries, size, settings.crop_scale, settings.crop_ratio)
    boxes = torch.where(chosen["crop"][:, None], boxes, torch.tensor([0, 0, *size]))
    right = (settings.translation * size[1] * around["right"]).round() * chosen["translate"]
    down = (settings.translation * size[0] * around["down"]).round() * chosen["translate"]
    maps = {
        "flip": geometry.flip_maps(chosen["horizontal"], chosen["vertical"], size),
        "crop": geometry.crop_maps(boxes, size),
        "rotate": geometry.rotation_maps(settings.rotation * around["degrees"] * chosen["rotate"], size),
        "translate": geometry.translation_maps(right, down),
    }
    return Draw(chosen, strengths, maps)


def _factor(uniform: Tensor, strength: float) -> Tensor:
    low = max(0.0, 1 - strength)
    return low + (1 + strength - low) * uniform
