"""What SPMix costs: a training step with it against one without, and images a second of the saliency maps.

Steps are whole ones, with forward, backward and optimiser; both see batches of the same number of rows. The ways take
turns, so that what else the machine does falls on all of them alike. Ratios are of processor time, medians of turns.

    python bench/spmix_speed.py [--backbone vit_small_patch16_224 --batch 8]
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from tensordict import TensorDict

from scantling.adapt import FullFineTuning
from scantling.augment import FineGrained, SpectralResidual, SPMix
from scantling.core.batch import IMAGE, LABEL, SALIENCY, as_float
from scantling.core.files import write_json
from scantling.core.seams import Inputs
from scantling.core.target import parse_target
from scantling.data.phantoms import draw_skin
from scantling.run.bench import machine
from scantling.run.bundle import now, versions
from scantling.tasks.objectives import CrossEntropy

HERE = Path(__file__).resolve().parent
CLASSES = 7
WAYS = {
    "plain": None,
    "pixel": {"level": "pixel"},
    "token": {"level": "token"},
    "pixel, saliency in the batch": {"level": "pixel", "when": "batch"},
}


def rows(count: int, size: int) -> TensorDict:
    """Phantoms of skin lesions with their maps, as the store gives them."""
    drawn = draw_skin(count, size=size, seed=1, imbalance=10.0)
    images = torch.from_numpy(drawn.images).permute(0, 3, 1, 2).contiguous()
    fields = {IMAGE: images, LABEL: torch.from_numpy(drawn.label)} | FineGrained()(images)
    return TensorDict(fields, batch_size=[count])


def step_of(arguments: argparse.Namespace, way: dict[str, Any] | None, data: TensorDict) -> Callable[[], None]:
    """One training step, its batch brought from bytes to float as in a task."""
    torch.manual_seed(0)
    inputs = Inputs((arguments.size, arguments.size))
    adapter = FullFineTuning(CLASSES, inputs, arguments.backbone, "none").train().to(arguments.device)
    target = parse_target(f"class:{CLASSES}")
    objective = CrossEntropy()
    objective.configure(target)
    optimizer = torch.optim.AdamW(adapter.parameters(), 1e-4)
    mixer = None if way is None else SPMix(partners="class_balanced", probability=1.0, **way)
    if mixer is not None:
        mixer.configure(target, inputs, torch.full((CLASSES,), 10))
    generator = torch.Generator().manual_seed(0)

    def step() -> None:
        # With partners a batch has twice the rows, of which as many as without reach the network.
        batch = data[: arguments.batch] if mixer is None else data
        batch = as_float(batch if mixer is not None and mixer.derivations() else batch.exclude(SALIENCY))
        if mixer is None:
            outputs = adapter(batch)
        else:
            batch = mixer(batch, generator)
            with mixer.around(adapter, batch):
                outputs = adapter(batch)
        objective.loss(outputs, batch).backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


def seconds(work: Callable[[], object], device: str) -> float:
    """Processor time of one call; on a GPU, time until it has done it."""
    clock = time.process_time if device == "cpu" else time.perf_counter
    if device != "cpu":
        torch.cuda.synchronize()
    started = clock()
    work()
    if device != "cpu":
        torch.cuda.synchronize()
    return clock() - started


def steps(arguments: argparse.Namespace) -> dict[str, Any]:
    data = rows(2 * arguments.batch, arguments.size).to(arguments.device)
    ways = {name: step_of(arguments, way, data) for name, way in WAYS.items()}
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(arguments.repeats + 1):
        for name, step in ways.items():
            found = seconds(step, arguments.device)
            if turn:
                taken[name].append(found)
    ratios = {n: [a / b for a, b in zip(taken[n], taken["plain"], strict=True)] for n in ways if n != "plain"}
    return {
        "seconds_a_step": {n: {"median": statistics.median(v), "all": v} for n, v in taken.items()},
        "ratio": {n: {"median": round(statistics.median(v), 3), "all": [round(r, 3) for r in v]}
                  for n, v in ratios.items()},
    }  # fmt: skip


def saliency(arguments: argparse.Namespace) -> dict[str, Any]:
    images = rows(32, arguments.size)[IMAGE].to(arguments.device)
    found = {}
    for detector in (FineGrained(), SpectralResidual()):
        detector(images)
        rates = [
            len(images) / seconds(lambda d=detector: d(images), arguments.device) for _ in range(arguments.repeats)
        ]
        found[type(detector).__name__] = {"median": round(statistics.median(rates), 1), "all": rates}
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--backbone", default="vit_small_patch16_224")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--out", type=Path, default=HERE / "results" / "spmix_speed.json")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    result: dict[str, Any] = {
        "name": "spmix_speed", "backbone": arguments.backbone, "size": arguments.size, "batch": arguments.batch,
        "device": arguments.device if arguments.device == "cpu" else torch.cuda.get_device_name(),
    }  # fmt: skip
    result["images_a_second"] = saliency(arguments)
    print("saliency", {n: v["median"] for n, v in result["images_a_second"].items()}, flush=True)
    result["steps"] = steps(arguments)
    print("steps", {n: v["median"] for n, v in result["steps"]["ratio"].items()}, flush=True)
    made = machine(workers=1) | {"threads_a_worker": 1}
    write_json(arguments.out, result | {"machine": made, "versions": versions(), "created": now()})
    print(f"written: {arguments.out}")


if __name__ == "__main__":
    main()
