"""Mixers in which one image of a pair, as a rule the rarer, stays on top and gives the label alone."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Literal, get_args

import torch
from torch import Tensor
from torch.nn import functional as F

from scantling.augment.mixers.base import PairMixer, without_maps
from scantling.core.batch import IMAGE, LABEL
from scantling.core.errors import RecipeError, nearest
from scantling.data.samplers import Sampler

if TYPE_CHECKING:
    from tensordict import TensorDict

LabelSide = Literal["rare", "common"]


class RareSideMixer(PairMixer):
    """Mixes pairs with a hard label: the labelled image has at least half the weight everywhere.

    The rare side of a pair is, with ``partners``, the row that the partners' sampler drew (class-balanced, while
    ``data.sampler`` draws the images as they come); without, the row whose class has fewer training images. Rows
    without a label count as the commonest. Labels stay whole, so that any objective will do.

    Args:
        label_side: ``rare``; or ``common``, for comparison: the other image is on top and gives the label.
        same_class: mix pairs of one class, too.
        probability: share of the rows that are mixed, in [0, 1].
        partners: sampler that draws the partners; none: rows of the same batch, which a class-balanced
            ``data.sampler`` should then draw.
        warmup_epochs: epochs at the start in which nothing is mixed.
        last_epochs: epochs at the end in which nothing is mixed.

    Raises:
        RecipeError: a value out of range, or an unknown word.
    """

    kinds = ("grade", "class")

    def __init__(
        self,
        label_side: LabelSide = "rare",
        same_class: bool = True,
        probability: float = 0.5,
        partners: Sampler | None = None,
        warmup_epochs: int = 0,
        last_epochs: int = 0,
    ) -> None:
        super().__init__(probability, partners, warmup_epochs, last_epochs)
        sides = get_args(LabelSide)
        if label_side not in sides:
            what = f"unknown label_side '{label_side}'{nearest(label_side, sides)}"
            raise RecipeError(what, where="task.mixer", do=f"use {' or '.join(sides)}")
        self.label_side, self.same_class = label_side, same_class

    def mix(
        self, batch: TensorDict, own: Tensor, other: Tensor, chosen: Tensor, generator: torch.Generator
    ) -> TensorDict:
        """The mixed batch; see :class:`scantling.augment.mixers.base.PairMixer`."""
        label = batch[LABEL]
        if not self.same_class:
            chosen = chosen & (label[own] != label[other])
        swap = chosen & self.other_is_labelled(label[own], label[other])
        labelled, background = torch.where(swap, other, own), torch.where(swap, own, other)
        ratio = torch.where(chosen.view(-1, 1, 1, 1), self.ratios(batch, labelled, background, generator), 1.0)
        out = without_maps(batch)[labelled]
        return self.blended(out, batch[IMAGE][background], ratio)

    def other_is_labelled(self, own: Tensor, other: Tensor) -> Tensor:
        """Whether the partner gives the label, ``(B,)`` bool, from both labels ``(B,)``."""
        rare = self.label_side == "rare"
        if self.partners is not None:
            return torch.full_like(own, rare, dtype=torch.bool)
        counts = self.counts().to(own.device)
        own_count, other_count = (torch.where(x >= 0, counts[x.clamp(min=0)], torch.inf) for x in (own, other))
        return other_count < own_count if rare else other_count > own_count

    @abstractmethod
    def ratios(self, batch: TensorDict, labelled: Tensor, background: Tensor, generator: torch.Generator) -> Tensor:
        """Weights ``(B, 1, h, w)`` of the labelled images, over a grid of any size.

        Args:
            batch: all rows, images and maps float in [0, 1].
            labelled: rows of the batch that are on top, ``(B,)`` int64.
            background: rows of the batch below, ``(B,)`` int64.
            generator: on the CPU.
        """

    def blended(self, labelled: TensorDict, background: Tensor, ratio: Tensor) -> TensorDict:
        """The mixed batch, from the labelled rows and the images ``(B, C, H, W)`` below."""
        labelled[IMAGE] = blend(labelled[IMAGE], background, ratio)
        return labelled


def blend(labelled: Tensor, background: Tensor, ratio: Tensor) -> Tensor:
    """Pixels ``ratio * labelled + (1 - ratio) * background``; exactly the labelled ones where the two are equal.

    Args:
        labelled: ``(B, C, H, W)``.
        background: ``(B, C, H, W)``.
        ratio: ``(B, 1, h, w)`` in [0, 1]; each value serves a patch of ``H / h`` by ``W / w`` pixels.
    """
    return torch.lerp(background, labelled, F.interpolate(ratio, labelled.shape[-2:], mode="nearest"))
