"""Paired eyes: the grade of one eye from the features of both eyes of a patient.

Source: Huang et al. 2023, Diagnostics 13(10):1664, section on paired features. The encoder is frozen and always in
evaluation mode; the released code lets its batch statistics drift in training, ours does not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from scantling.core.batch import FELLOW_IMAGE, FELLOW_PRESENT, IMAGE
from scantling.core.bundle import find_bundle, read_meta
from scantling.core.errors import BundleError
from scantling.core.seams import Adapter, Inputs
from scantling.nets.backbone import Backbone
from scantling.nets.paired_eyes import PairedEyeHead

if TYPE_CHECKING:
    from tensordict import TensorDict


class PairedEyes(Adapter):
    """Fusion of a graded eye and its fellow eye on a frozen single-eye encoder; only the fusion head learns.

    Args:
        outputs: values per image.
        inputs: the images the encoder was trained on.
        encoder: bundle of the single-eye model (or ``stage:<name>`` of an earlier stage of the same recipe).
        backbone: architecture of the encoder; only needed without a bundle.
        missing: what stands for a fellow eye that is not there: ``self`` repeats the graded eye, ``learned`` uses a
            feature vector that is learned.

    Raises:
        BundleError: the encoder's bundle has no backbone.
    """

    wants = (FELLOW_IMAGE, FELLOW_PRESENT)

    def __init__(
        self,
        outputs: int,
        inputs: Inputs,
        encoder: str = "none",
        backbone: str | None = None,
        missing: Literal["self", "learned"] = "self",
    ) -> None:
        super().__init__(outputs, inputs)
        if encoder != "none":
            settings = read_meta(find_bundle(encoder))["adapter"]["init_args"]
            backbone = settings.get("backbone")
        if backbone is None:
            raise BundleError("no backbone to build on", where=encoder, do="give the bundle of a single-eye model")
        self.architecture = backbone
        self.backbone = Backbone(backbone, inputs, encoder).requires_grad_(False)
        self.head = PairedEyeHead(self.backbone.features, outputs)
        self.absent = torch.nn.Parameter(torch.zeros(self.backbone.features)) if missing == "learned" else None

    def portable(self, settings: dict[str, Any]) -> dict[str, Any]:
        """Settings that need no encoder bundle."""
        return {**settings, "encoder": "none", "backbone": self.architecture}

    def train(self, mode: bool = True) -> PairedEyes:
        """Only the head follows the mode."""
        super().train(mode)
        self.backbone.eval()
        return self

    def forward(self, batch: TensorDict) -> Tensor:
        """Outputs ``(B, outputs)`` for the graded eye; without ``fellow_image`` every fellow eye counts as missing."""
        with torch.no_grad():
            graded = self.backbone(batch[IMAGE])
        return self.head(graded, self._fellow(batch, graded))

    def saliency_map(self, batch: TensorDict) -> tuple[Tensor, Tensor]:
        """Last feature map ``(B, F, h, w)`` of the graded eye and the outputs that follow from it."""
        features, graded = self.backbone.tapped(batch[IMAGE])
        return features, self.head(graded, self._fellow(batch, graded.detach()))

    def _fellow(self, batch: TensorDict, graded: Tensor) -> Tensor:
        """Features ``(B, F)`` of the other eyes."""
        images = batch.get(FELLOW_IMAGE, None)
        if images is None:
            return graded if self.absent is None else self.absent.expand(graded.shape)
        with torch.no_grad():
            features = self.backbone(images)
        return features if self.absent is None else torch.where(batch[FELLOW_PRESENT][:, None], features, self.absent)
