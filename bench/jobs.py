"""Trainings of a bench that is longer than a sitting: what is finished is kept, and what was stopped goes on."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

from scantling.core.bundle import is_bundle

Job = TypeVar("Job")
"""A dataclass; the record of a job begins with its fields."""

OUTCOME = "outcome.json"
"""Record of a finished job, in its folder."""


def shared_data() -> Path:
    """The folder of real data sets."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    return Path(os.environ.get("SCANTLING_DATA") or beside).resolve()


def finished(
    jobs: Iterable[Job],
    place: Callable[[Job], Path],
    results: Path | None = None,
    same: Mapping[str, Any] | None = None,
) -> dict[Job, dict[str, Any]]:
    """Records of the jobs that an earlier call has finished.

    Args:
        jobs: to look for.
        place: the folder of a job.
        results: of the bench, whose ``runs`` count where all of ``same`` is in it; left out, folders alone count.
        same: what the results were made with.
    """
    written: list[dict[str, Any]] = []
    if results is not None and results.is_file():
        content = json.loads(results.read_text(encoding="utf-8"))
        wanted = json.loads(json.dumps(dict(same or {})))
        written = content["runs"] if all(content[name] == value for name, value in wanted.items()) else []
    found: dict[Job, dict[str, Any]] = {}
    for job in jobs:
        known = asdict(job)  # type: ignore[call-overload]
        record = next((run for run in written if all(run[k] == v for k, v in known.items())), None)
        file = place(job) / OUTCOME
        if record is None and file.is_file():
            record = json.loads(file.read_text(encoding="utf-8"))
        if record is not None:
            found[job] = record
    return found


def train_or_go_on(recipe: str, manifest: Path, folder: Path, settings: Mapping[str, Any]) -> None:
    """Train a recipe of one stage, from where it was stopped; nothing where it is done."""
    from scantling.run.train import train

    if not is_bundle(folder / "train" / "bundle"):
        train(recipe, manifest, folder, any(folder.glob("*/checkpoints/*")), settings, progress=False)


def spent(folder: Path) -> dict[str, int]:
    """Updates of a training and its seconds, from its log."""
    with (folder / "train" / "log" / "metrics.csv").open(encoding="utf-8") as stream:
        log = list(csv.DictReader(stream))
    return {"updates": int(float(log[-1]["step"])), "seconds": round(sum(float(row["seconds"]) for row in log))}
