"""Quality as a distance that degraded copies of good images teach, beside distances that good images alone give."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from scantling.adapt.anomaly_gaussian import whitening
from scantling.adapt.quality_scales import ScaleScorer
from scantling.adapt.shrinkage import ledoit_wolf
from scantling.core.batch import IMAGE
from scantling.core.errors import RecipeError
from scantling.core.quality import Measured, SeverityScorer, spread_of
from scantling.core.seams import Inputs
from scantling.nets.image_statistics import STATISTICS, image_statistics

if TYPE_CHECKING:
    from tensordict import TensorDict

EVIDENCE = ("features", "statistics", "severity")
"""What a score can be made of."""

NEAREST = 1e-6
"""Added to distances before their logarithm, and to variances before their inverse."""


class QualityContrast(ScaleScorer, SeverityScorer):
    """The mean of up to three distances from good images, each as its standardised logarithm.

    ``features``: Mahalanobis, of the pooled features of a frozen network. ``statistics``: Mahalanobis, of the image's
    light and edges. ``severity``: in the space of a small head on the pooled features, which learns from degraded
    copies that a worse copy lies farther from the centre of the good images. Distances of good images are standardised
    by those of good images that the Gaussian was not fitted to (two halves, each measured by the other). Images are
    grouped in the head's space, where severity counts for more than the kind of a fault.

    Args:
        outputs: 2.
        inputs: the images.
        backbone: a timm architecture.
        weights: ``hub`` (published weights), the path of a bundle with the same backbone, or ``none`` (for tests).
        strides: of the feature maps that are pooled.
        evidence: some of features, statistics and severity.
        width: of the head's hidden layer.
        space: dimensions that the head gives.
        margin: by how much the distance is to grow from severity 0 to 1, above 0.
        compact: weight of the squared distance of good images.

    Raises:
        RecipeError: no evidence, or a setting outside its range.

    Source: scorer of our own; UNO-QA (Chen et al. 2022, arXiv 2212.10541) is described as learning from good images
    only by feature embedding, and does not say more in what was available.
    """

    usual_statistics: Tensor
    spread_statistics: Tensor
    white: Tensor
    white_statistics: Tensor
    centre: Tensor
    level: Tensor
    scale: Tensor

    def __init__(
        self,
        outputs: int,
        inputs: Inputs,
        backbone: str = "resnet18",
        weights: str = "hub",
        strides: Sequence[int] = (4, 8, 16),
        evidence: Sequence[str] = EVIDENCE,
        width: int = 128,
        space: int = 32,
        margin: float = 2.0,
        compact: float = 0.1,
    ) -> None:
        super().__init__(outputs, inputs, backbone, weights, strides)
        self.evidence = tuple(name for name in EVIDENCE if name in evidence)
        if not self.evidence or set(evidence) - set(EVIDENCE):
            raise RecipeError(
                f"evidence {list(evidence)}", where="task.adapter.evidence", do=f"use some of {', '.join(EVIDENCE)}"
            )
        if margin <= 0 or compact < 0 or min(width, space) < 1:
            raise RecipeError(
                "margin lies above 0, compact from 0, width and space from 1", where="task.adapter", do="correct it"
            )
        self.margin, self.compact = margin, compact
        self.head = nn.Sequential(nn.Linear(self.depth, width), nn.GELU(), nn.Linear(width, space))
        self.register_buffer("usual_statistics", torch.zeros(STATISTICS))
        self.register_buffer("spread_statistics", torch.ones(STATISTICS))
        self.register_buffer("white", torch.eye(self.depth))
        self.register_buffer("white_statistics", torch.eye(STATISTICS))
        self.register_buffer("centre", torch.zeros(space))
        self.register_buffer("level", torch.zeros(len(EVIDENCE)))
        self.register_buffer("scale", torch.ones(len(EVIDENCE)))
        self._good: tuple[Tensor, Tensor, Tensor] | None = None

    def embedded(self, features: Tensor) -> Tensor:
        """Places ``(B, space)`` of standardised features, in the head's space."""
        found: Tensor = self.head(compressed(features))
        return found

    def severity_loss(self, images: Tensor, severity: Tensor) -> Tensor:
        """Hinge on how much farther a worse copy lies, within a ladder and between images, and compactness."""
        steps, count = images.shape[:2]
        with torch.no_grad():
            features = self.standardised(self.pooled(images.flatten(0, 1)))
        places = self.embedded(features).unflatten(0, (steps, count))
        distance = (places - places[0].mean(0)).norm(dim=2)
        return ladder_loss(distance, severity, self.margin) + self.compact * distance[0].square().mean()

    @torch.no_grad()
    def fit(self, batches: Iterable[TensorDict], generator: torch.Generator) -> None:
        """Gaussians, the centre of the head's space, and levels and scales of the three distances, of good images."""
        if self._good is None:
            self._good = self._look(batches, generator)
        features, *crossed = self._good
        places = self.embedded(features)
        self.centre.copy_(places.mean(0))
        logs = [*crossed, (places - self.centre).norm(dim=1)]
        for number, distances in enumerate(logs):
            values = (distances + NEAREST).log()
            self.level[number] = values.median()
            self.scale[number] = values.std() + NEAREST
        used = self._used
        self.middle.copy_(torch.stack([self._standard(logs[k], k) for k in used]).mean(0).median())

    def _look(self, batches: Iterable[TensorDict], generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """What does not change while the head learns: standardised features, and the distances of both Gaussians."""
        statistics: list[Tensor] = []

        def passed_on() -> Iterator[TensorDict]:
            for batch in batches:
                statistics.append(image_statistics(batch[IMAGE]))
                yield batch

        features = self._settle(self._gather(passed_on()))
        plain = torch.cat(statistics)
        self.usual_statistics.copy_(plain.mean(0))
        self.spread_statistics.copy_(spread_of(plain, 0.01))
        plain = self._of_statistics(plain)
        self.white.copy_(gaussian(features)[1])
        self.white_statistics.copy_(gaussian(plain)[1])
        return features, crossed_distances(features, generator), crossed_distances(plain, generator)

    def raw(self, batch: TensorDict) -> Measured:
        """Mean of the standardised logarithms ``(B,)``, and places in the head's space ``(B, space)``."""
        images = batch[IMAGE]
        features = self.standardised(self.pooled(images))
        plain = self._of_statistics(image_statistics(images))
        places = self.embedded(features)
        distances = (
            (features @ self.white).norm(dim=1),
            (plain @ self.white_statistics).norm(dim=1),
            (places - self.centre).norm(dim=1),
        )
        score = torch.stack([self._standard(distances[k], k) for k in self._used]).mean(0)
        return Measured(score, places - self.centre)

    @property
    def _used(self) -> list[int]:
        return [EVIDENCE.index(name) for name in self.evidence]

    def _of_statistics(self, plain: Tensor) -> Tensor:
        return (plain - self.usual_statistics) / self.spread_statistics

    def _standard(self, distances: Tensor, number: int) -> Tensor:
        return ((distances + NEAREST).log() - self.level[number]) / self.scale[number]


def compressed(features: Tensor) -> Tensor:
    """``sign(x) log(1 + |x|)``: features of bad images lie many standard deviations away."""
    return features.sign() * features.abs().log1p()


def ladder_loss(distance: Tensor, severity: Tensor, margin: float) -> Tensor:
    """How far distances are from growing by ``margin`` times the difference in severity.

    Args:
        distance: ``(1 + steps, B)``, those of good images first.
        severity: of the copies, ``(steps, B)``, rising.
        margin: above 0.

    Returns:
        A scalar, 0 where every copy lies far enough beyond every milder copy of its image, and beyond all good images.

    >>> ladder_loss(torch.tensor([[0.0], [1.0], [2.0]]), torch.tensor([[0.5], [1.0]]), 2.0)
    tensor(0.)
    """
    every = torch.cat([torch.zeros_like(severity[:1]), severity])
    rank = torch.arange(len(every), device=every.device)
    milder, worse = (rank[:, None] < rank[None, :]).nonzero(as_tuple=True)
    within = (margin * (every[worse] - every[milder]) - (distance[worse] - distance[milder])).relu().mean()
    # Rows: good images; columns: copies of any image.
    between = margin * severity[:, None, :] - (distance[1:, None, :] - distance[0][None, :, None])
    return within + between.relu().mean()


def gaussian(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Mean ``(D,)`` of rows ``(n, D)``, and ``W (D, D)`` for which the length of ``(x - mean) W`` is their distance."""
    covariance, _ = ledoit_wolf(rows.cpu())
    covariance.diagonal().add_(NEAREST)
    return rows.mean(0), whitening(covariance[None])[0].to(rows)


def crossed_distances(rows: Tensor, generator: torch.Generator) -> Tensor:
    """Mahalanobis distances ``(n,)`` of rows, each by the Gaussian of the half that it does not belong to.

    Distances of the rows that a Gaussian was fitted to are far too small in many dimensions.
    """
    if len(rows) < 4:
        mean, white = gaussian(rows)
        return ((rows - mean) @ white).norm(dim=1)
    halves = torch.randperm(len(rows), generator=generator).to(rows.device).chunk(2)
    found = rows.new_empty(len(rows))
    for own, other in (halves, halves[::-1]):
        mean, white = gaussian(rows[other])
        found[own] = ((rows[own] - mean) @ white).norm(dim=1)
    return found
