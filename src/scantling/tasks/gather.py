"""Rows of all processes in one tensor, exactly once each, shards of any length."""

from __future__ import annotations

import torch
from torch import Tensor, distributed


def gather_rows(rows: Tensor) -> Tensor:
    """Concatenate ``(n, ...)`` tensors over all processes; ``n`` may differ. Without processes: ``rows`` itself."""
    if not (distributed.is_available() and distributed.is_initialized()) or distributed.get_world_size() == 1:
        return rows
    world = distributed.get_world_size()
    lengths = [torch.zeros(1, dtype=torch.int64, device=rows.device) for _ in range(world)]
    distributed.all_gather(lengths, torch.tensor([len(rows)], dtype=torch.int64, device=rows.device))
    longest = int(max(int(n) for n in lengths))
    padded = rows.new_zeros((longest, *rows.shape[1:]))
    padded[: len(rows)] = rows
    parts = [torch.empty_like(padded) for _ in range(world)]
    distributed.all_gather(parts, padded)
    return torch.cat([part[: int(n)] for part, n in zip(parts, lengths, strict=True)])
