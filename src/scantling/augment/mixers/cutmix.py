"""CutMix: a box of one image is put into the other, labels in proportion to the areas.

Source: Yun et al. 2019, CutMix, ICCV, arXiv 1905.04899, eq. 1-2.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from scantling.augment.mixers.base import PairMixer
from scantling.augment.mixers.shares import beta_shares, check_alpha
from scantling.core.batch import IMAGE
from scantling.data.samplers import Sampler

if TYPE_CHECKING:
    from tensordict import TensorDict


class CutMix(PairMixer):
    """CutMix: each row keeps its background and gets a box of its partner, at the same place.

    Labels become distributions over the classes, in proportion to the areas; the objective must take them.

    Args:
        alpha: of the Beta distribution of the area that stays, above 0; the paper has 1.
        probability: share of the rows that are mixed, in [0, 1].
        partners: sampler that draws the partners; none: rows of the same batch.
        warmup_epochs: epochs at the start in which nothing is mixed.
        last_epochs: epochs at the end in which nothing is mixed.

    Raises:
        RecipeError: a value out of range.
    """

    def __init__(
        self,
        alpha: float = 1.0,
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
        images = batch[IMAGE]
        stays = beta_shares(self.alpha, len(own), generator)
        centres = torch.rand(len(own), 2, generator=generator)
        inside = boxes(stays.to(own.device), centres.to(own.device), (images.shape[-2], images.shape[-1]))
        inside &= chosen.view(-1, 1, 1, 1)
        mixed = torch.where(inside, images[other], images[: len(own)])
        return self.put_together(batch, mixed, own, other, 1 - inside.float().mean((1, 2, 3)))


def boxes(stays: Tensor, centres: Tensor, size: tuple[int, int]) -> Tensor:
    """Boxes of the image's own proportions, cut at its edge.

    Args:
        stays: share of the area outside of a box that is not cut, ``(B,)`` in [0, 1].
        centres: of the boxes, down and across, ``(B, 2)`` in [0, 1).
        size: height and width of the images in pixels.

    Returns:
        ``(B, 1, H, W)`` bool, True inside.
    """
    side = (1 - stays).clamp(min=0).sqrt()
    within = []
    for axis, length in enumerate(size):
        centre, half = (centres[:, axis] * length).floor(), (side * length).floor().div(2, rounding_mode="floor")
        place = torch.arange(length, device=stays.device)
        low, high = (centre - half).unsqueeze(1), (centre + half).unsqueeze(1)
        within.append((place >= low) & (place < high))
    return (within[0].unsqueeze(2) & within[1].unsqueeze(1)).unsqueeze(1)
