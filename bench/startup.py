"""How soon a run on a warm store takes its first optimiser step, from the command to the step, in fresh processes.

Run: python bench/startup.py [--repeats 5]. Writes bench/results/startup.json.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from scantling.core.files import write_json
from scantling.run.bench import machine
from scantling.run.bundle import now, versions

HERE = Path(__file__).resolve().parent
LIMIT_S = 20.0


def main() -> None:
    """Build a store once, then start the same command again and again."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--size", type=int, default=512)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        environment = {**os.environ, "SCANTLING_CACHE": str(place / "cache")}
        command = [sys.executable, "-m", "scantling"]
        manifest = place / "phantoms" / "manifest.csv"
        draw = ["data", "phantom", "fundus", "--n", "200", "--size", str(arguments.size), "-o", str(manifest.parent)]
        subprocess.run([*command, *draw], check=True, env=environment)
        seconds = [
            first_step(command, manifest, place / f"run{i}", arguments.size, environment)
            for i in range(arguments.repeats + 1)
        ]
    warm = seconds[1:]
    help_seconds = [timed([*command, "--help"], environment) for _ in range(arguments.repeats)]
    result = {
        "first_step_seconds": {
            "cold_store": seconds[0],
            "warm_store": warm,
            "median": statistics.median(warm),
            "limit": LIMIT_S,
        },
        "help_seconds": {"all": help_seconds, "median": statistics.median(help_seconds), "limit": 0.5},
        "recipe": f"dr_grading, resnet18, {arguments.size} px, batch 16",
        "machine": machine(workers=1),
        "versions": versions(),
        "created": now(),
    }
    write_json(HERE / "results" / "startup.json", result)
    print(json.dumps(result["first_step_seconds"]), json.dumps(result["help_seconds"]))


def first_step(command: list[str], manifest: Path, out: Path, size: int, environment: dict[str, str]) -> float:
    """Seconds from the start of the process to the start of its first step."""
    settings = {
        "task.adapter.backbone": "resnet18", "task.adapter.weights": "none", "data.image_size": size,
        "trainer.max_epochs": 1, "trainer.limit_train_batches": 1, "trainer.accelerator": "cpu",
    }  # fmt: skip
    words = ["train", "dr_grading", "--data", str(manifest), "--out", str(out)]
    words += [f"--{k}={v}" for k, v in settings.items()]
    subprocess.run([*command, *words], check=True, env=environment, stdout=subprocess.DEVNULL)
    return float(json.loads((out / "train" / "timing.json").read_text())["until_first_step_seconds"])


def timed(command: list[str], environment: dict[str, str]) -> float:
    """Wall seconds of a whole process."""
    started = time.perf_counter()
    subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL)
    return round(time.perf_counter() - started, 3)


if __name__ == "__main__":
    main()
