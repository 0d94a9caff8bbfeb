"""Backbones: any timm network as a feature extractor, with hub weights, the weights of a bundle, or none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from scantling.nets.create import create
from scantling.nets.frozen import bundle_backbone, fitted

if TYPE_CHECKING:
    from scantling.core.seams import Inputs


class Backbone(nn.Module):
    """A timm network without its head.

    Args:
        name: a timm architecture, such as ``resnet50``, ``convnext_tiny`` or ``vit_small_patch16_224``; a tag of
            published weights may follow a dot (``resnet50.tv_in1k``).
        inputs: size and channels of the images. Networks with position tables are built for this size.
        weights: ``none``, ``hub`` (timm's published weights of ``name``), or the path of a bundle whose backbone has
            the same architecture.
        drop_path: stochastic depth rate, where the architecture knows it.

    Attributes:
        features: width of the pooled features.

    Raises:
        RecipeError: an unknown architecture, or hub weights that cannot be fetched.
        BundleError: the bundle holds another architecture.
    """

    body: Any

    def __init__(self, name: str, inputs: Inputs, weights: str = "none", drop_path: float = 0.0) -> None:
        super().__init__()
        self.name = name
        self.body = create(name, inputs, pretrained=weights == "hub", num_classes=0, drop_path=drop_path)
        self.features: int = self.body.num_features
        if hasattr(self.body, "head_hidden_size"):
            self.features = self.body.head_hidden_size or self.features
        self.standardise = Standardise(inputs)
        if weights not in {"none", "hub"}:
            load_body(self.body, weights)

    def forward(self, images: Tensor) -> Tensor:
        """Pooled features ``(B, features)`` of images ``(B, C, H, W)`` in [0, 1]."""
        return self.body(self.standardise(images))

    def feature_map(self, images: Tensor) -> Tensor:
        """Feature map ``(B, F, h, w)`` before pooling; the tokens of a transformer are folded into a map."""
        return as_map(self.body.forward_features(self.standardise(images)), self.body, images.shape[-2:])

    def tapped(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """A feature map ``(B, F, h, w)`` that asks for a gradient, and the pooled features ``(B, features)`` from it.

        The map is the last one before pooling. Where a class token does the pooling, the outputs do not depend on the
        last tokens of the image at all: there the map is taken in front of the last block, in which the class token
        looks at them. Nothing before the map is kept for a gradient. Call it from one thread at a time.
        """
        taps: list[Tensor] = []

        def tap(features: Tensor) -> Tensor:
            # Everything up to here ran under no_grad, perhaps in the middle of a forward pass; now a graph begins.
            torch.set_grad_enabled(True)
            taps.append(as_map(features, self.body, images.shape[-2:]).detach().requires_grad_())
            return _from_map(taps[0], features)

        block = self._block_of_class_token()
        with torch.no_grad():
            if block is None:
                features = tap(self.body.forward_features(self.standardise(images)))
            else:
                hook = block.register_forward_pre_hook(lambda _, given: (tap(given[0]), *given[1:]))
                try:
                    features = self.body.forward_features(self.standardise(images))
                finally:
                    hook.remove()
            pooled = self.body.forward_head(features)
        return taps[0], pooled

    def _block_of_class_token(self) -> nn.Module | None:
        """The last block of a transformer with a class token."""
        blocks = getattr(self.body, "blocks", None)
        if getattr(self.body, "num_prefix_tokens", 0) and isinstance(blocks, (nn.Sequential, nn.ModuleList)):
            return blocks[-1]
        return None


class Standardise(nn.Module):
    """Subtract the mean and divide by the standard deviation of every channel."""

    mean: Tensor
    std: Tensor

    def __init__(self, inputs: Inputs) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(inputs.mean).view(1, -1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(inputs.std).view(1, -1, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Standardised images of the same shape."""
        return images.sub(self.mean).mul_(1 / self.std)


def load_body(body: nn.Module, path: str) -> None:
    """Copy the backbone of the bundle at ``path`` into ``body``, with its table of positions resampled where needed.

    Raises:
        BundleError: no bundle there, or its backbone has other tensors.
    """
    state, origin = bundle_backbone(path)
    body.load_state_dict(fitted(state, body, origin))


def as_map(features: Tensor, body: nn.Module, size: torch.Size) -> Tensor:
    """Fold tokens ``(B, prefix + h*w, F)`` into ``(B, F, h, w)``; channels-last maps are turned round."""
    if features.ndim == 3:
        height, width = _grid(features.shape[1], body, size)
        return features[:, features.shape[1] - height * width :].transpose(1, 2).unflatten(2, (height, width))
    if features.ndim == 4 and features.shape[-1] == getattr(body, "num_features", -1) != features.shape[1]:
        return features.permute(0, 3, 1, 2)
    return features


def _grid(tokens: int, body: nn.Module, size: torch.Size) -> tuple[int, int]:
    """Height and width of the map that the last ``h*w`` of so many tokens form, for images of this size."""
    known = getattr(getattr(body, "patch_embed", None), "grid_size", None)
    if known is not None and known[0] * known[1] <= tokens:
        return known[0], known[1]
    for count in (tokens - getattr(body, "num_prefix_tokens", 0), tokens):
        height = max(1, round((count * size[0] / size[1]) ** 0.5))
        if count % height == 0:
            return height, count // height
    return 1, tokens


def _from_map(folded: Tensor, features: Tensor) -> Tensor:
    """Undo :func:`as_map`: a map in the layout of ``features``, whose prefix tokens it keeps."""
    if features.ndim == 3:
        tokens = folded.flatten(2).transpose(1, 2)
        return torch.cat([features[:, : features.shape[1] - tokens.shape[1]], tokens], dim=1)
    return folded if folded.shape == features.shape else folded.permute(0, 2, 3, 1)
