"""The probability from which a pixel belongs to a structure, fitted to validation images."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from scantling.core.batch import MASK, as_float
from scantling.tasks.objectives.masks import OverlappingMasks
from scantling.tasks.segment import Segment, known_pixels
from scantling.tasks.windows import slide

if TYPE_CHECKING:
    from tensordict import TensorDict

GRID = torch.arange(1, 20) / 20
"""Thresholds that are tried: 0.05, 0.10, ... 0.95."""


@torch.inference_mode()
def fit_thresholds(task: Segment, batches: Iterable[TensorDict]) -> Tensor | None:
    """Set each structure's threshold to that of the best mean Dice over these images; of equals the nearest to 0.5.

    Args:
        task: whose structures may overlap; others keep their arg-max.
        batches: validation images with masks.

    Returns:
        The thresholds ``(K,)``; None where there is nothing to fit. A structure that no image shows keeps its own.
    """
    objective = task.objective
    if not isinstance(objective, OverlappingMasks):
        return None
    dice: list[Tensor] = []
    for batch in batches:
        batch = as_float(batch.to(task.device))
        likely = objective.decode(slide(task.serving, batch, task.patch_size, task.overlap))
        known = known_pixels(batch, task.target)
        dice.append(torch.stack([_dice(likely >= t, objective.drawn(batch[MASK]), known) for t in GRID.tolist()]))
    if not dice:
        return None
    objective.thresholds = best_thresholds(torch.cat(dice, dim=1).cpu(), objective.thresholds.cpu()).to(task.device)
    return objective.thresholds


def best_thresholds(dice: Tensor, kept: Tensor) -> Tensor:
    """Thresholds ``(K,)`` of the largest mean of ``dice (thresholds, images, K)``, NaN left out; else those kept."""
    means = dice.nanmean(1)
    order = (GRID - 0.5).abs().argsort(stable=True)
    chosen = GRID[order[means.nan_to_num(-1.0)[order].argmax(0)]]
    return torch.where(means.isnan().all(0), kept, chosen)


def _dice(called: Tensor, drawn: Tensor, known: Tensor) -> Tensor:
    """``(B, K)``, NaN where a structure is not in the truth: an empty one would only ask for high thresholds."""
    called, drawn = called & known, drawn & known
    true = drawn.sum((2, 3)).double()
    dice = 2 * (called & drawn).sum((2, 3)) / (called.sum((2, 3)) + true).clamp(min=1)
    return torch.where(true > 0, dice, torch.nan)
