"""How fast LesionPaste makes images, against the same operations image by image and lesion by lesion.

The loop does what the batched form does, with NumPy, SciPy and Pillow: field of view, margins by distance transform,
counts by the same law, scaling, mirroring, turning, colours, mixing. One thread each, processor time, the median of
several rounds after one that does not count. A second loop is told the field of view, which the batched form never is.
On a GPU only the batched form runs there, by the clock; the loops stay on the processor.

    python bench/lesion_paste_speed.py [--size 256] [--batch 32] [--rounds 5]

Writes bench/results/lesion_paste_speed.json.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from PIL import Image
from scipy import ndimage
from tensordict import TensorDict

from scantling.augment import LesionPaste
from scantling.augment.lesion_paste import Donor, make_bank
from scantling.augment.lesion_paste.bank import Component, components
from scantling.augment.lesion_paste.counts import count_range
from scantling.augment.lesion_paste.placement import scaled_margins
from scantling.augment.lesion_paste.synthesizer import MARGINS
from scantling.core.files import write_json
from scantling.data.phantoms import draw_fundus
from scantling.data.phantoms.write import structures
from scantling.run.bench import machine
from scantling.run.bundle import now, versions

HERE = Path(__file__).resolve().parent
TYPES = ("red_lesion", "bright_lesion")
FIRST_LESION = 4
"""Number of the first type of lesions in the map of a phantom's structures."""


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    images, donor = phantoms(arguments.batch, arguments.size)
    paste = LesionPaste()
    paste.use(make_bank([donor], TYPES))
    device = "cuda" if torch.cuda.is_available() else "cpu"
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2).float().div(255).contiguous().to(device)
    batch = TensorDict({"image": pixels, "index": torch.arange(len(images), device=device)}, batch_size=[len(images)])
    generator, rng = torch.Generator().manual_seed(0), np.random.default_rng(0)
    parts = components(donor.mask)
    clock = time.perf_counter if device == "cuda" else time.process_time
    batched = seconds(lambda: synced(paste(batch, generator), device), arguments.rounds, clock)
    looped = seconds(
        lambda: [pasted(image, donor, parts, rng) for image in images], arguments.rounds, time.process_time
    )
    known = [placeable(image) for image in images]
    given = seconds(
        lambda: [pasted(image, donor, parts, rng, k) for image, k in zip(images, known, strict=True)],
        arguments.rounds,
        time.process_time,
    )
    times = {"batched": batched, "loop": looped, "loop_with_known_fields": given}
    rates = {name: arguments.batch / taken for name, taken in times.items()}
    content: dict[str, Any] = {
        "name": "lesion_paste_speed",
        "created": now(),
        "size": arguments.size,
        "batch": arguments.batch,
        "rounds": arguments.rounds,
        "lesions_in_donor": paste.bank.counts.tolist() if paste.bank is not None else [],
        "device": device,
        "threads": 1,
        "images_per_second": {name: round(rate, 2) for name, rate in rates.items()},
        "ratio": round(rates["batched"] / rates["loop"], 2),
        "ratio_with_known_fields": round(rates["batched"] / rates["loop_with_known_fields"], 2),
        "machine": machine(1),
        "versions": versions(),
    }
    write_json(HERE / "results" / "lesion_paste_speed.json", content)
    print(content["images_per_second"], f"ratio {content['ratio']}")


def phantoms(count: int, size: int) -> tuple[np.ndarray, Donor]:
    """Photographs without retinopathy ``(count, H, W, 3)`` uint8, and the most affected other one as the donor."""
    drawn = draw_fundus(6 * count, size, 0, 1, 0.0, start=0, prior="balanced")
    normal = np.flatnonzero(drawn.grade == 0)[:count]
    masks = [np.asarray(structures(drawn, i)) for i in range(len(drawn.grade))]
    lesions = [np.clip(mask.astype(int) - FIRST_LESION + 1, 0, 3) for mask in masks]
    both = [int(min((m == 1).sum(), (m == 2).sum())) for m in lesions]
    best = int(np.argmax(both))
    mask = np.where(lesions[best] <= len(TYPES), lesions[best], 0).astype(np.uint8)
    images = drawn.images[np.resize(normal, count)]
    return images, Donor(drawn.images[best].transpose(2, 0, 1), mask)


def placeable(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The field of view ``(H, W)``, and the distance of every pixel from its outside."""
    field = ndimage.binary_fill_holes(image.max(axis=2) > 10)
    return field, ndimage.distance_transform_edt(np.pad(field, 1))[1:-1, 1:-1]


def pasted(
    image: np.ndarray,
    donor: Donor,
    parts: list[Component],
    rng: np.random.Generator,
    known: tuple[np.ndarray, np.ndarray] | None = None,
) -> np.ndarray:
    """One image with lesions, one after the other; ``known`` spares it to look for the field."""
    out = image.astype(np.float32)
    size = image.shape[0]
    field, inside = placeable(image) if known is None else known
    severity = rng.integers(0, 101)
    given = 1 + int(severity > 80) if len(TYPES) > 1 else 1
    for kind in range(1, given + 1):
        own = [part for part in parts if part.kind == kind]
        low, high = count_range(len(own), 3 if kind == 1 else 1)
        margin = scaled_margins(MARGINS, (size, size))[kind - 1]
        places = np.argwhere(inside > margin)
        for _ in range(rng.integers(low, high + 1)):
            patch, cover = augmented(donor, own[rng.integers(len(own))], rng)
            y, x = places[rng.integers(len(places))]
            lay(out, field, patch, cover, y, x, rng.uniform(0.5, 1.0))
    return out.round().astype(np.uint8)


def augmented(donor: Donor, part: Component, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A lesion's frame ``(s, s, 3)`` and its mask, resized, mirrored, turned and recoloured."""
    top, bottom, left, right = part.box
    side = int(np.hypot(bottom - top, right - left)) + 3
    y, x = (top + bottom) // 2 - side // 2, (left + right) // 2 - side // 2
    height, width = donor.mask.shape
    rows, columns = np.arange(y, y + side).clip(0, height - 1), np.arange(x, x + side).clip(0, width - 1)
    patch = donor.image[:, rows][:, :, columns].transpose(1, 2, 0)
    mask = np.zeros((side, side), np.uint8)
    mask[top - y : bottom - y, left - x : right - x] = part.pixels * np.uint8(255)
    wide, tall = (max(1, round(side * s)) for s in rng.uniform(0.5, 1.0, 2))
    picture, cover = (Image.fromarray(a).resize((wide, tall), Image.Resampling.BILINEAR) for a in (patch, mask))
    for flip in (Image.Transpose.FLIP_LEFT_RIGHT, Image.Transpose.FLIP_TOP_BOTTOM):
        if rng.random() < 0.5:
            picture, cover = picture.transpose(flip), cover.transpose(flip)
    angle = rng.uniform(-45, 45)
    picture, cover = (i.rotate(angle, Image.Resampling.BILINEAR, expand=True) for i in (picture, cover))
    values = (np.asarray(picture, dtype=np.float32) / 255) ** rng.uniform(0.9, 1.1, 3).astype(np.float32)
    values = (values * rng.uniform(0.9, 1.1) + rng.uniform(-10, 10) / 255).clip(0, 1)
    hue, saturation = rng.uniform(-10, 10, 2) / 255
    hsv = np.asarray(Image.fromarray((255 * values).astype(np.uint8)).convert("HSV"), dtype=np.int16)
    hsv = hsv + np.array([255 * hue, 255 * saturation, 0], dtype=np.int16)
    hsv[..., 0] %= 256
    back = Image.fromarray(hsv.clip(0, 255).astype(np.uint8), "HSV").convert("RGB")
    return np.asarray(back, dtype=np.float32), np.asarray(cover) > 127


def lay(
    out: np.ndarray, field: np.ndarray, patch: np.ndarray, cover: np.ndarray, y: int, x: int, weight: float
) -> None:
    """Mix a lesion into an image ``(H, W, 3)`` in place, inside the field."""
    top, left = y - cover.shape[0] // 2, x - cover.shape[1] // 2
    rows = slice(max(top, 0), min(top + cover.shape[0], out.shape[0]))
    columns = slice(max(left, 0), min(left + cover.shape[1], out.shape[1]))
    inner = slice(rows.start - top, rows.stop - top), slice(columns.start - left, columns.stop - left)
    where = cover[inner] & field[rows, columns]
    window = out[rows, columns]
    window[where] = weight * patch[inner][where] + (1 - weight) * window[where]


def seconds(work: Callable[[], Any], rounds: int, clock: Callable[[], float]) -> float:
    """Median seconds of a call, after one that does not count."""
    work()
    times = []
    for _ in range(rounds):
        started = clock()
        work()
        times.append(clock() - started)
    return median(times)


def synced(result: TensorDict, device: str) -> TensorDict:
    """The result, once the device has finished it."""
    if device == "cuda":
        torch.cuda.synchronize()
    return result


if __name__ == "__main__":
    main()
