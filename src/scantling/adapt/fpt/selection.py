"""Which tokens of a frozen transformer the prompts may look at: per block and head, those that attention points at.

Source: Huang et al. 2024, "Fine-grained Prompt Tuning" (MICCAI), section on important token selection.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Literal

import torch
from torch import Tensor

from scantling.nets.attention_taps import Queries

Rule = Literal["global", "class_token", "least", "random"]
"""``global``: the most attention from all tokens; ``class_token``: from the class token alone; ``least`` and
``random``: the least attention, or any tokens, for comparison."""

QUERIES: dict[Rule, Queries] = {"global": "all", "class_token": "class_token", "least": "all", "random": "none"}
"""Whose attention each rule asks for."""


def kept_tokens(ratio: float, tokens: int) -> int:
    """``floor(ratio * tokens)``, as written in decimals, and at least 1.

    >>> [kept_tokens(0.2, n) for n in (1025, 577, 197)], kept_tokens(0.29, 100)
    ([205, 115, 39], 29)
    """
    return max(1, int(Decimal(repr(ratio)) * tokens))


def important_tokens(importance: Tensor, kept: int, rule: Rule = "global", block: int = 0) -> Tensor:
    """Tokens of every head on its own.

    Args:
        importance: attention that each token receives, ``(B, H, N)``; see :func:`scantling.nets.attention_taps.tap`.
        kept: how many tokens, in [1, N].
        rule: which ones. With ``random`` the same for all images: they depend on the block, the head and nothing else,
            so that stored features are the same whatever was computed with them.
        block: number of the block.

    Returns:
        Indices ``(B, H, kept)`` int64, rising.

    >>> important_tokens(torch.tensor([[[0.1, 0.6, 0.0, 0.3]]]), 2)
    tensor([[[1, 3]]])
    """
    if rule == "random":
        shape = importance.shape[1:]
        scores = torch.rand(shape, generator=torch.Generator("cpu").manual_seed(block), device="cpu")
        scores = scores.to(importance.device).expand(importance.shape)
    else:
        scores = importance
    return scores.topk(kept, dim=-1, largest=rule != "least", sorted=False).indices.sort(dim=-1).values
