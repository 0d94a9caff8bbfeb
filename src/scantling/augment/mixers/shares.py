"""Random weights of the two images of a mix."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from scantling.core.errors import RecipeError


def beta_shares(alpha: float, number: int, generator: torch.Generator) -> Tensor:
    """Draws ``(number,)`` float32 in [0, 1] from Beta(alpha, alpha).

    Args:
        alpha: 1 is the uniform distribution; towards 0 one of the two images has almost all.
        number: how many.
        generator: on the CPU; one number of it seeds the draws.
    """
    seed = int(torch.randint(2**62, (1,), generator=generator))
    return torch.from_numpy(np.random.default_rng(seed).beta(alpha, alpha, number)).float()


def check_alpha(alpha: float) -> None:
    """Raise a RecipeError for a parameter of the Beta distribution that is not above 0."""
    if not alpha > 0:
        raise RecipeError(f"alpha {alpha:g}", where="task.mixer", do="give a number above 0")
