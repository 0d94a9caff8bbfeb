"""Memory of large results, used again as soon as nobody holds them."""

from __future__ import annotations

import math
import weakref
from collections import deque
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

SMALLEST = 8 * 1024 * 1024
"""Bytes below which the ordinary allocator recycles memory by itself."""


class Recycler:
    """Gives CPU tensors like ``torch.empty``, out of memory that earlier ones have left.

    The system hands out fresh pages for every large tensor, and touching them for the first time can take longer than
    computing what they will hold. A training loop drops each batch before the next but one, so that two pieces of
    memory serve all batches. A tensor's memory comes back when the last tensor that shares it is gone.

    Args:
        keep: pieces of unused memory to hold at most.

    >>> memory = Recycler()
    >>> first = memory.empty((4, 3, 512, 512))
    >>> place = first.data_ptr()
    >>> del first
    >>> memory.empty((12, 512, 512)).data_ptr() == place
    True
    """

    def __init__(self, keep: int = 2) -> None:
        self.keep = keep
        self._free: deque[Tensor] = deque(maxlen=keep)

    def __reduce__(self) -> tuple[Any, ...]:
        return Recycler, (self.keep,)

    def empty(self, shape: Sequence[int], dtype: torch.dtype = torch.float32) -> Tensor:
        """A contiguous CPU tensor of ``shape`` and ``dtype`` with arbitrary content."""
        size = math.prod(shape) * dtype.itemsize
        if size < SMALLEST:
            return torch.empty(tuple(shape), dtype=dtype)
        owner = self._take(size)
        lease = owner.numpy()
        weakref.finalize(lease, self._free.append, owner).atexit = False
        return torch.from_numpy(lease).view(dtype).view(tuple(shape))

    def _take(self, size: int) -> Tensor:
        others: list[Tensor] = []
        found: Tensor | None = None
        # Single operations on a deque are safe among threads, and memory may come back at any moment and in any thread.
        while found is None:
            try:
                piece = self._free.pop()
            except IndexError:
                break
            if piece.numel() == size:
                found = piece
            else:
                others.append(piece)
        self._free.extend(reversed(others))
        return torch.empty(size, dtype=torch.uint8) if found is None else found
