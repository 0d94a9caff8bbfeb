"""Augmentation: what happens to training batches on their device."""

from scantling.augment.cut_paste import CutPaste
from scantling.augment.fixed import FixedPolicy, NoPolicy
from scantling.augment.kornia_policy import KorniaPolicy
from scantling.augment.lesion_paste import LesionPaste
from scantling.augment.mixers import CMO, CutMix, Mixup, RareMixup, Remix, SPMix
from scantling.augment.policy import BigAug, PolicySpec, RandAugment, RandomPolicy, SearchedPolicy, TrivialAugment
from scantling.augment.saliency import ClassActivation, FineGrained, FromMask, SpectralResidual

__all__ = [
    "CMO",
    "BigAug",
    "ClassActivation",
    "CutMix",
    "CutPaste",
    "FineGrained",
    "FixedPolicy",
    "FromMask",
    "KorniaPolicy",
    "LesionPaste",
    "Mixup",
    "NoPolicy",
    "PolicySpec",
    "RandAugment",
    "RandomPolicy",
    "RareMixup",
    "Remix",
    "SPMix",
    "SearchedPolicy",
    "SpectralResidual",
    "TrivialAugment",
]
