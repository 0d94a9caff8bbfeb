"""What all mixers share: targets that they serve, which rows are mixed, and in which epochs."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from scantling.augment.mixers.labels import as_distributions, mixed_labels
from scantling.augment.mixers.pairing import paired_rows, refuse_other_looks
from scantling.core.batch import IMAGE, LABEL, MAPS
from scantling.core.errors import RecipeError
from scantling.core.seams import Mixer
from scantling.data.samplers import Sampler

if TYPE_CHECKING:
    from tensordict import TensorDict

    from scantling.core.seams import Inputs
    from scantling.core.target import Target


class PairMixer(Mixer):
    """Mixes a share of the rows, each with one other row. A subclass says how.

    Rows that are not mixed stay as they are; with ``partners`` they are rows of ``data.sampler``.

    Args:
        probability: share of the rows that are mixed, in [0, 1].
        partners: sampler that draws the partners (such as ``class_balanced``); none: rows of the same batch.
        warmup_epochs: epochs at the start in which nothing is mixed.
        last_epochs: epochs at the end in which nothing is mixed.

    Raises:
        RecipeError: a value out of range.
    """

    kinds: ClassVar[tuple[str, ...]] = ("grade", "class", "findings")

    def __init__(
        self, probability: float = 1.0, partners: Sampler | None = None, warmup_epochs: int = 0, last_epochs: int = 0
    ) -> None:
        check_share("probability", probability)
        if warmup_epochs < 0 or last_epochs < 0:
            raise RecipeError("fewer epochs than none", where="task.mixer", do="give warmup_epochs, last_epochs from 0")
        self.probability, self.partners = probability, partners
        self.warmup_epochs, self.last_epochs = warmup_epochs, last_epochs
        self.active = warmup_epochs == 0
        self.num_classes = 0
        self.class_counts: Tensor | None = None

    def configure(self, target: Target, inputs: Inputs, class_counts: Tensor | None = None) -> None:
        """Hear of the task once, before the first batch; ``class_counts (K,)`` are those of the training images.

        Raises:
            RecipeError: a target that it cannot serve.
        """
        if target.kind not in self.kinds:
            raise RecipeError(
                f"{type(self).__name__} cannot mix samples of a target of the kind '{target.kind}'",
                where="task.mixer",
                do=f"train without a mixer; it serves {', '.join(self.kinds)}",
            )
        self.num_classes, self.class_counts = target.size, class_counts

    def counts(self) -> Tensor:
        """Training images of every class, ``(K,)`` float.

        Raises:
            RecipeError: nobody said how many there are.
        """
        if self.class_counts is None:
            raise RecipeError(
                f"{type(self).__name__} must know how many training images each class has",
                where="task.mixer",
                do="call configure(target, inputs, class_counts)",
            )
        return self.class_counts.float()

    def set_epoch(self, epoch: int, epochs: int) -> None:
        """Whether rows are mixed in this epoch, from 0.

        Raises:
            RecipeError: no epoch is left to mix in.
        """
        if self.warmup_epochs + self.last_epochs >= max(epochs, 1):
            raise RecipeError(
                f"nothing is mixed in the first {self.warmup_epochs} and last {self.last_epochs} of {epochs} epochs",
                where="task.mixer",
                do="lower warmup_epochs or last_epochs, or train longer",
            )
        self.active = self.warmup_epochs <= epoch < epochs - self.last_epochs

    def __call__(self, batch: TensorDict, generator: torch.Generator) -> TensorDict:
        """The batch with some of its rows mixed, without maps; of half as many rows with ``partners``.

        Raises:
            RecipeError: the batch holds other looks at the images, which are not mixed.
        """
        refuse_other_looks(batch)
        own, other = paired_rows(len(batch), self.partners, generator)
        chosen = torch.rand(len(own), generator=generator) < self.probability
        if not self.active:
            return without_maps(batch)[: len(own)]
        device = batch[IMAGE].device
        return self.mix(batch, own.to(device), other.to(device), chosen.to(device), generator)

    @abstractmethod
    def mix(
        self, batch: TensorDict, own: Tensor, other: Tensor, chosen: Tensor, generator: torch.Generator
    ) -> TensorDict:
        """The mixed batch.

        Args:
            batch: all rows, images and maps float in [0, 1].
            own: rows that stay where they are not mixed, ``(B,)`` int64.
            other: their partners, ``(B,)`` int64.
            chosen: which are to be mixed, ``(B,)`` bool.
            generator: on the CPU.
        """

    def put_together(self, batch: TensorDict, images: Tensor, own: Tensor, other: Tensor, share: Tensor) -> TensorDict:
        """The batch of mixed images, with labels in proportion.

        Args:
            batch: all rows.
            images: mixed, ``(B, C, H, W)``.
            own: rows of one side, ``(B,)`` int64.
            other: rows of the other side, ``(B,)`` int64.
            share: weight of the own label, ``(B,)`` in [0, 1].
        """
        out = without_maps(batch)[: len(own)]
        out[IMAGE] = images
        rows = as_distributions(batch[LABEL], self.num_classes)
        out[LABEL] = mixed_labels(rows[own], rows[other], share)
        return out


def without_maps(batch: TensorDict) -> TensorDict:
    """The batch without maps, which no longer say anything of mixed images. Tensors are shared, the batch is not."""
    return batch.exclude(*MAPS)


def check_share(name: str, value: float) -> None:
    """Raise a RecipeError for a share outside [0, 1]."""
    if not 0 <= value <= 1:
        raise RecipeError(f"{name} {value:g}", where="task.mixer", do="give a share from 0 to 1")
