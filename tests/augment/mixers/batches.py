"""Batches that tests of mixers share."""

from __future__ import annotations

import torch
from tensordict import TensorDict

from scantling.core.seams import Inputs, Mixer
from scantling.core.target import parse_target

COUNTS = torch.tensor([900, 90, 10])
TARGET = parse_target("class:common|medium|rare")
INPUTS = Inputs((32, 32), 3)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def batch(rows: int = 16, seed: int = 0, size: int = 32) -> TensorDict:
    """Random images, maps and labels; ``index`` tells the rows apart."""
    draws = generator(seed)
    fields = {
        "image": torch.rand(rows, 3, size, size, generator=draws),
        "saliency": torch.rand(rows, 1, size, size, generator=draws),
        "label": torch.randint(0, 3, (rows,), generator=draws),
        "index": torch.arange(rows),
    }
    return TensorDict(fields, batch_size=[rows])


def configured(mixer: Mixer, size: tuple[int, int] = (32, 32)) -> Mixer:
    mixer.configure(TARGET, Inputs(size), COUNTS)
    return mixer
