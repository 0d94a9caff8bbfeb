"""Tuning of the normalisation layers: only their weights and biases learn.

Source: Basu et al. 2024, arXiv 2304.01917 (LN-Tune).
"""

from __future__ import annotations

from torch import nn

from scantling.adapt.frozen import FrozenAdapter
from scantling.core.seams import Inputs


class LayerNormTuning(FrozenAdapter):
    """Weights and biases of all normalisation layers, and a linear head, learn; running statistics stay.

    Args:
        outputs: values per image.
        inputs: the images the network is built for.
        backbone: a timm architecture with normalisation layers.
        weights: ``hub``, ``none``, or the path of a bundle or run folder.
        dropout: dropout before the head, in [0, 1).
        checkpointing: compute activations again in the backward pass instead of keeping them.

    Raises:
        RecipeError: a network without such layers.
    """

    def __init__(
        self,
        outputs: int,
        inputs: Inputs,
        backbone: str = "vit_base_patch16_384",
        weights: str = "hub",
        dropout: float = 0.0,
        checkpointing: bool = False,
    ) -> None:
        super().__init__(outputs, inputs, backbone, weights, dropout, checkpointing)
        norms = (module for module in self.backbone.modules() if is_norm(module))
        self.unfreeze(p for module in norms for p in module.parameters(recurse=False))


def is_norm(module: nn.Module) -> bool:
    """Whether a module normalises: torch and timm name all such layers alike (LayerNorm, RmsNorm, BatchNormAct2d).

    >>> is_norm(nn.GroupNorm(2, 4)), is_norm(nn.Linear(2, 2))
    (True, False)
    """
    return "norm" in type(module).__name__.lower()
