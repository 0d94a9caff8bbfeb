"""Bytes of the tensors that are alive, followed operation by operation, for real and for fake tensors alike."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


def tensors_in(tree: Any) -> list[Tensor]:
    """All tensors in nested dicts, lists, tuples or TensorDicts.

    >>> import torch
    >>> [len(t) for t in tensors_in({"a": torch.zeros(2), "b": [torch.zeros(3), "text"]})]
    [2, 3]
    """
    if callable(getattr(tree, "values", None)) and callable(getattr(tree, "items", None)):
        return [t for value in tree.values() for t in tensors_in(value)]
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]


def storage_bytes(tensors: Iterable[Tensor]) -> int:
    """Bytes behind some tensors; tensors that share memory count once, and a view counts as the whole of its memory.

    >>> import torch
    >>> x = torch.zeros(10)
    >>> storage_bytes([x, x[:2], torch.zeros(1)])
    44
    """
    storages = {id(s): s for s in (t.untyped_storage() for t in tensors)}
    return sum(s.nbytes() for s in storages.values())


class LiveBytes(TorchDispatchMode):
    """Counts the bytes of memory that operations under this mode create, from their birth to their release.

    What is counted: the results of operations, gradients and optimiser state among them. What is not: memory announced
    by :meth:`ignore`, and views of it; working memory that a kernel takes and gives back before it returns.

    Args:
        device: type of the device whose memory counts. A fake tensor counts on the device that it pretends to be on.

    Attributes:
        live: bytes alive now.
        peak: the most that was alive since :meth:`restart_peak`.

    >>> import torch
    >>> with LiveBytes() as memory:
    ...     a = torch.ones(100)
    ...     b = a.view(10, 10) + 1
    ...     del a
    >>> memory.live, memory.peak
    (400, 800)
    """

    def __init__(self, device: str = "cpu") -> None:
        super().__init__()
        self.device = device
        self.live = self.peak = 0
        self._known: set[int] = set()

    def ignore(self, tensors: Iterable[Tensor]) -> None:
        """Leave the memory behind ``tensors`` out of the count, for as long as it lives."""
        for tensor in tensors:
            self._follow(tensor, 0)

    def restart_peak(self) -> None:
        """Let ``peak`` start again from what is alive now."""
        self.peak = self.live

    def _follow(self, tensor: Tensor, nbytes: int) -> None:
        storage = tensor.untyped_storage()
        key = id(storage)
        if key in self._known:
            return
        self._known.add(key)
        self.live += nbytes
        self.peak = max(self.peak, self.live)
        weakref.finalize(storage, self._release, key, nbytes).atexit = False

    def _release(self, key: int, nbytes: int) -> None:
        self._known.discard(key)
        self.live -= nbytes

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(out):
            if isinstance(leaf, Tensor) and leaf.device.type == self.device:
                self._follow(leaf, leaf.untyped_storage().nbytes())
        return out
