"""Gaussians of the features of normal images: one for the whole image, or one for every place."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from scantling.adapt.feature_detector import FeatureDetector
from scantling.core.anomaly import two_outputs
from scantling.core.batch import IMAGE
from scantling.core.errors import RecipeError, TrainingError
from scantling.core.seams import Inputs

if TYPE_CHECKING:
    from tensordict import TensorDict


class Moments(nn.Module):
    """Mean and covariance of rows that come in batches, at P places at once.

    Args:
        places: P.
        width: of the rows.
    """

    def __init__(self, places: int, width: int) -> None:
        super().__init__()
        self.places, self.width, self.count = places, width, 0
        self.total = torch.zeros(places, width, dtype=torch.float64)
        self.products = torch.zeros(places, width, width, dtype=torch.float64)

    def add(self, rows: Tensor) -> None:
        """Take in ``(n, P, D)``."""
        rows = rows.double().cpu()
        self.count += len(rows)
        self.total += rows.sum(0)
        self.products += torch.einsum("npd,npe->pde", rows, rows)

    def mean(self) -> Tensor:
        """``(P, D)``."""
        return self.total / self.count

    def covariance(self) -> Tensor:
        """``(P, D, D)``, divided by ``count - 1``."""
        mean = self.mean()
        outer = mean[:, :, None] * mean[:, None, :]
        return (self.products - self.count * outer) / max(1, self.count - 1)


def whitening(covariance: Tensor) -> Tensor:
    """``W (P, D, D)`` with ``W W^T = covariance^-1``: the length of ``(x - mean) W`` is the Mahalanobis distance."""
    lower = torch.linalg.cholesky(covariance)
    identity = torch.eye(covariance.shape[-1], dtype=covariance.dtype).expand_as(covariance)
    white: Tensor = torch.linalg.solve_triangular(lower, identity, upper=False).mT
    return white


class ImageGaussian(FeatureDetector):
    """The Mahalanobis distance of an image's mean features from those of normal images.

    The covariance is shrunk towards its mean variance by ``shrinkage``, so that few images suffice.

    Args:
        outputs: 2.
        inputs: the images.
        backbone: a timm architecture.
        weights: ``hub`` (published weights), the path of a bundle with the same backbone, or ``none`` (for tests).
        strides: of the feature maps that are averaged.
        shrinkage: in (0, 1].

    Source: Rippel et al. 2021, arXiv 2005.14140.
    """

    mean: Tensor
    white: Tensor

    def __init__(
        self,
        outputs: int,
        inputs: Inputs,
        backbone: str = "resnet18",
        weights: str = "hub",
        strides: Sequence[int] = (8, 16, 32),
        shrinkage: float = 0.1,
    ) -> None:
        super().__init__(outputs, inputs, backbone, weights, strides)
        if not 0 < shrinkage <= 1:
            raise RecipeError(f"a shrinkage of {shrinkage:g}", where="task.adapter.shrinkage", do="use above 0, to 1")
        self.shrinkage = shrinkage
        self.register_buffer("mean", torch.zeros(self.depth))
        self.register_buffer("white", torch.eye(self.depth))

    @torch.no_grad()
    def fit(self, batches: Iterable[TensorDict], generator: torch.Generator) -> None:
        """Mean and covariance over all images."""
        moments = Moments(1, self.depth)
        for batch in batches:
            moments.add(self._pooled(batch)[:, None])
        _require(moments.count)
        covariance = moments.covariance()
        level = covariance.diagonal(dim1=1, dim2=2).mean().clamp(min=1e-12)
        identity = torch.eye(self.depth, dtype=torch.float64)
        shrunk = (1 - self.shrinkage) * covariance + self.shrinkage * level * identity
        self.mean.copy_(moments.mean()[0])
        self.white.copy_(whitening(shrunk)[0])

    def outputs_and_map(self, batch: TensorDict) -> tuple[Tensor, Tensor | None]:
        """Outputs ``(B, 2)``; there is no map."""
        return two_outputs(((self._pooled(batch) - self.mean) @ self.white).norm(dim=1)), None

    def _pooled(self, batch: TensorDict) -> Tensor:
        return torch.cat([m.mean((2, 3)) for m in self.features(batch[IMAGE])[1]], 1).float()


class PatchGaussian(FeatureDetector):
    """A Gaussian of the features at every place of the image; the score is the largest Mahalanobis distance.

    For images that lie alike: the same place shows the same thing in all of them. A random part of the features stands
    for all.

    Args:
        outputs: 2.
        inputs: the images.
        backbone: a timm architecture.
        weights: ``hub`` (published weights), the path of a bundle with the same backbone, or ``none`` (for tests).
        strides: of the feature maps, finest first.
        width: how many features are kept.
        regularisation: added to the variances.

    Source: Defard et al. 2021 (PaDiM), arXiv 2011.08785, eq. 1-2.
    """

    mean: Tensor
    white: Tensor
    chosen: Tensor

    def __init__(
        self,
        outputs: int,
        inputs: Inputs,
        backbone: str = "resnet18",
        weights: str = "hub",
        strides: Sequence[int] = (8, 16),
        width: int = 64,
        regularisation: float = 0.01,
    ) -> None:
        super().__init__(outputs, inputs, backbone, weights, strides)
        self.width, self.regularisation = min(width, self.depth), regularisation
        places = self.grid[0] * self.grid[1]
        self.register_buffer("chosen", torch.arange(self.width))
        self.register_buffer("mean", torch.zeros(places, self.width))
        self.register_buffer("white", torch.eye(self.width).expand(places, -1, -1).clone())

    @torch.no_grad()
    def fit(self, batches: Iterable[TensorDict], generator: torch.Generator) -> None:
        """Mean and covariance of every place over all images."""
        self.chosen.copy_(torch.randperm(self.depth, generator=generator)[: self.width].sort().values)
        moments = Moments(len(self.mean), self.width)
        for batch in batches:
            moments.add(self._rows(batch))
        _require(moments.count)
        covariance = moments.covariance()
        covariance.diagonal(dim1=1, dim2=2).add_(self.regularisation)
        self.mean.copy_(moments.mean())
        self.white.copy_(whitening(covariance))

    def outputs_and_map(self, batch: TensorDict) -> tuple[Tensor, Tensor | None]:
        """Outputs ``(B, 2)`` and the distance ``(B, h, w)`` of every place."""
        centred = self._rows(batch) - self.mean
        distance = torch.einsum("npd,pde->npe", centred, self.white).norm(dim=2)
        return two_outputs(distance.amax(1)), distance.unflatten(1, self.grid)

    def _rows(self, batch: TensorDict) -> Tensor:
        """Features ``(B, P, D)`` of all places."""
        return self.patches(batch)[..., self.chosen]


def _require(count: int) -> None:
    if count < 2:
        raise TrainingError(f"{count} normal images", where="training", do="give at least two, better a hundred")
