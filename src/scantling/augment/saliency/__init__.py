"""Saliency: a map of what stands out in every image, for mixers that must know where the lesion is."""

from scantling.augment.saliency.class_activation import ClassActivation
from scantling.augment.saliency.detector import SaliencyDetector
from scantling.augment.saliency.fine_grained import FineGrained
from scantling.augment.saliency.from_mask import FromMask
from scantling.augment.saliency.spectral_residual import SpectralResidual

__all__ = ["ClassActivation", "FineGrained", "FromMask", "SaliencyDetector", "SpectralResidual"]
