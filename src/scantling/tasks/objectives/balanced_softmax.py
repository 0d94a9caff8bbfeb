"""Balanced softmax: the softmax of a long-tailed training set, so that the network fits a balanced one."""

from __future__ import annotations

from scantling.tasks.objectives.logit_adjustment import LogitAdjustment


class BalancedSoftmax(LogitAdjustment):
    """Cross-entropy of ``n_k exp(output_k) / sum_j n_j exp(output_j)``; predictions are made without the counts.

    It is logit adjustment in training with ``tau`` 1, under the name by which most know it.

    Args:
        label_smoothing: as in ``CrossEntropy``.

    Raises:
        RecipeError: a loss without class counts.

    Source: Ren et al. 2020, arXiv 2007.10740, eq. 3.
    """

    def __init__(self, label_smoothing: float = 0.0) -> None:
        super().__init__(tau=1.0, adjust="training", label_smoothing=label_smoothing)
