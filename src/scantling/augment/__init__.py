"""Augmentation: what happens to training batches on their device."""

from scantling.augment.fixed import FixedPolicy, NoPolicy
from scantling.augment.kornia_policy import KorniaPolicy

__all__ = ["FixedPolicy", "KorniaPolicy", "NoPolicy"]
