"""AdaptFormer: small bottlenecks beside the MLPs of a frozen transformer.

Source: Chen et al. 2022, arXiv 2205.13535, section on AdaptMLP.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from scantling.adapt.bottleneck import Bottleneck, put_bottlenecks
from scantling.adapt.frozen import FrozenAdapter
from scantling.core.seams import Inputs


class AdaptFormer(FrozenAdapter):
    """One scaled bottleneck beside every MLP, on the same normalised tokens, and a linear head learn.

    At the start every bottleneck adds zero, so that the network is the linear probe.

    Args:
        outputs: values per image.
        inputs: the images the network is built for.
        backbone: a timm vision transformer.
        weights: ``hub``, ``none``, or the path of a bundle or run folder.
        bottleneck: width of the bottlenecks, at least 1.
        scale: factor of what they add.
        dropout: dropout before the head, in [0, 1).
        checkpointing: compute activations again in the backward pass instead of keeping them.

    Raises:
        RecipeError: no vision transformer.
    """

    def __init__(
        self,
        outputs: int,
        inputs: Inputs,
        backbone: str = "vit_base_patch16_384",
        weights: str = "hub",
        bottleneck: int = 64,
        scale: float = 0.1,
        dropout: float = 0.0,
        checkpointing: bool = False,
    ) -> None:
        super().__init__(outputs, inputs, backbone, weights, dropout, checkpointing)
        put_bottlenecks(self, bottleneck, nn.ReLU, lambda mlp, small: Beside(mlp, small, scale))


class Beside(nn.Module):
    """An MLP and the bottleneck beside it: ``mlp(x) + scale * bottleneck(x)``."""

    def __init__(self, mlp: nn.Module, bottleneck: Bottleneck, scale: float) -> None:
        super().__init__()
        self.mlp, self.bottleneck, self.scale = mlp, bottleneck, scale

    def forward(self, tokens: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """Tokens ``(B, N, D)``."""
        return self.mlp(tokens, *args, **kwargs) + self.scale * self.bottleneck(tokens)
