"""One run of a bench, in a process of its own: train, measure on the test split, keep the figures."""

from __future__ import annotations

import csv
import json
import multiprocessing
import os
import shutil
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scantling.core.errors import TrainingError
from scantling.core.files import write_json
from scantling.run.bench_plan import BESIDE, OPEN, PLAN, PRETRAINED, Run, open_data

FINISHED = "finished.json"


@dataclass(frozen=True)
class Job:
    """A run with its places.

    Args:
        run: what to do.
        manifest: of the data set.
        work: folder of the bench's work.
        metrics: to measure; none for a pretraining, whose bundle is kept instead.
        home: folder of the plan.
    """

    run: Run
    manifest: Path
    work: Path
    metrics: tuple[str, ...] = ()
    home: Path = Path()

    @property
    def record(self) -> Path:
        """File of its outcome."""
        return self.work / "runs" / self.run.data / _slug(self.run.variant) / f"{self.run.seed}.json"

    @property
    def folder(self) -> Path:
        """Where it trains."""
        return self.work / "trainings" / f"{_slug(self.run.variant)}-{self.run.key}"

    def outcome(self) -> dict[str, Any] | None:
        """What an earlier call left, if nothing that decides it has changed since."""
        if not self.metrics:
            return {"bundle": str(self.folder)} if (self.folder / FINISHED).is_file() else None
        try:
            found = json.loads(self.record.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return found if found.get("key") == self.run.key and "error" not in found else None


def begin() -> None:
    """Set up a worker process: one thread, and whatever takes long to import."""
    end_with_parent()
    os.environ["OMP_NUM_THREADS"] = "1"
    import torch

    from scantling.run import train  # noqa: F401  (imports the trainer once for all runs of this process)

    torch.set_num_threads(1)


def end_with_parent() -> None:
    """End this process as soon as the one that started it is gone, so that a killed bench leaves no training behind."""
    parent = multiprocessing.parent_process()

    def watch() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=watch, name="parent", daemon=True).start()


def carry_out(job: Job, bundles: Mapping[str, str]) -> dict[str, Any]:
    """Train and measure; the outcome is also written to the job's record.

    Args:
        job: what to do.
        bundles: pretrained bundles by name.

    Returns:
        The outcome: figures of test and validation, seconds, and every test prediction; or ``error`` where the training
        broke off.
    """
    from scantling.run.train import TIMING, train

    places = {BESIDE: job.manifest.parent, OPEN: open_data(), PLAN: job.home}
    settings = {k: _resolved(v, bundles, places) for k, v in job.run.settings.items()}
    settings["data.cache"] = str(job.work / "cache")
    shutil.rmtree(job.folder, ignore_errors=True)
    started = time.perf_counter()
    about = {"data": job.run.data, "variant": job.run.variant, "seed": job.run.seed, "key": job.run.key}
    try:
        result = train(job.run.recipe, job.manifest, job.folder, overrides=settings, progress=False)
    except TrainingError as error:
        outcome = {**about, "error": str(error)}
        write_json(job.record, outcome)
        return outcome
    if not job.metrics:
        write_json(job.folder / FINISHED, about)
        return {"bundle": str(job.folder)}
    trained = time.perf_counter()
    meta = json.loads((result.bundle / "bundle.json").read_text(encoding="utf-8"))
    counts = meta["provenance"]["data"]["classes"].get("train")
    test = measure(result.bundle, job.manifest, str(job.work / "cache"), job.metrics, counts)
    validation = {k: meta["metrics"]["values"].get(k, {}).get("value") for k in job.metrics}
    timing = json.loads((result.bundle.parent / TIMING).read_text(encoding="utf-8"))
    outcome = {
        **about,
        **test,
        "validation": validation,
        "seconds": {
            "train": round(trained - started, 2),
            "test": round(time.perf_counter() - trained, 2),
            "step": timing.get("step_seconds"),
        },
        "curve": _curve(result.bundle.parent / "log" / "metrics.csv", job.metrics[0]),
        "parameters": {k: meta["meter"].get(k) for k in ("total", "learnable", "published_share")},
        "peak_bytes": meta["meter"].get("peak_bytes"),
        "splits": meta["provenance"]["data"],
    }
    write_json(job.record, outcome)
    shutil.rmtree(job.folder, ignore_errors=True)
    return outcome


def measure(
    bundle: Path, manifest: Path, cache: str, metrics: Sequence[str], counts: Mapping[str, int] | None = None
) -> dict[str, Any]:
    """Figures on the test split, and labels, probabilities and patient codes to compare runs image by image.

    Args:
        bundle: trained model.
        manifest: with a split ``test``.
        cache: folder of stores.
        metrics: names.
        counts: training images per class, for the recalls of head, middle and tail.
    """
    import numpy as np
    import torch

    from scantling.run.bench_findings import score_of
    from scantling.run.evaluate import open_for
    from scantling.run.model import load
    from scantling.run.prepare import read_manifest
    from scantling.run.records import predictions_of

    model = load(bundle)
    prepared, _ = open_for(model, read_manifest(manifest), cache)
    rows = prepared.rows("test")
    outputs = torch.cat([model.outputs(b).float() for b in prepared.loader(rows, 64, sampler="sequential")])
    found = predictions_of(model.objective, model.target, prepared, rows, outputs)
    per_class = None if counts is None else np.array(list(counts.values()))
    return {
        "test": {n: float(score_of(n, per_class)(found.labels, found.probabilities, None)) for n in metrics},
        "labels": found.labels.tolist(),
        "probabilities": found.probabilities.tolist(),
        "groups": None if found.groups is None else found.groups.tolist(),
    }


def _curve(path: Path, metric: str) -> list[float | None]:
    """The validation figure epoch by epoch."""
    with path.open(encoding="utf-8") as stream:
        return [float(r[f"val_{metric}"]) if r.get(f"val_{metric}") else None for r in csv.DictReader(stream)]


def _resolved(value: Any, bundles: Mapping[str, str], places: Mapping[str, Path]) -> Any:
    if isinstance(value, (list, tuple)):
        return [_resolved(v, bundles, places) for v in value]
    if not isinstance(value, str):
        return value
    for prefix, folder in places.items():
        if value.startswith(prefix):
            return str(folder / value.removeprefix(prefix))
    return bundles.get(value.removeprefix(PRETRAINED), value)


def _slug(name: str) -> str:
    return "".join(c if c.isalnum() or c in "-_." else "_" for c in name)
