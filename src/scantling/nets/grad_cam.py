"""Grad-CAM: which places of a feature map speak for an output.

Source: Selvaraju et al. 2017, arXiv 1610.02391, eq. 1-2.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

if TYPE_CHECKING:
    from scantling.core.seams import Objective
    from scantling.core.target import Target


def grad_cam_map(features: Tensor, evidence: Tensor, size: tuple[int, int]) -> Tensor:
    """Channels weighted with their mean gradient, summed, cut below zero, and divided by each map's maximum.

    Args:
        features: ``(B, F, h, w)``, inside the graph.
        evidence: what is explained, ``(B,)``, computed from the features.
        size: height and width of the maps.

    Returns:
        ``(B, H, W)`` float32 in [0, 1], without a graph; all zeros where nothing speaks for the evidence.
    """
    (gradient,) = torch.autograd.grad(evidence.sum(), features, allow_unused=True)
    if gradient is None:
        return torch.zeros(len(features), *size, device=features.device)
    weights = gradient.float().mean((2, 3), keepdim=True)
    heat = (weights * features.detach().float()).sum(1, keepdim=True).relu()
    heat = F.interpolate(heat, size=size, mode="bilinear", align_corners=False).squeeze(1)
    largest = heat.amax((1, 2), keepdim=True)
    return torch.where(largest > 0, heat / largest, 0)


def evidence(objective: Objective, target: Target, outputs: Tensor) -> Tensor:
    """The value ``(B,)`` that stands for the prediction from ``outputs (B, outputs)``.

    It is the predicted class's own output; for a network that a severity is read from, the severity.
    """
    if outputs.shape[1] == target.size:
        return outputs.gather(1, objective.decode(outputs).argmax(1, keepdim=True)).squeeze(1)
    score = objective.score(outputs)
    return outputs.sum(1) if score is None else score
