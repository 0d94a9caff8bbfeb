"""Fine-grained prompts: a few learnable prompts a block ask a frozen transformer's stored keys and values.

Source: FPT, Huang et al. 2024 (MICCAI, arXiv 2403.07576), and FPT+, Huang et al. 2025 (IEEE TNNLS 36(9), arXiv
2408.02426). One module for both: FPT has prompts of the side network's width, lifted by a linear map, and adds them
after the output map; FPT+ has prompts of the frozen network's width, normalised, and adds them before it. The figure
of FPT+ draws the skip connection after the output map, where the widths do not fit; its released code adds before.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from scantling.adapt.fpt.prompt_attention import prompt_attention
from scantling.adapt.fpt.words import check_word
from scantling.core.errors import RecipeError

Width = Literal["frozen", "side"]
"""Width of the prompts: that of the frozen network (FPT+) or of the side network (FPT)."""

Residual = Literal["before", "after", "none"]
"""Where the prompts are added: before the output map (FPT+), after it (FPT), or nowhere (first release of FPT)."""

PROMPT_STD = 1e-6


class FinePrompts(nn.Module):
    """Prompts of every block, and the maps around their attention, which all blocks share.

    The queries do not depend on the images and are computed once a step. At first they all but vanish, so that
    attention is about uniform and all prompts of a block return the same; dropout separates them.

    Args:
        blocks: tapped blocks of the frozen network, ``L``.
        heads: its heads, ``H``.
        head_dim: width of its keys, ``dh``.
        width: of the side network's tokens, ``d``.
        prompts: per block, ``P``.
        prompt_width: ``frozen`` or ``side``.
        residual: ``before`` (needs ``frozen``), ``after`` (needs ``side``) or ``none``.
        dropout: of the results, in [0, 1).

    Raises:
        RecipeError: a residual that does not fit the width of the prompts, or an unknown word.
    """

    def __init__(
        self,
        blocks: int,
        heads: int,
        head_dim: int,
        width: int,
        prompts: int = 16,
        prompt_width: Width = "frozen",
        residual: Residual = "before",
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        _check(prompt_width, residual)
        self.heads, self.residual = heads, residual
        inner = heads * head_dim
        wide = prompt_width == "frozen"
        self.prompts = nn.Parameter(torch.empty(blocks, prompts, inner if wide else width).normal_(std=PROMPT_STD))
        self.to_queries: nn.Module = nn.LayerNorm(inner) if wide else nn.Linear(width, inner)
        self.out = nn.Linear(inner, width)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, keys: Tensor, values: Tensor, key_scales: Tensor | None = None, value_scales: Tensor | None = None
    ) -> Tensor:
        """Prompts ``(B, L, P, d)`` for the side network, from ``keys`` and ``values (B, L, H, T, dh)``.

        ``key_scales`` and ``value_scales (B, L, H)`` are the factors of 8-bit ones.
        """
        queries = self.to_queries(self.prompts).unflatten(2, (self.heads, -1)).transpose(1, 2)
        found = prompt_attention(queries, keys, values, key_scales, value_scales)
        if self.residual == "before":
            found = found + self.prompts
        given = self.out(found)
        if self.residual == "after":
            given = given + self.prompts
        return self.dropout(given)


def _check(prompt_width: str, residual: str) -> None:
    check_word("prompt_width", prompt_width, Width)
    check_word("residual", residual, Residual)
    if (prompt_width, residual) in {("frozen", "after"), ("side", "before")}:
        raise RecipeError(
            f"prompts of the {prompt_width} network's width cannot be added {residual} the output map",
            where="residual",
            do="combine frozen with before, side with after, or use none",
        )
