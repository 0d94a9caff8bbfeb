"""Degraded copies of good images, made on the fly."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from scantling.assess.quality.degradations import DEGRADATIONS, DRAWS
from scantling.core.batch import IMAGE, INDEX, LABEL, MASK, SYNTHETIC
from scantling.core.errors import RecipeError, nearest
from scantling.core.numbers import keys_of, uniform
from scantling.core.seams import Inputs, Synthesizer

if TYPE_CHECKING:
    from tensordict import TensorDict


class Degrade(Synthesizer):
    """Makes images worse: by one kind of fault, and sometimes by a second one on top.

    Args:
        kinds: of faults, names of :data:`scantling.assess.quality.degradations.DEGRADATIONS`; left out, all of them.
        severity: range that severities are drawn from, in (0, 1].
        second: share of images with two faults, in [0, 1].

    Raises:
        RecipeError: an unknown kind, or a setting outside its range.
    """

    def __init__(
        self,
        kinds: Sequence[str] | None = None,
        severity: tuple[float, float] = (0.05, 1.0),
        second: float = 0.3,
    ) -> None:
        self.kinds = tuple(DEGRADATIONS if kinds is None else kinds)
        strange = [kind for kind in self.kinds if kind not in DEGRADATIONS]
        if strange or not self.kinds:
            what = f"no degradation '{strange[0]}'{nearest(strange[0], DEGRADATIONS)}" if strange else "no degradation"
            raise RecipeError(what, where="task.synthesizer.kinds", do=f"use some of {', '.join(DEGRADATIONS)}")
        low, high = severity
        if not 0 < low <= high <= 1 or not 0 <= second <= 1:
            raise RecipeError(
                "severity lies in (0, 1], second in [0, 1]", where="task.synthesizer", do="as [0.05, 1.0] and 0.3"
            )
        self.severity, self.second = (low, high), second

    def configure(self, inputs: Inputs, preprocess: Any = None) -> None:
        """Nothing to read."""

    def __call__(self, batch: TensorDict, generator: torch.Generator) -> TensorDict:
        """The rows, degraded: ``image``, ``label`` 1, an empty ``mask``, ``synthetic`` True."""
        return self._worse(batch, torch.rand(len(batch), _NUMBERS, generator=generator))

    def by_row(self, batch: TensorDict, seed: int) -> TensorDict:
        """The same, but the fault of an image follows from the seed and its ``index`` alone."""
        return self._worse(batch, torch.from_numpy(uniform(keys_of(seed, _rows(batch)), _NUMBERS)).float())

    def ladder(self, images: Tensor, generator: torch.Generator, steps: int = 2) -> tuple[Tensor, Tensor]:
        """Every image with one fault at several severities.

        Args:
            images: ``(B, C, H, W)`` in [0, 1].
            generator: of the faults, on the CPU.
            steps: how many severities, from 1.

        Returns:
            Images ``(steps, B, C, H, W)`` and their severities ``(steps, B)``, rising.
        """
        numbers = torch.rand(len(images), _NUMBERS, generator=generator)
        low, high = self.severity
        severities = low + (high - low) * torch.rand(steps, len(images), generator=generator).sort(0).values
        return torch.stack([self.degraded(images, s, numbers) for s in severities]), severities

    def degraded(self, images: Tensor, severity: Tensor, numbers: Tensor) -> Tensor:
        """Images under the faults that ``numbers (B, N)`` in [0, 1) say, at these severities ``(B,)``."""
        numbers, severity = numbers.to(images.device), severity.to(images.device, images.dtype)
        count = len(self.kinds)
        first = (numbers[:, 0] * count).long().clamp(max=count - 1)
        other = (first + 1 + (numbers[:, 1] * max(1, count - 1)).long()) % count
        images = self._applied(images, first, severity, numbers[:, 4 : 4 + DRAWS])
        also = severity * (0.3 + 0.7 * numbers[:, 3]) * (numbers[:, 2] < self.second)
        return self._applied(images, other, also, numbers[:, 4 + DRAWS :])

    def _applied(self, images: Tensor, kind: Tensor, severity: Tensor, draws: Tensor) -> Tensor:
        out = images.clone()
        for number, name in enumerate(self.kinds):
            rows = ((kind == number) & (severity > 0)).nonzero()[:, 0]
            if len(rows):
                out[rows] = DEGRADATIONS[name](images[rows], severity[rows], draws[rows])
        return out

    def _worse(self, batch: TensorDict, numbers: Tensor) -> TensorDict:
        low, high = self.severity
        images = batch[IMAGE]
        out = batch.clone(recurse=False)
        out[IMAGE] = self.degraded(images, low + (high - low) * numbers[:, -1], numbers[:, :-1])
        out[LABEL] = torch.ones(len(images), dtype=torch.int64, device=images.device)
        out[MASK] = torch.zeros(len(images), *images.shape[-2:], dtype=torch.int64, device=images.device)
        out[SYNTHETIC] = torch.ones(len(images), dtype=torch.bool, device=images.device)
        return out


_NUMBERS = 4 + 2 * DRAWS + 1


def _rows(batch: TensorDict) -> np.ndarray:
    rows: np.ndarray = batch[INDEX].cpu().numpy()
    return rows
