"""UNO-QA and its baselines: good images against degraded ones, on eyes, fetal heads and drawn angiograms.

Good images: those without retinopathy of IDRiD-455, all of HC18-half, and the outstanding ones of a set of OCTA
phantoms. Every way to score is trained on good images alone. Test images are good ones of other patients and copies of
them with faults made in other ways than those of training (``bench/uno_qa_faults.py`` says which of them have a
relative there), at two severities; of the phantoms also their own gradable and ungradable images, drawn with faults. No
setting was chosen on any of these images; what the score is made of was chosen on drawn angiograms of another seed,
with the same functions for faults.

Measured: the area under the ROC curve of good against degraded, by fault and severity; and, with mild copies as
gradable and severe ones as ungradable, the three grades and the two groups, by clustered features and by a cut of the
score.

Reads ``idrid_grading`` and ``hc18_half`` in the folder ``SCANTLING_DATA``. What an earlier call has finished is not
done again, and a training that was stopped goes on.

    python bench/uno_qa.py [--work build/bench/uno_qa] [--workers 2] [--data octa ...] [--variants ...] [--seeds 0 1 2]

Writes bench/results/uno_qa.json.
"""

from __future__ import annotations

import argparse
import os
import time
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from tensordict import TensorDict
from torch import Tensor

from jobs import OUTCOME, finished, shared_data, train_or_go_on
from scantling.assess.quality.agreement import agreement
from scantling.assess.quality.clusters import best_cut
from scantling.assess.quality.grading import fit_clusters
from scantling.core.files import write_json
from scantling.core.quality import GRADABLE, GRADES, OUTSTANDING, UNGRADABLE
from scantling.data.layouts import import_layout
from scantling.data.manifest import Manifest
from scantling.data.phantoms import write_octa, write_skin
from scantling.data.split import split
from scantling.metrics.ranking import binary_areas
from scantling.run.bench import machine
from scantling.run.bench_plan import digest
from scantling.run.bundle import now, versions
from scantling.run.quality_model import QualityModel, load_quality
from scantling.run.search import spread
from uno_qa_faults import FAULTS, KIN

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "bench" / "results" / "uno_qa.json"
SEEDS = (0, 1, 2)
MILD, SEVERE = 0.3, 0.7
SEVERITIES = (MILD, SEVERE)
FRACTIONS = (0.56, 0.14, 0.30)
BATCH = 32

DATA: dict[str, dict[str, Any]] = {
    "octa": {"title": "OCTA phantoms", "settings": {"data.image_size": 160}},
    "idrid": {"title": "IDRiD-455@192, healthy", "settings": {"data.image_size": 192, "data.crop": "fundus"}},
    "hc18": {"title": "HC18-half@192", "settings": {"data.image_size": 192, "data.fit": "pad"}},
}
COMMON = {
    "data.workers": 1,
    "data.batch_size": 32,
    "trainer.accelerator": "cpu",
    "task.adapter.backbone": "test_resnet",
}
PRETRAINING = {
    "recipe": "classify",
    "n": 2000,
    "size": 128,
    "settings": {
        "task.adapter.backbone": "test_resnet", "task.adapter.weights": "none", "task.optimizer.lr": 2e-3,
        "data.image_size": 128, "data.batch_size": 32, "data.workers": 1, "trainer.max_epochs": 12,
        "trainer.accelerator": "cpu",
    },
}  # fmt: skip
"""The network learns to tell drawn skin lesions apart: another organ, another camera."""


def variants() -> dict[str, tuple[str, str, dict[str, Any]]]:
    """Label, recipe and settings of every way to score."""
    learned = {"trainer.max_epochs": 20}

    def of(*evidence: str) -> dict[str, Any]:
        return {**learned, "task.adapter.evidence": list(evidence)}

    return {
        "uno_qa": ("UNO-QA, as the recipe", "uno_qa", learned),
        "features_severity": ("- without image statistics", "uno_qa", of("features", "severity")),
        "features_statistics": ("- without learned severity", "uno_qa", of("features", "statistics")),
        "severity": ("- learned severity alone", "uno_qa", of("severity")),
        "statistics": ("- image statistics alone", "uno_qa", of("statistics")),
        "embedding": ("Mahalanobis of features", "uno_qa_embedding", {}),
        "nearest": ("nearest features", "uno_qa_embedding", {"task.adapter.distance": "nearest"}),
        "patches": ("Mahalanobis of places, mean", "uno_qa_embedding",
                    {"task.adapter": "scantling.adapt.QualityPatches"}),
        "distill": ("reverse distillation", "uno_qa_distill", {"trainer.max_epochs": 30}),
    }  # fmt: skip


@dataclass(frozen=True)
class Job:
    """One training with its measurement.

    Args:
        data: the set.
        variant: way to score.
        seed: of the run, of the division and of the faults.
    """

    data: str
    variant: str
    seed: int


def main() -> None:
    """Make the data, pretrain, do the jobs, write what they gave."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=ROOT / "build" / "bench" / "uno_qa")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--data", nargs="+", default=list(DATA), choices=list(DATA))
    parser.add_argument("--variants", nargs="+", default=list(variants()), choices=list(variants()))
    parser.add_argument("--seeds", nargs="+", type=int, default=list(SEEDS), choices=SEEDS)
    parser.add_argument(
        "--scale",
        type=float,
        default=1.0,
        help="for a trial: share of images, pixels and epochs; its results stay in the working folder",
    )
    parser.add_argument("--collect", action="store_true", help="train nothing, write what is finished")
    arguments = parser.parse_args()
    scale: float = arguments.scale
    work: Path = arguments.work.resolve() / ("whole" if scale == 1 else f"scale_{scale:g}")
    work.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("SCANTLING_CACHE", str(work / "cache"))
    every = [Job(d, v, s) for s in SEEDS for d in DATA for v in variants()]
    known = finished(every, partial(place, work, scale))
    jobs = [Job(d, v, s) for s in arguments.seeds for d in arguments.data for v in arguments.variants]
    todo = [] if arguments.collect else [job for job in jobs if job not in known]
    if todo:
        encoder = pretrain(work, scale)
        for data, seed in sorted({(job.data, job.seed) for job in todo}):
            make_manifest(work, data, seed, scale)
        new = spread(partial(outcome, work, encoder, scale), todo, arguments.workers)
        known |= dict(zip(todo, new, strict=True))
    runs = [known[job] for job in every if job in known]
    if not runs:
        parser.error(f"nothing is finished in {work}; run without --collect")
    out = RESULTS if scale == 1 else work / "trial.json"
    write_json(out, {
        "name": "uno_qa", "kind": "quality",
        "data": {d: DATA[d]["title"] for d in DATA if d in {run["data"] for run in runs}},
        "variants": {name: label for name, (label, _, _) in variants().items()},
        "faults": KIN, "severities": list(SEVERITIES), "scale": scale,
        "settings": {"common": COMMON, "data": DATA, "pretraining": PRETRAINING,
                     "variants": {n: {"recipe": r, **s} for n, (_, r, s) in variants().items()}},
        "runs": runs, "summary": summary(runs),
        "machine": machine(workers=arguments.workers), "versions": versions(), "created": now(),
    })  # fmt: skip
    print(f"results: {out}")


def pretrain(work: Path, scale: float) -> Path:
    """The bundle whose network all ways to score look through."""
    phantoms = work / "skin" / "manifest.csv"
    if not phantoms.is_file():
        write_skin(
            phantoms.parent, n=max(60, round(PRETRAINING["n"] * scale)), size=PRETRAINING["size"], imbalance=5, seed=61
        )
    folder = work / "encoder"
    train_or_go_on("classify", phantoms, folder, scaled(PRETRAINING["settings"], scale))
    return folder


def scaled(settings: dict[str, Any], scale: float) -> dict[str, Any]:
    """Settings with fewer epochs and pixels, for a trial."""
    out = dict(settings)
    if scale < 1:
        out["trainer.max_epochs"] = max(1, round(out.get("trainer.max_epochs", 1) * scale))
        out["data.image_size"] = 48
    return out


def make_manifest(work: Path, data: str, seed: int, scale: float) -> tuple[Path, Path]:
    """The manifest of good images with a column ``split``, and, for phantoms, that of all images."""
    good, every = work / f"{data}_{seed}.csv", work / f"{data}_every.csv"
    if good.is_file():
        return good, every
    if data == "octa":
        home = work / "octa"
        if not (home / "manifest.csv").is_file():
            write_octa(home, n=max(80, round(1400 * scale)), size=48 if scale < 1 else 160, seed=71)
        table = Manifest.read(home / "manifest.csv").table
        table = table.assign(image=[str(home / name) for name in table["image"]])
        keep = ["image", "patient", "label", "target"]
        Manifest(table[keep], work).write(every)
        table = table[table["label"].astype(int) == GRADES.index(OUTSTANDING)][["image", "patient"]]
    else:
        source = shared_data()
        if data == "idrid":
            labels = pd.read_csv(source / "idrid_grading" / "labels.csv")
            labels = labels[labels["dr_grade"] == 0]
            table = pd.DataFrame({"image": [str(source / "idrid_grading" / "images" / n) for n in labels["image"]]})
            table["patient"] = labels["image"].to_numpy()
        else:
            table = import_layout("hc18", source / "hc18_half", work / "hc18_import.csv").table[["image", "patient"]]
            table["image"] = [str((work / name).resolve()) for name in table["image"]]
        if scale < 1:
            table = table[: max(40, round(len(table) * scale))]
    table = table.reset_index(drop=True)
    divided = split(Manifest(table, work), by="patient", stratify=None, fractions=FRACTIONS, seed=seed)
    divided.write(good)
    return good, every


def setting(job: Job, scale: float) -> tuple[str, dict[str, Any]]:
    """Recipe of a job, and its settings but for the network's weights."""
    _, recipe, own = variants()[job.variant]
    classed = {k: v for k, v in own.items() if k == "task.adapter"}
    settings = {**classed, **COMMON, **DATA[job.data]["settings"], **own, "trainer.seed": job.seed}
    return recipe, scaled(settings, scale)


def place(work: Path, scale: float, job: Job) -> Path:
    """The folder of a job; another one for other settings."""
    return work / f"{job.data}_{job.variant}_{job.seed}_{digest(setting(job, scale))}"


def outcome(work: Path, encoder: Path, scale: float, job: Job) -> dict[str, Any]:
    """Train, or take what is there, and measure."""
    folder = place(work, scale, job)
    recipe, settings = setting(job, scale)
    good, every = make_manifest(work, job.data, job.seed, scale)
    began = time.perf_counter()
    train_or_go_on(recipe, good, folder, {**settings, "task.adapter.weights": str(encoder)})
    seconds = time.perf_counter() - began
    quality = load_quality(folder, "cpu")
    result = {
        **asdict(job),
        **measure(quality, good, every if job.data == "octa" else None, job.seed),
        "direction": quality.record["direction"],
        "groups": {k: quality.record["clusters"][k] for k in ("kind", "silhouette", "guards")},
        "seconds": round(seconds, 1),
    }
    write_json(folder / OUTCOME, result)
    return result


def measure(quality: QualityModel, good: Path, every: Path | None, seed: int) -> dict[str, Any]:
    """Areas by fault and severity, false alarms, and grades, on good test images and their copies."""
    table = Manifest.read(good).table
    paths = table.loc[table["split"] == "test", "image"].tolist()
    pixels = torch.cat([quality.model.read(paths[k : k + BATCH])["image"] for k in range(0, len(paths), BATCH)])
    clean = measured(quality, pixels.float() / 255)
    areas: dict[str, dict[str, float]] = {}
    copies: dict[tuple[str, float], tuple[Tensor, Tensor]] = {}
    for number, (name, fault) in enumerate(FAULTS.items()):
        areas[name] = {}
        for severity in SEVERITIES:
            generator = torch.Generator().manual_seed(1000 * seed + number)
            parts = [measured(quality, fault(p.float() / 255, severity, generator)) for p in pixels.split(BATCH)]
            copies[name, severity] = torch.cat([p[0] for p in parts]), torch.cat([p[1] for p in parts])
            areas[name][f"{severity:g}"] = area(clean[0], copies[name, severity][0])
    # Each image once as it is, once with a mild fault and once with another severe one, by turns.
    names = list(FAULTS)
    rows = torch.arange(len(pixels))
    scores, features, truth = [clean[0]], [clean[1]], [torch.full((len(rows),), GRADES.index(OUTSTANDING))]
    for shift, severity, grade in ((0, MILD, GRADABLE), (3, SEVERE, UNGRADABLE)):
        which = (rows + shift + seed) % len(names)
        both = [torch.stack([copies[name, severity][part] for name in names]) for part in (0, 1)]
        scores.append(both[0][which, rows])
        features.append(both[1][which, rows])
        truth.append(torch.full((len(rows),), GRADES.index(grade)))
    result: dict[str, Any] = {
        "images": len(pixels),
        "auroc": areas,
        "mean_auroc": float(np.mean([list(a.values()) for a in areas.values()])),
        "false_alarms": float((clean[0] > quality.threshold).float().mean()),
        "degraded": graded(quality, torch.cat(scores), torch.cat(features), torch.cat(truth).numpy(), seed),
    }
    if every is not None:
        whole = Manifest.read(every).table
        known = table.set_index("patient")["split"].to_dict()
        # Patients of the bad images: only such as have no good image in training.
        test = whole[[known.get(p, "test") == "test" for p in whole["patient"]]]
        files = test["image"].tolist()
        found = [
            measured(quality, quality.model.read(files[k : k + BATCH])["image"].float() / 255)
            for k in range(0, len(files), BATCH)
        ]
        result["own"] = graded(
            quality, torch.cat([f[0] for f in found]), torch.cat([f[1] for f in found]),
            test["label"].astype(int).to_numpy(), seed,
        )  # fmt: skip
    return result


def graded(quality: QualityModel, scores: Tensor, features: Tensor, truth: np.ndarray, seed: int) -> dict[str, Any]:
    """Agreement with the truth, of groups of features and of a cut of the score."""
    worse = scores > quality.threshold
    model = fit_clusters(scores[worse], features[worse], seed)
    grades = model.grade(scores, features, quality.threshold).grade.numpy()
    cut = np.full(len(truth), GRADES.index(GRADABLE))
    if bool(worse.any()):
        cut[scores.numpy() > best_cut(scores[worse])] = GRADES.index(UNGRADABLE)
    cut[~worse.numpy()] = GRADES.index(OUTSTANDING)
    return {
        "kind": model.kind,
        "silhouette": model.silhouette,
        "guards": list(model.guards),
        "groups": agreement(truth, scores.numpy(), grades),
        "cut": agreement(truth, scores.numpy(), cut),
    }


def measured(quality: QualityModel, images: Tensor) -> tuple[Tensor, Tensor]:
    """Scores and features of images float in [0, 1]."""
    parts = [quality.measure(TensorDict({"image": part}, batch_size=[len(part)])) for part in images.split(BATCH)]
    return torch.cat([p[0] for p in parts]), torch.cat([p[1] for p in parts])


def area(good: Tensor, bad: Tensor) -> float:
    """Area under the ROC curve."""
    labels = np.repeat([0, 1], [len(good), len(bad)])
    return float(binary_areas(labels, torch.cat([good, bad]).numpy())[0])


def summary(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Mean and deviation over seeds of the mean area, false alarms and grades, by data and variant."""
    found: dict[str, Any] = {}
    for run in runs:
        figures = {
            "mean_auroc": run["mean_auroc"],
            "false_alarms": run["false_alarms"],
            **{f"auroc_{name}": float(np.mean(list(values.values()))) for name, values in run["auroc"].items()},
            **{
                f"{kind}_{way}_{name}": value
                for kind in ("degraded", "own") if kind in run
                for way in ("groups", "cut")
                for name, value in (
                    ("auroc", run[kind][way]["auroc"]),
                    *((k, run[kind][way]["grades"][k]) for k in ("accuracy", "macro_f1", "quadratic_weighted_kappa")),
                    *((f"clusters_{k}", run[kind][way]["clusters"][k])
                      for k in ("accuracy", "adjusted_rand", "mutual_information")),
                )
            },
        }  # fmt: skip
        for name, value in figures.items():
            if value is not None:
                found.setdefault(run["data"], {}).setdefault(run["variant"], {}).setdefault(name, []).append(value)
    return {
        data: {
            variant: {
                name: {"mean": float(np.mean(v)), "sd": float(np.std(v, ddof=1)) if len(v) > 1 else None, "values": v}
                for name, v in figures.items()
            }
            for variant, figures in ways.items()
        }
        for data, ways in found.items()
    }


if __name__ == "__main__":
    main()
