"""Draws the picture of the page of SDICE from simulated embeddings: ``python docs/draw_sdice.py``."""

from __future__ import annotations

from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from scantling.assess import SDICEResult, sdice
from scantling.assess.histogram import BINS

IMAGES = Path(__file__).parent / "images"
CLASSES, EACH, WIDTH = 5, 200, 32
COLOURS = {"intra": "#0f6b74", "inter": "#c8553d"}


def main() -> None:
    """Draw it."""
    matplotlib.use("Agg")
    real = clusters(0, 1.0)
    held = clusters(1, 1.0)
    generator = np.random.default_rng(2)
    mixed = held[1].copy()
    rows = generator.permutation(len(mixed))[: len(mixed) // 2]
    mixed[rows] = generator.permutation(mixed[rows])
    cases = {
        "other real images": held,
        "images of a class too much alike": clusters(1, 0.8),
        "half of the labels wrong": (held[0], mixed),
        "every class in the same style": (held[0] + 0.7, held[1]),
    }
    figure = Figure(figsize=(11.2, 2.7), layout="constrained")
    for axis, (title, synthetic) in zip(figure.subplots(1, len(cases), sharey=True), cases.items(), strict=True):
        draw(axis, title, sdice(*real, *synthetic, histograms=True))
    axis.set_ylim(bottom=0)
    figure.legend(*axis.get_legend_handles_labels(), loc="outside lower center", ncols=4, frameon=False, fontsize=8.5)
    save(figure, IMAGES / "sdice.png")


def clusters(seed: int, spread: float) -> tuple[np.ndarray, np.ndarray]:
    """Embeddings round the centres of classes that have something in common, and their labels."""
    centres = np.random.default_rng(99).normal(size=(CLASSES, WIDTH)) * 0.8 + 0.5
    labels = np.repeat(np.arange(CLASSES), EACH)
    return centres[labels] + spread * np.random.default_rng(seed).normal(size=(len(labels), WIDTH)), labels


def draw(axis: Axes, title: str, found: SDICEResult) -> None:
    """Four curves: similarities of real and synthetic pairs, inside classes and between them."""
    middles = (np.arange(BINS // 32) + 0.5) * 64 / BINS - 1
    for kind, score in (("intra", found.intra), ("inter", found.inter)):
        assert score.histograms is not None
        for side, histogram in zip(("real", "synthetic"), score.histograms, strict=True):
            density = histogram.reshape(-1, 32).sum(1) / histogram.sum() * BINS / 64
            if side == "synthetic":
                axis.fill_between(middles, density, color=COLOURS[kind], alpha=0.2, linewidth=0)
            style = "--" if side == "synthetic" else "-"
            axis.plot(middles, density, style, color=COLOURS[kind], linewidth=1.4, label=f"{side} {kind}")
    axis.set_title(f"{title}\n({found.intra.gamma:.2f}, {found.inter.gamma:.2f})", fontsize=9)
    axis.set_xlim(-0.6, 1)
    axis.set_xlabel("cosine similarity", fontsize=8.5)
    axis.tick_params(labelsize=8)
    axis.spines[["top", "right"]].set_visible(False)


def save(figure: Figure, path: Path) -> None:
    """Write a small PNG."""
    from PIL import Image

    figure.savefig(path, dpi=110)
    Image.open(path).convert("RGB").quantize(200).save(path, optimize=True)


if __name__ == "__main__":
    main()
