"""Does SDICE see what it should? Series of worse and worse "synthetic" sets, made of held-out real images.

Handwritten digits of scikit-learn, and with ``--data nih1000_64`` or ``idrid_grading`` chest X-rays and fundus
photographs, each as small grey images. A third of the images trains a contrastive encoder (SimCLR, about a minute), a
third is the real set, and from the last third the synthetic sets are made: untouched; k prototypes a class with light
augmentation; with labels dealt out anew; drawn from a Gaussian a class, narrower or wider. On digits a classifier is
trained on each set and tested on the real one, so that scores can be compared with use. Every run is written as soon as
it is done; one that is there already is not done again.

    python bench/sdice.py [--data digits --seeds 1 2 3 4 5]
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import statistics
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy import stats
from torch import Tensor, nn
from torch.nn import functional as F

from scantling.assess import sdice
from scantling.assess.ms_ssim import PAIRS, ms_ssim, random_pairs
from scantling.core.errors import DataError
from scantling.core.files import write_json
from scantling.run.bench import machine
from scantling.run.bundle import now, versions

HERE = Path(__file__).resolve().parent
PROTOTYPES = (50, 10, 3, 1)
NOISE = (0.1, 0.3, 1.0)
SCALES = (0.5, 1.0, 1.5)
SIZE, FEWEST = 32, 30
UTILITY = "digits"
DISTANCES = ("fisher", "wasserstein")


@dataclass(frozen=True)
class Images:
    """Grey images ``(N, 1, S, S)`` in [0, 1] and their labels ``(N,)``."""

    pixels: Tensor
    labels: np.ndarray

    def __getitem__(self, rows: np.ndarray) -> Images:
        return Images(self.pixels[torch.from_numpy(rows)], self.labels[rows])


@dataclass(frozen=True)
class Settings:
    """What a result depends on, besides the code."""

    steps: int = 600
    batch: int = 128
    width: int = 32
    temperature: float = 0.5
    lr: float = 2e-3


def load(name: str) -> tuple[Images, np.ndarray]:
    """A data set, and whose images belong together ``(N,)``.

    Raises:
        DataError: it is not there.
    """
    if name == "digits":
        try:
            from sklearn.datasets import load_digits
        except ImportError as error:
            raise DataError("scikit-learn is not installed", do="pip install scikit-learn") from error
        images, labels = load_digits(return_X_y=True)
        pixels = torch.from_numpy(images).float().view(-1, 1, 8, 8) / 16
        return Images(pixels, labels.astype(np.int64)), np.arange(len(labels))
    return _labelled(name)


def _labelled(name: str) -> tuple[Images, np.ndarray]:
    """Images of a folder with ``labels.csv``: one finding, or none, of chests; the grade of fundus photographs."""
    import pandas as pd
    from PIL import Image

    folder = Path(os.environ.get("SCANTLING_DATA", "")) / name
    if not (folder / "labels.csv").is_file():
        raise DataError("no labels.csv", where=folder, do="set SCANTLING_DATA to the folder of real data")
    table = pd.read_csv(folder / "labels.csv", dtype={"patient": str})
    if "dr_grade" in table:
        labels, patients = table["dr_grade"].to_numpy(), np.arange(len(table))
    else:
        found = table.drop(columns=["image", "patient"])
        table = table[found.sum(1) <= 1]
        found = found.loc[table.index]
        labels = np.where(found.sum(1) == 0, found.shape[1], found.to_numpy().argmax(1))
        patients = pd.factorize(table["patient"])[0]
    kept = np.isin(labels, np.flatnonzero(np.bincount(labels) >= FEWEST))
    pictures = [
        np.asarray(Image.open(folder / "images" / file).convert("L").resize((SIZE, SIZE), Image.Resampling.BOX))
        for file in table["image"][kept]
    ]
    pixels = torch.from_numpy(np.stack(pictures)).float().unsqueeze(1) / 255
    return Images(pixels, np.unique(labels[kept], return_inverse=True)[1]), patients[kept]


def thirds(labels: np.ndarray, patients: np.ndarray, generator: np.random.Generator) -> list[np.ndarray]:
    """Rows in three parts of much the same classes, no patient in two of them."""
    part = np.empty(len(labels), dtype=np.int64)
    first = {p: labels[patients == p][0] for p in np.unique(patients)}
    for label in np.unique(labels):
        own = generator.permutation([p for p, x in first.items() if x == label])
        for k, some in enumerate(np.array_split(own, 3)):
            part[np.isin(patients, some)] = k
    return [np.flatnonzero(part == k) for k in range(3)]


def train_encoder(pixels: Tensor, settings: Settings, seed: int) -> nn.Module:
    """A small convolutional network, by SimCLR: two views of an image are to be alike, those of others not."""
    torch.manual_seed(seed)
    width = settings.width
    body = nn.Sequential(
        nn.Conv2d(1, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU(),
        nn.Conv2d(width, 2 * width, 3, 2, 1), nn.BatchNorm2d(2 * width), nn.ReLU(),
        nn.Conv2d(2 * width, 4 * width, 3, 2, 1), nn.BatchNorm2d(4 * width), nn.ReLU(),
        nn.AdaptiveAvgPool2d(2), nn.Flatten(),
    )  # fmt: skip
    head = nn.Sequential(nn.Linear(16 * width, 128), nn.ReLU(), nn.Linear(128, 64))
    optimizer = torch.optim.AdamW([*body.parameters(), *head.parameters()], settings.lr, weight_decay=1e-4)
    generator = torch.Generator().manual_seed(seed)
    for _ in range(settings.steps):
        rows = torch.randint(0, len(pixels), (min(settings.batch, len(pixels)),), generator=generator)
        views = torch.cat([augmented(pixels[rows], 1.0, generator) for _ in range(2)])
        out = F.normalize(head(body(views)), dim=1)
        logits = (out @ out.T / settings.temperature).fill_diagonal_(-torch.inf)
        partner = torch.arange(len(out)).roll(len(rows))
        optimizer.zero_grad()
        F.cross_entropy(logits, partner).backward()
        optimizer.step()
    return body.eval()


def augmented(pixels: Tensor, strength: float, generator: torch.Generator) -> Tensor:
    """Turned by up to 10 degrees, scaled and moved by up to an eighth, brighter or darker, with a little noise."""

    def uniform(reach: float, low: float = -1.0) -> Tensor:
        return strength * reach * (torch.rand(len(pixels), generator=generator) * (1 - low) + low)

    angle, scale = uniform(0.1745), 1 + uniform(0.12)
    turn = torch.stack([angle.cos() * scale, -angle.sin() * scale, uniform(0.25),
                        angle.sin() * scale, angle.cos() * scale, uniform(0.25)], 1).view(-1, 2, 3)  # fmt: skip
    grid = F.affine_grid(turn, list(pixels.shape), align_corners=False)
    moved = F.grid_sample(pixels, grid, padding_mode="border", align_corners=False)
    mean = moved.mean((1, 2, 3), keepdim=True)
    changed = (moved - mean) * (1 + uniform(0.4)).view(-1, 1, 1, 1) + mean + uniform(0.15).view(-1, 1, 1, 1)
    noise = torch.randn(changed.shape, generator=generator)
    return (changed + 0.05 * strength * noise).clamp(0, 1)


def synthetic_sets(held: Images, seed: int) -> dict[str, Images]:
    """The series, made of held-out real images."""
    draw, generator = np.random.default_rng(seed), torch.Generator().manual_seed(seed)
    sets = {"untouched": held}
    members = [np.flatnonzero(held.labels == k) for k in range(int(held.labels.max()) + 1)]
    for k in PROTOTYPES:
        rows = np.concatenate([draw.choice(draw.permutation(m)[:k], len(m)) for m in members])
        sets[f"prototypes {k}"] = Images(augmented(held[rows].pixels, 0.15, generator), held[rows].labels)
    for share in NOISE:
        labels, rows = held.labels.copy(), draw.permutation(len(held.labels))[: round(share * len(held.labels))]
        labels[rows] = draw.permutation(labels[rows])
        sets[f"label noise {share:g}"] = Images(held.pixels, labels)
    for scale in SCALES:
        drawn = held.pixels.clone()
        for rows in members:
            drawn[torch.from_numpy(rows)] = gaussian(held.pixels[torch.from_numpy(rows)], scale, generator)
        sets[f"Gaussian {scale:g}"] = Images(drawn, held.labels)
    return sets


def gaussian(pixels: Tensor, scale: float, generator: torch.Generator) -> Tensor:
    """As many images from a Gaussian with the mean and the principal components of some images, scaled."""
    flat = pixels.flatten(1)
    mean = flat.mean(0)
    # Rows of a matrix of independent normal numbers times the centred images have their covariance.
    mixing = torch.randn(len(flat), len(flat), generator=generator) / max(1, len(flat) - 1) ** 0.5
    return (mean + scale * (mixing @ (flat - mean))).clamp(0, 1).view_as(pixels)


@torch.no_grad()
def embedded(encoder: nn.Module, pixels: Tensor) -> Tensor:
    """Features ``(N, D)``."""
    return torch.cat([encoder(part) for part in pixels.split(256)])


def measured(encoder: nn.Module, real: Images, synthetic: Images, seed: int, utility: bool) -> dict[str, float]:
    """Scores and distances of one synthetic set, and how well a classifier trained on it knows the real one."""
    features = embedded(encoder, real.pixels), embedded(encoder, synthetic.pixels)
    out: dict[str, float] = {}
    for name in DISTANCES:
        found = sdice(features[0], real.labels, features[1], synthetic.labels, distance=name)
        out |= {
            f"{name} gamma_intra": found.intra.gamma, f"{name} gamma_inter": found.inter.gamma,
            f"{name} gamma": found.gamma,
            f"{name} d_intra": found.intra.distance, f"{name} d_inter": found.inter.distance, "sign": found.intra.sign,
        }  # fmt: skip
    pairs = random_pairs(synthetic.labels, PAIRS, np.random.default_rng(seed))
    large = F.interpolate(synthetic.pixels, size=SIZE, mode="nearest").mul(255).round().to(torch.uint8)
    out["ms_ssim"] = float(ms_ssim(large[pairs[:, 0]], large[pairs[:, 1]]).mean())
    if utility:
        from sklearn.linear_model import LogisticRegression

        model = LogisticRegression(max_iter=500).fit(synthetic.pixels.flatten(1).numpy(), synthetic.labels)
        out["accuracy"] = float(model.score(real.pixels.flatten(1).numpy(), real.labels))
    return out


def one_seed(name: str, seed: int, settings: Settings) -> dict[str, dict[str, float]]:
    images, patients = load(name)
    train, real, held = thirds(images.labels, patients, np.random.default_rng(seed))
    encoder = train_encoder(images[train].pixels, settings, seed)
    sets = synthetic_sets(images[held], seed)
    return {key: measured(encoder, images[real], one, seed, name == UTILITY) for key, one in sets.items()}


def claims(runs: dict[str, Any], name: str) -> list[dict[str, Any]]:
    """What the scores should do, and in how many seeds they did."""

    def series(run: dict[str, Any], keys: list[str], what: str) -> list[float]:
        return [run[k][what] for k in keys]

    collapse = ["untouched", *(f"prototypes {k}" for k in PROTOTYPES)]
    noise = ["untouched", *(f"label noise {s:g}" for s in NOISE)]
    out = []
    for distance in DISTANCES:
        intra, inter = f"{distance} gamma_intra", f"{distance} gamma_inter"
        tests = {
            "gamma_intra falls with fewer prototypes": lambda r, w=intra: _falls(series(r, collapse, w)),
            "gamma_intra falls with label noise": lambda r, w=intra: _falls(series(r, noise, w)),
            "gamma_inter falls with label noise": lambda r, w=inter: _falls(series(r, noise, w)),
            "gamma_intra is highest at the right spread": lambda r, w=intra: (
                r["Gaussian 1"][w] == max(series(r, [f"Gaussian {s:g}" for s in SCALES], w))
            ),
        }
        out += [
            {"claim": claim, "distance": distance, "seeds": sum(bool(test(r)) for r in runs.values()), "of": len(runs)}
            for claim, test in tests.items()
        ]
    if name == UTILITY:
        rows = {
            **{f"SDICE ({d})": lambda r, d=d: series(r, collapse, f"{d} gamma") for d in DISTANCES},
            "1 - MS-SSIM": lambda r: [1 - v for v in series(r, collapse, "ms_ssim")],
        }
        for title, values in rows.items():
            found = [float(stats.spearmanr(values(r), series(r, collapse, "accuracy"))[0]) for r in runs.values()]
            out.append({"claim": f"rank correlation of {title} with accuracy over the collapse", "values": found,
                        "mean": statistics.fmean(found)})  # fmt: skip
    return out


def _falls(values: list[float]) -> bool:
    return all(a > b for a, b in itertools.pairwise(values))


def summary(runs: dict[str, Any]) -> dict[str, Any]:
    """Mean and standard deviation over the seeds."""
    some = next(iter(runs.values()))
    return {
        key: {
            what: {
                "mean": statistics.fmean(r[key][what] for r in runs.values()),
                "sd": statistics.stdev([r[key][what] for r in runs.values()]) if len(runs) > 1 else None,
            }
            for what in values
        }
        for key, values in some.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", nargs="+", default=["digits"], help="digits, nih1000_64, idrid_grading")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3, 4, 5])
    parser.add_argument("--steps", type=int, default=Settings.steps)
    parser.add_argument("--out", type=Path, default=HERE / "results" / "sdice.json")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    settings = Settings(steps=arguments.steps)
    known = json.loads(arguments.out.read_text(encoding="utf-8")) if arguments.out.is_file() else {}
    if known.get("settings") not in (None, vars(settings)):
        raise SystemExit(f"{arguments.out} was made with other settings; remove it or give another --out")
    runs: dict[str, dict[str, Any]] = known.get("runs", {})
    for name in arguments.data:
        for seed in arguments.seeds:
            if str(seed) in runs.setdefault(name, {}):
                continue
            started = time.perf_counter()
            runs[name][str(seed)] = one_seed(name, seed, settings)
            shown = {k: round(v["fisher gamma_intra"], 3) for k, v in runs[name][str(seed)].items()}
            print(f"{name} seed {seed}: {time.perf_counter() - started:.0f} s {shown}", flush=True)
            content = {
                "name": "sdice", "settings": vars(settings), "runs": runs,
                "rows": {n: summary(r) for n, r in runs.items()},
                "claims": {n: claims(r, n) for n, r in runs.items()},
                "machine": machine(workers=1), "versions": versions(), "created": now(),
            }  # fmt: skip
            write_json(arguments.out, content)
    print(f"written: {arguments.out}")


if __name__ == "__main__":
    main()
