"""CMO: CutMix that puts rare objects into the rich backgrounds of common classes.

Source: Park et al. 2022, The Majority Can Help the Minority: Context-rich Minority Oversampling, CVPR, arXiv
2112.00412.
"""

from __future__ import annotations

from scantling.augment.mixers.cutmix import CutMix
from scantling.data.samplers import Sampler


class CMO(CutMix):
    """CMO: boxes drawn class-balanced are put into images drawn as they come.

    Args:
        alpha: of the Beta distribution of the area that stays, above 0.
        probability: share of the rows that are mixed, in [0, 1].
        partners: sampler that draws what is put in; ``data.sampler`` draws the backgrounds and should be ``instance``.
        warmup_epochs: epochs at the start in which nothing is mixed.
        last_epochs: epochs at the end in which nothing is mixed.

    Raises:
        RecipeError: a value out of range.
    """

    def __init__(
        self,
        alpha: float = 1.0,
        probability: float = 0.5,
        partners: Sampler | None = "class_balanced",
        warmup_epochs: int = 0,
        last_epochs: int = 0,
    ) -> None:
        super().__init__(alpha, probability, partners, warmup_epochs, last_epochs)
