"""Adapters: how a pretrained network is fitted to a task."""

from scantling.adapt.full import FullFineTuning, LinearProbe
from scantling.adapt.paired_eyes import PairedEyes
from scantling.adapt.segmentation import UNet

__all__ = ["FullFineTuning", "LinearProbe", "PairedEyes", "UNet"]
