"""Draws the pictures of the documentation from phantoms, so that no patient's photograph is among them.

Run as ``python docs/draw_images.py``. The report's picture is a screenshot of a report and is not drawn here.
"""

from __future__ import annotations

from pathlib import Path

import matplotlib
import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from tensordict import TensorDict

from scantling.assess.quality.degradations import DEGRADATIONS, DRAWS
from scantling.augment.aadg.controller import Controller, shares
from scantling.augment.aadg.ppo import update
from scantling.augment.aadg.settings import SearchSettings
from scantling.augment.fixed import FixedPolicy
from scantling.augment.lesion_paste import Donor, LesionPaste, make_bank
from scantling.augment.operations import OPERATIONS
from scantling.data.fundus import field_of_view_box
from scantling.data.phantoms import FundusBatch, draw_anomalies, draw_donors, draw_fundus, draw_octa, draw_skin
from scantling.data.phantoms.octa.scanner import FAULTS
from scantling.data.phantoms.octa.scanner import GRADES as GRADES_OF_QUALITY
from scantling.data.phantoms.skin.lesions import CLASSES
from scantling.data.preprocess import Preprocess
from scantling.data.readers import Picture
from scantling.data.samplers import effective_number_weights, expected_frequencies, power_weights
from scantling.tasks.objectives.class_weights import balanced_weights, inverse_square_root_weights
from scantling.tasks.objectives.ldam import label_margins
from scantling.tasks.objectives.logit_adjustment import log_prior

IMAGES = Path(__file__).parent / "images"
SIDE = 256
GRADES = 5


def main() -> None:
    """Draw all pictures."""
    matplotlib.use("Agg")
    batch = draw_fundus(160, size=SIDE, seed=3, sites=3, prior="balanced")
    contact_sheet(batch, IMAGES / "phantoms.png")
    truth(batch, IMAGES / "phantom_truth.png")
    pipeline(batch, IMAGES / "dr_grading.png")
    skin(IMAGES / "phantoms_skin.png")
    anomalies(IMAGES / "phantoms_anomaly.png")
    octa(IMAGES / "phantoms_octa.png")
    degradations(IMAGES / "uno_qa_degradations.png")
    lesion_paste(IMAGES / "lesion_paste.png")
    long_tail(IMAGES / "long_tail.png")
    aadg_trajectory(IMAGES / "aadg_trajectory.png")


def contact_sheet(batch: FundusBatch, path: Path) -> None:
    """Grades in columns, sites in rows."""
    sites = sorted(set(batch.site.tolist()))
    figure, axes = _grid(len(sites), GRADES)
    for row, site in enumerate(sites):
        for grade in range(GRADES):
            found = np.flatnonzero((batch.site == site) & (batch.grade == grade))
            axes[row][grade].imshow(batch.images[found[0]])
            if row == 0:
                axes[row][grade].set_title(f"grade {grade}", fontsize=9)
        place = axes[row][0].transAxes
        axes[row][0].text(-0.06, 0.5, f"site {site}", transform=place, rotation=90, va="center", ha="right", fontsize=9)
    _save(figure, path)


def truth(batch: FundusBatch, path: Path) -> None:
    """One phantom with its masks and the boxes of its lesions."""
    i = int(np.flatnonzero(batch.grade == 3)[0])
    figure, axes = _grid(1, 4)
    shown = (batch.images[i], batch.vessel[i], batch.disc[i].astype(int) + batch.cup[i], batch.images[i])
    for axis, pixels, title in zip(axes[0], shown, ("image", "vessels", "disc and cup", "lesions"), strict=True):
        axis.imshow(pixels, cmap="gray")
        axis.set_title(title, fontsize=9)
    for _, left, top, right, bottom in batch.boxes[batch.boxes[:, 0] == i].tolist():
        size = (right - left, bottom - top)
        axes[0][3].add_patch(Rectangle((left, top), *size, fill=False, edgecolor="cyan", linewidth=0.7))
    _save(figure, path)


def pipeline(batch: FundusBatch, path: Path) -> None:
    """A photograph with a black border, the box that is kept, and what four training steps see of it."""
    i = int(np.flatnonzero(batch.grade == 4)[0])
    border = SIDE // 3
    photograph = np.pad(batch.images[i], ((0, 0), (border, border), (0, 0)))
    left, top, right, bottom = field_of_view_box(photograph)
    pixels, _ = Preprocess(size=SIDE, crop="fundus").apply(Picture(photograph, 0.0, 255.0))
    same = TensorDict({"image": torch.from_numpy(pixels).expand(4, -1, -1, -1)}, batch_size=[4])
    augmented = FixedPolicy()(same, torch.Generator().manual_seed(1))["image"].permute(0, 2, 3, 1).numpy()
    figure, axes = _grid(1, 6, widths=[photograph.shape[1] / SIDE, 1, 1, 1, 1, 1])
    axes[0][0].imshow(photograph)
    axes[0][0].add_patch(Rectangle((left, top), right - left - 1, bottom - top - 1, fill=False, edgecolor="cyan"))
    axes[0][0].set_title("photograph, box to keep", fontsize=9)
    axes[0][1].imshow(pixels.transpose(1, 2, 0))
    axes[0][1].set_title("cropped, resized", fontsize=9)
    for axis, seen in zip(axes[0][2:], augmented, strict=True):
        axis.imshow(seen)
    axes[0][2].set_title("augmented, four times", fontsize=9, loc="left")
    _save(figure, path)


def long_tail(path: Path) -> None:
    """What samplers, class weights and margins make of the class sizes of ISIC 2018."""
    sizes = {"NV": 6782, "MEL": 1088, "BKL": 1075, "BCC": 483, "AKIEC": 289, "VASC": 99, "DF": 70}
    counts, place = torch.tensor(list(sizes.values())), range(len(sizes))
    figure = Figure(figsize=(8.8, 2.7), layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    for name, weights in {
        "instance": power_weights(counts, 0.0),
        "square_root": power_weights(counts, 0.5),
        "effective_number, 0.999": effective_number_weights(counts, 0.999),
        "class_balanced": power_weights(counts, 1.0),
    }.items():
        left.plot(place, expected_frequencies(counts, weights), marker="o", markersize=3, label=name)
    left.set_title("share of a class in what is drawn", fontsize=9)
    for name, weights in {
        "inverse_square_root": inverse_square_root_weights(counts.float()),
        "effective_number, 0.9999": effective_number_weights(counts, 0.9999),
        "balanced": balanced_weights(counts.float()),
    }.items():
        middle.plot(place, weights, marker="o", markersize=3, label=name)
    middle.set_yscale("log")
    middle.set_title("class weight in the loss", fontsize=9)
    right.plot(place, label_margins(counts.float()), marker="o", markersize=3, label="LDAM: margin")
    right.plot(place, -log_prior(counts.float()) / 10, marker="o", markersize=3, label="- log prior / 10")
    right.set_title("what is asked of the logit", fontsize=9)
    for axis in (left, middle, right):
        axis.set_xticks(place, [f"{name}\n{size}" for name, size in sizes.items()], fontsize=6)
        axis.tick_params(axis="y", labelsize=7)
        axis.legend(fontsize=7, frameon=False)
        axis.spines[["top", "right"]].set_visible(False)
    _save(figure, path)


def skin(path: Path) -> None:
    """Classes in columns, two lesions of each."""
    batch = draw_skin(220, size=128, seed=6, sites=3, imbalance=1)
    figure, axes = _grid(2, len(CLASSES))
    for column, name in enumerate(CLASSES):
        _, first = np.unique(np.where(batch.label == column, batch.lesion, -1), return_index=True)
        for row, i in enumerate(first[1:3]):
            axes[row][column].imshow(batch.images[i])
        axes[0][column].set_title(name.replace("_", " ").replace(" cell", "\ncell"), fontsize=8)
    _save(figure, path)


def anomalies(path: Path) -> None:
    """Chests of every severity, their lungs and lesions below, and the donor."""
    batch = draw_anomalies(120, size=160, seed=8, fractions=(0, 0, 1), abnormal=0.8)
    donor = draw_donors(1, size=160, seed=8)
    figure, axes = _grid(2, 6)
    for column, severity in enumerate([*range(5), None]):
        shown, i = (donor, 0) if severity is None else (batch, int(np.flatnonzero(batch.severity == severity)[2]))
        axes[0][column].imshow(shown.images[i], cmap="gray", vmin=0, vmax=255)
        axes[1][column].imshow(shown.organ[i].astype(int) + shown.mask[i], cmap="gray", vmin=0, vmax=2)
        axes[0][column].set_title("donor" if severity is None else f"severity {severity}", fontsize=9)
    _save(figure, path)


def octa(path: Path) -> None:
    """Angiograms of every grade; at the right the vessels and the avascular zone of the first."""
    batch = draw_octa(90, size=144, seed=8)
    figure, axes = _grid(3, 5)
    figure.set_size_inches(0.9 * np.array(figure.get_size_inches()))
    for row, grade in enumerate(reversed(GRADES_OF_QUALITY)):
        found = np.flatnonzero(batch.grade == GRADES_OF_QUALITY.index(grade))
        for column, i in enumerate(found[: 4 if row == 0 else 5]):
            axes[row][column].imshow(batch.images[i], cmap="gray", vmin=0, vmax=255)
            told = " ".join(name.replace("_", " ") for name, s in zip(FAULTS, batch.faults[i], strict=True) if s > 0.25)
            axes[row][column].set_title(told or grade, fontsize=6.5)
        if row == 0:
            axes[row][4].imshow(batch.vessel[found[0]] + 2 * batch.zone[found[0]].astype(int), cmap="magma", vmax=2.4)
            axes[row][4].set_title("vessels and zone of the first", fontsize=6.5)
    _save(figure, path)


def degradations(path: Path) -> None:
    """An angiogram, a photograph and a chest, and every kind of degradation of each at two severities."""
    sources = (
        draw_octa(2, size=128, seed=3, outstanding=1.0).images[0],
        draw_fundus(2, size=128, seed=3).images[0],
        draw_anomalies(2, size=128, seed=8, lesions=False).images[0],
    )
    figure, axes = _grid(2 * len(sources), 1 + len(DEGRADATIONS))
    figure.set_size_inches(0.62 * np.array(figure.get_size_inches()))
    draws = torch.rand(1, DRAWS, generator=torch.Generator().manual_seed(4))
    for number, source in enumerate(sources):
        pixels = torch.from_numpy(source.copy()).float().div(255)
        pixels = pixels.permute(2, 0, 1)[None] if pixels.ndim == 3 else pixels.expand(1, 3, -1, -1)
        axes[2 * number][0].imshow(pixels[0].permute(1, 2, 0).numpy())
        for column, (name, degrade) in enumerate(DEGRADATIONS.items(), start=1):
            for half, severity in enumerate((0.3, 0.8)):
                worse = degrade(pixels, torch.tensor([severity]), draws)
                axes[2 * number + half][column].imshow(worse[0].permute(1, 2, 0).numpy())
            if number == 0:
                axes[0][column].set_title(name.replace("_", " "), fontsize=6.5)
    _save(figure, path)


def lesion_paste(path: Path) -> None:
    """The annotated image, normal ones, and the same with its lesions; below, the masks."""
    donor, normal = draw_donors(1, of="fundus", size=160, seed=8), draw_anomalies(8, of="fundus", size=160, seed=8)
    images = normal.images[normal.severity == 0][:4]
    paste = LesionPaste(fewest=[5])
    paste.use(make_bank([Donor(donor.images[0].transpose(2, 0, 1), donor.mask[0].astype(np.uint8))], ["lesion"]))
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2).float().div(255)
    batch = TensorDict({"image": pixels, "index": torch.arange(len(images))}, batch_size=[len(images)])
    out = paste.by_row(batch, 1)
    figure, axes = _grid(3, 5)
    columns = [(donor.images[0], None, donor.mask[0])]
    columns += zip(images, out["image"].permute(0, 2, 3, 1).numpy(), out["mask"].numpy() > 0, strict=True)
    for column, (plain, pasted, mask) in enumerate(columns):
        axes[0][column].imshow(plain)
        axes[0][column].set_title("annotated" if pasted is None else "normal", fontsize=9)
        if pasted is not None:
            axes[1][column].imshow(pasted)
        axes[2][column].imshow(mask, cmap="gray", vmin=0, vmax=1)
    _save(figure, path)


def aadg_trajectory(path: Path) -> None:
    """How AADG's controller moves on a reward that is known: operations on the left, magnitudes on the right."""
    torch.manual_seed(0)
    controller, generator, settings = Controller(), torch.Generator().manual_seed(0), SearchSettings()
    optimizer = torch.optim.Adam(controller.parameters(), lr=settings.lr)
    worth = torch.tensor([{"sharpness": 1.0, "contrast": 0.5}.get(name, 0.0) for name in OPERATIONS])
    rows = [shares(controller.probabilities())]
    for _ in range(240):
        tokens, _ = controller.sample(settings.policies, settings.subpolicies, generator)
        operation, magnitude = tokens.unbind(-1)
        rewards = worth[operation].mean((1, 2)) + (1 - (magnitude - 6).abs() / 6).mean((1, 2))
        update(controller, optimizer, tokens, rewards, settings)
        rows.append(shares(controller.probabilities()))
    figure = Figure(figsize=(9, 3.2), layout="constrained")
    axes = figure.subplots(1, 2, sharey=True)
    titles = ([name.replace("_", " ") for name in OPERATIONS], [f"magnitude {i}" for i in range(10)])
    for axis, table, names in zip(axes, zip(*rows, strict=True), titles, strict=True):
        values = torch.stack(table)
        order = values[-1].argsort(descending=True).tolist()
        for place, i in enumerate(order):
            shown = {"label": f"{names[i]} {values[-1, i]:.2f}"} if place < 5 else {"color": "0.75", "linewidth": 0.8}
            axis.plot(values[:, i], **shown, zorder=2 if place < 5 else 1)
        axis.set_xlabel("epoch of the search")
        axis.legend(fontsize=8, frameon=False)
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].set_ylabel("probability")
    axes[0].set_ylim(0, None)
    _save(figure, path)


def _grid(rows: int, columns: int, widths: list[float] | None = None) -> tuple[Figure, list]:
    shares = widths or [1.0] * columns
    figure = Figure(figsize=(1.45 * sum(shares), 1.55 * rows + 0.15), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False, width_ratios=shares)
    for axis in axes.flat:
        axis.set_axis_off()
    return figure, axes.tolist()


def _save(figure: Figure, path: Path) -> None:
    from PIL import Image

    figure.savefig(path, dpi=110)
    Image.open(path).convert("RGB").quantize(200).save(path, optimize=True)


if __name__ == "__main__":
    main()
