"""Counts of classes, and the weights that follow from them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from scantling.data import samplers

if TYPE_CHECKING:
    import numpy as np

    from scantling.core.target import Target


def count_classes(target: Target, labels: np.ndarray | Tensor) -> Tensor:
    """Training samples per class, as ``TargetObjective.configure`` wants them; missing labels do not count.

    Args:
        target: what the labels mean.
        labels: ``(N,)`` class numbers (or masks ``(N, H, W)``), or ``(N, K)`` findings with NaN where not known.

    Returns:
        ``(K,)`` float counts; for findings ``(K, 2)``: absent, present.

    >>> from scantling.core.target import parse_target
    >>> count_classes(parse_target("grade:3"), torch.tensor([0, 0, 2, -1]))
    tensor([2., 0., 1.])
    """
    values = torch.as_tensor(labels)
    if target.kind == "findings":
        return torch.stack([(values == 0).sum(0), (values == 1).sum(0)], dim=1).float()
    return torch.bincount(values[values >= 0].long(), minlength=target.size).float()


def balanced_weights(class_counts: Tensor) -> Tensor:
    """Weights ``n_max / n_c`` of the classes, ``(K,)``; a class without samples counts as having one.

    >>> balanced_weights(torch.tensor([25810.0, 2443, 5292, 873, 708]))
    tensor([ 1.0000, 10.5649,  4.8772, 29.5647, 36.4548])
    """
    return class_counts.max() / class_counts.clamp(min=1)


def inverse_square_root_weights(class_counts: Tensor) -> Tensor:
    """Weights ``sqrt(n_max / n_c)`` of the classes, ``(K,)``: half way between equal and balanced ones.

    >>> inverse_square_root_weights(torch.tensor([400.0, 100, 4]))
    tensor([ 1.,  2., 10.])
    """
    return balanced_weights(class_counts).sqrt()


def effective_number_weights(class_counts: Tensor, beta: float = 0.9999) -> Tensor:
    """Weights ``(1 - beta) / (1 - beta^n_c)``, scaled so that the largest class has 1, ``(K,)``.

    The effective number of n samples that overlap, ``(1 - beta^n) / (1 - beta)``, grows like n at first and ends at
    ``1 / (1 - beta)``. Weights go from equal (``beta`` 0) to balanced (``beta`` towards 1).

    Args:
        class_counts: training samples per class, ``(K,)``; a class without samples counts as having one.
        beta: in [0, 1); the papers use 0.9 to 0.9999.

    Source: Cui et al. 2019, arXiv 1901.05555, proposition 1.

    >>> effective_number_weights(torch.tensor([1000.0, 10]), beta=0.99)
    tensor([ 1.0000, 10.4578])
    """
    return samplers.effective_number_weights(class_counts.clamp(min=1), beta).float()


def dynamic_weights(class_counts: Tensor, epoch: int, decay: float = 0.9) -> Tensor:
    """Weights that start balanced and fade to 1: ``f * n_max / n_c + 1 - f`` with ``f = decay ** epoch``.

    Args:
        class_counts: training samples per class, ``(K,)``.
        epoch: counted from 0.
        decay: in [0, 1]; 1 stays balanced.

    Source: Huang et al. 2023, arXiv 2110.14160 (progressively balanced sampling, used as loss weights).
    """
    fade = decay**epoch
    return fade * balanced_weights(class_counts) + (1 - fade)
