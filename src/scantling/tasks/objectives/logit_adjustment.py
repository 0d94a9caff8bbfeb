"""Logit adjustment: the class frequencies of the training data enter the softmax, and so leave the network."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from scantling.core.errors import RecipeError
from scantling.tasks.objectives.cross_entropy import CrossEntropy

if TYPE_CHECKING:
    from scantling.core.target import Target


def log_prior(class_counts: Tensor) -> Tensor:
    """Logarithm ``(K,)`` of the share of each class among the samples; a class without samples counts as having one.

    >>> log_prior(torch.tensor([3.0, 1])).exp()
    tensor([0.7500, 0.2500])
    """
    counts = class_counts.clamp(min=1)
    return (counts / counts.sum()).log()


class LogitAdjustment(CrossEntropy):
    """Cross-entropy for a balanced error: ``tau * log prior`` of every class is added in training, or taken off later.

    In training, ``softmax(outputs + tau * log prior)`` is compared with the labels: the network learns what the prior
    does not say already, and is used without it. After training (``adjust: decode``) a network that learnt by plain
    cross-entropy predicts ``softmax(outputs - tau * log prior)``. For ``tau`` 1 both are consistent for the balanced
    error; for ``tau`` 0 both are cross-entropy. Mixed labels ``(B, K)`` are taken as in ``CrossEntropy``.

    Args:
        tau: strength, at least 0.
        adjust: the logits in ``training``, or the predictions of a plain network at ``decode``.
        label_smoothing: as in ``CrossEntropy``.

    Attributes:
        log_prior: ``(K,)``, kept in the bundle; zeros before class counts are known.

    Raises:
        RecipeError: a negative ``tau``, or a loss in training without class counts.

    Source: Menon et al. 2021, arXiv 2007.07314, eq. 9 (decode) and eq. 10 (training).
    """

    log_prior: Tensor | None

    def __init__(
        self, tau: float = 1.0, adjust: Literal["training", "decode"] = "training", label_smoothing: float = 0.0
    ) -> None:
        super().__init__(label_smoothing)
        if tau < 0:
            raise RecipeError(f"tau is {tau:g}", where="objective.tau", do="use 0 (plain cross-entropy) or more")
        self.tau, self.adjust = tau, adjust
        self.register_buffer("log_prior", None)

    def configure(self, target: Target, class_counts: Tensor | None = None) -> None:
        super().configure(target, class_counts)
        if class_counts is not None:
            self.log_prior = log_prior(class_counts.detach().float())
        elif self.log_prior is None:
            self.log_prior = torch.zeros(target.size)

    def class_logits(self, outputs: Tensor, label: Tensor) -> Tensor:
        logits = super().class_logits(outputs, label)
        if self.adjust == "decode":
            return logits
        return logits + self.tau * log_prior(self.counts("the logits", outputs.device))

    def logits(self, outputs: Tensor) -> Tensor:
        logits = super().logits(outputs)
        if self.adjust == "training":
            return logits
        self.check_configured()
        assert self.log_prior is not None
        return logits - self.tau * self.log_prior.to(outputs.device)
