"""SDICE as a metric of torchmetrics: fed batch by batch, added up over processes."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torchmetrics import Metric

from scantling.assess.distances import Similarities, distance_of
from scantling.assess.embedded import Embedded
from scantling.assess.floor import similarities
from scantling.assess.index import score_of, weights_of
from scantling.assess.moments import accumulate, sums_of
from scantling.core.errors import DataError, RecipeError

_SIDES = ("real", "synthetic")


class SDICE(Metric):
    """The SDICE index over a stream of embeddings.

    With a distance of means and variances it keeps, for both sets, K vectors and K matrices of D x D, which processes
    add up; nothing grows with the number of images. Distances that need a histogram keep the embeddings.

    Args:
        num_classes: K.
        num_features: D, numbers of an embedding.
        distance: see :func:`scantling.assess.sdice`.
        beta: of the normalisation.
        balance: average moments over classes with equal weight.
        kwargs: of :class:`torchmetrics.Metric`.

    Raises:
        RecipeError: an unknown distance, or sizes below 1.

    >>> def at(*degrees):
    ...     turned = torch.tensor(degrees).deg2rad()
    ...     return torch.stack([turned.cos(), turned.sin()], 1)
    >>> metric = SDICE(num_classes=2, num_features=2)
    >>> metric.update(at(0.0, 60.0, 90.0, 150.0), torch.tensor([0, 0, 1, 1]), real=True)
    >>> metric.update(at(0.0, 40.0, 90.0, 130.0), torch.tensor([0, 0, 1, 1]), real=False)
    >>> found = metric.compute()
    >>> found["gamma_intra"].item(), round(found["gamma_inter"].item(), 3)
    (0.0, 1.0)
    """

    is_differentiable = False
    higher_is_better = True
    full_state_update = False

    def __init__(
        self,
        num_classes: int,
        num_features: int,
        distance: str = "fisher",
        beta: float = 1.0,
        balance: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if num_classes < 1 or num_features < 1:
            raise RecipeError(f"{num_classes} classes of {num_features} features", do="use 1 or more")
        self.num_classes, self.num_features = num_classes, num_features
        self.distance, self.beta, self.balance = distance_of(distance), beta, balance
        shapes = {"counts": (), "sums": (num_features,), "grams": (num_features, num_features)}
        for side in _SIDES:
            if self.distance.needs == "histogram":
                self.add_state(f"{side}_features", default=[], dist_reduce_fx="cat")
                self.add_state(f"{side}_codes", default=[], dist_reduce_fx="cat")
                continue
            for name, shape in shapes.items():
                zeros = torch.zeros(num_classes, *shape, dtype=torch.float64)
                self.add_state(f"{side}_{name}", default=zeros, dist_reduce_fx="sum")

    def update(self, embeddings: Tensor, labels: Tensor, real: bool) -> None:
        """Add embeddings ``(B, D)`` with labels ``(B,)`` in [0, K).

        Raises:
            DataError: other shapes or labels, or rows without a direction.
        """
        side = _SIDES[0] if real else _SIDES[1]
        if self.distance.needs == "moments":
            accumulate(embeddings, labels, *(getattr(self, f"{side}_{n}") for n in ("counts", "sums", "grams")))
            return
        if embeddings.ndim != 2 or embeddings.shape[1] != self.num_features or labels.shape != embeddings.shape[:1]:
            raise DataError(f"embeddings of the shape {tuple(embeddings.shape)}", do=f"give (B, {self.num_features})")
        getattr(self, f"{side}_features").append(embeddings.detach())
        getattr(self, f"{side}_codes").append(labels.detach().long())

    def compute(self) -> dict[str, Tensor]:
        """Scalars: ``gamma_intra``, ``gamma_inter``, ``gamma``, the ``distance_...`` and ``sign_...`` of both, and
        ``one_sided_...``; NaN where there are no pairs."""
        weights = weights_of(np.eye(self.num_classes), self.balance)
        real, synthetic = (self._similarities(side, weights) for side in _SIDES)
        found: dict[str, float] = {}
        for k, kind in enumerate(("intra", "inter")):
            distance, sign, gamma, one_sided = score_of(self.distance, self.beta, real[k], synthetic[k])
            found |= {
                f"gamma_{kind}": gamma,
                f"distance_{kind}": distance,
                f"sign_{kind}": float(sign),
                f"one_sided_{kind}": one_sided,
            }
        found["gamma"] = float(np.hypot(found["gamma_intra"], found["gamma_inter"]))
        return {name: torch.tensor(value, dtype=torch.float64) for name, value in found.items()}

    def _similarities(self, side: str, weights: Any) -> list[Similarities]:
        if self.distance.needs == "moments":
            counts, sums, grams = (getattr(self, f"{side}_{name}") for name in ("counts", "sums", "grams"))
            pairs = sums_of(counts, sums, grams)
            return [Similarities(pairs.pooled(w)) for w in weights(counts.cpu().numpy())]
        features, codes = getattr(self, f"{side}_features"), getattr(self, f"{side}_codes")
        # Once gathered over processes, a list is one tensor.
        rows = torch.cat(features) if isinstance(features, list) and features else features
        labels = torch.cat(codes) if isinstance(codes, list) and codes else codes
        if not isinstance(rows, Tensor) or not isinstance(labels, Tensor):
            rows, labels = torch.zeros(0, self.num_features), torch.zeros(0, dtype=torch.int64)
        return similarities(Embedded(rows, labels, self.num_classes), weights, histograms=True)
