"""AADG and its baselines on sites never seen: leave one domain out among five, every one in turn.

Domains: the three groups of HRF-20@876 (healthy, diabetic retinopathy, glaucoma: patients differ, the camera does not),
CHASE-14 (another camera, children), and one site of fundus phantoms. For every domain left out, each way to train sees
the other four; its weights are chosen on validation images of these four, and it is measured once on all images of the
one left out: Dice and HD95, per image. Further jobs train AADG with parts of this schedule, and, on two domains with
one seed, with the recipe's own one of 300 epochs, for the curve of Dice against updates.

Reads ``vessels_hrf`` and ``vessels_chase`` in the folder ``SCANTLING_DATA``. What an earlier call has finished, in the
working folder or in the results with the same settings, is not done again, and a training that was stopped goes on.

    python bench/aadg.py [--work build/bench/aadg] [--workers 2] [--targets chase ...] [--variants aadg ...] [--collect]

Writes bench/results/aadg.json and docs/images/aadg_curve.png; with ``--collect`` from what is finished, and trains
nothing.
"""

from __future__ import annotations

import argparse
import os
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from jobs import OUTCOME, finished, shared_data, spent, train_or_go_on
from scantling.core.bundle import find_bundle, read_meta
from scantling.core.files import write_json
from scantling.data.layouts import import_layout
from scantling.data.manifest import Manifest
from scantling.data.phantoms import write_fundus
from scantling.data.split import leave_out
from scantling.run.bench import machine
from scantling.run.bench_plan import digest
from scantling.run.bundle import now, versions
from scantling.run.search import spread
from tables_aadg import CURVE, draw_curve

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "bench" / "results" / "aadg.json"
TARGET = "mask:background|vessel"
DOMAINS = {
    "hrf_h": "HRF-20@876, healthy",
    "hrf_dr": "HRF-20@876, diabetic retinopathy",
    "hrf_g": "HRF-20@876, glaucoma",
    "chase": "CHASE-14",
    "phantom": "fundus phantoms, one site",
}
EPOCHS, WARM_UP = 40, 12
SEEDS = (0, 1, 2)
PARTS = {"aadg_1/2": 0.5, "aadg_1/5": 0.2, "aadg_1/10": 0.1}
"""Shares of the schedule for the curve; the share of the warm-up in it stays."""
WHOLE_TARGETS, WHOLE_SEED = ("hrf_h", "chase"), 0
"""Where the recipe's own schedule is tried: it takes an hour a run."""

NETWORK = {
    "task.adapter": "scantling.adapt.UNet",
    "task.adapter.backbone": "resnet10t",
    "task.adapter.weights": "none",
    "data.target": TARGET,
    "data.image_size": 256,
    "data.fit": "pad",
    "data.normalize": "half",
    "data.workers": 1,
    "task.objective": "scantling.tasks.objectives.DiceCrossEntropy",
    "task.objective.dice_weight": 1.0,
    "task.patch_size": 96,
    "task.optimizer.name": "adam",
    "task.optimizer.lr": 1e-3,
    "task.optimizer.weight_decay": 0.0,
    "trainer.max_epochs": EPOCHS,
    "trainer.precision": "bf16-mixed",
    "trainer.channels_last": True,
}
SEARCH = {
    "data.batch_size": 2,
    "task.domain": "site",
    "task.warmup_epochs": WARM_UP,
    "task.rounds": 1,
    "task.search_rate": 0.3,
    "task.search.lr": 3.5e-3,
}
"""With a seventh of the paper's epochs, the controller learns ten times as fast and the network's rate falls less."""
WHOLE = {"trainer.max_epochs": 300, "task.warmup_epochs": 60, "task.search_rate": 0.1, "task.search.lr": 3.5e-4}
SEGMENT = {"data.batch_size": 4, "task.patches": 2, "task.schedule.name": "cosine", "trainer.max_epochs": 36}
"""With these there are about as many updates as in a search."""


def variants() -> dict[str, tuple[str, dict[str, Any]]]:
    """Recipe and settings of every way to train."""
    policies = "scantling.augment.policy"
    none = {"data.policy": "scantling.augment.NoPolicy"}
    ways: dict[str, tuple[str, dict[str, Any]]] = {
        "none": ("segment", {**SEGMENT, **none}),
        "fixed": ("segment", {**SEGMENT}),
        "random": ("segment", {**SEGMENT, "data.policy": f"{policies}.RandomPolicy"}),
        "rand_augment": ("segment", {**SEGMENT, "data.policy": f"{policies}.RandAugment"}),
        "trivial_augment": ("segment", {**SEGMENT, "data.policy": f"{policies}.TrivialAugment"}),
        "big_aug": ("segment", {**SEGMENT, "data.policy": f"{policies}.BigAug", "data.policy.rotation": [-20.0, 20.0]}),
        "mix_style": ("segment", {**SEGMENT, **none, "task.adapter": "scantling.adapt.MixStyleUNet"}),
        "frozen_controller": ("aadg", {**SEARCH, "task.search.update": "none"}),
        "aadg": ("aadg", SEARCH),
    }
    for name, part in PARTS.items():
        shorter = {"trainer.max_epochs": round(EPOCHS * part), "task.warmup_epochs": round(WARM_UP * part)}
        ways[name] = ("aadg", {**SEARCH, **shorter})
    ways["aadg_whole"] = ("aadg", {**SEARCH, **WHOLE})
    return ways


@dataclass(frozen=True)
class Job:
    """One training with its measurement.

    Args:
        target: the domain left out.
        variant: way to train.
        seed: of the run.
    """

    target: str
    variant: str
    seed: int

    @property
    def planned(self) -> bool:
        """Whether it is part of the comparison."""
        return self.variant != "aadg_whole" or (self.target in WHOLE_TARGETS and self.seed == WHOLE_SEED)


def main() -> None:
    """Make the data, do the jobs, write what they gave."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=ROOT / "build" / "bench" / "aadg")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--targets", nargs="+", default=list(DOMAINS), choices=list(DOMAINS))
    parser.add_argument("--variants", nargs="+", default=list(variants()), choices=list(variants()))
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
    settings = {"all": NETWORK, "variants": {n: {"recipe": r, **s} for n, (r, s) in variants().items()}}
    os.environ.setdefault("SCANTLING_CACHE", str(work / "cache"))
    whole = make_manifest(work)
    for target in arguments.targets:
        for seed in arguments.seeds:
            leave_out(whole, "site", target, by="patient", seed=seed).write(work / f"without_{target}_{seed}.csv")
    every = [Job(t, v, s) for s in SEEDS for t in DOMAINS for v in variants()]
    made_with = {"settings": settings, "epochs_share": arguments.epochs_share}
    known = finished(every, partial(place, work, arguments.epochs_share), RESULTS, made_with)
    # Seed by seed, so that an early stop leaves whole comparisons.
    jobs = [Job(t, v, s) for s in arguments.seeds for t in arguments.targets for v in arguments.variants]
    jobs = [] if arguments.collect else [job for job in jobs if job not in known and job.planned]
    new = spread(partial(outcome, work, arguments.epochs_share), jobs, arguments.workers) if jobs else []
    runs = [*known.values(), *new]
    if not runs:
        parser.error(f"nothing is finished in {work}; run without --collect")
    results = {
        "name": "aadg",
        "kind": "domain generalisation",
        "domains": {d: {"title": t, "images": int((whole.table["site"] == d).sum())} for d, t in DOMAINS.items()},
        **made_with,
        "runs": runs,
        "summary": summary(runs),
        "machine": machine(workers=arguments.workers),
        "versions": versions(),
        "created": now(),
    }
    trial = arguments.epochs_share != 1
    out = work / "trial.json" if trial else RESULTS
    write_json(out, results)
    if not trial and all(name in results["summary"] for name in CURVE):
        draw_curve(results, ROOT / "docs" / "images" / "aadg_curve.png")
    print(f"results: {out}")


def make_manifest(work: Path) -> Manifest:
    """All domains in one table; ``site`` names the domain."""
    source = shared_data()
    work.mkdir(parents=True, exist_ok=True)
    hrf = import_layout("vessels", source / "vessels_hrf", work / "hrf.csv", site="hrf").table
    group = hrf["image"].str.extract(r"\d+_(dr|g|h)\.", expand=False)
    hrf = hrf.assign(site="hrf_" + group)
    chase = import_layout("vessels", source / "vessels_chase", work / "chase.csv", site="chase").table
    phantoms = work / "phantoms" / "manifest.csv"
    if not phantoms.is_file():
        write_fundus(phantoms.parent, n=20, sites=1, size=512, seed=11)
    drawn = Manifest.read(phantoms).table
    drawn = drawn.assign(
        site="phantom", target=TARGET, image="phantoms/" + drawn["image"], mask="phantoms/" + drawn["mask"]
    )
    columns = ["image", "mask", "patient", "site", "target"]
    whole = pd.concat([part[columns] for part in (hrf, chase, drawn)], ignore_index=True)
    # Numbers of patients start anew in every group.
    whole["patient"] = whole["site"] + ":" + whole["patient"].fillna(whole["image"]).astype(str)
    return Manifest(whole, work)


def setting(share: float, job: Job) -> tuple[str, dict[str, Any]]:
    """Recipe of a job, and its settings."""
    recipe, own = variants()[job.variant]
    settings = {**NETWORK, **own, "trainer.seed": job.seed}
    for key in ("trainer.max_epochs", "task.warmup_epochs"):
        if key in settings:
            settings[key] = max(2, round(settings[key] * share))
    if "task.warmup_epochs" in settings:
        settings["task.warmup_epochs"] = min(settings["task.warmup_epochs"], settings["trainer.max_epochs"] - 1)
    return recipe, settings


def place(work: Path, share: float, job: Job) -> Path:
    """The folder of a job; another one for other settings."""
    return work / f"{job.target}_{job.variant.replace('/', '-')}_{job.seed}_{digest(setting(share, job))}"


def outcome(work: Path, share: float, job: Job) -> dict[str, Any]:
    """Train, or take what is there, and measure on the domain left out."""
    from scantling.run.evaluate import evaluate

    folder = place(work, share, job)
    recipe, settings = setting(share, job)
    manifest = work / f"without_{job.target}_{job.seed}.csv"
    train_or_go_on(recipe, manifest, folder, settings)
    content = evaluate(folder, manifest, out=folder / "evaluation", batch_size=2).content
    result = {
        **asdict(job),
        "test": {name: figure["value"] for name, figure in content["metrics"].items()},
        "validation": {n: v["value"] for n, v in read_meta(find_bundle(folder))["metrics"]["values"].items()},
        **spent(folder),
    }
    write_json(folder / OUTCOME, result)
    return result


def summary(outcomes: list[dict[str, Any]]) -> dict[str, Any]:
    """Mean and deviation over seeds for every variant and target, and the mean and the worst target of each variant."""
    table = pd.DataFrame(
        [{**{k: o[k] for k in ("target", "variant", "seed", "updates", "seconds")}, **o["test"]} for o in outcomes]
    )
    figures = [name for name in ("dice", "hd95") if name in table]
    found: dict[str, Any] = {}
    for variant, rows in table.groupby("variant", sort=False):
        by_target = rows.groupby("target", sort=False)[figures].agg(["mean", "std"])
        means = rows.groupby("target")[figures].mean()
        found[str(variant)] = {
            "targets": {
                str(t): {
                    f: {"mean": float(r[(f, "mean")]), "std": float(np.nan_to_num(r[(f, "std")]))} for f in figures
                }
                for t, r in by_target.iterrows()
            },
            "mean": {f: float(means[f].mean()) for f in figures},
            "worst": {f: float(means[f].max() if f == "hd95" else means[f].min()) for f in figures},
            "updates": int(rows["updates"].median()),
            "seconds": float(rows["seconds"].median()),
            "seeds": sorted({int(s) for s in rows["seed"]}),
        }
    return found


if __name__ == "__main__":
    main()
