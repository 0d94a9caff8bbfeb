"""RandAugment: a few random operations, all of one strength.

Source: Cubuk et al. 2020, "RandAugment: Practical automated data augmentation with a reduced search space",
arXiv 1909.13719.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from scantling.augment.operations import MAGNITUDES
from scantling.augment.policy.apply import NOTHING, Drawn
from scantling.augment.policy.base import OperationPolicy
from scantling.augment.policy.framing import Frame, Framing
from scantling.augment.policy.random_policy import checked_space
from scantling.core.errors import RecipeError

STANDARD = (
    "auto_contrast", "equalize", "rotate", "solarize", "color", "posterize", "contrast", "brightness", "sharpness",
    "shear_x", "shear_y", "translate_x", "translate_y",
)  # fmt: skip
"""The operations of the paper, less the identity, which is always one more."""


class RandAugment(OperationPolicy):
    """For every image operations drawn uniformly, the identity among them, all of one strength.

    Unlike in the paper the direction of contrast, colour, brightness and sharpness is drawn, as in later releases.

    Args:
        num_ops: operations for each image, one after the other.
        magnitude: strength, from 0 (nothing but operations without a strength) to 9 (the most extreme value).
        operations: names; left out, those of the paper.
        scale_range: range of the factors by which each axis is resized afterwards.
        crop: side of the random crop in pixels; left out, the size of the image.
        scale_probability: of the resizing.

    Raises:
        RecipeError: an unknown operation, no operation, or a strength out of range.
    """

    def __init__(
        self,
        num_ops: int = 2,
        magnitude: int = 4,
        operations: Sequence[str] = STANDARD,
        scale_range: tuple[float, float] = (1.0, 1.0),
        crop: int | None = None,
        scale_probability: float = 0.8,
    ) -> None:
        super().__init__()
        if not 0 <= magnitude < MAGNITUDES:
            raise RecipeError(f"{magnitude} is out of range", where="magnitude", do=f"use 0 to {MAGNITUDES - 1}")
        self.space = checked_space(operations, num_ops)
        self.num_ops, self.magnitude = num_ops, magnitude
        self.framing = Framing(scale_range, crop, scale_probability)

    def draw(self, count: int, size: tuple[int, int], generator: torch.Generator) -> tuple[Drawn, Frame | None]:
        """Operations for each image, and a frame."""
        operations = with_identity(self.space, (count, self.num_ops), generator)
        levels = torch.full((count, self.num_ops), self.magnitude / (MAGNITUDES - 1), dtype=torch.float64)
        drawn = Drawn.from_levels(operations, levels, generator, self.space)
        return drawn, None if self.framing.idle else self.framing.draw(count, size, generator)


def with_identity(space: Sequence[str], shape: tuple[int, int], generator: torch.Generator) -> torch.Tensor:
    """Indices into ``space``, and -1 for nothing, all alike frequent."""
    drawn = torch.randint(NOTHING, len(space), shape, generator=generator, device=generator.device)
    return drawn.cpu()
