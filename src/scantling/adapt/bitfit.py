"""BitFit: only the biases learn.

Source: Ben Zaken et al. 2022, arXiv 2106.10199.
"""

from __future__ import annotations

from scantling.adapt.frozen import FrozenAdapter
from scantling.core.seams import Inputs


class BitFit(FrozenAdapter):
    """All biases of a network, those of its normalisations among them, and a linear head learn.

    The bias of the keys, part of a fused projection, gets a gradient of zero: attention does not depend on it.

    Args:
        outputs: values per image.
        inputs: the images the network is built for.
        backbone: a timm architecture with biases.
        weights: ``hub``, ``none``, or the path of a bundle or run folder.
        dropout: dropout before the head, in [0, 1).
        checkpointing: compute activations again in the backward pass instead of keeping them.

    Raises:
        RecipeError: a network without biases.
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
        self.unfreeze(p for name, p in self.backbone.named_parameters() if name.endswith("bias"))
