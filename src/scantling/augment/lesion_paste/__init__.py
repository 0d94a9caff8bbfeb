"""LesionPaste: bank of lesions, how many, where, and how they are laid over an image."""

from scantling.augment.lesion_paste.augment import AugmentSettings
from scantling.augment.lesion_paste.bank import Donor, LesionBank, make_bank
from scantling.augment.lesion_paste.synthesizer import LesionPaste

__all__ = ["AugmentSettings", "Donor", "LesionBank", "LesionPaste", "make_bank"]
