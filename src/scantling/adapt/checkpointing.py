"""Gradient checkpointing: block by block, activations are computed again in the backward pass instead of kept."""

from __future__ import annotations

from typing import Any

from scantling.core.errors import RecipeError


def checkpoint_blocks(body: Any, name: str) -> None:
    """Let a timm network keep only what enters its blocks; gradients stay the same, a step takes about a third longer.

    Args:
        body: a timm network; changed.
        name: its architecture, for the message.

    Raises:
        RecipeError: the architecture cannot do it.

    Source: Chen et al. 2016, arXiv 1604.06174.
    """
    try:
        body.set_grad_checkpointing(True)
    except (AttributeError, AssertionError, NotImplementedError) as error:
        raise RecipeError(
            f"'{name}' has no gradient checkpointing", where="task.adapter.checkpointing", do="set it false"
        ) from error
