"""Full fine-tuning, and the linear probe: a backbone and one linear layer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor, nn

from scantling.adapt.checkpointing import checkpoint_blocks
from scantling.adapt.frozen import FrozenAdapter
from scantling.core.batch import IMAGE
from scantling.core.seams import Adapter, Inputs
from scantling.nets.backbone import Backbone
from scantling.nets.cosine_head import CosineHead

if TYPE_CHECKING:
    from tensordict import TensorDict


class FullFineTuning(Adapter):
    """Every parameter of a backbone and a linear head learn.

    Args:
        outputs: values per image.
        inputs: the images the network is built for.
        backbone: a timm architecture (``resnet50``, ``vit_small_patch16_224``, ``convnext_tiny`` ...).
        weights: ``none``, ``hub`` (published weights), or the path of a bundle with the same backbone.
        dropout: dropout before the head, in [0, 1).
        drop_path: stochastic depth of the backbone, where it knows it.
        checkpointing: compute activations again in the backward pass instead of keeping them; batch statistics of a
            convolutional network then count every batch twice.
        head: the last layer: ``linear``, or ``cosine``, whose outputs lie in [-1, 1] and want a loss that scales them
            (LDAM).
    """

    def __init__(
        self,
        outputs: int,
        inputs: Inputs,
        backbone: str = "resnet50",
        weights: str = "hub",
        dropout: float = 0.0,
        drop_path: float = 0.0,
        checkpointing: bool = False,
        head: Literal["linear", "cosine"] = "linear",
    ) -> None:
        super().__init__(outputs, inputs)
        self.backbone = Backbone(backbone, inputs, weights, drop_path)
        self.dropout = nn.Dropout(dropout)
        self.head: nn.Module
        if head == "cosine":
            self.head = CosineHead(self.backbone.features, outputs)
        else:
            self.head = nn.Linear(self.backbone.features, outputs)
            nn.init.trunc_normal_(self.head.weight, std=0.01)
            nn.init.zeros_(self.head.bias)
        if checkpointing:
            checkpoint_blocks(self.backbone.body, backbone)

    def forward(self, batch: TensorDict) -> Tensor:
        """Outputs ``(B, outputs)``."""
        return self.head(self.dropout(self.backbone(batch[IMAGE])))

    def saliency_map(self, batch: TensorDict) -> tuple[Tensor, Tensor]:
        """Last feature map ``(B, F, h, w)`` and the outputs that follow from it."""
        features, pooled = self.backbone.tapped(batch[IMAGE])
        return features, self.head(self.dropout(pooled))


class LinearProbe(FrozenAdapter):
    """Only a linear head learns; the backbone is frozen and stays in evaluation mode.

    Args:
        outputs: values per image.
        inputs: the images the network is built for.
        backbone: a timm architecture.
        weights: ``none`` (random ones of its own, which its bundle keeps), ``hub``, or the path of a bundle or run
            folder.
        dropout: dropout before the head.
    """

    def __init__(
        self, outputs: int, inputs: Inputs, backbone: str = "resnet50", weights: str = "hub", dropout: float = 0.0
    ) -> None:
        super().__init__(outputs, inputs, backbone, weights, dropout)

    def stand_on(self, name: str, weights: str) -> Backbone:
        """A backbone that nothing else stands on where its weights are random."""
        if weights == "none":
            return Backbone(name, self.inputs).requires_grad_(False)
        return super().stand_on(name, weights)

    def forward(self, batch: TensorDict) -> Tensor:
        """Outputs ``(B, outputs)``."""
        with torch.no_grad():
            features = self.backbone(batch[IMAGE])
        return self.head(self.dropout(features))

    def share(self) -> float:
        """Share of the head in all parameters: there is nothing else to count."""
        return Adapter.share(self)
