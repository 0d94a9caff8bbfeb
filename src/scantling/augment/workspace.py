"""Memory for intermediate results, kept from one image to the next: it stays mapped and in the cache."""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence

import torch
from torch import Tensor

LARGEST = 8 * 1024 * 1024
"""Values above which memory is not kept."""


class _Kept(threading.local):
    def __init__(self) -> None:
        self.pieces: dict[str, Tensor] = {}


_kept = _Kept()


def workspace(name: str, shape: Sequence[int], device: torch.device) -> Tensor:
    """A float32 tensor of ``shape`` with arbitrary content, valid until the same thread asks for ``name`` again.

    Must not leave the computation that asked for it. On devices that have an allocator of their own it is fresh memory.
    """
    size = math.prod(shape)
    if device.type != "cpu" or size > LARGEST:
        return torch.empty(tuple(shape), device=device)
    piece = _kept.pieces.get(name)
    if piece is None or piece.numel() < size:
        with torch.inference_mode(False):
            piece = _kept.pieces[name] = torch.empty(size)
    return piece[:size].view(tuple(shape))
