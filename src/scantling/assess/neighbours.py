"""Nearest neighbours by cosine similarity, in blocks: nothing of the size of all pairs is ever held."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

_ELEMENTS = 1 << 22
Progress = Callable[[int, int], None]


def nearest(
    queries: Tensor, references: Tensor, k: int = 1, same: bool = False, progress: Progress | None = None
) -> tuple[Tensor, Tensor]:
    """The most similar references of every query.

    Args:
        queries: unit rows ``(N, D)``.
        references: unit rows ``(M, D)``.
        k: how many; fewer where there are fewer references.
        same: both are one set, and a row is not its own neighbour.
        progress: called with queries done and queries in all.

    Returns:
        Similarities ``(N, k)``, the highest first, and rows of the references ``(N, k)`` int64.
    """
    k = max(0, min(k, len(references) - same))
    similarity = torch.empty(len(queries), k, dtype=queries.dtype, device=queries.device)
    index = torch.empty(len(queries), k, dtype=torch.int64, device=queries.device)
    step = max(1, _ELEMENTS // max(1, len(references)))
    for start in range(0, len(queries), step):
        stop = min(start + step, len(queries))
        found = queries[start:stop] @ references.T
        if same:
            own = torch.arange(start, stop, device=queries.device)
            found[own - start, own] = -torch.inf
        similarity[start:stop], index[start:stop] = found.topk(k, dim=1)
        if progress is not None:
            progress(stop, len(queries))
    return similarity, index
