"""LoRA: low-rank changes of the query and value projections of a frozen transformer.

Source: Hu et al. 2021, arXiv 2106.09685. The low-rank layers are those of the package peft.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from scantling.adapt.frozen import FrozenAdapter, transformer_blocks
from scantling.core.errors import MissingExtraError, RecipeError
from scantling.core.seams import Inputs

TARGETS = r"blocks\.\d+\.attn\.(qkv\.query|qkv\.value|q_proj|v_proj)"
"""Pattern of the projections that get a low-rank change, once fused projections are split."""


class LoRA(FrozenAdapter):
    """Low-rank changes of all query and value projections, and a linear head, learn.

    A projection ``W x`` becomes ``W x + (alpha / rank) B A x``. ``B`` starts at zero, so that the network is the linear
    probe at first; in the first step only ``B`` gets a gradient, from the second on ``A`` does too.

    Args:
        outputs: values per image.
        inputs: the images the network is built for.
        backbone: a timm vision transformer.
        weights: ``hub``, ``none``, or the path of a bundle or run folder.
        rank: of the changes, at least 1.
        alpha: numerator of their scale ``alpha / rank``.
        dropout: dropout before the head, in [0, 1).
        checkpointing: compute activations again in the backward pass instead of keeping them.

    Raises:
        RecipeError: no vision transformer, or one whose queries and values cannot be told apart.
        MissingExtraError: the package peft is not installed.
    """

    def __init__(
        self,
        outputs: int,
        inputs: Inputs,
        backbone: str = "vit_base_patch16_384",
        weights: str = "hub",
        rank: int = 16,
        alpha: float = 16.0,
        dropout: float = 0.0,
        checkpointing: bool = False,
    ) -> None:
        try:
            from peft import LoraConfig, inject_adapter_in_model
        except ModuleNotFoundError as error:
            raise MissingExtraError("peft", "lora") from error
        if rank < 1:
            raise RecipeError(f"a rank of {rank}", where="task.adapter.rank", do="use 1 or more")
        super().__init__(outputs, inputs, backbone, weights, dropout, checkpointing)
        for block in transformer_blocks(self.backbone):
            split_projection(block.attn, backbone)
        # peft annotates alpha as an integer, but only ever divides it.
        config = LoraConfig(r=rank, lora_alpha=alpha, target_modules=TARGETS, bias="none")  # type: ignore[arg-type]
        inject_adapter_in_model(config, self.backbone.body)
        self.unfreeze(p for name, p in self.backbone.named_parameters() if ".lora_" in name)


class SplitProjection(nn.Module):
    """Query, key and value projections in the place of a fused one, whose result it gives.

    Args:
        query: from tokens ``(B, N, D)`` to ``(B, N, A)``.
        key: likewise.
        value: likewise.
    """

    def __init__(self, query: nn.Linear, key: nn.Linear, value: nn.Linear) -> None:
        super().__init__()
        self.query, self.key, self.value = query, key, value

    def forward(self, tokens: Tensor) -> Tensor:
        """Queries, keys and values ``(B, N, 3 A)`` of tokens ``(B, N, D)``."""
        return torch.cat([self.query(tokens), self.key(tokens), self.value(tokens)], dim=-1)


def split_projection(attention: Any, name: str) -> None:
    """Give an attention of timm three projections where it has a fused one; their weights are views of the fused ones.

    Args:
        attention: changed in place; one with separate projections stays as it is.
        name: architecture, for the message.

    Raises:
        RecipeError: an attention of another kind.
    """
    if isinstance(getattr(attention, "q_proj", None), nn.Linear):
        return
    fused = getattr(attention, "qkv", None)
    beside = getattr(attention, "q_bias", None)
    separable = hasattr(attention, "q_proj")
    if not isinstance(fused, nn.Linear) or fused.out_features % 3 or (beside is not None and not separable):
        raise RecipeError(
            f"queries and values of '{name}' cannot be told apart ({type(attention).__name__})",
            where="task.adapter.backbone",
            do="choose a vision transformer, such as vit_base_patch16_384",
        )
    biases: tuple[Tensor | None, ...] = (None, None, None)
    if beside is not None:
        biases = (beside.detach(), None, attention.v_bias.detach())
        attention.q_bias = attention.k_bias = attention.v_bias = None
    elif fused.bias is not None:
        biases = fused.bias.detach().chunk(3)
    query, key, value = (_linear(w, b) for w, b in zip(fused.weight.detach().chunk(3), biases, strict=True))
    if separable:
        attention.qkv, attention.q_proj, attention.k_proj, attention.v_proj = None, query, key, value
    else:
        attention.qkv = SplitProjection(query, key, value)


def _linear(weight: Tensor, bias: Tensor | None) -> nn.Linear:
    """A frozen linear layer that computes with these very tensors."""
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None, device="meta")
    layer.weight = nn.Parameter(weight, requires_grad=False)
    if bias is not None:
        layer.bias = nn.Parameter(bias, requires_grad=False)
    return layer
