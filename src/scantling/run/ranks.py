"""Which process of a training this is."""

from __future__ import annotations

import os

RANKS = ("LOCAL_RANK", "NODE_RANK", "GROUP_RANK", "RANK", "SLURM_PROCID")


def is_worker() -> bool:
    """Whether another process of the same training prints and writes: this is not the first on the first machine."""
    return any(int(os.environ.get(name) or 0) > 0 for name in RANKS)
