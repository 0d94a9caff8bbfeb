"""What SDICE cannot see, in one call: copies, twins, fidelity, and other measures of diversity."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from scantling.assess.duplicates import near_duplicates
from scantling.assess.embedded import Embedded
from scantling.assess.frechet import frechet_distance
from scantling.assess.kernel_distance import kernel_distance
from scantling.assess.manifold import manifold
from scantling.assess.memorisation import memorisation
from scantling.assess.neighbours import nearest
from scantling.assess.vendi import vendi

Progress = Callable[[int, int], None]
NEIGHBOURS = 5


@dataclass(frozen=True)
class Companions:
    """Figures beside the index, and the neighbours that they come from.

    Args:
        figures: ``vendi`` (of both sets), ``precision``, ``recall``, ``density``, ``coverage``, ``frechet_distance``,
            ``kernel_distance``, ``near_duplicates``, ``memorisation``.
        to_real: similarity of every synthetic image to its nearest real image ``(M,)``.
        nearest_real: its row ``(M,)`` int64.
    """

    figures: dict[str, Any]
    to_real: np.ndarray
    nearest_real: np.ndarray


def companions(
    real: Embedded,
    synthetic: Embedded,
    generator: np.random.Generator,
    neighbours: int = NEIGHBOURS,
    progress: Progress | None = None,
) -> Companions:
    """All companions of the index on embeddings; labels do not count. Looks at all pairs, in blocks.

    Args:
        real: the real set.
        synthetic: the synthetic set.
        generator: draws the subsets of the kernel distance.
        neighbours: k of precision, recall, density and coverage.
        progress: called with images done and images in all.
    """
    one, two = real.unit_matrix(), synthetic.unit_matrix()
    total = len(one) + 2 * len(two)

    def told(before: int) -> Progress | None:
        return None if progress is None else lambda done, _: progress(before + done, total)

    among_real, _ = nearest(one, one, neighbours, True, told(0))
    among_synthetic, _ = nearest(two, two, neighbours, True, told(len(one)))
    to_real, index = nearest(two, one, 1, False, told(len(one) + len(two)))
    figures: dict[str, Any] = {
        "vendi": {"real": vendi(real), "synthetic": vendi(synthetic)},
        **_shares(one, two, among_real, among_synthetic),
        "neighbours": neighbours,
        "frechet_distance": frechet_distance(real.features, synthetic.features),
        "kernel_distance": kernel_distance(real.features, synthetic.features, generator),
        "near_duplicates": near_duplicates(_first(among_synthetic), _first(among_real)),
        "memorisation": memorisation(to_real[:, 0], index[:, 0], _first(among_real)),
    }
    return Companions(figures, to_real[:, 0].cpu().numpy(), index[:, 0].cpu().numpy())


def _shares(one: Tensor, two: Tensor, among_real: Tensor, among_synthetic: Tensor) -> dict[str, float]:
    k = min(among_real.shape[1], among_synthetic.shape[1])
    if not k:
        return dict.fromkeys(("precision", "recall", "density", "coverage"), float("nan"))
    return manifold(one, two, among_real[:, k - 1], among_synthetic[:, k - 1], k)


def _first(similarities: Tensor) -> Tensor:
    return similarities[:, 0] if similarities.shape[1] else similarities.flatten()
