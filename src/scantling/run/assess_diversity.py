"""The verb ``assess diversity``: is a synthetic set as diverse as the real one? SDICE, its companions, and a page."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch

from scantling.assess.companions import Companions, companions
from scantling.assess.embedded import Embedded
from scantling.assess.index import check_settings, counts_of, embed_both, sdice, weights_of
from scantling.assess.labels import group
from scantling.assess.moments import row_sums
from scantling.assess.ms_ssim import PAIRS, ms_ssim, random_pairs
from scantling.assess.result import Score, SDICEResult, Table
from scantling.core.errors import DataError, RecipeError
from scantling.core.files import write_json, writing
from scantling.run.bundle import now, versions
from scantling.run.diversity_page import Closest, DiversityContent, Typical, write_page
from scantling.run.encoders import Encoder, open_encoder
from scantling.run.image_sets import ARRAYS, ImageSet, MultiLabel, common_labels, read_set
from scantling.run.model import pick_device

Progress = Callable[[int, int], None]
FIGURES, PAGE, CLASSES, CLASS_PAIRS = "diversity.json", "index.html", "classes.csv", "class_pairs.csv"
SHOWN = 12


@dataclass(frozen=True)
class Diversity:
    """What :func:`assess_diversity` leaves.

    Args:
        result: the index.
        content: everything that is in ``diversity.json``.
        folder: where the files are.
    """

    result: SDICEResult
    content: dict[str, Any]
    folder: Path

    def summary(self) -> str:
        """A few lines for the terminal."""
        found = self.result
        lines = [f"note: {note}" for note in self.content["notes"]]
        for kind, score in (("intra", found.intra), ("inter", found.inter)):
            lines.append(f"gamma_{kind}  {_told(score, found.distance)}")
        other = self.content["companions"]
        lines += [
            f"gamma        {_number(found.gamma)} of {math.sqrt(2):.3f}",
            f"reading: {found.reading}",
            f"recall {_number(other['recall'])}, coverage {_number(other['coverage'])}, "
            f"precision {_number(other['precision'])}, density {_number(other['density'])}",
            f"copies of real images {_number(other['memorisation']['copies'])}, "
            f"twins {_number(other['near_duplicates']['share'])} (0.01 is usual)",
            f"figures: {self.folder / FIGURES}",
            f"report: {self.folder / PAGE}",
        ]
        return "\n".join(lines)


def assess_diversity(
    real: str | Path,
    synthetic: str | Path,
    encoder: str | None = None,
    out: str | Path = "diversity",
    *,
    distance: str = "fisher",
    beta: float = 1.0,
    normalisation: Literal["exponential", "calibrated"] = "exponential",
    balance: bool = False,
    centre: bool = False,
    split: str | None = None,
    multi_label: MultiLabel = "single",
    bootstrap: int = 200,
    floor: int = 20,
    neighbours: int = 5,
    max_images: int | None = None,
    seed: int = 0,
    device: str = "auto",
    batch_size: int = 32,
    workers: int = 0,
    progress: Callable[[str], Progress] | None = None,
) -> Diversity:
    """Compare the diversity of synthetic images with that of real ones, and write figures, tables and a page.

    In ``out`` come ``diversity.json``, ``classes.csv``, ``class_pairs.csv`` and ``index.html``, one page that needs
    nothing else. Embeddings are kept beside the decoded images: a second call does not compute them again.

    Args:
        real: manifest of the real images, or an ``.npz`` file with ``embeddings`` (N, D) and ``labels`` (N).
        synthetic: manifest of the synthetic images, or such a file.
        encoder: a run folder or a bundle, whose features before the head are compared; ``hub:<timm name>`` for
            published weights; or ``pixels`` (small grey thumbnails, no network). It must not have been trained on the
            synthetic images.
        out: folder of the results.
        distance: between distributions of similarities: fisher, biometric and variance look at means and variances;
            wasserstein, energy, ks, kl and js at histograms.
        beta: of the score exp(-beta d), above 0; keep it the same throughout a study.
        normalisation: exponential, or calibrated (1 at the distance of two real halves, 0.5 where half of the images of
            every class are one image).
        balance: give every class the same weight; else large classes count more.
        centre: subtract the mean of the real embeddings first.
        split: of the real manifest: train, val or test; left out, all rows.
        multi_label: of findings: single keeps images with exactly one finding, jaccard weighs pairs by the findings
            that they share.
        bootstrap: replicates for intervals, by patient where patients are known; 0 for none.
        floor: divisions of the real set into halves, at least 20; 0 for none.
        neighbours: of precision, recall, density and coverage.
        max_images: of each set at most so many, drawn at random, for what looks at pairs one by one (histograms and
            companions); left out, all. Means, variances and scores from them always use all.
        seed: of everything that is drawn.
        device: ``auto``, ``cpu``, ``cuda`` ...
        batch_size: images at once.
        workers: that decode; 0 for one a core.
        progress: gives, for what is being done, a callback with what is done and what there is in all.

    Raises:
        DataError: files, labels or embeddings that cannot be used.
        BundleError: an encoder that cannot be used.
        RecipeError: unknown settings, or weights that cannot be fetched.
    """
    if batch_size < 1 or (max_images is not None and max_images < 2) or neighbours < 1:
        raise RecipeError("batch-size and neighbours begin at 1, max-images at 2", do="use larger numbers")
    check_settings(distance, beta, normalisation, floor)
    folder = Path(out)
    place = pick_device(device)
    files = [Path(real), Path(synthetic)]
    if len({f.suffix.lower() == ARRAYS for f in files}) > 1:
        raise DataError("embeddings on one side and images on the other", do="give two manifests or two .npz files")
    chosen = None if files[0].suffix.lower() == ARRAYS else _encoder(encoder, place)
    telling = progress or (lambda text: lambda done, total: None)
    options: dict[str, Any] = {"multi_label": multi_label, "batch_size": batch_size, "workers": workers}
    sets = [
        read_set(
            file, chosen, place, split=split if name == "real" else None,
            decoding=telling(f"reading {name} images"), encoding=telling(f"encoding {name} images"), **options,
        )
        for file, name in zip(files, ("real", "synthetic"), strict=True)
    ]  # fmt: skip
    names, *labels = common_labels(*sets)
    generator = np.random.default_rng(seed)
    result = sdice(
        sets[0].embeddings, labels[0], sets[1].embeddings, labels[1], distance=distance, beta=beta,
        normalisation=normalisation, names=names, balance=balance, centre=centre, histograms=True, bootstrap=bootstrap,
        floor=floor, seed=generator, patients=(sets[0].patients, sets[1].patients), histogram_images=max_images,
    )  # fmt: skip
    groups = group(labels[0], labels[1], names)
    both = embed_both(sets[0].embeddings, sets[1].embeddings, groups, centre)
    some = [_some(len(one), max_images, generator) for one in sets]
    drawn = [one.select(torch.from_numpy(rows)) for one, rows in zip(both, some, strict=True)]
    found = companions(drawn[0], drawn[1], generator, neighbours, telling("comparing images"))
    similarity = {
        name: _ms_ssim(one, data, generator) for name, one, data in zip(("real", "synthetic"), sets, both, strict=True)
    }
    content = {
        **result.to_json(),
        "companions": _nans(found.figures | {"ms_ssim": similarity}),
        "encoder": "embeddings as given" if chosen is None else chosen.name,
        "settings": {
            "centre": centre, "split": split, "multi_label": multi_label, "bootstrap": bootstrap, "floor": floor,
            "neighbours": neighbours, "max_images": max_images, "seed": seed,
        },
        "versions": versions(),
        "created": now(),
    }  # fmt: skip
    content["notes"] += _left_out(sets, some)
    page = DiversityContent(
        result, content, _closest(sets, groups.names, both, some, found), _typical(sets, both, groups.affinity)
    )
    folder.mkdir(parents=True, exist_ok=True)
    for name, table in ((CLASSES, result.classes), (CLASS_PAIRS, result.class_pairs)):
        with writing(folder / name) as part:
            _frame(table, result).to_csv(part, index=False, lineterminator="\n", float_format="%.6g")
    write_page(folder / PAGE, page)
    write_json(folder / FIGURES, content)
    return Diversity(result, content, folder)


def _encoder(name: str | None, device: torch.device) -> Encoder:
    if name is None:
        raise RecipeError("no encoder given", do="name one with --encoder: a run folder, hub:resnet50, or pixels")
    return open_encoder(name, device)


def _some(count: int, most: int | None, generator: np.random.Generator) -> np.ndarray:
    if most is None or count <= most:
        return np.arange(count)
    return np.sort(generator.permutation(count)[:most])


def _left_out(sets: list[ImageSet], some: list[np.ndarray]) -> list[str]:
    notes = []
    for name, one, rows in zip(("real", "synthetic"), sets, some, strict=True):
        if one.left_out:
            notes.append(f"{one.left_out} {name} images without a usable label are left out")
        if len(rows) < len(one):
            notes.append(f"histograms and companions look at {len(rows)} of {len(one)} {name} images, drawn at random")
    return notes


def _ms_ssim(one: ImageSet, data: Embedded, generator: np.random.Generator) -> float:
    """Mean over random pairs of images of one class; NaN without pixels."""
    pairs = random_pairs(data.codes.cpu().numpy(), PAIRS, generator)
    first, second = one.pixels(pairs[:, 0]), one.pixels(pairs[:, 1])
    return float("nan") if first is None or second is None or not len(pairs) else float(ms_ssim(first, second).mean())


def _closest(
    sets: list[ImageSet],
    names: tuple[str, ...],
    both: tuple[Embedded, Embedded],
    some: list[np.ndarray],
    found: Companions,
) -> list[Closest]:
    """The synthetic images that are the most similar to a real one, with it; every real image once."""
    order = np.argsort(-found.to_real, kind="stable")
    order = order[np.sort(np.unique(found.nearest_real[order], return_index=True)[1])][:SHOWN]
    mine, theirs = some[1][order], some[0][found.nearest_real[order]]
    pixels = sets[1].pixels(mine), sets[0].pixels(theirs)
    if pixels[0] is None or pixels[1] is None:
        return []
    codes = [one.codes.cpu().numpy() for one in both]
    return [
        Closest(
            _picture(pixels[0][i]), _picture(pixels[1][i]), float(found.to_real[k]), names[codes[1][mine[i]]],
            names[codes[0][theirs[i]]], int(sets[1].rows[mine[i]]), int(sets[0].rows[theirs[i]]),
        )
        for i, k in enumerate(order)
    ]  # fmt: skip


def _typical(sets: list[ImageSet], both: tuple[Embedded, Embedded], affinity: np.ndarray) -> list[Typical]:
    """Of each set the images that are the most and the least similar to others of their class, on average."""
    out = []
    for name, one, data in zip(("real", "synthetic"), sets, both, strict=True):
        sums = row_sums(data, weights_of(affinity, False)(counts_of(data))[:1])
        mean = (sums.first[:, 0] / sums.degree[:, 0]).cpu().numpy()
        known = np.flatnonzero(np.isfinite(mean))
        order = known[np.argsort(mean[known], kind="stable")]
        for what, rows in (("least", order[:SHOWN]), ("most", order[::-1][:SHOWN])):
            pixels = one.pixels(rows.copy())
            if pixels is not None:
                pictures = [(_picture(p), float(mean[r])) for p, r in zip(pixels, rows, strict=True)]
                out.append(Typical(name, what, pictures))
    return out


def _picture(pixels: torch.Tensor) -> np.ndarray:
    return pixels.permute(1, 2, 0).numpy()


def _frame(scores: Table, result: SDICEResult) -> pd.DataFrame:
    """A table for a file: of classes with their images, the rarest first."""
    table = pd.DataFrame(scores.records(), columns=scores.columns)
    if "other" in table:
        return table
    counts = dict(zip(result.names, result.counts.T, strict=True))
    for at, name in ((1, "real_images"), (2, "synthetic_images")):
        table.insert(at, name, [int(counts[c][at - 1]) for c in table["class"]])
    return table.sort_values("real_images", kind="stable")


def _nans(content: Any) -> Any:
    if isinstance(content, dict):
        return {k: _nans(v) for k, v in content.items()}
    return None if isinstance(content, float) and math.isnan(content) else content


def _told(score: Score, distance: str) -> str:
    span = "" if score.interval is None else f" ({score.interval[0]:.3f} to {score.interval[1]:.3f})"
    sign = {1: "less diverse than real", -1: "more diverse than real", 0: "as diverse as real"}[score.sign]
    floor = "" if score.floor is None else f", floor {score.floor[0]:.3g}"
    return f"{_number(score.gamma)}{span}  {distance} {score.distance:.3g}{floor}; {sign}"


def _number(value: float | None) -> str:
    return "-" if value is None or math.isnan(value) else f"{value:.3f}"
