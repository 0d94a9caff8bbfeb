"""How fast and how exact measuring is: masks a second on one core, and errors of fits to true outlines.

Speed: masks of heads and femurs at 400 x 270 pixels, whole, pierced and bitten, from cleaning to the row with length,
age and reasons. Exactness: HC18's published ellipses, fitted from points of their outline and from
masks drawn at the stored size, against the published head circumference.

    python bench/measure_speed.py [--data hc18_half] [--masks 200] [--repeats 5]
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

from scantling.core.files import write_json
from scantling.data.layouts._outlines import shape_of
from scantling.data.layouts.hc18 import load
from scantling.data.shapes import fill_ellipses, fill_rectangles
from scantling.measure import Ellipses, fit_outline, measure_planes
from scantling.measure.ellipse import METHODS
from scantling.run.bench import machine
from scantling.run.bundle import now, versions

HERE = Path(__file__).resolve().parent
SHAPE = (270, 400)
POINTS = 100
BATCH = 64


def structures(count: int, seed: int = 0) -> dict[str, tuple[str, np.ndarray]]:
    """Kinds of masks ``(count, 270, 400)`` with their planes."""
    rng = np.random.default_rng(seed)
    centre = np.array([200.0, 135.0]) + rng.uniform(-20, 20, (count, 2))
    long = rng.uniform(70, 105, count)
    angle = rng.uniform(-1.5, 1.5, count)
    heads = fill_ellipses(SHAPE, centre, np.stack([long, 0.78 * long], 1), angle)
    femurs = fill_rectangles(SHAPE, centre, np.stack([1.6 * long, 0.2 * long], 1), angle)
    pierced = heads.copy()
    pierced[:, 125:140, 190:205] = False
    pierced[:, 3:20, 3:20] = True
    bitten = heads & ~fill_ellipses(SHAPE, centre + 75.0, np.full((count, 2), 45.0), angle)
    blurred = heads.astype(np.float32)
    for axis in (1, 2):
        blurred = (np.roll(blurred, 1, axis) + blurred + np.roll(blurred, -1, axis)) / 3
    return {
        "heads": ("head", heads), "probability maps of heads": ("head", blurred), "heads with holes": ("head", pierced),
        "heads with a bite": ("head", bitten), "femurs": ("femur", femurs),
    }  # fmt: skip


def speed(count: int, repeats: int) -> dict[str, Any]:
    """Masks a second of processor time, of every kind."""
    kinds = structures(count)
    seconds: dict[str, list[float]] = {name: [] for name in kinds}
    for turn in range(repeats + 1):
        for name, (plane, masks) in kinds.items():
            started = time.process_time()
            measure_planes(masks, [plane] * count, (0.3, 0.3))
            if turn:
                seconds[name].append(time.process_time() - started)
    return {
        name: {"median": round(count / statistics.median(s), 1), "all": [round(count / v, 1) for v in s]}
        for name, s in seconds.items()
    }


def exactness(folder: Path, rows: int | None) -> dict[str, Any]:
    """Errors of the head circumference in millimetres, by what was fitted."""
    table = load(folder).head(rows)
    numbers = table[["cx", "cy", "semi_a", "semi_b", "angle_deg"]].to_numpy(dtype=float)
    ellipses = Ellipses(numbers[:, :2], numbers[:, 2:4], np.radians(numbers[:, 4]))
    spacing = table["pixel_spacing"].astype(float).to_numpy()
    told = table["hc_mm"].to_numpy(dtype=float)
    outlines = fit_outline(ellipses.points(POINTS) * spacing[:, None, None])
    found = {f"outline, {POINTS} points": outlines.circumference() - told}
    whole = fit_outline(np.round(ellipses.points(4 * POINTS)) * spacing[:, None, None])
    found["outline rounded to pixels"] = whole.circumference() - told
    shapes = np.array([shape_of(path) for path in table["image"]])
    for method in METHODS:
        errors = np.full(len(table), np.nan)
        for shape in np.unique(shapes, axis=0):
            same = np.flatnonzero((shapes == shape).all(1))
            for chosen in np.array_split(same, -(-len(same) // BATCH)):
                part = Ellipses(ellipses.centre[chosen], ellipses.semi_axes[chosen], ellipses.angle[chosen])
                masks = part.masks((int(shape[0]), int(shape[1])))
                sizes = np.repeat(spacing[chosen, None], 2, 1)
                measured = measure_planes(masks, ["head"] * len(chosen), sizes, fit=method, keep_doubtful=True)
                errors[chosen] = [row["hc"] - hc for row, hc in zip(measured, told[chosen], strict=True)]
        found[f"mask, {method}"] = errors
    rule = outlines.circumference("two_diameters") - told
    return {name: figures(errors) for name, errors in {**found, "two-diameter rule": rule}.items()}


def figures(errors: np.ndarray) -> dict[str, float]:
    """Mean and median absolute error, bias and worst, in millimetres."""
    absolute = np.abs(errors)
    return {
        "mean_absolute": round(float(np.nanmean(absolute)), 4),
        "median_absolute": round(float(np.nanmedian(absolute)), 4),
        "bias": round(float(np.nanmean(errors)), 4), "worst": round(float(np.nanmax(absolute)), 4),
        "missing": int(np.isnan(errors).sum()),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--data", type=Path, help="folder of HC18 with ellipses; left out, $SCANTLING_DATA/hc18_half")
    parser.add_argument("--rows", type=int, help="heads to fit; left out, all")
    parser.add_argument("--masks", type=int, default=200, help="masks of a kind")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("-o", "--out", type=Path, default=HERE / "results" / "measure_speed.json")
    arguments = parser.parse_args()
    home = os.environ.get("SCANTLING_DATA")
    folder = arguments.data or (Path(home) / "hc18_half" if home else None)
    content: dict[str, Any] = {
        "name": "measure_speed", "created": now(), "machine": machine(workers=1) | {"threads_a_worker": 1},
        "versions": versions(), "shape": list(SHAPE), "masks": arguments.masks,
        "masks_a_second": speed(arguments.masks, arguments.repeats),
    }  # fmt: skip
    if folder is not None and folder.is_dir():
        content["errors_mm"] = exactness(folder, arguments.rows)
    else:
        print("no HC18 with ellipses: exactness is left out")
    write_json(arguments.out, content)
    for name, rate in content["masks_a_second"].items():
        print(f"{name}: {rate['median']:.0f} masks a second")
    for name, error in content.get("errors_mm", {}).items():
        print(f"{name}: {error}")
    print(f"results: {arguments.out}")


if __name__ == "__main__":
    main()
