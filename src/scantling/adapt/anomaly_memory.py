"""A memory of patches of normal images: what is far from all of them is abnormal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from scantling.adapt.feature_detector import FeatureDetector
from scantling.core.anomaly import two_outputs
from scantling.core.errors import RecipeError, TrainingError
from scantling.core.seams import Inputs

if TYPE_CHECKING:
    from tensordict import TensorDict

PROJECTED = 128
"""Width to which patches are projected at random while the coreset is chosen (Johnson and Lindenstrauss)."""


class PatchMemory(FeatureDetector):
    """The distance of an image's strangest patch from its nearest patch of normal images.

    Args:
        outputs: 2.
        inputs: the images.
        backbone: a timm architecture.
        weights: ``hub`` (published weights), the path of a bundle with the same backbone, or ``none`` (for tests).
        strides: of the feature maps, finest first.
        size: patches in the memory.
        candidates: patches of the training images, drawn at random, that the memory is chosen from.
        neighbours: of the nearest patch in memory, for the weight of the score; 1 for no weight.

    Raises:
        RecipeError: a setting below 1.

    Source: Roth et al. 2022 (PatchCore), arXiv 2106.08265, eq. 4-7. Departure: candidates are drawn at random first.
    """

    memory: Tensor

    def __init__(
        self,
        outputs: int,
        inputs: Inputs,
        backbone: str = "resnet18",
        weights: str = "hub",
        strides: Sequence[int] = (8, 16),
        size: int = 1000,
        candidates: int = 20000,
        neighbours: int = 9,
    ) -> None:
        super().__init__(outputs, inputs, backbone, weights, strides)
        if min(size, neighbours) < 1 or candidates < size:
            raise RecipeError(
                "size and neighbours start at 1, candidates at size", where="task.adapter", do="as 1000, 9, 20000"
            )
        self.candidates, self.neighbours = candidates, min(neighbours, size)
        self.register_buffer("memory", torch.zeros(size, self.depth))

    @torch.no_grad()
    def fit(self, batches: Iterable[TensorDict], generator: torch.Generator) -> None:
        """Choose the memory among patches of all images."""
        drawn: list[Tensor] = []
        kept = torch.empty(0)
        for batch in batches:
            rows = self.patches(batch).flatten(0, 1).cpu()
            drawn.append(torch.rand(len(rows), generator=generator))
            kept = torch.cat([kept.view(-1, self.depth), rows])
            # The smallest numbers drawn so far mark a random sample of everything seen.
            order = torch.cat(drawn).argsort()[: self.candidates]
            kept, drawn = kept[order], [torch.cat(drawn)[order]]
        if not len(kept):
            raise TrainingError("no normal images", where="training", do="give at least two, better a hundred")
        chosen = greedy_coreset(kept, len(self.memory), generator)
        self.memory.copy_(kept[chosen].to(self.memory))

    def outputs_and_map(self, batch: TensorDict) -> tuple[Tensor, Tensor | None]:
        """Outputs ``(B, 2)`` and the distance ``(B, h, w)`` of every patch from its nearest in memory."""
        patches = self.patches(batch)
        distance, nearest = torch.cdist(patches, self.memory.expand(len(patches), -1, -1)).min(2)
        worst, place = distance.max(1)
        scores = worst * self._weight(patches, nearest, place)
        return two_outputs(scores), distance.view(len(distance), *self.grid)

    def _weight(self, patches: Tensor, nearest: Tensor, place: Tensor) -> Tensor:
        """Larger where the nearest patch in memory is itself an outlier, ``(B,)``."""
        if self.neighbours < 2:
            return torch.ones_like(place, dtype=patches.dtype)
        each = torch.arange(len(patches), device=patches.device)
        patch, match = patches[each, place], self.memory[nearest[each, place]]
        around = torch.cdist(match, self.memory).topk(self.neighbours, largest=False).indices
        distances = (patch[:, None] - self.memory[around]).norm(dim=2)
        weight: Tensor = 1 - distances.softmax(1)[:, 0]
        return weight


def greedy_coreset(rows: Tensor, size: int, generator: torch.Generator) -> Tensor:
    """Rows that lie close to all others: always the one farthest from those chosen so far.

    Args:
        rows: ``(n, D)``.
        size: how many; with fewer rows they repeat.
        generator: of the projection and of the first row.

    Returns:
        Positions ``(size,)`` int64.
    """
    projected = rows.float()
    if rows.shape[1] > PROJECTED:
        projection = torch.randn(rows.shape[1], PROJECTED, generator=generator) / PROJECTED**0.5
        projected = projected @ projection.to(projected)
    count = min(size, len(rows))
    chosen = torch.empty(count, dtype=torch.int64)
    chosen[0] = torch.randint(len(rows), (1,), generator=generator)
    distance = (projected - projected[chosen[0]]).square().sum(1)
    for number in range(1, count):
        chosen[number] = distance.argmax()
        distance = torch.minimum(distance, (projected - projected[chosen[number]]).square().sum(1))
    return chosen.repeat(-(-size // count))[:size]
