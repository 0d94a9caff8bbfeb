"""Encoders: what turns images into embeddings, kept beside the decoded images so that nothing is computed twice."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from scantling.core.batch import IMAGE, as_float
from scantling.core.bundle import META, WEIGHTS, find_bundle
from scantling.core.errors import BundleError, RecipeError
from scantling.core.seams import Derivation, Inputs
from scantling.data.preprocess import Preprocess

EMBEDDING = "embedding"
HUB = "hub:"
PIXELS = "pixels"


@dataclass(frozen=True)
class Encoder:
    """A way from image files to embeddings.

    Args:
        name: as it is told in results; holds no path.
        preprocess: how files become pixels.
        derivation: how pixels become the field ``embedding``, ``(N, D)`` float32.
    """

    name: str
    preprocess: Preprocess
    derivation: Derivation


def open_encoder(name: str, device: torch.device) -> Encoder:
    """An encoder by its name.

    Args:
        name: a run folder or a bundle, whose features before the head are taken; ``hub:<timm name>`` for published
            weights; or ``pixels`` for small grey thumbnails, without any network.
        device: where it computes.

    Raises:
        BundleError: no bundle there, or one whose network has no such features.
        RecipeError: an architecture that timm does not know, or weights that cannot be fetched.
    """
    if name == PIXELS:
        return Encoder("pixels, 16 x 16, grey", Preprocess(Thumbnails.SIZE, channels=1), Thumbnails())
    if name.startswith(HUB):
        return _published(name.removeprefix(HUB), device)
    return _trained(name, device)


class Thumbnails(Derivation):
    """Grey images of 16 x 16 pixels, less their mean: cosine similarity is then the correlation of pixels."""

    SIZE, SIDE = 64, 16

    def __init__(self) -> None:
        self.settings: dict[str, Any] = {"side": self.SIDE}

    def __call__(self, images: Tensor) -> dict[str, Tensor]:
        """``embedding (B, 256)`` of images ``(B, C, H, W)`` uint8."""
        small = F.adaptive_avg_pool2d(images.float().mean(1, keepdim=True), self.SIDE).flatten(1) / 255
        return {EMBEDDING: small - small.mean(1, keepdim=True)}


class PooledFeatures(Derivation):
    """What the head of a trained network reads.

    Args:
        adapter: the network, in evaluation mode.
        identity: hash of its weights and description.

    Raises:
        RecipeError: a network without a single linear head.
    """

    def __init__(self, adapter: Any, identity: str) -> None:
        from scantling.nets.pooled import classification_head

        self.adapter, self.head = adapter, classification_head(adapter)
        self.settings: dict[str, Any] = {"network": identity}

    def __call__(self, images: Tensor) -> dict[str, Tensor]:
        """``embedding (B, D)`` of images ``(B, C, H, W)`` uint8."""
        from tensordict import TensorDict

        from scantling.nets.pooled import features_read

        with features_read(self.head) as taken:
            self.adapter(as_float(TensorDict({IMAGE: images}, batch_size=[len(images)])))
        return {EMBEDDING: taken[0].flatten(1).float()}


class PublishedFeatures(Derivation):
    """Pooled features of a timm network with published weights.

    Args:
        body: the network without classifier, in evaluation mode.
        name: of the architecture and its weights.
        inputs: mean and deviation that it was trained with.
    """

    def __init__(self, body: nn.Module, name: str, inputs: Inputs) -> None:
        self.body, self.inputs = body, inputs
        self.settings: dict[str, Any] = {"timm": name}

    def __call__(self, images: Tensor) -> dict[str, Tensor]:
        """``embedding (B, D)`` of images ``(B, 3, H, W)`` uint8."""
        mean, std = (
            images.new_tensor(v, dtype=torch.float32)[:, None, None] for v in (self.inputs.mean, self.inputs.std)
        )
        return {EMBEDDING: self.body((images.float() / 255 - mean) / std).flatten(1)}


def _trained(path: str, device: torch.device) -> Encoder:
    from scantling.run.model import load

    model = load(path, device)
    bundle = find_bundle(path)
    if model.looks or model.adapter.wants:
        raise BundleError(
            "its network looks at every image more than once", where=path, do="use an encoder that reads one image"
        )
    try:
        derivation = PooledFeatures(model.adapter, _hash(path))
    except RecipeError as error:
        raise BundleError(error.what, where=path, do="use a model of classes, grades or findings") from error
    provenance = model.meta.get("provenance") or {}
    what = f"{provenance.get('recipe') or type(model.adapter).__name__} ({bundle.parent.parent.name or bundle.name})"
    return Encoder(what, model.preprocess, derivation)


def _published(name: str, device: torch.device) -> Encoder:
    from scantling.nets.create import create

    body: Any = create(name, Inputs(), pretrained=True, native_size=True, num_classes=0)
    about = body.pretrained_cfg
    channels, height, width = about.get("input_size", (3, 224, 224))
    inputs = Inputs((height, width), channels, tuple(about["mean"]), tuple(about["std"]))
    told = f"{about.get('architecture', name)}.{about.get('tag')}" if about.get("tag") else name
    return Encoder(f"timm {told}", Preprocess((height, width)), PublishedFeatures(body.eval().to(device), told, inputs))


def _hash(path: str) -> str:
    digest = hashlib.sha256()
    for name in (META, WEIGHTS):
        with (find_bundle(path) / name).open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()
