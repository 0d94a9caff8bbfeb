"""Draws the pictures of fetal biometry from phantoms. Run as ``python docs/draw_biometry.py``."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from scantling.data.phantoms import draw_ultrasound
from scantling.measure import callipers, fit_ellipses, measure_planes, outline
from scantling.run.biometry_overlay import draw_callipers

IMAGES = Path(__file__).parent / "images"
WIDTH = 400


def main() -> None:
    """Draw both pictures."""
    phantoms(IMAGES / "phantoms_ultrasound.png")
    measured(IMAGES / "fetal_biometry.png")


def phantoms(path: Path) -> None:
    """Heads, abdomens and femurs in columns, scanners in rows."""
    batch = draw_ultrasound(48, size=270, sites=4, seed=1)
    first = [int(np.flatnonzero(batch.site == site)[0]) for site in range(4)]
    rows = [np.concatenate(list(batch.images[i : i + 3]), 1) for i in first]
    sheet = np.concatenate([np.concatenate(rows[:2], 1), np.concatenate(rows[2:], 1)], 0)
    Image.fromarray(sheet).quantize(48).save(path, optimize=True)


def measured(path: Path) -> None:
    """Each plane with its callipers; a head whose mask was bitten, by moments and by the robust fit."""
    batch = draw_ultrasound(9, size=WIDTH, seed=3)
    spacing = np.repeat(batch.spacing[:, None], 2, 1)
    shown = [3, 4, 5]
    rows = measure_planes(batch.mask[shown], batch.plane[shown].tolist(), spacing[shown])
    names = {"head": ("hc", "bpd", "ofd"), "abdomen": ("ac",), "femur": ("fl",)}
    top = []
    for i, row in zip(shown, rows, strict=True):
        told = "   ".join(f"{n.upper()} {row[n]:.1f} mm" for n in names[row["plane"]])
        age = f"{row['gestational_age_weeks']:.1f} weeks ({row['gestational_age_formula']})"
        top.append(draw_callipers(batch.images[i], outline(row), callipers(row), [told, age]))
    height, width = top[0].shape[:2]
    mask = batch.mask[3:4].copy()
    y, x = np.indices(mask.shape[1:])
    bite = batch.centre[3] + batch.semi_axes[3] * [0.75, -0.55]
    mask[0] &= np.hypot(x - bite[0], y - bite[1]) > 0.45 * batch.semi_axes[3, 0]
    bottom = [np.repeat(np.asarray(_enlarged(mask[0] * np.uint8(200), width, height))[..., None], 3, 2)]
    truth = batch.lengths[3, 0]
    for method in ("moments", "robust"):
        found = fit_ellipses(mask, spacing[3], method)
        error = float(found.circumference()[0]) - truth
        points = found.in_pixels(spacing[3]).points()[0]
        bottom.append(draw_callipers(batch.images[3], points, {}, [f"{method}: HC off by {error:+.1f} mm"]))
    sheet = np.concatenate([np.concatenate(top, 1), np.concatenate(bottom, 1)], 0)
    half = Image.fromarray(sheet).resize((sheet.shape[1] // 2, sheet.shape[0] // 2), Image.Resampling.LANCZOS)
    half.quantize(96).save(path, optimize=True)


def _enlarged(mask: np.ndarray, width: int, height: int) -> Image.Image:
    return Image.fromarray(mask).resize((width, height), Image.Resampling.NEAREST)


if __name__ == "__main__":
    main()
