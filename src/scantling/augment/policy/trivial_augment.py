"""TrivialAugment: one random operation of random strength.

Source: Müller and Hutter 2021, "TrivialAugment: Tuning-free Yet State-of-the-Art Data Augmentation", arXiv 2103.10158.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from scantling.augment.operations import MAGNITUDES
from scantling.augment.policy.apply import Drawn
from scantling.augment.policy.base import OperationPolicy
from scantling.augment.policy.framing import Frame, Framing
from scantling.augment.policy.rand_augment import STANDARD, with_identity
from scantling.augment.policy.random_policy import checked_space


class TrivialAugment(OperationPolicy):
    """For every image one operation and one strength, both drawn uniformly: nothing to tune.

    Args:
        operations: names; left out, those of RandAugment.
        scale_range: range of the factors by which each axis is resized afterwards.
        crop: side of the random crop in pixels; left out, the size of the image.
        scale_probability: of the resizing.

    Raises:
        RecipeError: an unknown operation, or no operation.
    """

    def __init__(
        self,
        operations: Sequence[str] = STANDARD,
        scale_range: tuple[float, float] = (1.0, 1.0),
        crop: int | None = None,
        scale_probability: float = 0.8,
    ) -> None:
        super().__init__()
        self.space = checked_space(operations, 1)
        self.framing = Framing(scale_range, crop, scale_probability)

    def draw(self, count: int, size: tuple[int, int], generator: torch.Generator) -> tuple[Drawn, Frame | None]:
        """An operation and a strength for each image, and a frame."""
        operations = with_identity(self.space, (count, 1), generator)
        levels = torch.randint(MAGNITUDES, (count, 1), generator=generator, device=generator.device).cpu()
        drawn = Drawn.from_levels(operations, levels.double() / (MAGNITUDES - 1), generator, self.space)
        return drawn, None if self.framing.idle else self.framing.draw(count, size, generator)
