"""Keys, values and token importance out of the self-attention of any timm vision transformer.

The network runs as it is, under a mode that sees every call of fused attention: after the norms of queries and keys and
after rotary embeddings, with relative positions as its mask. The n-th call belongs to block n. A block that is not
wanted keeps its fused kernel. A wanted one computes its attention in chunks of queries, which give its output and how
much attention every token receives, without ever holding the whole attention matrix. Behind the last wanted block the
forward pass is left: nothing past its keys, values and importance is computed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from scantling.core.errors import RecipeError
from scantling.core.seams import Inputs
from scantling.nets.create import create

Queries = Literal["all", "class_token", "none"]
"""Whose attention makes a token important: that of all tokens, of the class token, or of nobody."""

Select = Callable[[Tensor, int], Tensor]
"""Indices ``(B, H, T)`` of the tokens to keep, from importance ``(B, H, N)`` and the number of the block."""

CHUNK_BYTES = {"cpu": 4 << 20, "other": 256 << 20}
"""Largest piece of an attention matrix held at once: what a cache takes on a CPU, more elsewhere."""

_FAST_QUERIES = 256


class Geometry(NamedTuple):
    """Measures of a transformer at one image size.

    Args:
        blocks: how many.
        width: of a token.
        heads: of every block.
        head_dim: width of a key or value.
        tokens: at this size, prefix tokens included.
        class_token: whether the first of them is a class token.
    """

    blocks: int
    width: int
    heads: int
    head_dim: int
    tokens: int
    class_token: bool


class Taps(NamedTuple):
    """What was taken out of ``L`` blocks.

    Args:
        keys: ``(B, L, H, T, dh)`` of the kept tokens, as the attention used them.
        values: ``(B, L, H, T, dh)``.
        indices: ``(B, L, H, T)`` int64, which tokens these are.
    """

    keys: Tensor
    values: Tensor
    indices: Tensor


def tap(
    body: nn.Module,
    images: Tensor,
    blocks: Sequence[int],
    select: Select,
    queries: Queries = "all",
    chunk_bytes: int | None = None,
) -> Taps:
    """Keys and values of selected tokens of some blocks of a transformer; no gradient.

    Args:
        body: a timm vision transformer in evaluation mode, without head or with one, which is not used.
        images: ``(B, C, H, W)``, standardised.
        blocks: numbers of blocks from 0, rising.
        select: chooses the tokens of a block from their importance: the mean over the queries of the attention that a
            token receives, float32 ``(B, H, N)``, of which every row sums to 1. The same count for every block.
        queries: the queries of that mean; with ``none`` the importance is zero.
        chunk_bytes: largest piece of an attention matrix held at once; left out, :data:`CHUNK_BYTES`.

    Raises:
        RecipeError: the network has fewer blocks, or its attention is not of this kind.
    """
    if not blocks or list(blocks) != sorted(set(blocks)) or blocks[0] < 0:
        raise RecipeError(f"blocks {list(blocks)} are not rising numbers from 0", do="list each block once, in order")
    if chunk_bytes is None:
        chunk_bytes = CHUNK_BYTES["cpu" if images.device.type == "cpu" else "other"]
    mode = _Tapping(tuple(blocks), select, queries, chunk_bytes, len(images))
    with torch.no_grad(), _fused(body), mode:
        try:
            _forward_features(body, images)
        except _Enough:
            pass
        else:
            raise RecipeError(
                f"the network has {mode.calls} blocks of attention, and block {blocks[-1]} is asked for",
                do=f"name blocks from 0 to {mode.calls - 1}" if mode.calls else "choose a plain vision transformer",
            )
    return Taps(*(torch.stack(part, 1) for part in zip(*mode.found, strict=True)))


def number_of_blocks(body: nn.Module) -> int:
    """How many blocks a transformer has; 0 for networks that are not made of one row of blocks."""
    blocks = getattr(body, "blocks", None)
    return len(blocks) if isinstance(blocks, (nn.Sequential, nn.ModuleList)) else 0


def geometry(body: nn.Module, images: Tensor, name: str = "") -> Geometry:
    """Measure a transformer by one forward pass; on the meta device this computes nothing.

    Args:
        body: the network.
        images: ``(B, C, H, W)`` of the size in question, two or more.
        name: for the error.

    Raises:
        RecipeError: the network does not attend once a block over all tokens.
    """
    mode = _Measuring()
    with torch.no_grad(), _fused(body), mode:
        features = _forward_features(body, images)
    shapes = set(mode.shapes)
    count = number_of_blocks(body)
    if isinstance(features, Tensor) and features.ndim == 3 and len(mode.shapes) == count and len(shapes) == 1:
        batch, heads, tokens, head_dim = next(iter(shapes))
        if (batch, tokens) == features.shape[:2]:
            class_token = getattr(body, "cls_token", None) is not None
            return Geometry(count, features.shape[2], heads, head_dim, tokens, class_token)
    raise RecipeError(
        f"'{name or type(body).__name__}' does not attend once a block over all its tokens",
        where="backbone",
        do="choose a plain vision transformer, such as vit_base_patch16_384, vit_small_patch14_dinov2 or DINOv3",
    )


@lru_cache(maxsize=32)
def architecture(name: str, size: tuple[int, int], channels: int = 3) -> Geometry:
    """Measures of a timm architecture for images of this size, without any weights.

    Raises:
        RecipeError: an unknown architecture, one that cannot take this size, or one that is no plain transformer.

    >>> architecture("vit_base_patch16_384", (512, 512))
    Geometry(blocks=12, width=768, heads=12, head_dim=64, tokens=1025, class_token=True)
    """
    with torch.device("meta"):
        body = create(name, Inputs(size=size, channels=channels), pretrained=False, num_classes=0).eval()
        return geometry(body, torch.empty(2, channels, *size), name)


class _Enough(Exception):
    """No error: the way out of a forward pass that has given all that it should."""


class _Attention(TorchFunctionMode):
    """Hands every call of fused attention to :meth:`attend`, with its arguments by name."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func is F.scaled_dot_product_attention:
            return self.attend(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))

    def attend(self, query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None = None, **more: Any) -> Tensor:
        raise NotImplementedError


class _Measuring(_Attention):
    """Notes the shape of every call, ``()`` where keys and queries differ."""

    def __init__(self) -> None:
        super().__init__()
        self.shapes: list[tuple[int, ...]] = []

    def attend(self, query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None = None, **more: Any) -> Tensor:
        alike = query.shape == key.shape == value.shape and query.ndim == 4 and not more.get("is_causal")
        self.shapes.append(tuple(query.shape) if alike else ())
        return F.scaled_dot_product_attention(query, key, value, attn_mask=attn_mask, **more)


class _Tapping(_Attention):
    def __init__(
        self, blocks: tuple[int, ...], select: Select, queries: Queries, chunk_bytes: int, images: int
    ) -> None:
        super().__init__()
        self.blocks, self.select, self.queries = blocks, select, queries
        self.chunk_bytes, self.images = chunk_bytes, images
        self.found: list[tuple[Tensor, Tensor, Tensor]] = []
        self.calls = 0

    def attend(self, query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None = None, **more: Any) -> Tensor:
        block, self.calls = self.calls, self.calls + 1
        if block not in self.blocks:
            return F.scaled_dot_product_attention(query, key, value, attn_mask=attn_mask, **more)
        if not query.shape == key.shape == value.shape or len(query) != self.images or more.get("is_causal"):
            raise RecipeError("the network does not attend over all its tokens", do="choose a plain vision transformer")
        last = block == self.blocks[-1]
        scale = more.get("scale") or query.shape[-1] ** -0.5
        output = None
        if self.queries == "all":
            output, importance = attention_received(
                query, key, None if last else value, attn_mask, scale, self.chunk_bytes
            )
        elif self.queries == "class_token":
            mask = attn_mask if attn_mask is None or attn_mask.shape[-2] == 1 else attn_mask[..., :1, :]
            importance = attention_received(query[:, :, :1], key, None, mask, scale, self.chunk_bytes)[1]
        else:
            importance = torch.zeros(query.shape[:3], device=query.device)
        kept = self.select(importance, block)
        rows = kept[..., None].expand(*kept.shape, key.shape[-1])
        self.found.append((key.gather(2, rows), value.gather(2, rows), kept))
        if last:
            raise _Enough
        if output is None:
            output = F.scaled_dot_product_attention(query, key, value, attn_mask=attn_mask, **more)
        return output


def attention_received(
    query: Tensor, key: Tensor, value: Tensor | None, mask: Tensor | None, scale: float, chunk_bytes: int
) -> tuple[Tensor | None, Tensor]:
    """The output of attention, and the mean over the queries of the attention that every key receives.

    In chunks of queries: besides the results, memory is ``chunk_bytes`` at a time, whatever the number of tokens.

    Args:
        query: ``(B, H, M, dh)``.
        key: ``(B, H, N, dh)``.
        value: ``(B, H, N, dh)``; None where the output is not wanted.
        mask: added to the logits (or, if bool, False forbids), broadcastable to ``(B, H, M, N)``.
        scale: factor of the logits.
        chunk_bytes: largest piece of the attention matrix; one query of one image is the least.

    Returns:
        Output ``(B, H, M, dh)`` or None; received attention ``(B, H, N)`` float32, summing to 1 over the keys.
    """
    images, heads, count, _ = query.shape
    tokens = key.shape[2]
    received = torch.zeros(images, heads, tokens, device=query.device)
    output = None if value is None else torch.empty_like(query, memory_format=torch.contiguous_format)
    turned = key.transpose(-2, -1)
    if mask is not None:
        mask = mask.expand(images, heads, count, tokens)
    for many, rows in _pieces(images, count, chunk_bytes // (4 * heads * tokens)):
        logits = torch.matmul(query[many, :, rows] * scale, turned[many])
        if mask is not None:
            part = mask[many, :, rows]
            logits = logits.masked_fill_(~part, -torch.inf) if part.dtype == torch.bool else logits.add_(part)
        weights = torch.softmax(logits, -1, dtype=torch.float32)
        received[many] += weights.sum(-2)
        if output is not None and value is not None:
            output[many, :, rows] = torch.matmul(weights.to(value.dtype), value[many])
    return output, received.div_(count)


def _pieces(images: int, queries: int, affordable: int) -> Iterator[tuple[slice, slice]]:
    """Pieces of images and queries, of at most so many rows; rather many queries, which products are fast for."""
    together = min(images, max(1, affordable // min(queries, _FAST_QUERIES)))
    step = max(1, affordable // together)
    for image in range(0, images, together):
        for start in range(0, queries, step):
            yield slice(image, image + together), slice(start, start + step)


def _forward_features(body: nn.Module, images: Tensor) -> Any:
    features = getattr(body, "forward_features", None)
    if features is None:
        raise RecipeError(f"'{type(body).__name__}' is no network of timm", do="choose a plain vision transformer")
    return features(images)


@contextmanager
def _fused(body: nn.Module) -> Iterator[None]:
    """Every attention that can be fused is, whatever timm was told; as before on leaving."""
    modules: list[Any] = [m for m in body.modules() if hasattr(m, "fused_attn")]
    before = [m.fused_attn for m in modules]
    for module in modules:
        module.fused_attn = True
    try:
        yield
    finally:
        for module, was in zip(modules, before, strict=True):
            module.fused_attn = was
