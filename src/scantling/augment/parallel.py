"""A batch on a CPU, a few images at a time, on as many threads as torch uses."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from threading import Barrier

import torch
from torch import Tensor

CACHED_VALUES = 2**18
"""Values of the images that a CPU works on at a time, so that they stay in its cache from step to step."""


def in_parts(images: Tensor, work: Callable[[slice], None], cached: int = CACHED_VALUES) -> None:
    """Call ``work`` for slices of a batch that cover ``images (B, C, H, W)``; without gradients.

    On a CPU the slices hold a few images each, of ``cached`` values together, and are worked on by threads; on other
    devices there is one slice.
    """
    if not len(images):
        return
    together = len(images)
    if images.device.type == "cpu":
        together = max(1, cached // images[0].numel())
    parts = [slice(start, start + together) for start in range(0, len(images), together)]
    inference, threads = torch.is_inference_mode_enabled(), torch.get_num_threads()

    def guarded(part: slice) -> None:
        with torch.inference_mode(inference), torch.no_grad():
            work(part)

    if images.device.type != "cpu" or threads == 1 or len(parts) == 1:
        for part in parts:
            guarded(part)
    else:
        list(_workers(threads).map(guarded, parts))


@lru_cache(maxsize=1)
def _workers(count: int) -> ThreadPoolExecutor:
    """Threads that work on one image each, which scales better than several threads on every single operation."""
    pool = ThreadPoolExecutor(count, "augment", initializer=torch.set_num_threads, initargs=(1,))
    started = Barrier(count)
    list(pool.map(lambda _: started.wait(), range(count)))
    # The workers' setting holds for themselves and for threads that start later; it must not reach the latter.
    torch.set_num_threads(count)
    return pool


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_workers.cache_clear)
