"""Visual prompt tuning: learned tokens that the blocks of a frozen transformer see beside those of the image.

Source: Jia et al. 2022, arXiv 2203.12119.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from scantling.adapt.frozen import FrozenAdapter, transformer_blocks
from scantling.core.errors import RecipeError
from scantling.core.seams import Inputs
from scantling.nets.backbone import Backbone

TIED_TO_PATCHES = ("rel_pos", "relative_position", "pos_proj", "local_mp")
"""In the names of parameters of blocks that know the grid of patches; they have no place for prompts."""


class VisualPrompts(FrozenAdapter):
    """Prompts and a linear head learn.

    Prompts stand behind the class and register tokens and in front of the patches. They get no position. After the last
    block they are taken away, so that pooling sees what it saw before. With 0 prompts this is the linear probe.

    Args:
        outputs: values per image.
        inputs: the images the network is built for.
        backbone: a timm vision transformer; with rotary positions the prompts are spared them.
        weights: ``hub``, ``none``, or the path of a bundle or run folder.
        prompts: how many, at least 0; with ``deep``, so many for every block.
        deep: give every block prompts of its own, which replace those of the block before (VPT-Deep); otherwise the
            first block's prompts travel through all blocks (VPT-Shallow).
        dropout: dropout before the head, in [0, 1).
        checkpointing: compute activations again in the backward pass instead of keeping them.

    Raises:
        RecipeError: no vision transformer, or one whose attention is tied to the number of tokens.
    """

    def __init__(
        self,
        outputs: int,
        inputs: Inputs,
        backbone: str = "vit_base_patch16_384",
        weights: str = "hub",
        prompts: int = 16,
        deep: bool = True,
        dropout: float = 0.0,
        checkpointing: bool = False,
    ) -> None:
        super().__init__(outputs, inputs, backbone, weights, dropout, checkpointing)
        blocks = transformer_blocks(self.backbone)
        if prompts < 0:
            raise RecipeError(f"{prompts} prompts", where="task.adapter.prompts", do="use 0 or more")
        _check_free_of_patches(self.backbone)
        if prompts == 0:
            return
        body, last = self.backbone.body, len(blocks) - 1
        patch = getattr(getattr(body, "patch_embed", None), "patch_size", (16, 16))
        for index, block in enumerate(blocks):
            given = initial_prompts(prompts, body.embed_dim, patch) if deep or not index else None
            blocks[index] = Prompted(block, given, body.num_prefix_tokens, prompts, deep or index == last)
        self.unfreeze(p for name, p in self.backbone.named_parameters() if name.endswith(".prompts"))


class Prompted(nn.Module):
    """A block of a transformer that sees prompts beside its tokens.

    Args:
        block: from tokens ``(B, prefix + N, D)`` to tokens of the same shape.
        prompts: ``(P, D)``, put in front of the block; None where they are among the tokens already.
        prefix: class and register tokens, which stay in front.
        count: P.
        remove: take the prompts away behind the block.
    """

    def __init__(self, block: nn.Module, prompts: Tensor | None, prefix: int, count: int, remove: bool) -> None:
        super().__init__()
        self.block, self.prefix, self.count, self.remove = block, prefix, count, remove
        self.prompts = None if prompts is None else nn.Parameter(prompts)
        attention: Any = block.attn
        if hasattr(attention, "num_prefix_tokens"):
            # Rotary positions turn all tokens but these, and their tables fit the patches only.
            attention.num_prefix_tokens = prefix + count

    def forward(self, tokens: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """Tokens ``(B, prefix + N, D)`` of the block, with P prompts behind the prefix where they stay."""
        if self.prompts is not None:
            given = self.prompts.to(tokens.dtype).expand(len(tokens), -1, -1)
            tokens = torch.cat([tokens[:, : self.prefix], given, tokens[:, self.prefix :]], dim=1)
        tokens = self.block(tokens, *args, **kwargs)
        if self.remove:
            tokens = torch.cat([tokens[:, : self.prefix], tokens[:, self.prefix + self.count :]], dim=1)
        return tokens


def initial_prompts(count: int, width: int, patch: tuple[int, int]) -> Tensor:
    """Prompts ``(count, width)``, uniform in ``[-v, v]`` with ``v = sqrt(6 / (3 * h * w + width))``, Xavier's range.

    >>> initial_prompts(2, 768, (16, 16)).abs().max() <= (6 / (3 * 16 * 16 + 768)) ** 0.5
    tensor(True)
    """
    reach = (6 / (3 * patch[0] * patch[1] + width)) ** 0.5
    return torch.empty(count, width).uniform_(-reach, reach)


def _check_free_of_patches(backbone: Backbone) -> None:
    """Raise where blocks know the grid of patches, by a table of relative positions or a convolution."""
    tied = next((n for n, _ in backbone.named_parameters() if any(part in n for part in TIED_TO_PATCHES)), None)
    if tied is not None:
        raise RecipeError(
            f"the blocks of '{backbone.name}' are tied to its patches ({tied}) and have no place for prompts",
            where="task.adapter.backbone",
            do="choose a vision transformer with absolute or rotary positions",
        )
