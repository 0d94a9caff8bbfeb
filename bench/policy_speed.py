"""Images a second of AADG's search space: whole batches here, against Pillow one image at a time.

Both begin with the 8-bit images of a store, give every image two operations of its own out of the ten, the same ones on
both sides, and end with a batch of float32 in [0, 1]. Once without and once with what follows in AADG: image and mask
resized, each axis by a factor of its own, and a random crop. On a GPU, where there is one, the batch is there already.
Both take turns, so that other work on the machine slows both; time of the cores is counted beside that of the clock.

    python bench/policy_speed.py [--size 512 --crop 256 --batch 24 --rounds 7]
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageEnhance, ImageOps
from tensordict import TensorDict
from torch import Tensor

from scantling.augment.policy import OPERATIONS, Drawn, RandomPolicy
from scantling.core.batch import IMAGE, MASK
from scantling.core.files import write_json
from scantling.data.phantoms import draw_fundus
from scantling.run.bench import machine
from scantling.run.bundle import now, versions

HERE = Path(__file__).resolve().parent
SCALES = (0.5, 2.0)
PILLOW: dict[str, Callable[[Image.Image, float], Image.Image]] = {
    "auto_contrast": lambda image, _: ImageOps.autocontrast(image),
    "invert": lambda image, _: ImageOps.invert(image),
    "equalize": lambda image, _: ImageOps.equalize(image),
    "solarize": lambda image, value: ImageOps.solarize(image, value),
    "posterize": lambda image, value: ImageOps.posterize(image, int(value)),
    "contrast": lambda image, value: ImageEnhance.Contrast(image).enhance(value),
    "color": lambda image, value: ImageEnhance.Color(image).enhance(value),
    "brightness": lambda image, value: ImageEnhance.Brightness(image).enhance(value),
    "sharpness": lambda image, value: ImageEnhance.Sharpness(image).enhance(value),
}


def cutout(image: Image.Image, side: float, generator: np.random.Generator) -> Image.Image:
    half, (x, y) = side * image.width / 2, generator.random(2) * image.size
    image = image.copy()
    ImageDraw.Draw(image).rectangle((x - half, y - half, x + half, y + half), fill=(127, 127, 127))
    return image


def one_at_a_time(batch: TensorDict, drawn: Drawn, crop: int | None, seed: int) -> tuple[Tensor, Tensor]:
    """The usual way: every image becomes one of Pillow's, goes through its operations, and becomes a tensor."""
    generator = np.random.default_rng(seed)
    images, masks = [], []
    for i in range(len(batch)):
        image = Image.fromarray(np.ascontiguousarray(batch[IMAGE][i].permute(1, 2, 0).numpy()))
        for code, value in zip(drawn.operations[i].tolist(), drawn.values[i].tolist(), strict=True):
            name = drawn.space[code]
            image = cutout(image, value, generator) if name == "cutout" else PILLOW[name](image, value)
        if crop is not None:
            image, mask = scale_and_crop(image, Image.fromarray(batch[MASK][i].numpy()), crop, generator)
            masks.append(torch.from_numpy(np.asarray(mask, dtype=np.int64)))
        images.append(torch.from_numpy(np.array(image)).permute(2, 0, 1).float().div_(255))
    return torch.stack(images), torch.stack(masks) if masks else torch.empty(0)


def scale_and_crop(
    image: Image.Image, mask: Image.Image, crop: int, generator: np.random.Generator
) -> tuple[Image.Image, Image.Image]:
    low, high = SCALES
    if generator.random() < 0.8:
        width, height = (round(n * f) for n, f in zip(image.size, generator.uniform(low, high, 2), strict=True))
        image = image.resize((width, height), Image.Resampling.BILINEAR)
        mask = mask.resize((width, height), Image.Resampling.NEAREST)
    left, top = (int(generator.integers(0, max(0, n - crop) + 1)) for n in image.size)
    box = (left, top, left + crop, top + crop)
    return image.crop(box), mask.crop(box)


class Same(RandomPolicy):
    """The policy with operations that were drawn beforehand."""

    def __init__(self, drawn: Drawn, crop: int | None) -> None:
        super().__init__(scale_range=(1.0, 1.0) if crop is None else SCALES, crop=crop)
        self.drawn = drawn

    def draw(self, count: int, size: tuple[int, int], generator: torch.Generator) -> Any:
        return self.drawn, None if self.framing.idle else self.framing.draw(count, size, generator)


def timed(call: Callable[[], object]) -> tuple[float, float]:
    """Seconds on the clock, and seconds of all cores together."""
    clock, cores = time.perf_counter(), time.process_time()
    call()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - clock, time.process_time() - cores


def compared(images: Tensor, masks: Tensor, crop: int | None, rounds: int, threads: int) -> dict[str, Any]:
    """Both ways in turns; the first turn warms up and is not counted."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    on_host = TensorDict({IMAGE: images, MASK: masks}, batch_size=[len(images)])
    batch = TensorDict({IMAGE: images, MASK: masks.long()}, batch_size=[len(images)]).to(device)
    generator = torch.Generator().manual_seed(0)
    policy = Same(RandomPolicy().draw(1, (1, 1), generator)[0], crop)
    ways = {"pillow": 1, "one_thread": 1, "all_threads": threads}
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for turn in range(rounds + 1):
        codes = torch.randint(10, (2, len(images), 2), generator=generator)
        policy.drawn = Drawn.from_magnitudes(codes[0], codes[1], generator, OPERATIONS)
        pillow = partial(one_at_a_time, on_host, policy.drawn, crop, turn)
        for name, count in ways.items():
            torch.set_num_threads(count)
            found = timed(pillow if name == "pillow" else partial(policy, batch, generator))
            seconds[name] += [found] if turn else []
    torch.set_num_threads(threads)
    out: dict[str, Any] = {"device": device}
    for name, pairs in seconds.items():
        clock, cores = (statistics.median(p[k] for p in pairs) for k in (0, 1))
        out[name] = {
            "images_a_second": round(len(images) / clock, 1),
            "core_milliseconds_an_image": round(1000 * cores / len(images), 2),
        }
        for k, kind in enumerate(("ratio", "ratio_a_core")):
            ratios = [a[k] / b[k] for a, b in zip(seconds["pillow"], pairs, strict=True)]
            out[name][kind] = {
                "median": round(statistics.median(ratios), 2),
                "low": round(min(ratios), 2),
                "high": round(max(ratios), 2),
            }
    return out


def accelerator() -> str:
    return torch.cuda.get_device_name() if torch.cuda.is_available() else "none"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("size", 512), ("crop", 256), ("batch", 24), ("rounds", 7)):
        parser.add_argument(f"--{name}", type=int, default=default)
    settings = parser.parse_args()
    threads = torch.get_num_threads()
    phantoms = draw_fundus(settings.batch, size=settings.size, seed=0, sites=3)
    images = torch.from_numpy(phantoms.images).permute(0, 3, 1, 2).contiguous()
    masks = torch.from_numpy(phantoms.vessel.astype(np.uint8))
    content = {
        "name": "policy_speed",
        "settings": vars(settings) | {"threads": threads, "scales": SCALES},
        "operations": compared(images, masks, None, settings.rounds, threads),
        "operations_and_crop": compared(images, masks, settings.crop, settings.rounds, threads),
        "machine": machine(workers=1) | {"threads_a_worker": threads, "accelerator": accelerator()},
        "versions": versions(),
        "created": now(),
        "load": [round(x, 1) for x in os.getloadavg()],
    }
    out = HERE / "results" / "policy_speed.json"
    write_json(out, content)
    print(out.relative_to(HERE.parent))


if __name__ == "__main__":
    main()
