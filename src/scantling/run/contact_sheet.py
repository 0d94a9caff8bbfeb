"""The verb ``data contact-sheet``: what a policy makes of a few images, and what its search found."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from scantling.augment.policy import MAGNITUDES, PolicySpec, SearchedPolicy, apply_drawn
from scantling.core.batch import IMAGE
from scantling.core.errors import DataError
from scantling.core.files import writing
from scantling.data.preprocess import Preprocess
from scantling.data.readers import read_picture
from scantling.run.listing import list_images
from scantling.run.policies import policy_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure, SubFigure

    from scantling.core.seams import Policy

FORMATS = (".png", ".jpg", ".jpeg", ".pdf", ".svg")
TILE = 1.5
"""Inches that an image takes on the sheet."""

LINES = ("-", "--", ":")
"""Of each ten curves of a plot: colours repeat after ten."""


def contact_sheet(
    images: str | Path, out: str | Path, policy: str, rows: int = 4, columns: int = 6, size: int = 256, seed: int = 0
) -> Path:
    """Draw images as a policy augments them: an image a row, a sub-policy or a draw a column.

    A searched policy shows each of its sub-policies, the most frequent first, without the crop that follows; another
    one shows what it draws. Below come the probabilities of operations and magnitudes, where the policy has them.

    Args:
        images: manifest, folder or file.
        out: picture to write: PNG, JPEG, PDF or SVG.
        policy: folder or `policy.json` of a search, or `fixed`, `random`, `randaugment`, `trivialaugment`, `bigaug`.
        rows: images, evenly spaced over the list.
        columns: sub-policies or draws, at most.
        size: side in pixels to which images are reduced before they are augmented.
        seed: of the random numbers.

    Returns:
        The picture.

    Raises:
        DataError: no image, one that cannot be read, or numbers below 1.
        RecipeError: no such policy.
    """
    file = Path(out)
    if min(rows, columns, size) < 1:
        raise DataError("rows, columns and size must be at least 1", where=f"{rows}, {columns}, {size}")
    if file.suffix.lower() not in FORMATS:
        raise DataError("unknown kind of picture", where=file, do=f"use one of {', '.join(FORMATS)}")
    chosen = policy_of(policy)
    pixels = _pixels(images, rows, size)
    titles, tiles = _columns(chosen, pixels, columns, seed)
    spec = chosen.policy if isinstance(chosen, SearchedPolicy) else None
    figure = draw_sheet(["image", *titles], [pixels.float().div(255), *tiles], spec)
    with writing(file) as part:
        figure.savefig(part, dpi=max(100, size / TILE), format=file.suffix[1:].lower())
    return file


def draw_sheet(titles: Sequence[str], columns: Sequence[Tensor], spec: PolicySpec | None = None) -> Figure:
    """The sheet as a figure.

    Args:
        titles: one a column.
        columns: images ``(rows, C, H, W)`` in [0, 1] each.
        spec: policy whose probabilities are shown below, where it has them.
    """
    from matplotlib.figure import Figure

    rows, wide = len(columns[0]), len(columns)
    tables = (spec.probabilities or {}) if spec is not None else {}
    heights = [TILE * rows + 0.45, 2.6] if tables else [TILE * rows + 0.45]
    figure = Figure(figsize=(max(TILE * wide, 6.0 if tables else 0.0), sum(heights)), layout="constrained")
    parts = figure.subfigures(len(heights), 1, height_ratios=heights, squeeze=False)[:, 0]
    axes = parts[0].subplots(rows, wide, squeeze=False)
    for j, (title, pixels) in enumerate(zip(titles, columns, strict=True)):
        axes[0][j].set_title(title.replace(", ", "\n").replace("_", " "), fontsize=8)
        for i, image in enumerate(pixels):
            axes[i][j].imshow(image.permute(1, 2, 0).numpy(), cmap="gray", vmin=0, vmax=1)
            axes[i][j].set_axis_off()
    if spec is not None and tables:
        _draw_tables(parts[1], spec, tables)
    return figure


def _draw_tables(figure: SubFigure, spec: PolicySpec, tables: Any) -> None:
    """Bars of the last row of each table; curves over the epochs where there are several rows."""
    names = {
        "operations": [n.replace("_", " ") for n in spec.operations],
        "magnitudes": [str(m) for m in range(MAGNITUDES)],
    }
    axes = figure.subplots(1, len(tables), squeeze=False)[0]
    for axis, (kind, rows) in zip(axes, tables.items(), strict=True):
        labels, last = names[kind], rows[-1]
        if len(rows) > 1:
            for number, (label, curve) in enumerate(zip(labels, zip(*rows, strict=True), strict=True)):
                axis.plot(range(1, len(rows) + 1), curve, linewidth=1.2, label=label, linestyle=LINES[number // 10])
            axis.set_xlabel("epoch of the search", fontsize=8)
            axis.legend(fontsize=6, ncols=1, loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False)
        else:
            axis.bar(range(len(last)), last, color="#4477aa")
            axis.set_xticks(
                range(len(last)), labels, rotation=60 if kind == "operations" else 0, fontsize=7, ha="center"
            )
            axis.axhline(1 / len(last), color="0.6", linewidth=0.8, linestyle="--")
        axis.set_ylim(bottom=0)
        axis.set_title(f"probability of {kind}", fontsize=8)
        axis.tick_params(labelsize=7)


def _pixels(images: str | Path, rows: int, size: int) -> Tensor:
    """Evenly spaced images of a list, ``(rows, 3, size, size)`` uint8."""
    listed = list_images(images)
    places = sorted({round(x) for x in torch.linspace(0, len(listed) - 1, min(rows, len(listed))).tolist()})
    way = Preprocess((size, size), "none", "pad", 3)
    sources = [listed[place].source for place in places]
    found = [way.apply(read_picture(Path(s.path), s.part, s.frame))[0] for s in sources]
    return torch.stack([torch.from_numpy(image) for image in found])


def _columns(policy: Policy, pixels: Tensor, columns: int, seed: int) -> tuple[list[str], list[Tensor]]:
    """Titles and images ``(rows, C, H, W)`` in [0, 1] of every column."""
    from tensordict import TensorDict

    generator = torch.Generator().manual_seed(seed)
    if not isinstance(policy, SearchedPolicy):
        batch = TensorDict({IMAGE: pixels}, batch_size=[len(pixels)])
        return [f"draw {i + 1}" for i in range(columns)], [policy(batch, generator)[IMAGE] for _ in range(columns)]
    chances, names = policy.policy.chances, policy.policy.names()
    order = sorted(range(len(names)), key=lambda i: -chances[i])[:columns]
    drawn = [policy.of(torch.full((len(pixels),), number), generator) for number in order]
    several = policy.policy.weights is not None
    titles = [names[i] + (f", ({100 * chances[i]:.0f} %)" if several else "") for i in order]
    return titles, [apply_drawn(pixels, {}, one)[0] for one in drawn]
