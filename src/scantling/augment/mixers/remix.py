"""Remix: mixup whose label goes to the rarer class where the two classes differ much in size.

Source: Chou et al. 2020, Remix: Rebalanced Mixup, ECCV Workshops, arXiv 2007.03943.
"""

from __future__ import annotations

import torch
from torch import Tensor

from scantling.augment.mixers.base import check_share
from scantling.augment.mixers.mixup import Mixup
from scantling.core.errors import RecipeError
from scantling.data.samplers import Sampler


class Remix(Mixup):
    """Remix: images as in mixup, labels by the rule of :func:`remix_share`.

    Args:
        kappa: a class is called rarer where the other one has at least so many times as many images; at least 1.
        tau: the rarer class takes the whole label where the other image has less than this share; in [0, 1].
        alpha: of the Beta distribution of the share, above 0.
        probability: share of the rows that are mixed, in [0, 1].
        partners: sampler that draws the partners; none: rows of the same batch.
        warmup_epochs: epochs at the start in which nothing is mixed.
        last_epochs: epochs at the end in which nothing is mixed.

    Raises:
        RecipeError: a value out of range.
    """

    kinds = ("grade", "class")

    def __init__(
        self,
        kappa: float = 3.0,
        tau: float = 0.5,
        alpha: float = 1.0,
        probability: float = 1.0,
        partners: Sampler | None = None,
        warmup_epochs: int = 0,
        last_epochs: int = 0,
    ) -> None:
        super().__init__(alpha, probability, partners, warmup_epochs, last_epochs)
        check_share("tau", tau)
        if not kappa >= 1:
            raise RecipeError(f"kappa {kappa:g}", where="task.mixer", do="give a ratio of class sizes, at least 1")
        self.kappa, self.tau = kappa, tau

    def label_share(self, share: Tensor, own: Tensor, other: Tensor) -> Tensor:
        """Weight ``(B,)`` of the own label; rows that are not mixed keep it whole."""
        counts = self.counts().to(share.device)
        ruled = remix_share(share, counts[own.clamp(min=0)], counts[other.clamp(min=0)], self.kappa, self.tau)
        known = (own >= 0) & (other >= 0) & (share < 1)
        return torch.where(known, ruled, share)


def remix_share(share: Tensor, own: Tensor, other: Tensor, kappa: float = 3.0, tau: float = 0.5) -> Tensor:
    """Weight of the first label: 0 or 1 where one class is much the rarer, the image's share elsewhere (eq. 6).

    Args:
        share: of the first image, ``(B,)`` in [0, 1].
        own: training images of the first label's class, ``(B,)``.
        other: of the second label's class, ``(B,)``.
        kappa: ratio of the sizes from which on a class counts as rarer.
        tau: largest share of the commoner image at which the rarer label takes all.

    >>> remix_share(torch.tensor([0.4, 0.6, 0.6]), torch.tensor([90., 90., 1.]), torch.tensor([9., 9., 1.]))
    tensor([0.0000, 0.6000, 0.6000])
    """
    first_is_common, first_is_rare = own >= kappa * other, other >= kappa * own
    out = torch.where(first_is_common & (share < tau), 0.0, share)
    return torch.where(first_is_rare & (1 - share < tau), 1.0, out)
