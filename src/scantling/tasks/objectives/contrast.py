"""Contrasts: losses on the features of two views of every image, beside or inside a classification loss."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from scantling.core.batch import LABEL
from scantling.core.errors import RecipeError
from scantling.nets.projection import Projection
from scantling.tasks.gather import gather_rows
from scantling.tasks.objectives.feature_queue import FeatureQueue

if TYPE_CHECKING:
    from tensordict import TensorDict

    from scantling.tasks.objectives.cross_entropy import CrossEntropy


class Contrast(nn.Module, ABC):
    """A loss on features of two views, with the heads and the queue that it needs; none of them goes into a bundle.

    Args:
        temperature: the cosines are divided by it; above 0.
        size: of the unit vectors that are compared.
        hidden: width of the projector's layers.
        layers: of the projector.
        predictor: a predictor behind the first view.
        queue: features of earlier steps to compare with; 0 for none.

    Raises:
        RecipeError: a temperature that is not above 0, or fewer than 1 layer.
    """

    def __init__(self, temperature: float, size: int, hidden: int, layers: int, predictor: bool, queue: int) -> None:
        super().__init__()
        if temperature <= 0 or layers < 1 or queue < 0:
            raise RecipeError(
                f"temperature {temperature:g}, {layers} layers, a queue of {queue}",
                where="task.contrast",
                do="use a temperature above 0, 1 layer or more, and a queue from 0",
            )
        self.temperature, self.size, self.hidden, self.layers = temperature, size, hidden, layers
        self.has_predictor = predictor
        self.queue_length = queue
        self.projection: Projection
        self.queue: FeatureQueue

    def build(self, features: int) -> None:
        """Make the heads for features of this width, and an empty queue."""
        self.projection = Projection(features, self.size, self.hidden, self.layers, self.has_predictor)
        self.queue = FeatureQueue(self.queue_length, self.size)

    def forward(self, objective: CrossEntropy, outputs: Tensor, features: Tensor, batch: TensorDict) -> Tensor:
        """Loss of two views of B images; the features of the second view then enter the queue.

        Args:
            objective: the classification loss.
            outputs: of the network, ``(2B, K)``, the first view before the second.
            features: that its head read, ``(2B, F)``.
            batch: of both views, with ``label (2B,)``.

        Raises:
            RecipeError: labels that are mixtures of classes.
        """
        label = batch[LABEL]
        if label.ndim != 1 or label.is_floating_point():
            raise RecipeError(
                f"{type(self).__name__} needs one class an image, and the mixer gives mixtures of classes",
                where="task.mixer",
                do="use a mixer that keeps one label (such as SPMix), or none",
            )
        # Cosines over a small temperature need more digits than half floats have.
        with torch.autocast(features.device.type, enabled=False):
            embeddings = self.projection(features.float())
            loss = self.loss(objective, outputs, embeddings, batch)
        half = len(label) // 2
        if self.training:
            self.queue.push(gather_rows(embeddings[half:].detach()), gather_rows(label[half:]))
        return loss

    @abstractmethod
    def loss(self, objective: CrossEntropy, outputs: Tensor, embeddings: Tensor, batch: TensorDict) -> Tensor:
        """Scalar loss from outputs ``(2B, K)`` and unit vectors ``(2B, size)``."""


def pairs(embeddings: Tensor, labels: Tensor, queue: FeatureQueue, temperature: float) -> tuple[Tensor, Tensor, Tensor]:
    """Every sample against every other one and against the queue.

    Args:
        embeddings: unit vectors ``(A, D)``.
        labels: ``(A,)``, negative where missing.
        queue: Q earlier features.
        temperature: of the cosines.

    Returns:
        Similarities ``(A, A + Q)``, which of them count (not with itself, and not with what has no label), and which
        are of the same class, both bool.
    """
    bank = torch.cat([embeddings, queue.features.to(embeddings)])
    bank_labels = torch.cat([labels, queue.labels])
    similarities = embeddings @ bank.T / temperature
    itself = torch.eye(len(labels), len(bank), dtype=torch.bool, device=labels.device)
    counts = (bank_labels >= 0) & ~itself
    return similarities, counts, counts & (labels[:, None] == bank_labels)
