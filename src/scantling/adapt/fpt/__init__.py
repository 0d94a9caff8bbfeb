"""FPT and FPT+: fine-grained prompts that ask a frozen transformer's stored keys and values."""

from scantling.adapt.fpt.adapter import FPT
from scantling.adapt.fpt.features import FrozenFeatures

__all__ = ["FPT", "FrozenFeatures"]
