"""Draws the picture of the page of policies from phantoms: ``python docs/draw_policies.py``."""

from __future__ import annotations

from pathlib import Path

import matplotlib
import torch
from PIL import Image

from scantling.augment.policy import OPERATIONS, PolicySpec, SearchedPolicy, apply_drawn
from scantling.data.phantoms import draw_fundus
from scantling.run.contact_sheet import draw_sheet

FILE = Path(__file__).parent / "images" / "policies.png"
MAGNITUDES = (0, 0, 0, 5, 0, 8, 8, 7, 9, 9)


def main() -> None:
    """Two phantoms of two sites, each under every operation of AADG's space."""
    matplotlib.use("Agg")
    batch = draw_fundus(160, size=192, seed=3, sites=3, prior="balanced")
    chosen = [int((batch.site == site).nonzero()[0][3]) for site in (0, 2)]
    pixels = torch.from_numpy(batch.images[chosen]).permute(0, 3, 1, 2).contiguous()
    spec = PolicySpec(tuple(((name, m),) for name, m in zip(OPERATIONS, MAGNITUDES, strict=True)))
    policy, generator = SearchedPolicy(spec), torch.Generator().manual_seed(2)
    drawn = [policy.of(torch.full((len(pixels),), number), generator) for number in range(len(OPERATIONS))]
    tiles = [apply_drawn(pixels, {}, one)[0] for one in drawn]
    figure = draw_sheet(["image", *spec.names()], [pixels / 255, *tiles])
    figure.set_size_inches(13, 2.5)
    figure.savefig(FILE, dpi=100)
    Image.open(FILE).convert("RGB").quantize(200).save(FILE, optimize=True)


if __name__ == "__main__":
    main()
