"""Saliency from a network that was trained before: where it looked for the class that it predicts."""

from __future__ import annotations

import hashlib
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from tensordict import TensorDict
from torch import Tensor
from torch.nn import functional as F

from scantling.augment.saliency.detector import SaliencyDetector
from scantling.augment.saliency.grey import enlarged
from scantling.core.batch import IMAGE
from scantling.core.bundle import WEIGHTS, find_bundle
from scantling.core.errors import BundleError
from scantling.nets.grad_cam import evidence, grad_cam_map
from scantling.nets.trained import TrainedNetwork, load_network


class ClassActivation(SaliencyDetector):
    """Grad-CAM of a bundle's network for the class, grade or finding that it predicts.

    Use it where what matters neither stands out by its brightness nor has a mask; a plain network of the same data is
    enough to find it. The network is loaded when it is first needed.

    Args:
        bundle: a run folder or bundle whose network has a map to explain.

    Raises:
        BundleError: no bundle there, or one that looks twice at every image or has no map to explain.

    Source: Selvaraju et al. 2017, arXiv 1610.02391, eq. 1-2.
    """

    def __init__(self, bundle: str) -> None:
        self.bundle = find_bundle(bundle)
        self._network: TrainedNetwork | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Without the network, which every copy loads again."""
        return {**self.__dict__, "_network": None}

    @cached_property
    def settings(self) -> dict[str, Any]:  # type: ignore[override]
        """The weights, by a hash of their file: another network gives other maps, wherever it lies."""
        return {"weights": _file_hash(self.bundle / WEIGHTS)}

    def detect(self, batch: TensorDict) -> Tensor:
        """Maps ``(B, 1, H, W)`` float32 in [0, 1]; zero where nothing speaks for the prediction."""
        images = batch[IMAGE]
        size = (images.shape[-2], images.shape[-1])
        with torch.inference_mode(False), torch.enable_grad():
            network = self._loaded(images.device)
            seen = F.interpolate(images.clone(), network.adapter.inputs.size, mode="bilinear", antialias=True)
            found = network.adapter.saliency_map(TensorDict({IMAGE: seen}, batch_size=[len(seen)]))
            if found is None:
                raise BundleError("its network has no map to explain", where=self.bundle, do="name another bundle")
            features, outputs = found
            wanted = evidence(network.objective, network.target, outputs)
            maps = grad_cam_map(features, wanted, network.adapter.inputs.size)
        return enlarged(maps.unsqueeze(1), size)

    def _loaded(self, device: torch.device) -> TrainedNetwork:
        if self._network is None:
            found = load_network(self.bundle)
            if found.looks:
                raise BundleError("its network looks at every image twice", where=self.bundle, do="name another bundle")
            found.adapter.eval().requires_grad_(False)
            found.objective.eval().requires_grad_(False)
            self._network = found
        self._network.adapter.to(device)
        return self._network


def _file_hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
