"""A policy that was searched before, or written by hand."""

from __future__ import annotations

import torch

from scantling.augment.policy.apply import NOTHING, Drawn, uniform_numbers
from scantling.augment.policy.base import OperationPolicy
from scantling.augment.policy.framing import Frame, Framing
from scantling.augment.policy.spec import PolicySpec


class SearchedPolicy(OperationPolicy):
    """For every image one sub-policy of a mixture, then a resized crop as in the search.

    Args:
        policy: the mixture; or the path of a ``policy.json``, or of a run folder or bundle that has one.
        scale_range: range of the factors by which each axis is resized afterwards.
        crop: side of the random crop in pixels; left out, the size of the image.
        scale_probability: of the resizing.

    Raises:
        RecipeError: no policy there, or one that cannot be used.

    Source: Lyu et al. 2022, "AADG: Automatic Augmentation for Domain Generalization on Retinal Image Segmentation",
    IEEE TMI 41(12), arXiv 2207.13249.
    """

    def __init__(
        self,
        policy: PolicySpec | str,
        scale_range: tuple[float, float] = (1.0, 1.5),
        crop: int | None = None,
        scale_probability: float = 0.8,
    ) -> None:
        super().__init__()
        self.policy = PolicySpec.read(policy) if isinstance(policy, str) else policy
        self.framing = Framing(scale_range, crop, scale_probability)
        chains = self.policy.subpolicies
        self._space = tuple(dict.fromkeys(name for chain in chains for name, _ in chain))
        length = max(map(len, chains))
        padded = [[*((self._space.index(n), m) for n, m in c), *[(NOTHING, 0)] * (length - len(c))] for c in chains]
        self._codes = torch.tensor(padded)
        self._edges = torch.tensor(self.policy.chances, dtype=torch.float64).cumsum(0)

    def draw(self, count: int, size: tuple[int, int], generator: torch.Generator) -> tuple[Drawn, Frame | None]:
        """A sub-policy for each image, and a frame."""
        chosen = torch.searchsorted(self._edges, uniform_numbers((count,), generator), right=True)
        return self.of(chosen.clamp(max=len(self._codes) - 1), generator), (
            None if self.framing.idle else self.framing.draw(count, size, generator)
        )

    def of(self, chosen: torch.Tensor, generator: torch.Generator) -> Drawn:
        """The operations of given sub-policies, ``(B,)`` int64."""
        operations, magnitudes = self._codes[chosen].unbind(2)
        return Drawn.from_magnitudes(operations, magnitudes, generator, self._space)
