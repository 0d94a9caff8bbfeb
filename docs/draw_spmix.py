"""Draws the picture of the page of SPMix from dermoscopy phantoms: ``python docs/draw_spmix.py``."""

from __future__ import annotations

from pathlib import Path

import matplotlib
import numpy as np
import torch
from matplotlib.figure import Figure
from torch.nn import functional as F

from scantling.augment import FineGrained
from scantling.augment.mixers.patch_ratios import patch_ratios, patch_scores
from scantling.augment.mixers.rare_side import blend
from scantling.data.phantoms import SkinBatch, draw_skin

IMAGES = Path(__file__).parent / "images"
SIZE, PATCH = 224, 16
RARE, COMMON = 5, 1
LARGEST, SMALLEST = 0.10, 0.03
"""Share of the image that a lesion fills, for one that a reader sees at once."""


def main() -> None:
    """Draw it."""
    matplotlib.use("Agg")
    batch = draw_skin(150, size=SIZE, seed=5, imbalance=2.0)
    chosen = [pick(batch, label) for label in (RARE, COMMON)]
    images = torch.from_numpy(batch.images[chosen]).permute(0, 3, 1, 2).contiguous()
    saliency = FineGrained()(images)["saliency"].float() / 255
    scores = patch_scores(saliency, PATCH)
    ratio = patch_ratios(scores[:1], scores[1:])
    pixels = images.float() / 255
    mixes = [blend(pixels[:1], pixels[1:], weight) for weight in (ratio, torch.full_like(ratio, 0.65))]
    panels = [
        ("rare, labelled", shown(pixels[0])),
        ("its saliency", saliency[0, 0]),
        ("common", shown(pixels[1])),
        ("its saliency", saliency[1, 0]),
        ("weight of the rare", F.interpolate(ratio, SIZE, mode="nearest")[0, 0]),
        ("SPMix", shown(mixes[0][0])),
        ("weight 0.65 all over", shown(mixes[1][0])),
    ]
    figure = Figure(figsize=(1.5 * len(panels), 1.75), layout="constrained")
    for axis, (title, panel) in zip(figure.subplots(1, len(panels)), panels, strict=True):
        low, high = (0.5, 0.8) if title.startswith("weight of") else (0, 1)
        axis.imshow(panel, cmap="magma", vmin=low, vmax=high)
        axis.set_title(title, fontsize=9)
        axis.set_axis_off()
    save(figure, IMAGES / "spmix.png")


def pick(batch: SkinBatch, label: int) -> int:
    """The image of a class whose lesion is the largest among those of middling size."""
    share = batch.mask.mean((1, 2))
    share[(batch.label != label) | (share > LARGEST) | (share < SMALLEST)] = 0
    return int(share.argmax())


def shown(image: torch.Tensor) -> np.ndarray:
    """``(C, H, W)`` to ``(H, W, C)``."""
    return image.permute(1, 2, 0).clamp(0, 1).numpy()


def save(figure: Figure, path: Path) -> None:
    """Write a small PNG."""
    from PIL import Image

    figure.savefig(path, dpi=110)
    Image.open(path).convert("RGB").quantize(200).save(path, optimize=True)


if __name__ == "__main__":
    main()
