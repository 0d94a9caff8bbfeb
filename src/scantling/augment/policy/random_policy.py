"""AADG's search space without a search: the baseline that a searched policy has to beat."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from scantling.augment.operations import MAGNITUDES, OPERATIONS, known_operation
from scantling.augment.policy.apply import Drawn
from scantling.augment.policy.base import OperationPolicy
from scantling.augment.policy.framing import Frame, Framing
from scantling.core.errors import RecipeError


class RandomPolicy(OperationPolicy):
    """For every image operations and magnitudes drawn uniformly from a search space.

    Args:
        length: operations for each image, one after the other.
        operations: names of the space; left out, AADG's ten.
        scale_range: range of the factors by which each axis is resized afterwards.
        crop: side of the random crop in pixels; left out, the size of the image.
        scale_probability: of the resizing.

    Raises:
        RecipeError: an unknown operation, or no operation.
    """

    def __init__(
        self,
        length: int = 2,
        operations: Sequence[str] = OPERATIONS,
        scale_range: tuple[float, float] = (1.0, 1.5),
        crop: int | None = None,
        scale_probability: float = 0.8,
    ) -> None:
        super().__init__()
        self.space = checked_space(operations, length)
        self.length = length
        self.framing = Framing(scale_range, crop, scale_probability)

    def draw(self, count: int, size: tuple[int, int], generator: torch.Generator) -> tuple[Drawn, Frame | None]:
        """Operations and magnitudes for each image, and a frame."""
        shape, device = (count, self.length), generator.device
        operations = torch.randint(len(self.space), shape, generator=generator, device=device)
        magnitudes = torch.randint(MAGNITUDES, shape, generator=generator, device=device)
        drawn = Drawn.from_magnitudes(operations, magnitudes, generator, self.space)
        return drawn, None if self.framing.idle else self.framing.draw(count, size, generator)


def checked_space(operations: Sequence[str], length: int) -> tuple[str, ...]:
    """Names of known operations.

    Raises:
        RecipeError: an unknown one, none, or less than one for each image.
    """
    space = tuple(known_operation(name, "operations") for name in operations)
    if not space or length < 1:
        raise RecipeError("no operation", where="operations" if not space else "length", do="use at least one")
    return space
