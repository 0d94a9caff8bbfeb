"""Augmentation: what happens to training batches on their device."""

from scantling.augment.fixed import FixedPolicy, NoPolicy

__all__ = ["FixedPolicy", "NoPolicy"]
