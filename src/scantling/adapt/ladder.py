"""Ladder side-tuning: a narrow transformer beside a frozen one, fed by what the frozen blocks say.

Source: Sung et al. 2022, arXiv 2206.06522. Departures: the side network starts with random weights, not with pruned
ones of the backbone, and no rung is left out.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from scantling.adapt.frozen import FrozenAdapter, transformer_blocks
from scantling.core.batch import IMAGE
from scantling.core.errors import RecipeError
from scantling.core.seams import Inputs
from scantling.nets.backbone import as_map

if TYPE_CHECKING:
    from tensordict import TensorDict

TEMPERATURE = 0.1
"""Divides what a gate learns before the sigmoid, so that gates open and close soon."""


class LadderSideTuning(FrozenAdapter):
    """A side network and a linear head learn; no gradient passes through the frozen network.

    Of the frozen network's activations only the outputs of its blocks are kept for the backward pass: the weights of
    the projections to the side network need them.

    Args:
        outputs: values per image.
        inputs: the images the network is built for.
        backbone: a timm vision transformer.
        weights: ``hub``, ``none``, or the path of a bundle or run folder.
        reduction: the side network's tokens are so many times narrower, at least 1.
        dropout: dropout before the head, in [0, 1).
        checkpointing: compute the side network's activations again in the backward pass instead of keeping them.

    Raises:
        RecipeError: no vision transformer, or a reduction that does not divide its width.
    """

    def __init__(
        self,
        outputs: int,
        inputs: Inputs,
        backbone: str = "vit_base_patch16_384",
        weights: str = "hub",
        reduction: int = 8,
        dropout: float = 0.0,
        checkpointing: bool = False,
    ) -> None:
        super().__init__(outputs, inputs, backbone, weights, dropout)
        blocks = transformer_blocks(self.backbone)
        width: int = self.backbone.body.embed_dim
        if reduction < 1 or width % reduction:
            raise RecipeError(
                f"{width} divided by {reduction} is no width",
                where="task.adapter.reduction",
                do=f"use a number that divides {width}",
            )
        attention: Any = blocks[0].attn
        self.ladder = Ladder(width, width // reduction, len(blocks), attention.num_heads, checkpointing)
        self.unfreeze(self.ladder.parameters())

    def forward(self, batch: TensorDict) -> Tensor:
        """Outputs ``(B, outputs)``."""
        states = self.hidden_states(batch[IMAGE])
        tokens = self.ladder.start(states[0])
        for rung, state in enumerate(states[1:]):
            tokens = self.ladder.climb(rung, tokens, state)
        return self._outputs(tokens)

    def saliency_map(self, batch: TensorDict) -> tuple[Tensor, Tensor]:
        """Feature map ``(B, d, h, w)`` in front of the side network's last block, and the outputs that follow from it.

        There, not behind it, because a class token looks at the patches for the last time in that block.
        """
        states = self.hidden_states(batch[IMAGE])
        with torch.no_grad():
            tokens = self.ladder.start(states[0])
            for rung, state in enumerate(states[1:-1]):
                tokens = self.ladder.climb(rung, tokens, state)
            tokens = self.ladder.mixed(len(states) - 2, tokens, states[-1])
        features = as_map(tokens, self.backbone.body, batch[IMAGE].shape[-2:]).detach().requires_grad_()
        patches = features.flatten(2).transpose(1, 2)
        tokens = torch.cat([tokens[:, : tokens.shape[1] - patches.shape[1]], patches], dim=1)
        return features, self._outputs(self.ladder.blocks[-1](tokens))

    @torch.no_grad()
    def hidden_states(self, images: Tensor) -> list[Tensor]:
        """Tokens ``(B, prefix + N, D)`` in front of the first frozen block and behind each; from one thread at a time.

        Raises:
            RecipeError: a network in which the number of tokens changes on the way.
        """
        blocks = transformer_blocks(self.backbone)
        states: list[Tensor] = []
        hooks = [blocks[0].register_forward_pre_hook(lambda _, given: states.append(given[0]))]
        hooks += [block.register_forward_hook(lambda _, __, result: states.append(result)) for block in blocks]
        try:
            last = self.backbone.body.forward_features(self.backbone.standardise(images))
        finally:
            for hook in hooks:
                hook.remove()
        if any(state.shape != last.shape for state in states):
            raise RecipeError(
                f"the tokens of '{self.backbone.name}' change in number on the way",
                where="task.adapter.backbone",
                do="choose a vision transformer, such as vit_base_patch16_384",
            )
        return states

    def _outputs(self, tokens: Tensor) -> Tensor:
        pooled = self.backbone.body.forward_head(self.ladder.finish(tokens), pre_logits=True)
        return self.head(self.dropout(pooled))


class Ladder(nn.Module):
    """The side network: one narrow block for every frozen block.

    Rung ``i`` sees ``g_i W_i f_i + (1 - g_i) h_i``: ``f_i`` are the tokens behind frozen block ``i``, ``h_i`` those of
    the rung below, ``g_i = sigmoid(a_i / 0.1)`` a gate that is learned and starts half open.

    Args:
        width: of the frozen tokens.
        narrow: of the side network's tokens.
        depth: number of blocks.
        heads: of the frozen blocks; the side network has as many where they divide its width, fewer otherwise.
        checkpointing: compute the blocks again in the backward pass.
    """

    def __init__(self, width: int, narrow: int, depth: int, heads: int, checkpointing: bool = False) -> None:
        from timm.models.vision_transformer import Block

        super().__init__()
        self.checkpointing = checkpointing
        self.downs = nn.ModuleList(nn.Linear(width, narrow) for _ in range(depth + 1))
        self.gates = nn.Parameter(torch.zeros(depth))
        self.blocks = nn.ModuleList(Block(narrow, math.gcd(narrow, heads), qkv_bias=True) for _ in range(depth))
        self.norm = nn.LayerNorm(narrow, eps=1e-6)
        self.up = nn.Linear(narrow, width)
        self.apply(_initialise)

    def start(self, state: Tensor) -> Tensor:
        """The first tokens ``(B, N, d)``, from those in front of the first frozen block ``(B, N, D)``."""
        return self.downs[0](state)

    def mixed(self, rung: int, tokens: Tensor, state: Tensor) -> Tensor:
        """What a rung's block sees ``(B, N, d)``: tokens below ``(B, N, d)`` and frozen ones ``(B, N, D)``."""
        gate = torch.sigmoid(self.gates[rung] / TEMPERATURE)
        return gate * self.downs[rung + 1](state) + (1 - gate) * tokens

    def climb(self, rung: int, tokens: Tensor, state: Tensor) -> Tensor:
        """Tokens ``(B, N, d)`` of a rung."""
        mixed = self.mixed(rung, tokens, state)
        if self.checkpointing and torch.is_grad_enabled():
            return checkpoint(self.blocks[rung], mixed, use_reentrant=False)
        return self.blocks[rung](mixed)

    def finish(self, tokens: Tensor) -> Tensor:
        """Tokens as wide as the frozen ones, ``(B, N, D)``."""
        return self.up(self.norm(tokens))


def _initialise(module: nn.Module, std: float = 0.02) -> None:
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=std)
        nn.init.zeros_(module.bias)
