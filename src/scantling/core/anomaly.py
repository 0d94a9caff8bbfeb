"""Adapters for anomaly detection: how abnormal an image is, and where."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from scantling.core.batch import IMAGE
from scantling.core.seams import Adapter, Inputs

if TYPE_CHECKING:
    from tensordict import TensorDict

NORMAL, ABNORMAL = "normal", "abnormal"
ANOMALY_NAMES = (NORMAL, ABNORMAL)
"""Names of the target, in the order of the outputs: abnormal is the positive class."""


class AnomalyAdapter(Adapter):
    """A network whose outputs ``(B, 2)`` differ by the anomaly score, with a map of where it comes from.

    Networks that learn normal images alone give 0 as their first output and the score as their second.

    Attributes:
        needs_abnormal: whether it learns from abnormal images, too; otherwise from :meth:`normal_loss` or :meth:`fit`.
        fitted_at_once: whether :meth:`fit` makes it, in one pass over the normal images, without gradients.
    """

    needs_abnormal: ClassVar[bool] = False
    fitted_at_once: ClassVar[bool] = False
    map_middle: Tensor
    map_width: Tensor

    def __init__(self, outputs: int, inputs: Inputs) -> None:
        super().__init__(outputs, inputs)
        self.register_buffer("map_middle", torch.zeros(()))
        self.register_buffer("map_width", torch.ones(()))

    @abstractmethod
    def outputs_and_map(self, batch: TensorDict) -> tuple[Tensor, Tensor | None]:
        """Outputs ``(B, 2)``, and scores ``(B, h, w)`` of the parts of each image, where it has them."""

    def forward(self, batch: TensorDict) -> Tensor:
        """Outputs ``(B, 2)``; the score is the second less the first."""
        return self.outputs_and_map(batch)[0]

    def normal_loss(self, batch: TensorDict) -> Tensor:
        """What is learned from normal images alone: one loss an image, ``(B,)``."""
        raise NotImplementedError(f"{type(self).__name__} does not learn from normal images alone")

    def fit(self, batches: Iterable[TensorDict], generator: torch.Generator) -> None:
        """Take in the normal images of one pass over the training set."""
        raise NotImplementedError(f"{type(self).__name__} is trained step by step")

    def calibrate_map(self, middle: float, width: float) -> None:
        """Scores of parts at which heat is one half, and by how much above it rises to 0.73 (a logistic curve)."""
        self.map_middle.fill_(middle)
        self.map_width.fill_(max(width, 1e-12))

    def heat(self, scores: Tensor, size: tuple[int, int]) -> Tensor:
        """Heat ``(B, H, W)`` in [0, 1] from scores of parts ``(B, h, w)``."""
        heat = torch.sigmoid((scores.float() - self.map_middle) / self.map_width)
        return F.interpolate(heat[:, None], size=size, mode="bilinear", align_corners=False)[:, 0]

    def heat_map(self, batch: TensorDict) -> tuple[Tensor, Tensor] | None:
        """Heat ``(B, H, W)`` in [0, 1] and the outputs of the same pass; None without scores of parts."""
        outputs, scores = self.outputs_and_map(batch)
        height, width = batch[IMAGE].shape[-2:]
        return None if scores is None else (self.heat(scores, (height, width)), outputs)


def two_outputs(scores: Tensor) -> Tensor:
    """Outputs ``(B, 2)`` whose difference is the score ``(B,)``."""
    return torch.stack([torch.zeros_like(scores), scores], 1)
