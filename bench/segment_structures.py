"""The recipe ``segment`` on structures that overlap: disc and cup of fundus phantoms, tested on a site never seen.

Phantoms of three sites; the third is kept for the test. Measured with and without test-time augmentation. It shows that
targets of overlapping structures work from manifest to figures; phantoms are easier than photographs.

    python bench/segment_structures.py [--work build/bench/segment_structures]

Writes bench/results/segment_structures.json and docs/images/segment_structures.png.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from scantling.core.files import write_json
from scantling.data.manifest import Manifest
from scantling.data.phantoms import write_fundus
from scantling.data.readers import read_mask, read_picture
from scantling.run.bench import machine
from scantling.run.bundle import now, versions
from scantling.run.evaluate import evaluate
from scantling.run.predict import predict
from scantling.run.report_pictures import with_mask
from scantling.run.train import train

ROOT = Path(__file__).resolve().parents[1]
NAME = "segment_structures"
SIZE, IMAGES, SEED = 96, 90, 0
SETTINGS: dict[str, Any] = {
    "data.image_size": SIZE,
    "data.crop": "fundus",
    "data.batch_size": 8,
    "task.patch_size": None,
    "task.patches": 1,
    "task.adapter.width": 8,
    "trainer.max_epochs": 20,
    "task.optimizer.lr": 0.01,
    "trainer.seed": SEED,
}


def main() -> None:
    """Draw, train, measure, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, default=ROOT / "build" / "bench" / NAME)
    work = parser.parse_args().work
    manifest = _manifest(work)
    started = time.perf_counter()
    run = train("segment", manifest, work / "run", overrides=SETTINGS, progress=False)
    minutes = (time.perf_counter() - started) / 60
    figures = {}
    for way in ("none", "flips", "scales"):
        content = evaluate(run.bundle, manifest, out=work / f"evaluation_{way}", augmentation=way).content  # type: ignore[arg-type]
        figures[way] = {key: content[key] for key in ("metrics", "per_class", "n", "unit", "tolerance")}
    result = {
        "kind": "structures", "images": IMAGES, "size": SIZE, "settings": SETTINGS, "training_minutes": minutes,
        "figures": figures, "machine": machine(1), "versions": versions(), "created": now(),
    }  # fmt: skip
    write_json(ROOT / "bench" / "results" / f"{NAME}.json", result)
    _picture(work, manifest, run.bundle)


def _manifest(work: Path) -> Path:
    """Phantoms with a column a structure; the last site is the test."""
    drawn = Manifest.read(write_fundus(work / "phantoms", n=IMAGES, sites=3, size=SIZE, seed=SEED))
    table = drawn.table
    sites = sorted(table["site"].unique())
    patients = table["patient"].unique()
    held = set(patients[::5])
    split = np.where(table["site"] == sites[-1], "test", np.where(table["patient"].isin(held), "val", "train"))
    columns = {"image": table["image"], "mask:disc": table["disc"], "mask:cup": table["cup"], "site": table["site"]}
    kept = pd.DataFrame({**columns, "patient": table["patient"], "split": split, "target": "masks:disc|cup"})
    path = drawn.folder / "structures.csv"
    kept.to_csv(path, index=False)
    return path


def _picture(work: Path, manifest: Path, bundle: Path) -> None:
    found = predict(bundle, manifest, work / "out", split="test", augmentation="scales", uncertainty=True).table
    order = found["uncertainty"].argsort().to_numpy()
    rows = found.iloc[[order[len(order) // 2], order[-1]]]
    table = Manifest.read(manifest).table.set_index("image")
    figure = Figure(figsize=(8.2, 3.6), layout="constrained")
    axes = figure.subplots(len(rows), 5)
    for line, (_, row) in zip(axes, rows.iterrows(), strict=True):
        folder, name = manifest.parent, str(row["image"])
        pixels = read_picture(folder / name).to_uint8()
        drawn = [read_mask(folder / str(table.loc[name, f"mask:{s}"])) for s in ("disc", "cup")]
        called = [read_mask(work / "out" / str(row[f"mask:{s}"])) for s in ("disc", "cup")]
        maps = [read_picture(work / "out" / k / f"{name}.png").to_uint8()[..., 0] for k in ("uncertainty", "deviation")]
        shown = [pixels, *(with_mask(pixels, np.maximum(d, 2 * c)) for d, c in (drawn, called)), *maps]
        for axis, picture in zip(line, shown, strict=True):
            axis.imshow(picture, cmap="inferno", vmin=0, vmax=255, interpolation="nearest")
            axis.set_axis_off()
    for axis, title in zip(axes[0], ("phantom", "drawn", "predicted", "entropy", "deviation"), strict=True):
        axis.set_title(title, fontsize=9)
    figure.savefig(ROOT / "docs" / "images" / f"{NAME}.png", dpi=110)


if __name__ == "__main__":
    matplotlib.use("Agg")
    main()
