"""LDAM with deferred re-weighting: rarer classes get wider margins, and at the end of training more weight."""

from __future__ import annotations

import torch
from torch import Tensor

from scantling.core.errors import RecipeError
from scantling.tasks.objectives.base import full_precision
from scantling.tasks.objectives.cross_entropy import CrossEntropy


def label_margins(class_counts: Tensor, largest: float = 0.5) -> Tensor:
    """Margins ``C / n_c^(1/4)`` of the classes, ``(K,)``, with C such that the rarest class has the largest margin.

    Args:
        class_counts: training samples per class, ``(K,)``; a class without samples counts as having one.
        largest: margin of the rarest class.

    Source: Cao et al. 2019, arXiv 1906.07413, eq. 13; the scale as in section 4.1 of its experiments.

    >>> label_margins(torch.tensor([10000.0, 16]))
    tensor([0.1000, 0.5000])
    """
    margins = class_counts.clamp(min=1) ** -0.25
    return largest * margins / margins.max()


class LDAM(CrossEntropy):
    """Cross-entropy in which the label's own output is lowered by a margin that is wider for rarer classes.

    Up to a share of the epochs every class counts alike; from then on classes have the weights of their effective
    numbers (deferred re-weighting). Made for outputs that are cosines, those of an adapter with ``head: cosine``, which
    ``scale`` brings to the size of logits. For a mixed label ``(B, K)`` a class has its share of its margin.

    Args:
        margin: of the rarest class, in units of the outputs.
        scale: of the outputs, above 0; 30 for cosines, 1 for a linear head.
        reweight_after: share of the epochs after which classes have weights, in [0, 1]; 1 for never.
        beta: of the effective numbers, in [0, 1).

    Raises:
        RecipeError: a scale, margin or share outside its range, or a loss without class counts.

    Source: Cao et al. 2019, arXiv 1906.07413, eq. 12 and algorithm 1 (160 of 200 epochs, beta 0.9999).
    """

    def __init__(
        self, margin: float = 0.5, scale: float = 30.0, reweight_after: float = 0.8, beta: float = 0.9999
    ) -> None:
        super().__init__(class_weights="effective_number", beta=beta)
        if scale <= 0 or margin < 0 or not 0 <= reweight_after <= 1:
            raise RecipeError(
                f"scale {scale:g}, margin {margin:g}, reweight_after {reweight_after:g}",
                where="objective",
                do="use a scale above 0, a margin from 0, and a share of the epochs from 0 to 1",
            )
        self.margin, self.scale, self.reweight_after = margin, scale, reweight_after
        self._reweighted = reweight_after == 0

    def set_epoch(self, epoch: int, epochs: int = 1) -> None:
        super().set_epoch(epoch, epochs)
        # A share such as 0.3 of 10 epochs is not a whole number in floating point.
        self._reweighted = epoch + 1e-6 >= self.reweight_after * epochs and self.reweight_after < 1

    def weights(self, device: torch.device | str = "cpu") -> Tensor:
        if not self._reweighted:
            return torch.ones(self.num_classes, device=device)
        return super().weights(device)

    def class_logits(self, outputs: Tensor, label: Tensor) -> Tensor:
        margins = label_margins(self.counts("the margins", outputs.device), self.margin)
        return self.scale * (full_precision(outputs) - label * margins)

    def logits(self, outputs: Tensor) -> Tensor:
        return self.scale * full_precision(outputs)
