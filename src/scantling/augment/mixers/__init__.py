"""Mixers: samples of a batch mixed with one another, for labels that are scant or long-tailed."""

from scantling.augment.mixers.cmo import CMO
from scantling.augment.mixers.cutmix import CutMix
from scantling.augment.mixers.mixup import Mixup
from scantling.augment.mixers.rare_mixup import RareMixup
from scantling.augment.mixers.remix import Remix
from scantling.augment.mixers.spmix import SPMix

__all__ = ["CMO", "CutMix", "Mixup", "RareMixup", "Remix", "SPMix"]
