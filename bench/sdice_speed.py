"""What SDICE costs: 100,000 against 100,000 embeddings, and exact moments against the same from all pairs in blocks.

The large comparison runs in a process of its own, whose highest memory is told. The other ways take turns, so that what
else the machine does falls on all of them alike; their ratios are of processor time, medians of turns.

    python bench/sdice_speed.py [--large 100000 --small 20000 --width 512 --threads 2]
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from scantling.assess import sdice
from scantling.assess.embedded import Embedded
from scantling.assess.moments import pair_sums
from scantling.core.files import write_json
from scantling.run.bench import machine
from scantling.run.bundle import now, versions

HERE = Path(__file__).resolve().parent
BLOCK = 2000


def drawn(count: int, width: int, classes: int, seed: int) -> tuple[Tensor, Tensor]:
    """Embeddings round class centres, float32, made in place."""
    generator = torch.Generator().manual_seed(seed)
    centres = torch.randn(classes, width, generator=torch.Generator().manual_seed(99))
    labels = torch.randint(0, classes, (count,), generator=generator)
    features = torch.empty(count, width)
    for start in range(0, count, BLOCK):
        part = features[start : start + BLOCK]
        part.normal_(generator=generator).add_(centres[labels[start : start + BLOCK]])
    return features, labels


def large(count: int, width: int, classes: int) -> dict[str, Any]:
    """Seconds of the whole index, and the highest memory of the process."""
    (real, one), (synthetic, two) = drawn(count, width, classes, 0), drawn(count, width, classes, 1)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started, worked = time.perf_counter(), time.process_time()
    found = sdice(real, one, synthetic, two)
    return {
        "images": count,
        "width": width,
        "classes": classes,
        "seconds": time.perf_counter() - started,
        "processor_seconds": time.process_time() - worked,
        "pairs": int(found.intra.real.count + found.inter.real.count) * 2,
        "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "bytes_before": before * 1024,
        "gamma": list(found.pair),
    }


def by_pairs(units: Tensor, labels: Tensor, half: bool) -> np.ndarray:
    """Count, sum and sum of squares of intra and of inter pairs, block by block.

    Args:
        units: rows of length 1 ``(N, D)``.
        labels: ``(N,)``.
        half: only blocks on and above the diagonal; else each pair is met twice, the plain way.
    """
    out = np.zeros((2, 3))
    for start in range(0, len(units), BLOCK):
        for other in range(start if half else 0, len(units), BLOCK):
            found = units[start : start + BLOCK] @ units[other : other + BLOCK].T
            same = labels[start : start + BLOCK, None] == labels[other : other + BLOCK]
            different = ~same
            if start == other:
                same.fill_diagonal_(False)
            weight = 1 if half and start != other else 0.5
            for k, chosen in enumerate((same, different)):
                kept = found * chosen
                out[k] += weight * np.array([chosen.sum().item(), kept.sum().item(), kept.square_().sum().item()])
    return out


def against_pairs(count: int, width: int, classes: int, repeats: int) -> dict[str, Any]:
    """Processor time of the exact moments, and of all pairs in several ways."""
    features, labels = drawn(count, width, classes, 0)
    data = Embedded(features, labels, classes)

    def pairs(dtype: torch.dtype, half: bool) -> np.ndarray:
        return by_pairs(torch.nn.functional.normalize(features.to(dtype), dim=1), labels, half)

    ways: dict[str, Callable[[], Any]] = {
        "moments": lambda: pair_sums(data),
        "all pairs": lambda: pairs(torch.float64, half=False),
        "all pairs, each once": lambda: pairs(torch.float64, half=True),
        "all pairs, each once, single precision": lambda: pairs(torch.float32, half=True),
    }
    taken: dict[str, list[float]] = {name: [] for name in ways}
    results: dict[str, Any] = {}
    for _ in range(repeats):
        for name, work in ways.items():
            started = time.process_time()
            results[name] = work()
            taken[name].append(time.process_time() - started)
    intra = results["moments"].pooled(np.eye(classes))
    number, total, squares = results["all pairs"][0]
    gap = max(abs(intra.mean - total / number), abs(intra.variance - (squares / number - (total / number) ** 2)))
    ratios = {n: [a / b for a, b in zip(taken[n], taken["moments"], strict=True)] for n in ways if n != "moments"}
    return {
        "images": count,
        "seconds": {n: {"median": statistics.median(v), "all": v} for n, v in taken.items()},
        "ratio": {n: {"median": round(statistics.median(v), 1), "all": [round(r, 1) for r in v]}
                  for n, v in ratios.items()},
        "largest_difference": float(gap),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--large", type=int, default=100_000)
    parser.add_argument("--small", type=int, default=20_000)
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--classes", type=int, default=10)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--only-large", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, default=HERE / "results" / "sdice_speed.json")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    if arguments.only_large:
        print(json.dumps(large(arguments.large, arguments.width, arguments.classes)))
        return
    result: dict[str, Any] = {"name": "sdice_speed", "threads": arguments.threads}
    words = ["--large", arguments.large, "--width", arguments.width, "--classes", arguments.classes,
             "--threads", arguments.threads]  # fmt: skip
    done = subprocess.run(
        [sys.executable, __file__, "--only-large", *map(str, words)], capture_output=True, text=True, check=True
    )
    result["large"] = json.loads(done.stdout.splitlines()[-1])
    print("large", result["large"], flush=True)
    result["small"] = against_pairs(arguments.small, arguments.width, arguments.classes, arguments.repeats)
    print("ratio", {n: v["median"] for n, v in result["small"]["ratio"].items()}, flush=True)
    made = machine(workers=1) | {"threads_a_worker": arguments.threads}
    write_json(arguments.out, result | {"machine": made, "versions": versions(), "created": now()})
    print(f"written: {arguments.out}")


if __name__ == "__main__":
    main()
