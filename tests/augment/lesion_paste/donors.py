"""Donors and normal images for the tests of LesionPaste."""

from __future__ import annotations

import numpy as np
import torch
from tensordict import TensorDict

from scantling.augment.lesion_paste import AugmentSettings, Donor, LesionPaste, make_bank

SIZE = 64
PLAIN = AugmentSettings((1.0, 1.0), False, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
"""No augmentation at all."""


def donor(kinds: int = 2, seed: int = 0, size: int = SIZE) -> Donor:
    """Noise with, of each kind, three squares of different sizes and colours that do not touch."""
    rng = np.random.default_rng(seed)
    image = rng.integers(60, 120, (3, size, size)).astype(np.uint8)
    mask = np.zeros((size, size), dtype=np.uint8)
    for kind in range(1, kinds + 1):
        for number, side in enumerate((2, 3, 5)):
            top, left = 4 + 18 * number, 4 + 12 * (kind - 1)
            mask[top : top + side, left : left + side] = kind
            image[:, top : top + side, left : left + side] = rng.integers(150, 250, (3, side, side))
    return Donor(image, mask)


def paster(kinds: int = 2, donors: int = 1, **settings) -> LesionPaste:
    """A synthesizer with lesions of :func:`donor`, anywhere in the image unless told otherwise."""
    made = LesionPaste(**{"region": "everywhere", "margin": [0.0], **settings})
    made.use(make_bank([donor(kinds, seed) for seed in range(donors)], [f"t{k}" for k in range(kinds)]))
    return made


def normals(count: int = 6, size: int = SIZE, channels: int = 3) -> TensorDict:
    """Noise images with their rows."""
    image = torch.rand(count, channels, size, size, generator=torch.Generator().manual_seed(1))
    return TensorDict({"image": image, "index": torch.arange(count)}, batch_size=[count])
