"""Size of an optimiser's state where the optimiser cannot step on fake tensors."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import nn
from torch._subclasses.fake_tensor import unset_fake_temporarily

from scantling.run.memory_mode import storage_bytes, tensors_in

OptimizerFactory = Callable[[list[nn.Parameter]], torch.optim.Optimizer]


def state_bytes(make: OptimizerFactory, parameters: Iterable[nn.Parameter]) -> int:
    """Bytes of state, found by a real step on zeros for every distinct shape; exact where shapes decide the state.

    Args:
        make: makes the optimiser of a list of parameters.
        parameters: what it optimises; real, fake or meta, of any size: one at a time takes real memory.

    >>> state_bytes(torch.optim.Adam, [nn.Parameter(torch.ones(3, 4)), nn.Parameter(torch.ones(4))])
    136
    """
    shapes = [(p.shape, p.dtype) for p in parameters]
    with unset_fake_temporarily():
        sizes = {key: _one_state(make, *key) for key in set(shapes)}
    return sum(sizes[key] for key in shapes)


def _one_state(make: OptimizerFactory, shape: torch.Size, dtype: torch.dtype) -> int:
    parameter = nn.Parameter(torch.zeros(shape, dtype=dtype))
    parameter.grad = torch.zeros_like(parameter)
    optimizer = make([parameter])
    optimizer.step()
    return storage_bytes(tensors_in(dict(optimizer.state[parameter])))
