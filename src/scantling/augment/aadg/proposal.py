"""Policies that the controller proposes, applied to a batch side by side."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from scantling.augment.policy import Framing
from scantling.augment.policy.apply import Drawn
from scantling.augment.policy.base import OperationPolicy
from scantling.augment.policy.framing import Frame


class Proposal(OperationPolicy):
    """J policies of Q sub-policies on a batch of J equal parts: for every image a sub-policy of its part's policy.

    Args:
        tokens: operation and magnitude, ``(J, Q, length, 2)`` int64; a length of 0 leaves the images as they are.
        space: names of the operations.
        framing: resized crop afterwards, for every image its own.
    """

    def __init__(self, tokens: Tensor, space: Sequence[str], framing: Framing) -> None:
        super().__init__()
        self.tokens, self.space, self.framing = tokens.cpu(), tuple(space), framing

    def draw(self, count: int, size: tuple[int, int], generator: torch.Generator) -> tuple[Drawn, Frame | None]:
        """The operations of ``count`` images, a multiple of J, and their frames."""
        policies, subpolicies = self.tokens.shape[:2]
        part = torch.arange(policies).repeat_interleave(count // policies)
        chosen = torch.randint(subpolicies, (count,), generator=generator)
        operations, magnitudes = self.tokens[part, chosen].unbind(2)
        drawn = Drawn.from_magnitudes(operations, magnitudes, generator, self.space)
        return drawn, None if self.framing.idle else self.framing.draw(count, size, generator)
