"""Policies made of operations with magnitudes: searched ones, random ones, and the common baselines.

``apply_codes`` is the whole of it for a search: every image gets its own operations and magnitudes, all in one call.
"""

from scantling.augment.operations import MAGNITUDES, OPERATIONS
from scantling.augment.policy.apply import Drawn, apply_codes, apply_drawn
from scantling.augment.policy.big_aug import BigAug
from scantling.augment.policy.framing import Frame, Framing
from scantling.augment.policy.rand_augment import RandAugment
from scantling.augment.policy.random_policy import RandomPolicy
from scantling.augment.policy.searched import SearchedPolicy
from scantling.augment.policy.spec import PolicySpec
from scantling.augment.policy.trivial_augment import TrivialAugment

__all__ = [
    "MAGNITUDES",
    "OPERATIONS",
    "BigAug",
    "Drawn",
    "Frame",
    "Framing",
    "PolicySpec",
    "RandAugment",
    "RandomPolicy",
    "SearchedPolicy",
    "TrivialAugment",
    "apply_codes",
    "apply_drawn",
]
