"""FPT+ at full size: seconds a step on a warm store, seconds an image of preloading, and what storage does to logits.

1. Steps. On a warm store, against the published way: decode every full-size photograph for the small view, read one
   float32 file of features an image. Photographs are enlarged to the size that the camera of IDRiD gives (4288 x 2848)
   and saved as JPEG, since the open copies are reduced; both ways then train the same side network.
2. Preloading. Our taps (chunks, fused attention elsewhere, nothing past the last tapped block) against a forward pass
   that computes the whole attention map in every block and selects the same tokens from them.
3. Storage. Largest difference of the logits from those with features in float32, for each stored type.

    python bench/fpt_speed.py [--backbone vit_base_patch16_384 --size 512 --batch 16]
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from tensordict import TensorDict
from torch import Tensor
from torch.nn import functional as F

from scantling.adapt.fpt import FPT, FrozenFeatures
from scantling.adapt.fpt.features import SCALES, stored
from scantling.adapt.fpt.selection import important_tokens
from scantling.core.batch import FROZEN_KEYS, FROZEN_VALUES, IMAGE, LABEL
from scantling.core.files import write_json
from scantling.core.seams import Inputs
from scantling.data.joined import Joined, Part
from scantling.data.loader import Loader
from scantling.data.manifest import Manifest
from scantling.data.phantoms import write_fundus
from scantling.data.preprocess import Preprocess
from scantling.data.readers import read_picture
from scantling.data.store import Store
from scantling.nets.frozen import find_frozen, frozen_body
from scantling.run.bench import machine
from scantling.run.bundle import now, versions

HERE = Path(__file__).resolve().parent
FULL = (4288, 2848)
SIDE = Inputs(size=(128, 128))
TYPES = ("float32", "float16", "bfloat16", "int8")


def photographs(folder: Path, count: int) -> Manifest:
    """Photographs of the size that a fundus camera gives: IDRiD enlarged where it is, else phantoms."""
    known = Path(os.environ.get("SCANTLING_DATA") or HERE.parents[1] / "shared" / "data") / "idrid_grading" / "images"
    if known.exists():
        files = sorted(known.iterdir())[:count]
    else:
        files = [p for p, _ in map(Manifest.read(write_fundus(folder / "ph", n=count, size=512)).path, range(count))]
    folder.mkdir(exist_ok=True)
    for number, file in enumerate(files):
        with Image.open(file) as image:
            large = image.convert("RGB").resize(FULL, Image.Resampling.BICUBIC)
        large.save(folder / f"{number:03}.jpg", quality=92)
    import pandas as pd

    rows = {"image": [f"{n:03}.jpg" for n in range(count)], "label": [n % 5 for n in range(count)], "target": "class:5"}
    return Manifest(pd.DataFrame(rows), folder)


def features_of(arguments: argparse.Namespace, dtype: Any = "float16", blocks: str = "last_half") -> FrozenFeatures:
    inputs = Inputs(size=(arguments.size, arguments.size))
    return FrozenFeatures(arguments.backbone, "none", inputs, blocks=blocks, dtype=dtype)


def trainer(arguments: argparse.Namespace, rate: float = 5e-4) -> tuple[FPT, Callable[[TensorDict], None]]:
    """The side network, and one step of its training."""
    torch.manual_seed(0)
    adapter = FPT(5, SIDE, arguments.backbone, "none", frozen_size=arguments.size).train()
    optimizer = torch.optim.AdamW(adapter.parameters(), lr=rate, weight_decay=0.1, fused=True)

    def step(batch: TensorDict) -> None:
        F.cross_entropy(adapter(batch), batch[LABEL]).backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return adapter, step


def ours(manifest: Manifest, source: Joined, batch: int) -> Iterator[TensorDict]:
    labels = torch.from_numpy(manifest.target.encode(manifest.table))
    loader = Loader(source, torch.arange(len(manifest)), batch, labels=labels, drop_last=True)
    for epoch in range(1000):
        loader.set_epoch(epoch)
        for found in loader:
            found[IMAGE] = found[IMAGE].float().div_(255)
            yield found


class Published(torch.utils.data.Dataset[tuple[Tensor, Tensor, Tensor, int]]):
    """Every step: decode the photograph, make the small view, read the file of features."""

    def __init__(self, manifest: Manifest, folder: Path) -> None:
        self.files = [manifest.path(row)[0] for row in range(len(manifest))]
        self.folder = folder

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, row: int) -> tuple[Tensor, Tensor, Tensor, int]:
        with Image.open(self.files[row]) as image:
            small = np.array(image.convert("RGB").resize(SIDE.size, Image.Resampling.BILINEAR))
        kept = load_file(self.folder / f"{row:03}.safetensors")
        view = torch.from_numpy(small).permute(2, 0, 1).float().div_(255)
        return view, kept["key_states"], kept["value_states"], row % 5


def published(manifest: Manifest, folder: Path, batch: int, workers: int) -> Iterator[TensorDict]:
    loader = torch.utils.data.DataLoader(
        Published(manifest, folder), batch, shuffle=True, drop_last=True, num_workers=workers, persistent_workers=True
    )
    while True:
        for images, keys, values, labels in loader:
            fields = {IMAGE: images, FROZEN_KEYS: keys, FROZEN_VALUES: values, LABEL: labels}
            yield TensorDict(fields, batch_size=[len(images)])


def seconds_a_step(batches: Iterator[TensorDict], step: Callable[[TensorDict], None], steps: int) -> float:
    """Mean over so many steps, waiting for data included: batches that were made ahead would hide it in a median."""
    started = time.perf_counter()
    for _ in range(steps):
        step(next(batches))
    return round((time.perf_counter() - started) / steps, 4)


class Maps:
    """The plain way to the same features: every block's whole attention map, then a choice of tokens from it."""

    def __init__(self, features: FrozenFeatures) -> None:
        self.features = features
        self.body: Any = frozen_body(find_frozen(features.backbone, features.weights), features.inputs)
        self.found: list[tuple[Tensor, Tensor, Tensor]] = []
        for block in self.body.blocks:
            block.attn.forward = self._attend(block.attn)

    def _attend(self, attention: Any) -> Callable[..., Tensor]:
        def forward(x: Tensor, attn_mask: Tensor | None = None, **_: Any) -> Tensor:
            batch, tokens, width = x.shape
            shape = (batch, tokens, 3, attention.num_heads, attention.head_dim)
            query, key, value = attention.qkv(x).reshape(shape).permute(2, 0, 3, 1, 4).unbind(0)
            weights = ((query * attention.scale) @ key.transpose(-2, -1)).softmax(-1)
            self.found.append((key, value, weights))
            return attention.proj((weights @ value).transpose(1, 2).reshape(batch, tokens, width))

        return forward

    @torch.no_grad()
    def __call__(self, images: Tensor) -> dict[str, Tensor]:
        self.found = []
        mean, std = (
            torch.tensor(part).view(-1, 1, 1) for part in (self.features.inputs.mean, self.features.inputs.std)
        )
        self.body((images.float().div_(255) - mean) / std)
        keys, values = [], []
        for block in self.features.blocks:
            key, value, weights = self.found[block]
            kept = important_tokens(weights.mean(2), self.features.kept, "global", block)
            rows = kept[..., None].expand(*kept.shape, key.shape[-1])
            keys.append(key.gather(2, rows))
            values.append(value.gather(2, rows))
        return {FROZEN_KEYS: torch.stack(keys, 1), FROZEN_VALUES: torch.stack(values, 1)}


def per_image(make: Callable[[Tensor], Any], images: Tensor, repeats: int) -> list[float]:
    found = []
    for _ in range(repeats):
        started = time.perf_counter()
        make(images)
        found.append(round((time.perf_counter() - started) / len(images), 4))
    return found


def steps(arguments: argparse.Namespace, folder: Path) -> dict[str, Any]:
    manifest = photographs(folder / "full", arguments.images)
    large = Store.open(manifest, Preprocess(arguments.size), folder / "cache", workers=2)
    features = features_of(arguments)
    started = time.perf_counter()
    large.derive(features, batch_size=4)
    preloading = time.perf_counter() - started
    small = Store.open(manifest, Preprocess(SIDE.size), folder / "cache", workers=2)
    names = {n: n for n in (FROZEN_KEYS, FROZEN_VALUES)}
    source = Joined(small, [Part(large, names, features.codes)])
    place = folder / "files"
    place.mkdir()
    for row in range(len(manifest)):
        kept = source.gather(torch.tensor([row]))
        keys, values = (kept[n][0].float().contiguous() for n in (FROZEN_KEYS, FROZEN_VALUES))
        save_file({"key_states": keys, "value_states": values}, place / f"{row:03}.safetensors")
    _, step = trainer(arguments)
    ways = {
        "ours": ours(manifest, source, arguments.batch),
        "published": published(manifest, place, arguments.batch, 2),
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(arguments.repeats + 1):
        for name, batches in ways.items():
            found = seconds_a_step(batches, step, arguments.steps)
            if turn:
                seconds[name].append(found)
    ratios = [b / a for a, b in zip(seconds["ours"], seconds["published"], strict=True)]
    size = sum(large.data[n][0].numel() * large.data[n].element_size() for n in names)
    return {
        "photographs": f"{arguments.images} of {FULL[0]} x {FULL[1]} pixels",
        "seconds_a_step": {n: {"median": statistics.median(v), "all": v} for n, v in seconds.items()},
        "ratio": {"median": round(statistics.median(ratios), 2), "all": [round(r, 2) for r in ratios]},
        "stored_bytes_an_image": size,
        "preloading_seconds_an_image": round(preloading / len(manifest), 3),
    }


def preloading(arguments: argparse.Namespace) -> dict[str, Any]:
    features = features_of(arguments, "float32")
    maps = Maps(features)
    images = torch.randint(0, 255, (4, 3, arguments.size, arguments.size), dtype=torch.uint8)
    same = {n: v[:, 0] for n, v in features(images[:1]).items()}
    plain = maps(images[:1])
    # The order of equally important tokens may differ; sums over the kept tokens may not.
    difference = max(float((same[n].sum(3) - plain[n].sum(3)).abs().max()) for n in same)
    rows: dict[str, list[float]] = {"taps": [], "maps": []}
    for _ in range(arguments.repeats):
        rows["taps"] += per_image(features, images, 1)
        rows["maps"] += per_image(maps, images, 1)
    ratios = [b / a for a, b in zip(rows["taps"], rows["maps"], strict=True)]
    mixed = FrozenFeatures(features.backbone, "none", features.inputs, dtype="float32", compute="bf16")
    mixed(images[:1])
    half = per_image(mixed, images, arguments.repeats)
    return {
        "seconds_an_image": {n: {"median": statistics.median(v), "all": v} for n, v in rows.items()},
        "ratio": {"median": round(statistics.median(ratios), 2), "all": [round(r, 2) for r in ratios]},
        "bf16_seconds_an_image": {"median": statistics.median(half), "all": half},
        "largest_difference": difference,
    }


def converted(exact: dict[str, Tensor], dtype: Any) -> dict[str, Tensor]:
    """Features in another type of storage."""
    found = {}
    for name, tensor in exact.items():
        found[name], scales = stored(tensor, dtype)
        if scales is not None:
            found[SCALES[name]] = scales
    return found


def storage(arguments: argparse.Namespace) -> dict[str, Any]:
    """Of a side network that has been trained for a while on phantoms, since an untrained one hardly looks."""
    with tempfile.TemporaryDirectory() as folder:
        manifest = Manifest.read(write_fundus(Path(folder) / "ph", n=2 * arguments.batch, size=arguments.size))
        pictures = [read_picture(*manifest.path(row)) for row in range(len(manifest))]
    large, small = (
        torch.stack([torch.from_numpy(Preprocess(size).apply(p)[0]) for p in pictures])
        for size in (arguments.size, SIDE.size)
    )
    labels = torch.from_numpy(manifest.target.encode(manifest.table))
    features = features_of(arguments, "float32")
    parts = [features(large[i : i + 4]) for i in range(0, len(large), 4)]
    exact = {n: torch.cat([p[n] for p in parts])[:, 0] for n in parts[0]}
    kept = {dtype: converted(exact, dtype) for dtype in TYPES}
    batches = {
        d: TensorDict({IMAGE: small.float() / 255, LABEL: labels, **fields}, batch_size=[len(small)])
        for d, fields in kept.items()
    }
    adapter, step = trainer(arguments, rate=3e-3)
    for number in range(150):
        rows = torch.randperm(len(small), generator=torch.Generator().manual_seed(number))[: arguments.batch]
        step(batches["float32"][rows])
    adapter.eval()
    other = batches["float32"].clone()
    for name in (FROZEN_KEYS, FROZEN_VALUES):
        other[name] = other[name].roll(1, 0)
    with torch.no_grad():
        logits = {d: adapter(b) for d, b in batches.items()}
        swapped = adapter(other)
    sizes = {d: sum(v[0].numel() * v.element_size() for v in fields.values()) for d, fields in kept.items()}
    return {
        "largest_logit": float(logits["float32"].abs().max()),
        "largest_difference_with_another_image_s_features": float((swapped - logits["float32"]).abs().max()),
        "types": {
            d: {
                "mib_an_image": round(sizes[d] / 2**20, 3),
                "largest_logit_difference": float((logits[d] - logits["float32"]).abs().max()),
            }
            for d in TYPES
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--backbone", default="vit_base_patch16_384")
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--images", type=int, default=32)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=4)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, default=HERE / "results" / "fpt_speed.json")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    result: dict[str, Any] = {
        "name": "fpt_speed",
        "backbone": arguments.backbone,
        "size": arguments.size,
        "batch": arguments.batch,
    }
    result["preloading"] = preloading(arguments)
    print("preloading", result["preloading"]["ratio"], flush=True)
    result["storage"] = storage(arguments)
    print("storage", result["storage"], flush=True)
    with tempfile.TemporaryDirectory() as folder:
        result["steps"] = steps(arguments, Path(folder))
    print("steps", result["steps"]["ratio"], flush=True)
    made = machine(workers=1) | {"threads_a_worker": arguments.threads}
    write_json(arguments.out, result | {"machine": made, "versions": versions(), "created": now()})
    print(f"written: {arguments.out}")


if __name__ == "__main__":
    main()
