"""Attention of a few learnable queries to many stored keys and values, which may be of half or 8-bit precision.

For the backward pass the keys and values are kept as they are stored, never as a copy in float32: in half precision
they cost half. The conversion is done again there, a few images at a time.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

PIECE_BYTES = {"cpu": 4 << 20, "other": 256 << 20}
"""Most bytes of converted keys held at once: about what a cache takes on a CPU, more elsewhere."""


def prompt_attention(
    queries: Tensor,
    keys: Tensor,
    values: Tensor,
    key_scales: Tensor | None = None,
    value_scales: Tensor | None = None,
) -> Tensor:
    """``softmax(q K^T / sqrt(dh)) V`` for the same queries on every image; only the queries get a gradient.

    Args:
        queries: ``(L, H, P, dh)``. Computed in their precision, and at least in float32.
        keys: ``(B, L, H, T, dh)``, any float type or int8.
        values: ``(B, L, H, T, dh)``.
        key_scales: ``(B, L, H)``, factors of the keys.
        value_scales: ``(B, L, H)``, factors of the values.

    Returns:
        ``(B, L, P, H * dh)``.

    >>> nowhere = torch.zeros(1, 1, 2, 4)
    >>> values = torch.tensor([[1.0, 2, 3, 4], [3.0, 4, 5, 6]])[None, None, None]
    >>> prompt_attention(nowhere, torch.ones_like(values), values)
    tensor([[[[2., 3., 4., 5.],
              [2., 3., 4., 5.]]]])
    """
    queries = queries.to(torch.promote_types(queries.dtype, torch.float32))
    with torch.autocast(queries.device.type, enabled=False):
        attended = _PromptAttention.apply(queries, keys, values, key_scales, value_scales)
    return attended.transpose(2, 3).flatten(3)


class _PromptAttention(torch.autograd.Function):
    """From queries ``(L, H, P, dh)`` to ``(B, L, H, P, dh)``."""

    @staticmethod
    def forward(
        ctx: Any, queries: Tensor, keys: Tensor, values: Tensor, key_scales: Tensor | None, value_scales: Tensor | None
    ) -> Tensor:
        attended = queries.new_empty(len(keys), *queries.shape)
        attention = []
        asking = queries * queries.shape[-1] ** -0.5
        for images in _pieces(keys, queries):
            logits = torch.matmul(asking, keys[images].to(queries.dtype).transpose(-2, -1))
            weights = torch.softmax(_scaled(logits, key_scales, images), -1)
            found = torch.matmul(weights, values[images].to(queries.dtype))
            attended[images] = _scaled(found, value_scales, images)
            if ctx.needs_input_grad[0]:
                attention.append(weights)
        ctx.save_for_backward(queries, keys, values, key_scales, value_scales, *attention)
        return attended

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        queries, keys, values, key_scales, value_scales, *attention = ctx.saved_tensors
        of_queries = torch.zeros_like(queries)
        for images, weights in zip(_pieces(keys, queries), attention, strict=True):
            arriving = _scaled(gradient[images], value_scales, images)
            of_weights = torch.matmul(arriving, values[images].to(queries.dtype).transpose(-2, -1))
            of_logits = of_weights.sub_((of_weights * weights).sum(-1, keepdim=True)).mul_(weights)
            of_asking = torch.matmul(of_logits, keys[images].to(queries.dtype))
            of_queries += _scaled(of_asking, key_scales, images).sum(0)
        return of_queries.mul_(queries.shape[-1] ** -0.5), None, None, None, None


def _pieces(keys: Tensor, queries: Tensor) -> list[slice]:
    """As many images at a time as fit :data:`PIECE_BYTES` once they are converted."""
    affordable = PIECE_BYTES["cpu" if keys.device.type == "cpu" else "other"]
    step = max(1, affordable // max(1, keys[0].numel() * queries.dtype.itemsize)) if len(keys) else 1
    return [slice(start, start + step) for start in range(0, len(keys), step)]


def _scaled(tensor: Tensor, scales: Tensor | None, images: slice) -> Tensor:
    """``tensor (b, L, H, ...)`` times the factors of its images, blocks and heads."""
    return tensor if scales is None else tensor * scales[images, :, :, None, None].to(tensor.dtype)
