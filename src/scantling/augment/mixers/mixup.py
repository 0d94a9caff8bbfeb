"""Mixup: images and labels of two samples in the same proportion.

Source: Zhang et al. 2018, mixup: Beyond Empirical Risk Minimization, ICLR, arXiv 1710.09412.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from scantling.augment.mixers.base import PairMixer
from scantling.augment.mixers.shares import beta_shares, check_alpha
from scantling.core.batch import IMAGE, LABEL
from scantling.data.samplers import Sampler

if TYPE_CHECKING:
    from tensordict import TensorDict


class Mixup(PairMixer):
    """Mixup: ``share * own + (1 - share) * other`` of images and of labels, with a share of its own for every row.

    Labels become distributions over the classes; the objective must take them.

    Args:
        alpha: of the Beta distribution of the share, above 0; the paper has 0.1 to 0.4 on ImageNet.
        probability: share of the rows that are mixed, in [0, 1].
        partners: sampler that draws the partners; none: rows of the same batch.
        warmup_epochs: epochs at the start in which nothing is mixed.
        last_epochs: epochs at the end in which nothing is mixed.

    Raises:
        RecipeError: a value out of range.
    """

    def __init__(
        self,
        alpha: float = 0.2,
        probability: float = 1.0,
        partners: Sampler | None = None,
        warmup_epochs: int = 0,
        last_epochs: int = 0,
    ) -> None:
        super().__init__(probability, partners, warmup_epochs, last_epochs)
        check_alpha(alpha)
        self.alpha = alpha

    def mix(
        self, batch: TensorDict, own: Tensor, other: Tensor, chosen: Tensor, generator: torch.Generator
    ) -> TensorDict:
        """The mixed batch; see :class:`scantling.augment.mixers.base.PairMixer`."""
        share = beta_shares(self.alpha, len(own), generator).to(own.device)
        share = torch.where(chosen, share, 1.0)
        images, labels = batch[IMAGE], batch[LABEL]
        mixed = torch.lerp(images[other], images[: len(own)], share.view(-1, 1, 1, 1))
        return self.put_together(batch, mixed, own, other, self.label_share(share, labels[own], labels[other]))

    def label_share(self, share: Tensor, own: Tensor, other: Tensor) -> Tensor:
        """Weight ``(B,)`` of the own label, from that of the own image and both labels."""
        return share
