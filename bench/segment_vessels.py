"""The recipe ``segment`` on real vessel masks: two open sets in one training, test figures for each of them.

Reads ``vessels_hrf`` and ``vessels_chase`` in the folder ``SCANTLING_DATA``. Patients are divided 60 : 15 : 25 into
training, validation and test, each set by itself. The best epoch is chosen on the validation split; the test split is
measured once, at the size of the training and at the size of the photographs. What an earlier call has finished is not
done again, and a training that was stopped goes on.

    python bench/segment_vessels.py [--work build/bench/segment_vessels] [--run a/finished/run]

Writes bench/results/segment_vessels.json and docs/images/segment_vessels.png.
"""

from __future__ import annotations

import argparse
import csv
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import yaml
from PIL import Image

from jobs import shared_data
from scantling.core.bundle import find_bundle, read_meta
from scantling.core.errors import DataError, RecipeError
from scantling.core.files import write_json, writing
from scantling.data.layouts import import_layout
from scantling.data.manifest import SPLITS, Manifest
from scantling.data.readers import read_mask, read_picture
from scantling.data.split import split
from scantling.metrics import segmentation
from scantling.metrics.evaluation import evaluate_masks
from scantling.run.bench import machine
from scantling.run.bundle import now, versions
from scantling.run.evaluate import evaluate
from scantling.run.predict import predict
from scantling.run.records import columns_of, patient_codes
from scantling.run.train import train

ROOT = Path(__file__).resolve().parents[1]
NAME = "segment_vessels"
PICTURE = ROOT / "docs" / "images" / f"{NAME}.png"
SITES = {
    "hrf": ("vessels_hrf", "HRF-20@876", "20 of the 45 photographs, 876 pixels wide (FAU Erlangen, CC BY 4.0)"),
    "chase": ("vessels_chase", "CHASE-14", "14 of the 28 photographs of CHASE_DB1 (Kingston University, CC BY 4.0)"),
}
FRACTIONS, SEED = (0.6, 0.15, 0.25), 0
SETTINGS = {
    "data.image_size": 640,
    "task.patch_size": 192,
    "trainer.precision": "bf16-mixed",
    "trainer.max_epochs": 150,
    "trainer.seed": SEED,
}
FIGURES = {"dice": segmentation.dice, "iou": segmentation.iou, "hd95": segmentation.hd95}
REMARKS = [
    "An earlier version of the recipe (patches cut before the rotation, half the learning rate, 40 epochs at 512 "
    "pixels, patches of 128) had a Dice of 0.48 on the same test photographs, and was changed with that in view.",
    "One training with one seed and one division of few patients: the intervals tell how the figures vary from patient "
    "to patient, not from training to training.",
    "Pixels outside the field of view count as background, as they lie in the photographs; padding does not count.",
    "HD95 is the 95th percentile of the distance between the boundaries. A single false vessel far from all true ones "
    "moves it by much.",
]


def main() -> None:
    """Make the data, train or take a run, measure, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=ROOT / "build" / "bench" / NAME)
    parser.add_argument("--run", type=Path, help="measure this finished run of the same settings and data")
    arguments = parser.parse_args()
    work: Path = arguments.work
    os.environ.setdefault("SCANTLING_CACHE", str(work / "cache"))
    torch.set_num_threads(1)
    manifest = make_manifest(work)
    if arguments.run is None:
        run = work / "run"
        train("segment", manifest.source, run, resume=any(run.glob("*/checkpoints/*")), overrides=SETTINGS)
    else:
        run = arguments.run
        require_same(run, manifest)
    write_json(ROOT / "bench" / "results" / f"{NAME}.json", measured(run, manifest, work))


def make_manifest(work: Path) -> Manifest:
    """Both sets with their splits, in ``vessels.csv``."""
    source = shared_data()
    work.mkdir(parents=True, exist_ok=True)
    parts = [import_layout("vessels", source / f, work / f"{s}.csv", site=s).table for s, (f, *_) in SITES.items()]
    whole = Manifest(pd.concat(parts, ignore_index=True), work)
    return split(whole, "patient", "site", FRACTIONS, SEED).write(work / "vessels.csv")


def require_same(run: Path, manifest: Manifest) -> None:
    """Refuse a run of other settings, or of a manifest that divides the patients in another way."""
    recipe = yaml.safe_load((run / "recipe.yaml").read_text(encoding="utf-8"))
    flat = {f"{part}.{k}": v for part in ("data", "trainer") for k, v in recipe[part].items()}
    flat |= {f"task.{k}": v for k, v in recipe["task"]["init_args"].items()}
    other = [f"{k} {flat.get(k)}, not {v}" for k, v in SETTINGS.items() if flat.get(k) != v]
    if recipe["name"] != "segment" or other:
        raise RecipeError(f"a run of other settings ({', '.join(other) or recipe['name']})", where=run)
    named = recipe["data"]["manifest"]
    found = next((p / named for p in (Path(), *run.resolve().parents) if (p / named).is_file()), None)
    if found is None:
        raise DataError(f"its manifest {named} is not there", where=run, do="call from the folder where it was trained")
    if divided(Manifest.read(found)) != divided(manifest):
        raise DataError("its images or their splits are others", where=found)


def divided(manifest: Manifest) -> set[tuple[str, ...]]:
    """Name, site and split of every image."""
    table = manifest.table
    return {(Path(i).name, s, p) for i, s, p in zip(table["image"], table["site"], table["split"], strict=True)}


def measured(run: Path, manifest: Manifest, work: Path) -> dict[str, Any]:
    """All that the results hold."""
    meta = read_meta(find_bundle(run))
    started = time.perf_counter()
    prepared = evaluate(run, manifest.source, out=work / "evaluation", batch_size=2).content
    seconds = time.perf_counter() - started
    predicted = work / "predictions"
    rows = np.flatnonzero(manifest.table["split"] == "test")
    table = predict(run, manifest, predicted, split="test", batch_size=2).table
    masks = [predicted / name for name in table["mask"]]
    whole, dice = at_full_size(manifest, rows, masks)
    picture = draw(manifest, rows, masks, dice)
    curve = log(find_bundle(run).parent)
    epochs = [float(row["seconds"]) for row in curve]
    return {
        "name": NAME,
        "kind": "segmentation",
        "recipe": "segment",
        "settings": SETTINGS,
        "data": {s: {"title": title, "note": note} for s, (_, title, note) in SITES.items()},
        "fractions": FRACTIONS,
        "splits": {name: counts(manifest, name) for name in SPLITS},
        "validation": {"dice": meta["metrics"]["values"]["dice"]["value"], "epoch": best_epoch(curve)},
        "test": kept(prepared),
        "test_at_full_size": kept(whole),
        "picture": picture,
        "parameters": {k: meta["meter"][k] for k in ("total", "learnable")},
        "seconds": {
            "train": round(sum(epochs)),
            "epoch_median": round(float(np.median(epochs)), 1),
            "test": round(seconds, 1),
        },
        "epochs": len(curve),
        "steps": int(curve[-1]["step"]),
        "remarks": REMARKS,
        "machine": machine(workers=1),
        "versions": {"training": meta["provenance"]["versions"], "measurement": versions()},
        "created": now(),
    }


def at_full_size(manifest: Manifest, rows: np.ndarray, masks: list[Path]) -> tuple[dict[str, Any], np.ndarray]:
    """The evaluation of masks that were scaled to the photographs, and the Dice of every image ``(n,)``."""
    pairs = [(read_mask(*manifest.path(int(r), "mask"))[None], read_mask(m)[None]) for r, m in zip(rows, masks)]
    size = manifest.target.size
    values = {name: np.concatenate([figure(*pair, size) for pair in pairs]) for name, figure in FIGURES.items()}
    table = manifest.table.iloc[rows]
    content = evaluate_masks(manifest.target, values, patient_codes(table), columns_of(table), ("site",))
    return content, values["dice"].mean(axis=1)


def draw(manifest: Manifest, rows: np.ndarray, masks: list[Path], dice: np.ndarray) -> dict[str, Any]:
    """Each site's test image with the middle Dice: photograph, truth and prediction; the file and what it shows."""
    from matplotlib.figure import Figure

    shown: dict[str, float] = {}
    lines = []
    for site, (_, title, _) in SITES.items():
        own = np.flatnonzero(manifest.table["site"].iloc[rows] == site)
        middle = own[np.argsort(dice[own])[(len(own) - 1) // 2]]
        row, shown[site] = int(rows[middle]), float(dice[middle])
        photograph, truth = read_picture(*manifest.path(row)).pixels, read_mask(*manifest.path(row, "mask"))
        called = (read_mask(masks[middle]), f"prediction, Dice {dice[middle]:.2f}")
        lines.append([(photograph, title), (truth, "truth"), called])
    heights = [line[0][0].shape[0] / line[0][0].shape[1] for line in lines]
    figure = Figure(figsize=(9.0, 3.1 * sum(heights) + 0.5), layout="constrained")
    axes = figure.subplots(len(lines), 3, squeeze=False, height_ratios=heights)
    for axis, (pixels, title) in zip(axes.flat, [cell for line in lines for cell in line], strict=True):
        axis.imshow(pixels, cmap="gray", interpolation="antialiased")
        axis.set_title(title, fontsize=9)
        axis.set_axis_off()
    with writing(PICTURE) as part:
        figure.savefig(part, dpi=100, format="png")
        whole = Image.open(part).convert("RGB")
        whole.quantize(palette=whole.quantize(256), dither=Image.Dither.FLOYDSTEINBERG).save(part, "PNG", optimize=True)
    return {"file": PICTURE.relative_to(ROOT / "docs").as_posix(), "dice": shown}


def kept(content: Mapping[str, Any]) -> dict[str, Any]:
    """Of an evaluation, what the results hold."""
    names = ("n", "n_groups", "interval", "replicates", "notes", "metrics", "by")
    return {name: content[name] for name in names}


def counts(manifest: Manifest, name: str) -> dict[str, dict[str, int]]:
    """Images and patients of a split, site by site."""
    part = manifest.table[manifest.table["split"] == name]
    return {str(s): {"images": len(t), "patients": int(t["patient"].nunique())} for s, t in part.groupby("site")}


def log(stage: Path) -> list[dict[str, str]]:
    """The training log, a row an epoch."""
    with (stage / "log" / "metrics.csv").open(encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def best_epoch(curve: list[dict[str, str]]) -> int:
    """The epoch of the highest validation Dice, from 1."""
    return 1 + int(np.argmax([float(row["val_dice"]) for row in curve]))


if __name__ == "__main__":
    main()
