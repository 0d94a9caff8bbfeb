"""Speed of the input pipeline: store, loader and a fixed policy against Pillow and torchvision sample by sample.

Both give standardised, augmented training batches of the same photographs with the same operations: flips, brightness
and contrast, resized crop, rotation, translation. Both are measured with nearest-neighbour rotation, the default of
torchvision and the published recipe, and with a bilinear one, which is our default. Torchvision works once on the files
as they are (decode, crop the border, resize, augment), which is what our store is built from, and once, the hardest
rival, on JPEG files that were cropped and resized beforehand, as the published recipe does it. Epochs of the pipelines
take turns, after a first one that is not counted.

    python bench/input_pipeline.py [--size 512 --batch 16 --repeats 5]
"""

from __future__ import annotations

import argparse
import importlib.metadata
import math
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from PIL import Image
from tensordict import TensorDict
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from scantling.augment import FixedPolicy
from scantling.augment.settings import Interpolation
from scantling.core.files import write_json
from scantling.core.seams import Inputs
from scantling.data.fundus import field_of_view_box
from scantling.data.loader import Loader
from scantling.data.manifest import Manifest
from scantling.data.preprocess import Preprocess
from scantling.data.readers import read_picture
from scantling.data.store import Store
from scantling.nets import torchvision_ops  # noqa: F401  (before torchvision)

INTERPOLATIONS: tuple[Interpolation, ...] = ("nearest", "bilinear")
ROOT = Path(__file__).resolve().parents[1]
INPUTS = Inputs(mean=(0.425753653, 0.297374517, 0.212937579), std=(0.276703030, 0.202405274, 0.168624178))


def photographs(folder: Path, size: int) -> tuple[Manifest, str]:
    """IDRiD where it is, else phantoms drawn into ``folder``; with the name to report."""
    known = Path(os.environ.get("SCANTLING_DATA") or ROOT.parent / "shared" / "data") / "idrid_grading"
    if known.exists():
        table = pd.read_csv(known / "labels.csv")
        rows = pd.DataFrame({"image": "images/" + table["image"], "label": table["dr_grade"], "target": "grade:5"})
        return Manifest(rows, known), f"IDRiD-{len(rows)}@{size}"
    from scantling.data.phantoms import write_fundus

    return Manifest.read(write_fundus(folder / "phantoms", n=240, size=size)), f"phantoms-240@{size}"


class OneByOne(Dataset[tuple[Tensor, int]]):
    """Image files, augmented one at a time; with ``crop`` their border is cut off first."""

    def __init__(self, files: list[Path], size: int, interpolation: str, crop: bool) -> None:
        from torchvision import transforms as T

        mode = T.InterpolationMode(interpolation)
        self.files, self.size, self.crop = files, size, crop
        self.augment = T.Compose(
            [
                T.RandomHorizontalFlip(),
                T.RandomVerticalFlip(),
                T.ColorJitter(0.2, 0.2, 0.0, 0.0),
                T.RandomResizedCrop(size, (0.87, 1.15), (0.7, 1.3)),
                T.RandomRotation(180, mode),
                T.RandomAffine(0, translate=(0.2, 0.2)),
                T.ToTensor(),
                T.Normalize(INPUTS.mean, INPUTS.std, inplace=True),
            ]
        )

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, row: int) -> tuple[Tensor, int]:
        with Image.open(self.files[row]) as file:
            image = file.convert("RGB")
        if self.crop:
            image = image.crop(field_of_view_box(np.asarray(image)))
        if image.size != (self.size, self.size):
            image = image.resize((self.size, self.size), Image.Resampling.LANCZOS)
        return self.augment(image), row


def prepare(manifest: Manifest, preprocess: Preprocess, folder: Path) -> list[Path]:
    """Crop and resize every photograph into a JPEG file of quality 100 without chroma subsampling."""
    folder.mkdir()
    files = []
    for row in range(len(manifest)):
        pixels, _ = preprocess.apply(read_picture(*manifest.path(row)))
        files.append(folder / f"{row}.jpg")
        Image.fromarray(pixels.transpose(1, 2, 0)).save(files[-1], quality=100, subsampling=0)
    return files


def standardise(images: Tensor) -> Tensor:
    """``images (B, 3, H, W)`` less the mean, divided by the deviation, in place, in one pass over the memory."""
    for channel, (mean, std) in enumerate(zip(INPUTS.mean, INPUTS.std, strict=True)):
        values = images[:, channel]
        torch.add(values.new_tensor(-mean / std), values, alpha=1 / std, out=values)
    return images


class Ours:
    """Epochs of the store, the loader and the policy."""

    def __init__(self, store: Store, batch: int, policy: FixedPolicy) -> None:
        self.loader = Loader(store, torch.arange(len(store)), batch, seed=0, drop_last=True)
        self.policy, self.epoch = policy, 0

    def __iter__(self) -> Iterator[Tensor]:
        generator = torch.Generator().manual_seed(self.epoch)
        self.loader.set_epoch(self.epoch)
        self.epoch += 1
        for batch in self.loader:
            augmented: TensorDict = self.policy(batch, generator)
            yield standardise(augmented["image"])


def epoch(batches: Iterable[Any]) -> float:
    """Images per second of one epoch."""
    started, images = time.perf_counter(), 0
    for batch in batches:
        pixels = batch[0] if isinstance(batch, list) else batch
        images += len(pixels)
    return images / (time.perf_counter() - started)


def summary(values: list[float]) -> dict[str, Any]:
    return {
        "median": round(statistics.median(values), 2),
        "min": round(min(values), 2),
        "max": round(max(values), 2),
        "all": [round(v, 2) for v in values],
    }


def timed(make: Callable[[], Any]) -> tuple[Any, float]:
    started = time.perf_counter()
    return make(), time.perf_counter() - started


def processor() -> str:
    """Model of the CPU, as far as the system tells."""
    facts = Path("/proc/cpuinfo")
    if facts.exists():
        for line in facts.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def measure(arguments: argparse.Namespace, folder: Path) -> dict[str, Any]:
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else math.nan
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    manifest, name = photographs(folder, arguments.size)
    preprocess = Preprocess(size=arguments.size, crop="fundus")
    store, build = timed(lambda: Store.open(manifest, preprocess, folder / "cache", workers=arguments.workers))
    files, offline = timed(lambda: prepare(manifest, preprocess, folder / "prepared"))
    originals = [manifest.path(row)[0] for row in range(len(manifest))]
    pipelines: dict[str, Iterable[Any]] = {}
    for interpolation in INTERPOLATIONS:
        policy = FixedPolicy(interpolation=interpolation)
        pipelines[f"scantling_{interpolation}"] = Ours(store, arguments.batch, policy)
        for kind, images in (("torchvision", originals), ("torchvision_prepared", files)):
            pipelines[f"{kind}_{interpolation}"] = DataLoader(
                OneByOne(images, arguments.size, interpolation, crop=images is originals),
                arguments.batch,
                shuffle=True,
                drop_last=True,
                num_workers=arguments.workers,
                persistent_workers=True,
            )
    speeds: dict[str, list[float]] = {key: [] for key in pipelines}
    for repeat in range(arguments.repeats + 1):
        for key, batches in pipelines.items():
            speed = epoch(batches)
            print(f"{'warm-up' if repeat == 0 else f'epoch {repeat}':>8}  {key:<29} {speed:8.1f} images/s", flush=True)
            if repeat:
                speeds[key].append(speed)
    ratios = {
        f"{ours} / {kind.replace('_', ' ')} {theirs}": summary(
            [a / b for a, b in zip(speeds[f"scantling_{ours}"], speeds[f"{kind}_{theirs}"], strict=True)]
        )
        for kind in ("torchvision", "torchvision_prepared")
        for ours, theirs in (*((mode, mode) for mode in INTERPOLATIONS), ("bilinear", "nearest"))
    }
    one_pass, prepared = (
        len(files) / statistics.median(speeds[f"{kind}_nearest"]) for kind in ("torchvision", "torchvision_prepared")
    )
    return {
        "benchmark": "input_pipeline",
        "data": name,
        "size": arguments.size,
        "batch_size": arguments.batch,
        "threads": arguments.threads,
        "workers": arguments.workers,
        "repeats": arguments.repeats,
        "images_per_second": {key: summary(values) for key, values in speeds.items()},
        "ratio": ratios,
        "store": {
            "build_seconds": round(build, 2),
            "one_torchvision_epoch_seconds": round(one_pass, 2),
            "ratio": round(build / one_pass, 2),
            "one_torchvision_prepared_epoch_seconds": round(prepared, 2),
            "torchvision_offline_preparation_seconds": round(offline, 2),
        },
        "machine": {
            "cpu": processor(),
            "cores": os.cpu_count(),
            "system": platform.system(),
            "load_before": round(load, 2),
        },
        "versions": {
            "python": platform.python_version(),
            **{p: importlib.metadata.version(p) for p in ("torch", "torchvision", "pillow", "tensordict", "scantling")},
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--size", type=int, default=512, help="side of the images in pixels")
    parser.add_argument("--batch", type=int, default=16, help="images a batch")
    parser.add_argument("--repeats", type=int, default=5, help="epochs measured of each pipeline")
    parser.add_argument("--threads", type=int, default=2, help="threads of torch")
    parser.add_argument(
        "--workers", type=int, default=2, help="worker processes of torchvision, and of the store's build"
    )
    parser.add_argument("--out", type=Path, default=ROOT / "bench" / "results" / "input_pipeline.json")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        result = measure(arguments, Path(folder))
    write_json(arguments.out, result)
    for key, ratio in result["ratio"].items():
        print(f"{ratio['median']:.2f} times as fast as {key} ({ratio['min']:.2f} to {ratio['max']:.2f})")
    store = result["store"]
    print(
        "store built in {build_seconds} s, one epoch of torchvision takes {one_torchvision_epoch_seconds} s, of "
        "prepared files {one_torchvision_prepared_epoch_seconds} s".format(**store)
    )
    print(f"written: {arguments.out}")


if __name__ == "__main__":
    main()
