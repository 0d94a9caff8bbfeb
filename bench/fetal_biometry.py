"""Fetal biometry on HC18-half by folds of subjects, and on phantoms with four weights of the planes.

HC18-half is the 999 training images of HC18 at half size with the published ellipses. Pregnancies are divided into five
folds, so that frames of one stay together; each network is trained on four folds, of which 12 % of the pregnancies
choose the weights, and measured once on the fifth, as a prediction measures: head circumference against the published
one, on the image's own grid. Every test image is measured with each way to fit an ellipse. Beside it: a constant, the
mean circumference of the training images; and the ellipses and filled masks of the truth themselves, which tell what
the fits alone cost.

Phantoms are heads, abdomens and femurs of one scanner. The weight of the planes in the loss is 0, 0.3, 0.7 or 1; each
network is measured with the plane that it sees, and once more with the true plane: one without planes needs it.

Reads ``hc18_half`` in the folder ``SCANTLING_DATA``. What an earlier call has finished, in the working folder or in the
results with the same settings, is not done again, and a training that was stopped goes on.

    python bench/fetal_biometry.py [--work build/bench/fetal_biometry] [--workers 1] [--sets hc18 phantoms]
        [--variants ...] [--folds 0 1 2 3 4] [--seeds 0 1 2] [--collect]

Writes bench/results/fetal_biometry.json; with ``--collect`` from what is finished, and trains nothing.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from jobs import OUTCOME, finished, shared_data, spent, train_or_go_on
from scantling.core.bundle import find_bundle
from scantling.core.files import write_json
from scantling.data.layouts import import_layout
from scantling.data.manifest import Manifest
from scantling.data.phantoms import write_ultrasound
from scantling.data.shapes import fill_ellipses
from scantling.data.split import folds, split
from scantling.measure import fit_ellipses, fit_outline
from scantling.measure.ellipse import METHODS, Ellipses
from scantling.metrics.bland_altman import agreement
from scantling.run.bench import machine
from scantling.run.bench_plan import digest
from scantling.run.bundle import now, versions
from scantling.run.search import spread

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "bench" / "results" / "fetal_biometry.json"
SETS = ("hc18", "phantoms")
FOLDS, SEEDS = 5, (0, 1, 2)
LAMBDAS = {"lambda_0": 0.0, "lambda_0.3": 0.3, "lambda_0.7": 0.7, "lambda_1": 1.0}
PHANTOMS = {"n": 900, "size": 256, "seed": 5, "fractions": (0.6, 0.1, 0.3)}

COMMON = {
    "data.workers": 1,
    "trainer.precision": "bf16-mixed",
    "trainer.channels_last": True,
    "trainer.calibrate": False,
}
NETWORKS: dict[str, dict[str, Any]] = {
    "main": {"data.image_size": 192, "task.adapter.base": 16, "data.batch_size": 8, "trainer.max_epochs": 24},
    "small": {"data.image_size": 128, "task.adapter.base": 8, "data.batch_size": 8, "trainer.max_epochs": 24},
}
PHANTOM_NETWORK = {
    "data.image_size": 128,
    "task.adapter.base": 8,
    "data.batch_size": 8,
    "task.optimizer.lr": 2e-3,
    "trainer.max_epochs": 12,
    "data.fit": "pad",
}


@dataclass(frozen=True)
class Job:
    """One training with its measurement.

    Args:
        data: ``hc18`` or ``phantoms``.
        variant: of the network, or the weight of the planes.
        number: of the fold, or the seed.
    """

    data: str
    variant: str
    number: int


def main() -> None:
    """Make the data, do the jobs, write what they gave."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=ROOT / "build" / "bench" / "fetal_biometry")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--sets", nargs="+", default=list(SETS), choices=SETS)
    parser.add_argument("--variants", nargs="+", default=[*NETWORKS, *LAMBDAS], choices=[*NETWORKS, *LAMBDAS])
    parser.add_argument("--folds", nargs="+", type=int, default=list(range(FOLDS)), choices=range(FOLDS))
    parser.add_argument("--seeds", nargs="+", type=int, default=list(SEEDS), choices=SEEDS)
    parser.add_argument(
        "--epochs-share",
        type=float,
        default=1.0,
        help="for a trial of this bench: a part of all epochs; its results stay in the working folder",
    )
    parser.add_argument("--collect", action="store_true", help="train nothing, write what is finished")
    arguments = parser.parse_args()
    work: Path = arguments.work.resolve()
    os.environ.setdefault("SCANTLING_CACHE", str(work / "cache"))
    work.mkdir(parents=True, exist_ok=True)
    settings = {"common": COMMON, "networks": NETWORKS, "phantoms": {**PHANTOM_NETWORK, "set": PHANTOMS}}
    every = [Job("hc18", v, f) for v in NETWORKS for f in range(FOLDS)]
    every += [Job("phantoms", v, s) for v in LAMBDAS for s in SEEDS]
    made_with = {"settings": settings, "epochs_share": arguments.epochs_share}
    known = finished(every, partial(place, work, arguments.epochs_share), RESULTS, made_with)
    jobs = [Job("hc18", v, f) for v in NETWORKS for f in arguments.folds if v in arguments.variants]
    jobs += [Job("phantoms", v, s) for s in arguments.seeds for v in LAMBDAS if v in arguments.variants]
    jobs = [] if arguments.collect else [job for job in jobs if job.data in arguments.sets and job not in known]
    heads = make_heads(work)
    if any(job.data == "phantoms" for job in jobs) and not (work / "phantoms" / "manifest.csv").is_file():
        write_ultrasound(work / "phantoms", **PHANTOMS)
    runs = [*known.values()]
    for_one = partial(outcome, work, arguments.epochs_share)
    runs += spread(for_one, jobs, arguments.workers) if jobs else []
    if not runs:
        parser.error(f"nothing is finished in {work}; run without --collect")
    out = RESULTS if arguments.epochs_share == 1 else work / "trial.json"
    write_json(
        out,
        {
            "name": "fetal_biometry",
            "kind": "fetal biometry",
            **made_with,
            "data": {
                "hc18": {"images": len(heads), "patients": int(heads.table["patient"].nunique())},
                "phantoms": {"images": PHANTOMS["n"], "test": round(PHANTOMS["n"] * PHANTOMS["fractions"][2])},
            },
            "runs": runs,
            "hc18": summary_of_heads(runs),
            "phantoms": summary_of_phantoms(runs),
            "constant": constant(work, arguments.folds),
            "fits": fits_of_truth(heads),
            "machine": machine(workers=arguments.workers),
            "versions": versions(),
            "created": now(),
        },
    )
    print(f"results: {out}")


def make_heads(work: Path) -> Manifest:
    """HC18-half with masks, and the manifest of every fold; ``split`` is test in the fold itself."""
    source = shared_data() / "hc18_half"
    file = work / "heads.csv"
    whole = Manifest.read(file) if file.is_file() else import_layout("hc18", source, file)
    parted = folds(whole, FOLDS, by="patient", stratify=None, seed=0).table
    for fold in range(FOLDS):
        if (work / f"fold_{fold}.csv").is_file():
            continue
        inside = parted["fold"] != fold
        learning = whole.with_table(parted[inside].drop(columns=["fold", "split"], errors="ignore"))
        divided = split(learning, by="patient", stratify=None, fractions=(0.88, 0.12, 0.0), seed=fold).table
        table = parted.drop(columns="fold").assign(split="test")
        table.loc[inside, "split"] = divided["split"].to_numpy()
        whole.with_table(table).write(work / f"fold_{fold}.csv")
    return whole


def setting(share: float, job: Job) -> dict[str, Any]:
    """Settings of a job."""
    if job.data == "hc18":
        own = {**NETWORKS[job.variant], "trainer.seed": job.number}
    else:
        weight = {
            "task.objective": "scantling.tasks.objectives.PlaneAndMask",
            "task.objective.plane_weight": LAMBDAS[job.variant],
        }
        # Without masks nothing can be measured: the weights are then those of the best planes.
        monitor = {"monitor": "plane_accuracy"} if LAMBDAS[job.variant] == 1 else {}
        own = {**PHANTOM_NETWORK, **weight, **monitor, "trainer.seed": job.number}
    return {**COMMON, **own, "trainer.max_epochs": max(1, round(own["trainer.max_epochs"] * share))}


def place(work: Path, share: float, job: Job) -> Path:
    """The folder of a job; another one for other settings."""
    return work / f"{job.data}_{job.variant}_{job.number}_{digest(setting(share, job))}"


def outcome(work: Path, share: float, job: Job) -> dict[str, Any]:
    """Train, or take what is there, and measure the test images with every fit."""
    from scantling.run.evaluate import open_for
    from scantling.run.evaluate_biometry import measure_lengths
    from scantling.run.model import load

    folder = place(work, share, job)
    manifest = work / ("phantoms/manifest.csv" if job.data == "phantoms" else f"fold_{job.number}.csv")
    train_or_go_on("fetal_biometry", manifest, folder, setting(share, job))
    model = load(find_bundle(folder))
    prepared, _ = open_for(model, Manifest.read(manifest), None)
    rows = prepared.rows("test")

    def measured(**options: Any) -> dict[str, Any]:
        content, _ = measure_lengths(model, prepared, rows, "none", 16, (), 0, **options)
        kept = ("metrics", "agreement", "confusion", "unit")
        lengths = {row["name"].lower(): {k: v["value"] for k, v in row.items() if isinstance(v, dict)} | {"n": row["n"]}
                   for row in content["per_class"]}  # fmt: skip
        plain = {name: figure["value"] for name, figure in content["metrics"].items()}
        return {**{k: content[k] for k in kept if k != "metrics"}, "figures": plain, "lengths": lengths}

    found = {"auto": measured()}
    if job.data == "hc18":
        found |= {fit: measured(fit=fit) for fit in METHODS if fit != "auto"}
        found["flips"] = _with_flips(model, prepared, rows)
    else:
        found["true plane"] = measured(known_planes=True)
    result = {
        **asdict(job),
        "test": found,
        "images": len(rows),
        **spent(folder),
        "threads": torch.get_num_threads(),
    }
    write_json(folder / OUTCOME, result)
    return result


def _with_flips(model: Any, prepared: Any, rows: torch.Tensor) -> dict[str, Any]:
    from scantling.run.evaluate_biometry import measure_lengths

    content, _ = measure_lengths(model, prepared, rows, "flips", 16, (), 0)
    return {
        "agreement": content["agreement"],
        "figures": {name: figure["value"] for name, figure in content["metrics"].items()},
    }


def summary_of_heads(runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Figures of all folds together by variant and way to measure, and the spread of the folds."""
    found: dict[str, Any] = {}
    for variant in NETWORKS:
        mine = sorted((r for r in runs if r["data"] == "hc18" and r["variant"] == variant), key=lambda r: r["number"])
        if not mine:
            continue
        ways = {}
        for way in mine[0]["test"]:
            pairs = [run["test"][way]["agreement"]["hc"] for run in mine]
            truth, measured = (np.concatenate([p[key] for p in pairs]) for key in ("truth", "measured"))
            whole = {name: float(value) for name, value in agreement(truth, measured).items()}
            # Failures have no pair: they are counted by the folds.
            shares = [run["test"][way]["figures"]["failure_rate"] * run["images"] for run in mine]
            whole["failure_rate"] = sum(shares) / sum(run["images"] for run in mine)
            folds_ = [float(agreement(np.array(p["truth"]), np.array(p["measured"]))["mae"]) for p in pairs]
            dice = [run["test"][way]["figures"]["dice"] for run in mine]
            ways[way] = {**whole, "mae_of_folds": folds_, "dice": float(np.mean(dice)), "images": len(truth)}
        found[variant] = {
            "folds": [run["number"] for run in mine],
            "ways": ways,
            "seconds": [run["seconds"] for run in mine],
            "threads": mine[0]["threads"],
        }
    return found


def summary_of_phantoms(runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Mean and deviation over seeds of every figure, by weight of the planes."""
    found: dict[str, Any] = {}
    for variant in LAMBDAS:
        mine = [run for run in runs if run["data"] == "phantoms" and run["variant"] == variant]
        if not mine:
            continue
        rows: dict[str, list[float]] = {}
        for run in mine:
            for way, told in run["test"].items():
                for name, value in told["figures"].items():
                    rows.setdefault(f"{way}: {name}", []).append(np.nan if value is None else value)
                for length, figures in told["lengths"].items():
                    value = figures["mae"]
                    rows.setdefault(f"{way}: {length}", []).append(np.nan if value is None else value)
        found[variant] = {
            "seeds": sorted(run["number"] for run in mine),
            "seconds": [run["seconds"] for run in mine],
            **{name: {"mean": _plain(np.mean(v)), "std": _plain(np.std(v, ddof=1) if len(v) > 1 else 0.0)}
               for name, v in rows.items()},
        }  # fmt: skip
    return found


def constant(work: Path, chosen: Sequence[int]) -> dict[str, float]:
    """The mean circumference of the images that a fold does not test, as the measurement of all that it tests."""
    truth, told = [], []
    for fold in chosen:
        table = Manifest.read(work / f"fold_{fold}.csv").table
        test = table["split"] == "test"
        truth.append(table.loc[test, "hc_mm"].to_numpy(dtype=float))
        told.append(np.full(int(test.sum()), table.loc[~test, "hc_mm"].astype(float).mean()))
    return {name: float(value) for name, value in agreement(np.concatenate(truth), np.concatenate(told)).items()}


def fits_of_truth(heads: Manifest) -> dict[str, Any]:
    """Circumferences of the published ellipses, from points on them and from their filled masks, against the CSV's."""
    table = heads.table
    named = ("cx", "cy", "semi_a", "semi_b", "angle_deg")
    centre_x, centre_y, a, b, degrees = (table[n].to_numpy(dtype=float) for n in named)
    spacing = np.array([heads.spacing(row) for row in range(len(heads))], dtype=float)
    truth = table["hc_mm"].to_numpy(dtype=float)
    drawn = Ellipses(np.stack([centre_x, centre_y], 1), np.stack([a, b], 1), np.radians(degrees))
    found: dict[str, Any] = {}
    points = drawn.points(180) * spacing[:, None, ::-1]
    found["points"] = _told(truth, fit_outline(points).circumference(), 0.0)
    shape = (270, 400)
    for method in METHODS:
        around, seconds = [], 0.0
        for part in np.array_split(np.arange(len(truth)), 8):
            masks = fill_ellipses(shape, drawn.centre[part], drawn.semi_axes[part], drawn.angle[part])
            began = time.perf_counter()
            around.append(fit_ellipses(masks, spacing[part], method).circumference())
            seconds += time.perf_counter() - began
        found[method] = _told(truth, np.concatenate(around), len(truth) / seconds)
    return found


def _told(truth: np.ndarray, measured: np.ndarray, per_second: float) -> dict[str, Any]:
    figures = {name: _plain(value) for name, value in agreement(truth, measured).items()}
    return {**figures, "largest": _plain(np.nanmax(np.abs(measured - truth))), "masks_per_second": round(per_second)}


def _plain(value: Any) -> float | None:
    return float(value) if np.isfinite(value) else None


if __name__ == "__main__":
    main()
