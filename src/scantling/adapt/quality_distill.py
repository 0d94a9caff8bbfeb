"""Quality by reverse distillation: a student that rebuilds a teacher's features of good images from a narrow middle."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from scantling.adapt.quality_scales import ScaleScorer
from scantling.core.batch import IMAGE
from scantling.core.errors import RecipeError
from scantling.core.quality import Measured, spread_of
from scantling.core.seams import Inputs
from scantling.nets.pooled_scales import pooled_scales

if TYPE_CHECKING:
    from tensordict import TensorDict

SMOOTHING = 4.0
"""Standard deviation, in pixels, of the Gaussian over the map of distances."""

FITTED_ON = 1024
"""Good images by which features are standardised after every epoch, at most."""


class QualityDistill(ScaleScorer):
    """A frozen teacher, and a student that decodes the teacher's maps from a bottleneck; what it cannot is abnormal.

    Blurred and dim images have simple features, which a student may rebuild *better* than those of good images. The
    task checks the direction after training and, where it is wrong, takes the score on both sides of the median.

    Args:
        outputs: 2.
        inputs: the images.
        backbone: a timm architecture, the teacher.
        weights: ``hub`` (published weights), the path of a bundle with the same backbone, or ``none`` (for tests).
        strides: of the teacher's maps, finest first, each twice the one before.
        worst: score an image by its worst place in the place of the mean.

    Raises:
        RecipeError: strides that do not double.

    Source: Deng and Li 2022, arXiv 2201.10785, eq. 1-3. Departures: the mean of the map for an image's score (quality
    is often lost everywhere); in a small network the residual stages have one block.
    """

    usual_apart: Tensor
    spread_apart: Tensor

    def __init__(
        self,
        outputs: int,
        inputs: Inputs,
        backbone: str = "wide_resnet50_2",
        weights: str = "hub",
        strides: Sequence[int] = (4, 8, 16),
        worst: bool = False,
    ) -> None:
        super().__init__(outputs, inputs, backbone, weights, strides)
        strides = list(strides)
        if not strides or any(b != 2 * a for a, b in pairwise(strides)):
            raise RecipeError(f"strides {strides} do not double", where="task.adapter.strides", do="use as [4, 8, 16]")
        self.worst = worst
        channels = self.scales.channels
        self.narrow = nn.ModuleList(
            nn.Sequential(*[_halved(c, c) for _ in channels[number + 1 :]]) for number, c in enumerate(channels)
        )
        self.middle_stage = Residual(sum(channels), 2 * channels[-1], stride=2)
        widths = [2 * channels[-1], *channels[::-1]]
        self.decoder = nn.ModuleList(
            nn.Sequential(
                nn.ConvTranspose2d(a, b, 2, stride=2, bias=False), nn.BatchNorm2d(b), nn.ReLU(), Residual(b, b)
            )
            for a, b in pairwise(widths)
        )
        # Features of the student differ from epoch to epoch, and are standardised anew.
        extra = 2 * len(channels)
        self.register_buffer("usual_apart", torch.zeros(extra))
        self.register_buffer("spread_apart", torch.ones(extra))

    def maps(self, images: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Maps ``(B, C, h, w)`` of the teacher, without a gradient, and of the student, finest first."""
        with torch.no_grad():
            teacher = [m.float() for m in self.scales(images)[1]]
        coarsest = teacher[-1].shape[-2:]
        parts = [_sized(narrow(m), coarsest) for narrow, m in zip(self.narrow, teacher, strict=True)]
        found = self.middle_stage(torch.cat(parts, 1))
        student = []
        for stage, target in zip(self.decoder, teacher[::-1], strict=True):
            found = _sized(stage(found), target.shape[-2:])
            student.append(found)
        return teacher, student[::-1]

    def normal_loss(self, batch: TensorDict) -> Tensor:
        """Sum over scales of one less the cosine of the whole maps, ``(B,)``."""
        teacher, student = self.maps(batch[IMAGE])
        return torch.stack([cosine_distance(t, s) for t, s in zip(teacher, student, strict=True)]).sum(0)

    @torch.no_grad()
    def fit(self, batches: Iterable[TensorDict], generator: torch.Generator) -> None:
        """Standardise the features by those of good images, and find the median of their scores."""
        pooled, apart, scores = [], [], []
        count = 0
        for batch in batches:
            distances, teacher = self._distances(batch[IMAGE])
            pooled.append(pooled_scales(teacher))
            apart.append(pooled_scales([d[:, None] for d in distances]))
            scores.append(self._score(self._joined(distances)))
            count += len(batch)
            if count >= FITTED_ON:
                break
        self._settle(torch.cat(pooled))
        every = torch.cat(apart)
        self.usual_apart.copy_(every.mean(0))
        self.spread_apart.copy_(spread_of(every))
        self.middle.copy_(torch.cat(scores).median())

    def raw(self, batch: TensorDict) -> Measured:
        """Mean distance ``(B,)``, features of teacher and distances ``(B, D + 2 S)``, and the map ``(B, h, w)``."""
        distances, teacher = self._distances(batch[IMAGE])
        parts = self._joined(distances)
        apart = (pooled_scales([d[:, None] for d in distances]) - self.usual_apart) / self.spread_apart
        features = torch.cat([self.standardised(pooled_scales(teacher)), apart], 1)
        return Measured(self._score(parts), features, parts)

    def _distances(self, images: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        teacher, student = self.maps(images)
        return [1 - F.cosine_similarity(t, s) for t, s in zip(teacher, student, strict=True)], teacher

    def _joined(self, distances: Sequence[Tensor]) -> Tensor:
        """Sum of the distances of all scales at the size of the finest, smoothed."""
        size = distances[0].shape[-2:]
        total = torch.stack(
            [F.interpolate(d[:, None], size=size, mode="bilinear", align_corners=False) for d in distances]
        ).sum(0)
        sigma = max(SMOOTHING * size[0] / self.inputs.size[0], 0.3)
        from kornia.filters import gaussian_blur2d

        side = min(2 * round(2 * sigma) + 1, 2 * ((min(size) - 1) // 2) + 1)
        smooth: Tensor = gaussian_blur2d(total, (side, side), (sigma, sigma))[:, 0]
        return smooth

    def _score(self, parts: Tensor) -> Tensor:
        return parts.flatten(1).amax(1) if self.worst else parts.flatten(1).mean(1)


class Residual(nn.Module):
    """Two convolutions beside a shortcut.

    Args:
        given: channels that come in.
        made: channels that go out.
        stride: 1, or 2 to halve height and width.
    """

    def __init__(self, given: int, made: int, stride: int = 1) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(given, made, 3, stride, 1, bias=False), nn.BatchNorm2d(made), nn.ReLU(),
            nn.Conv2d(made, made, 3, 1, 1, bias=False), nn.BatchNorm2d(made),
        )  # fmt: skip
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or given != made:
            self.shortcut = nn.Sequential(nn.Conv2d(given, made, 1, stride, bias=False), nn.BatchNorm2d(made))

    def forward(self, features: Tensor) -> Tensor:
        """Features of the new width, before the next activation, so that they may be negative."""
        total: Tensor = self.body(features) + self.shortcut(features)
        return total


def cosine_distance(teacher: Tensor, student: Tensor) -> Tensor:
    """One less the cosine of whole maps ``(B, C, h, w)``, ``(B,)`` in [0, 2]; 0 for positive multiples."""
    return 1 - F.cosine_similarity(teacher.flatten(1), student.flatten(1))


def _halved(given: int, made: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(given, made, 3, 2, 1, bias=False), nn.BatchNorm2d(made), nn.ReLU())


def _sized(maps: Tensor, size: torch.Size) -> Tensor:
    if maps.shape[-2:] == size:
        return maps
    return F.interpolate(maps, size=size, mode="bilinear", align_corners=False)
