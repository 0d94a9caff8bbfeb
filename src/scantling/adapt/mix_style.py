"""MixStyle: styles of feature maps mixed between the images of a batch, so that a network relies on them less.

Source: Zhou et al. 2021, "Domain Generalization with MixStyle", ICLR, arXiv 2104.02008, eqs. 3 to 6.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from scantling.adapt.full import FullFineTuning
from scantling.adapt.segmentation import UNet
from scantling.core.errors import RecipeError
from scantling.nets.unet import EncoderUNet

if TYPE_CHECKING:
    from scantling.core.seams import Inputs

STAGE_NAMES = (
    ("conv_0", "down_1", "down_2", "down_3"),
    ("layer1", "layer2", "layer3"),
    ("stages_0", "stages_1", "stages_2"),
    ("stages.0", "stages.1", "stages.2"),
    ("blocks.0", "blocks.1", "blocks.2"),
)
"""Names of the first stages: of MONAI's U-Net, ResNets, ConvNeXts and other networks of timm."""


def mix_styles(features: Tensor, weights: Tensor, partners: Tensor, epsilon: float = 1e-6) -> Tensor:
    """Features with the mean and deviation of each channel mixed with those of another image of the batch.

    Args:
        features: ``(B, C, H, W)``.
        weights: of an image's own style, ``(B,)`` in [0, 1]; 1 changes nothing.
        partners: row of the other image, ``(B,)``.
        epsilon: added to variances.

    Returns:
        ``(B, C, H, W)``. No gradient passes through the styles.
    """
    weights = weights.view(-1, 1, 1, 1)
    mean = features.mean((2, 3), keepdim=True).detach()
    deviation = (features.var((2, 3), keepdim=True, unbiased=False) + epsilon).sqrt().detach()
    mixed_mean = weights * mean + (1 - weights) * mean[partners]
    mixed_deviation = weights * deviation + (1 - weights) * deviation[partners]
    return (features - mean) / deviation * mixed_deviation + mixed_mean


class StyleMixing(nn.Module):
    """Mixes the styles of a batch of feature maps, in training only.

    Random numbers are those of torch's own generator, as for dropout; a task seeds it for every step.

    Args:
        probability: of mixing a batch at all.
        alpha: both parameters of the beta distribution of weights; small ones keep most styles nearly whole.

    Raises:
        RecipeError: no probability, or an alpha that is not above 0.
    """

    def __init__(self, probability: float = 0.5, alpha: float = 0.1) -> None:
        super().__init__()
        if not 0 <= probability <= 1:
            raise RecipeError(f"{probability} is no probability", where="mix_probability", do="use 0 to 1")
        if not alpha > 0:
            raise RecipeError(f"{alpha} is not above 0", where="mix_alpha", do="use 0.1")
        self.probability, self.alpha = probability, alpha

    def forward(self, features: Tensor) -> Tensor:
        """Features ``(B, C, H, W)`` of the same shape; in evaluation the same ones."""
        if not self.training or len(features) < 2 or float(torch.rand(())) >= self.probability:
            return features
        alpha = torch.full((len(features),), self.alpha)
        weights = torch.distributions.Beta(alpha, alpha).sample()
        partners = torch.randperm(len(features))
        return mix_styles(features, weights.to(features), partners.to(features.device))

    def after(self, module: nn.Module, given: object, features: Tensor) -> Tensor:
        """As a forward hook of a stage."""
        mixed: Tensor = self(features)
        return mixed


def mix_after(network: nn.Module, mixing: StyleMixing, stages: int) -> None:
    """Let ``mixing`` change what the first ``stages`` stages of a convolutional network give.

    Raises:
        RecipeError: a network whose stages are not known, or fewer stages than asked for.
    """
    modules = dict(network.named_modules())
    known_names = () if "patch_embed" in modules else STAGE_NAMES
    found = next((names for names in known_names if names[0] in modules), ())
    if not 1 <= stages <= len(found):
        known = f"this network has {len(found)} known stages" if found else "the stages of this network are not known"
        raise RecipeError(f"{stages} stages: {known}", where="mix_stages", do="use 1 or 2, and a convolutional network")
    for name in found[:stages]:
        modules[name].register_forward_hook(mixing.after)


class MixStyleUNet(UNet):
    """A U-Net whose first stages mix the styles of a batch's images while it learns.

    Args:
        outputs: classes of the mask.
        inputs: the images.
        backbone: a timm architecture as the encoder; left out, MONAI's BasicUNet.
        weights: of the encoder: ``none`` or ``hub``.
        width: channels of the first level of MONAI's BasicUNet, doubled at every level.
        mix_probability: of mixing the styles of a batch, after each stage anew.
        mix_alpha: both parameters of the beta distribution of weights.
        mix_stages: after how many of the first stages styles are mixed.
    """

    def __init__(
        self,
        outputs: int,
        inputs: Inputs,
        backbone: str | None = None,
        weights: str = "none",
        width: int = 16,
        mix_probability: float = 0.5,
        mix_alpha: float = 0.1,
        mix_stages: int = 2,
    ) -> None:
        super().__init__(outputs, inputs, backbone, weights, width)
        self.mixing = StyleMixing(mix_probability, mix_alpha)
        body = self.net.encoder if isinstance(self.net, EncoderUNet) else self.net.body
        mix_after(body, self.mixing, mix_stages)


class MixStyleFineTuning(FullFineTuning):
    """A backbone whose first stages mix the styles of a batch's images while it learns.

    Args:
        outputs: values per image.
        inputs: the images the network is built for.
        backbone: a convolutional architecture of timm.
        weights: ``none``, ``hub`` (published weights), or the path of a bundle with the same backbone.
        dropout: dropout before the head, in [0, 1).
        drop_path: stochastic depth of the backbone, where it knows it.
        mix_probability: of mixing the styles of a batch, after each stage anew.
        mix_alpha: both parameters of the beta distribution of weights.
        mix_stages: after how many of the first stages styles are mixed.
    """

    def __init__(
        self,
        outputs: int,
        inputs: Inputs,
        backbone: str = "resnet50",
        weights: str = "hub",
        dropout: float = 0.0,
        drop_path: float = 0.0,
        mix_probability: float = 0.5,
        mix_alpha: float = 0.1,
        mix_stages: int = 2,
    ) -> None:
        super().__init__(outputs, inputs, backbone, weights, dropout, drop_path)
        self.mixing = StyleMixing(mix_probability, mix_alpha)
        mix_after(self.backbone.body, self.mixing, mix_stages)
