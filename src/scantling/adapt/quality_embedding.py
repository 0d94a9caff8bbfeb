"""Quality as the distance of an image's features from those of good images."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

import torch
from torch import Tensor

from scantling.adapt.anomaly_gaussian import PatchGaussian, whitening
from scantling.adapt.quality_scales import ScaleScorer
from scantling.adapt.shrinkage import ledoit_wolf
from scantling.core.batch import IMAGE
from scantling.core.errors import RecipeError
from scantling.core.quality import Measured
from scantling.core.seams import Inputs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tensordict import TensorDict


class QualityEmbedding(ScaleScorer):
    """The distance of pooled features from those of good images: Mahalanobis, or from the nearest ones.

    Means and standard deviations over space, of several scales, are standardised coordinate by coordinate. The
    covariance of the Mahalanobis distance is shrunk after Ledoit and Wolf.

    Args:
        outputs: 2.
        inputs: the images.
        backbone: a timm architecture.
        weights: ``hub`` (published weights), the path of a bundle with the same backbone, or ``none`` (for tests).
        strides: of the feature maps that are pooled.
        distance: ``mahalanobis``, or ``nearest``: the mean distance from the nearest good images.
        neighbours: how many nearest ones.
        memory: good images that are kept to look for the nearest in; a random part where there are more.

    Raises:
        RecipeError: a setting below 1.

    Source: stage 1 of UNO-QA is described as based on feature embeddings (Chen et al. 2022, arXiv 2212.10541); what is
    done here in detail is ours.
    """

    fitted_at_once: ClassVar[bool] = True
    white: Tensor
    kept: Tensor
    shrinkage: Tensor

    def __init__(
        self,
        outputs: int,
        inputs: Inputs,
        backbone: str = "resnet18",
        weights: str = "hub",
        strides: Sequence[int] = (4, 8, 16),
        distance: Literal["mahalanobis", "nearest"] = "mahalanobis",
        neighbours: int = 3,
        memory: int = 2000,
    ) -> None:
        super().__init__(outputs, inputs, backbone, weights, strides)
        if distance not in {"mahalanobis", "nearest"} or min(neighbours, memory) < 1:
            raise RecipeError(
                "distance is mahalanobis or nearest, neighbours and memory start at 1", where="task.adapter",
                do="correct it",
            )  # fmt: skip
        self.distance, self.neighbours = distance, neighbours
        self.register_buffer("shrinkage", torch.zeros(()))
        if distance == "mahalanobis":
            self.register_buffer("white", torch.eye(self.depth))
        else:
            self.register_buffer("kept", torch.full((memory, self.depth), torch.inf))

    @torch.no_grad()
    def fit(self, batches: Iterable[TensorDict], generator: torch.Generator) -> None:
        """Mean, spread, and the covariance or the memory, of all images."""
        rows = self._settle(self._gather(batches))
        if self.distance == "mahalanobis":
            covariance, share = ledoit_wolf(rows.cpu())
            covariance.diagonal().add_(1e-9)
            self.white.copy_(whitening(covariance[None])[0])
            self.shrinkage.fill_(share)
        else:
            chosen = torch.randperm(len(rows), generator=generator)[: len(self.kept)].sort().values
            self.kept.fill_(torch.inf)
            self.kept[: len(chosen)] = rows[chosen.to(rows.device)]
        self.middle.copy_(self._distance(rows).median())

    def raw(self, batch: TensorDict) -> Measured:
        """Distance ``(B,)`` and standardised features ``(B, D)``."""
        features = self.standardised(self.pooled(batch[IMAGE]))
        return Measured(self._distance(features), features)

    def _distance(self, features: Tensor) -> Tensor:
        if self.distance == "mahalanobis":
            return (features @ self.white).norm(dim=1)
        known = self.kept[self.kept[:, 0].isfinite()]
        near = torch.cdist(features, known).topk(min(self.neighbours, max(1, len(known))), largest=False).values
        return near.mean(1)


class QualityPatches(ScaleScorer):
    """The mean, over all places of an image, of the Mahalanobis distance from good images at the same place.

    Loss of quality is often everywhere, so that the mean serves; ``worst`` looks for the worst place.

    Args:
        outputs: 2.
        inputs: the images.
        backbone: a timm architecture.
        weights: ``hub`` (published weights), the path of a bundle with the same backbone, or ``none`` (for tests).
        strides: of the feature maps, finest first.
        width: how many features are kept, at random.
        worst: score an image by its worst place in the place of the mean.

    Source: as :class:`scantling.adapt.PatchGaussian`, but for the mean.
    """

    fitted_at_once: ClassVar[bool] = True

    def __init__(
        self,
        outputs: int,
        inputs: Inputs,
        backbone: str = "resnet18",
        weights: str = "hub",
        strides: Sequence[int] = (8, 16),
        width: int = 48,
        worst: bool = False,
    ) -> None:
        super().__init__(outputs, inputs, backbone, weights, strides)
        self.places = PatchGaussian(outputs, inputs, backbone, weights, strides, width)
        # Both read the same maps: one network serves.
        self.places.features = self.scales
        self.worst = worst

    @torch.no_grad()
    def fit(self, batches: Iterable[TensorDict], generator: torch.Generator) -> None:
        """Mean and covariance of every place, and of the pooled features, in one pass."""

        def passed_on() -> Iterator[TensorDict]:
            for batch in batches:
                pooled.append(self.pooled(batch[IMAGE]))
                yield batch

        pooled: list[Tensor] = []
        self.places.fit(passed_on(), generator)
        self._settle(torch.cat(pooled))

    def raw(self, batch: TensorDict) -> Measured:
        """Mean distance ``(B,)``, standardised features ``(B, D)`` and the distance of every place ``(B, h, w)``."""
        outputs, parts = self.places.outputs_and_map(batch)
        assert parts is not None
        score = outputs[:, 1] if self.worst else parts.flatten(1).mean(1)
        return Measured(score, self.standardised(self.pooled(batch[IMAGE])), parts)
