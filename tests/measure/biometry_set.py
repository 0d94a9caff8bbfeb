"""Drawn heads, abdomens and femurs with their masks; test files take ``write`` from here."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

PLANES = ("head", "abdomen", "femur")
RATIO = {"head": 0.78, "abdomen": 0.95, "femur": 0.16}


def draw(plane: str, size: tuple[int, int], rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, float]:
    """A frame and its mask, uint8, and the longer semi-axis in pixels."""
    y, x = np.mgrid[: size[0], : size[1]]
    turn, a = rng.uniform(0, np.pi), rng.uniform(0.24, 0.36) * size[0]
    x, y = x - size[1] / 2 - rng.uniform(-5, 5), y - size[0] / 2 - rng.uniform(-5, 5)
    u, v = x * np.cos(turn) + y * np.sin(turn), y * np.cos(turn) - x * np.sin(turn)
    b = a * RATIO[plane]
    if plane == "femur":
        mask = (abs(u) <= a) & (abs(v) <= b)
        image = 60 + 150.0 * mask
    else:
        radius = np.hypot(u / a, v / b)
        mask = radius <= 1
        image = 60 + (60.0 * mask if plane == "abdomen" else 150.0 * (abs(radius - 0.94) < 0.07))
    image = np.clip(image * rng.gamma(14, 1 / 14, size), 0, 255)
    return image.astype(np.uint8), (255 * mask).astype(np.uint8), float(a)


def write(
    folder: Path, n: int = 36, size: tuple[int, int] = (60, 80), spacing: str | None = "2.2", seed: int = 0
) -> Path:
    """Images, masks and a manifest; three planes of each patient, the last third of the patients for validation."""
    rng, rows = np.random.default_rng(seed), []
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(n):
        plane = PLANES[i % 3]
        image, mask, _ = draw(plane, size, rng)
        Image.fromarray(image).save(folder / f"{i}.png")
        Image.fromarray(mask).save(folder / f"{i}_mask.png")
        split = "train" if i // 3 < 2 * n // 9 else "val"
        rows.append(
            {"image": f"{i}.png", "mask": f"{i}_mask.png", "plane": plane, "patient": f"p{i // 3}", "split": split}
        )
    table = pd.DataFrame(rows).assign(target="biometry:head|abdomen|femur")
    if spacing is not None:
        table["pixel_spacing"] = spacing
    table.to_csv(folder / "manifest.csv", index=False)
    return folder / "manifest.csv"
