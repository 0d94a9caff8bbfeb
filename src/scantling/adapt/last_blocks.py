"""Partial fine-tuning: the last blocks of a transformer learn, the rest is frozen.

Source: Yosinski et al. 2014, arXiv 1411.1792, for networks of layers.
"""

from __future__ import annotations

from scantling.adapt.frozen import FrozenAdapter, transformer_blocks
from scantling.core.errors import RecipeError
from scantling.core.seams import Inputs


class LastBlocks(FrozenAdapter):
    """The last blocks of a vision transformer, its final normalisation and a linear head learn.

    Args:
        outputs: values per image.
        inputs: the images the network is built for.
        backbone: a timm vision transformer.
        weights: ``hub``, ``none``, or the path of a bundle or run folder.
        blocks: how many of the last blocks learn, at least 1.
        dropout: dropout before the head, in [0, 1).
        checkpointing: compute activations again in the backward pass instead of keeping them.

    Raises:
        RecipeError: no vision transformer, or fewer blocks than that.
    """

    def __init__(
        self,
        outputs: int,
        inputs: Inputs,
        backbone: str = "vit_base_patch16_384",
        weights: str = "hub",
        blocks: int = 1,
        dropout: float = 0.0,
        checkpointing: bool = False,
    ) -> None:
        super().__init__(outputs, inputs, backbone, weights, dropout, checkpointing)
        every = list(transformer_blocks(self.backbone))
        if not 1 <= blocks <= len(every):
            raise RecipeError(
                f"{blocks} of {len(every)} blocks", where="task.adapter.blocks", do=f"use 1 to {len(every)}"
            )
        body = self.backbone.body
        ends = [getattr(body, name) for name in ("norm", "fc_norm") if hasattr(body, name)]
        self.unfreeze(p for module in [*every[-blocks:], *ends] for p in module.parameters())
