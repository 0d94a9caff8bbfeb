"""Draws the pictures of the documentation from phantoms, so that no patient's photograph is among them.

Run as ``python docs/draw_images.py``. The report's picture is a screenshot of a report and is not drawn here.
"""

from __future__ import annotations

from pathlib import Path

import matplotlib
import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from tensordict import TensorDict

from scantling.augment.fixed import FixedPolicy
from scantling.data.fundus import field_of_view_box
from scantling.data.phantoms import FundusBatch, draw_fundus
from scantling.data.preprocess import Preprocess
from scantling.data.readers import Picture

IMAGES = Path(__file__).parent / "images"
SIDE = 256
GRADES = 5


def main() -> None:
    """Draw all pictures."""
    matplotlib.use("Agg")
    batch = draw_fundus(160, size=SIDE, seed=3, sites=3, prior="balanced")
    contact_sheet(batch, IMAGES / "phantoms.png")
    truth(batch, IMAGES / "phantom_truth.png")
    pipeline(batch, IMAGES / "dr_grading.png")


def contact_sheet(batch: FundusBatch, path: Path) -> None:
    """Grades in columns, sites in rows."""
    sites = sorted(set(batch.site.tolist()))
    figure, axes = _grid(len(sites), GRADES)
    for row, site in enumerate(sites):
        for grade in range(GRADES):
            found = np.flatnonzero((batch.site == site) & (batch.grade == grade))
            axes[row][grade].imshow(batch.images[found[0]])
            if row == 0:
                axes[row][grade].set_title(f"grade {grade}", fontsize=9)
        place = axes[row][0].transAxes
        axes[row][0].text(-0.06, 0.5, f"site {site}", transform=place, rotation=90, va="center", ha="right", fontsize=9)
    _save(figure, path)


def truth(batch: FundusBatch, path: Path) -> None:
    """One phantom with its masks and the boxes of its lesions."""
    i = int(np.flatnonzero(batch.grade == 3)[0])
    figure, axes = _grid(1, 4)
    shown = (batch.images[i], batch.vessel[i], batch.disc[i].astype(int) + batch.cup[i], batch.images[i])
    for axis, pixels, title in zip(axes[0], shown, ("image", "vessels", "disc and cup", "lesions"), strict=True):
        axis.imshow(pixels, cmap="gray")
        axis.set_title(title, fontsize=9)
    for _, left, top, right, bottom in batch.boxes[batch.boxes[:, 0] == i].tolist():
        size = (right - left, bottom - top)
        axes[0][3].add_patch(Rectangle((left, top), *size, fill=False, edgecolor="cyan", linewidth=0.7))
    _save(figure, path)


def pipeline(batch: FundusBatch, path: Path) -> None:
    """A photograph with a black border, the box that is kept, and what four training steps see of it."""
    i = int(np.flatnonzero(batch.grade == 4)[0])
    border = SIDE // 3
    photograph = np.pad(batch.images[i], ((0, 0), (border, border), (0, 0)))
    left, top, right, bottom = field_of_view_box(photograph)
    pixels, _ = Preprocess(size=SIDE, crop="fundus").apply(Picture(photograph, 0.0, 255.0))
    same = TensorDict({"image": torch.from_numpy(pixels).expand(4, -1, -1, -1)}, batch_size=[4])
    augmented = FixedPolicy()(same, torch.Generator().manual_seed(1))["image"].permute(0, 2, 3, 1).numpy()
    figure, axes = _grid(1, 6, widths=[photograph.shape[1] / SIDE, 1, 1, 1, 1, 1])
    axes[0][0].imshow(photograph)
    axes[0][0].add_patch(Rectangle((left, top), right - left - 1, bottom - top - 1, fill=False, edgecolor="cyan"))
    axes[0][0].set_title("photograph, box to keep", fontsize=9)
    axes[0][1].imshow(pixels.transpose(1, 2, 0))
    axes[0][1].set_title("cropped, resized", fontsize=9)
    for axis, seen in zip(axes[0][2:], augmented, strict=True):
        axis.imshow(seen)
    axes[0][2].set_title("augmented, four times", fontsize=9, loc="left")
    _save(figure, path)


def _grid(rows: int, columns: int, widths: list[float] | None = None) -> tuple[Figure, list]:
    shares = widths or [1.0] * columns
    figure = Figure(figsize=(1.45 * sum(shares), 1.55 * rows + 0.15), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False, width_ratios=shares)
    for axis in axes.flat:
        axis.set_axis_off()
    return figure, axes.tolist()


def _save(figure: Figure, path: Path) -> None:
    from PIL import Image

    figure.savefig(path, dpi=110)
    Image.open(path).convert("RGB").quantize(200).save(path, optimize=True)


if __name__ == "__main__":
    main()
