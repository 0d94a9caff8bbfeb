"""Adapters: how a pretrained network is fitted to a task."""

from scantling.adapt.adaptformer import AdaptFormer
from scantling.adapt.anomaly_autoencoder import AnomalyAutoencoder
from scantling.adapt.anomaly_classifier import AnomalyClassifier
from scantling.adapt.anomaly_gaussian import ImageGaussian, PatchGaussian
from scantling.adapt.anomaly_memory import PatchMemory
from scantling.adapt.biometry import BiometryUNet
from scantling.adapt.bitfit import BitFit
from scantling.adapt.bottleneck import BottleneckAdapter
from scantling.adapt.dense_tokens import DenseTokens
from scantling.adapt.fpt import FPT
from scantling.adapt.full import FullFineTuning, LinearProbe
from scantling.adapt.ladder import LadderSideTuning
from scantling.adapt.last_blocks import LastBlocks
from scantling.adapt.layer_norm import LayerNormTuning
from scantling.adapt.lora import LoRA
from scantling.adapt.mix_style import MixStyleFineTuning, MixStyleUNet
from scantling.adapt.paired_eyes import PairedEyes
from scantling.adapt.quality_contrast import QualityContrast
from scantling.adapt.quality_distill import QualityDistill
from scantling.adapt.quality_embedding import QualityEmbedding, QualityPatches
from scantling.adapt.segmentation import UNet
from scantling.adapt.visual_prompts import VisualPrompts

__all__ = [
    "FPT",
    "AdaptFormer",
    "AnomalyAutoencoder",
    "AnomalyClassifier",
    "BiometryUNet",
    "BitFit",
    "BottleneckAdapter",
    "DenseTokens",
    "FullFineTuning",
    "ImageGaussian",
    "LadderSideTuning",
    "LastBlocks",
    "LayerNormTuning",
    "LinearProbe",
    "LoRA",
    "MixStyleFineTuning",
    "MixStyleUNet",
    "PairedEyes",
    "PatchGaussian",
    "PatchMemory",
    "QualityContrast",
    "QualityDistill",
    "QualityEmbedding",
    "QualityPatches",
    "UNet",
    "VisualPrompts",
]
