"""Floating-point operations of matrix products, convolutions and attention, counted as they are called."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry, sdpa_backward_flop_count, sdpa_flop_count

Formula = Callable[..., int]


def _cpu_attention(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, *_: Any, **__: Any) -> int:
    return sdpa_flop_count(query.shape, key.shape, value.shape)


def _cpu_attention_backward(
    grad_out: torch.Tensor, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, *_: Any, **__: Any
) -> int:
    return sdpa_backward_flop_count(grad_out.shape, query.shape, key.shape, value.shape)


def _encoder_layer(*args: Any, **_: Any) -> int:
    return _self_attention(args[0], (args[3], args[5], args[14], args[16]))


def _multi_head_attention(*args: Any, **_: Any) -> int:
    return _self_attention(args[0], (args[5], args[7]))


def _self_attention(tokens: torch.Tensor, weights: tuple[torch.Tensor, ...]) -> int:
    """``tokens (B, T, D)`` through matrices, one product each, and T x T attention."""
    images, length, width = tokens.shape
    return 2 * images * length * (sum(w.numel() for w in weights) + 2 * length * width)


def _formulas() -> dict[Any, Formula]:
    """PyTorch's own formulas, and what they lack: fused attention on CPUs, fused layers of frozen transformers."""
    aten = torch.ops.aten
    return {
        **flop_registry,
        aten._scaled_dot_product_flash_attention_for_cpu: _cpu_attention,
        aten._scaled_dot_product_flash_attention_for_cpu_backward: _cpu_attention_backward,
        aten._transformer_encoder_layer_fwd: _encoder_layer,
        aten._native_multi_head_attention: _multi_head_attention,
    }


class FlopCount(TorchDispatchMode):
    """Counts FLOPs, forward and backward: two for every multiply-accumulate, so twice the MACs that papers often quote.

    Element-wise operations and normalisations are left out, as is usual. It counts what PyTorch's
    ``FlopCounterMode`` counts, but keeps no hold of modules or tensors, so that memory can be measured in the same run.

    Attributes:
        total: FLOPs so far.

    >>> with FlopCount() as flops:
    ...     product = torch.ones(2, 3) @ torch.ones(3, 4)
    >>> flops.total
    48
    """

    def __init__(self) -> None:
        super().__init__()
        self.total = 0
        self._formulas = _formulas()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        formula = self._formulas.get(func.overloadpacket)
        if formula is None and torch.is_inference_mode_enabled() and func is not torch.ops.prim.device.default:
            # Only in inference mode do composite operations such as `linear` arrive whole.
            with self:
                out = func.decompose(*args, **kwargs)
            if out is not NotImplemented:
                return out
        out = func(*args, **kwargs)
        if formula is not None:
            self.total += int(formula(*args, **kwargs, out_val=out))
        return out
