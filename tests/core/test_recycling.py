"""Memory is used again, but never while somebody holds it."""

from __future__ import annotations

import copy
import pickle

import torch

from scantling.core.recycling import Recycler

SHAPE = (4, 3, 512, 512)


def test_memory_comes_back_when_the_last_view_is_gone():
    memory = Recycler()
    first = memory.empty(SHAPE)
    place, row = first.data_ptr(), first[2]
    del first
    second = memory.empty(SHAPE)
    assert second.data_ptr() != place
    del row
    assert memory.empty(SHAPE).data_ptr() == place


def test_tensors_held_at_the_same_time_do_not_share():
    memory = Recycler()
    held = [memory.empty(SHAPE).fill_(i) for i in range(4)]
    assert [t.unique().tolist() for t in held] == [[0.0], [1.0], [2.0], [3.0]]


def test_it_keeps_no_more_than_it_should_and_any_type():
    memory = Recycler(keep=1)
    held = [memory.empty(SHAPE, dtype) for dtype in (torch.float32, torch.int64, torch.uint8)]
    assert [t.dtype for t in held] == [torch.float32, torch.int64, torch.uint8]
    assert all(t.shape == SHAPE and t.is_contiguous() for t in held)
    del held
    assert len(memory._free) == 1


def test_copies_start_empty():
    memory = Recycler(keep=3)
    memory.empty(SHAPE)
    for other in (copy.deepcopy(memory), pickle.loads(pickle.dumps(memory))):  # noqa: S301
        assert (other.keep, len(other._free)) == (3, 0)


def test_threads_never_get_the_same_memory():
    from concurrent.futures import ThreadPoolExecutor

    memory = Recycler(keep=3)

    def use(number: int) -> bool:
        mine = memory.empty((3, 1024, 1024) if number % 2 else (4, 1024, 1024)).fill_(number)
        return bool((mine == number).all())

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(use, range(60)))
