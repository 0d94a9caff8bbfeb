"""The page of ``assess diversity``: the two numbers, and the pictures that explain them, in one HTML file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from scantling.assess.result import KINDS, SDICEResult
from scantling.core.files import write_text
from scantling.run.report_figures import as_number

MOST_CLASSES = 24
"""Classes up to which the scores of their pairs are drawn as a table."""


@dataclass(frozen=True)
class Closest:
    """A synthetic image and the real one that it resembles most.

    Args:
        synthetic: ``(H, W, C)`` uint8.
        real: likewise.
        similarity: of the two, in [-1, 1].
        label: of the synthetic image.
        real_label: of the real one.
        row: of the synthetic manifest.
        real_row: of the real manifest.
    """

    synthetic: np.ndarray
    real: np.ndarray
    similarity: float
    label: str
    real_label: str
    row: int
    real_row: int


@dataclass(frozen=True)
class Typical:
    """Images of one set that are the most, or the least, like others of their class.

    Args:
        name: ``real`` or ``synthetic``.
        what: ``most`` or ``least``.
        pictures: ``(H, W, C)`` uint8 with the mean similarity to others of the class.
    """

    name: str
    what: str
    pictures: list[tuple[np.ndarray, float]]


@dataclass(frozen=True)
class DiversityContent:
    """What the page tells.

    Args:
        result: the index.
        content: of ``diversity.json``.
        closest: pairs of a synthetic and a real image, the closest first; empty without pictures.
        typical: images of both sets; empty without pictures.
    """

    result: SDICEResult
    content: dict[str, Any]
    closest: list[Closest]
    typical: list[Typical]


def write_page(path: Path, content: DiversityContent) -> Path:
    """Write the page as one HTML file without any outside request.

    Args:
        path: the file to write, whole or not at all.
        content: what to tell.

    Returns:
        The path.
    """
    import jinja2
    from markupsafe import Markup

    folder = Path(__file__).parent / "templates"
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(folder), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters.update(number=shown, span=span, sentence=sentence)
    style = Markup((folder / "report.css").read_text(encoding="utf-8"))
    text = environment.get_template("diversity.html.j2").render(
        style=style,
        content=content.content,
        scores=[(kind, getattr(content.result, kind)) for kind in KINDS],
        gamma=content.result.gamma,
        one_sided=content.result.one_sided,
        chart=Markup(_chart(content.result)),
        classes=_classes(content.result),
        heat=_heat(content.result),
        menu=list(content.result.intra.distances),
        companions=companion_rows(content.content["companions"]),
        closest=[_closest_card(c) for c in content.closest],
        typical=[_typical_sheet(t) for t in content.typical],
    )
    write_text(path, text)
    return path


def shown(value: Any) -> str:
    """A number of the index as the page writes it.

    >>> shown(0.1234), shown(float("inf")), shown(None), shown(0.0004)
    ('0.123', '∞', '–', '4.0e−04')
    """
    if value is None:
        return "–"
    if value == "inf" or (isinstance(value, float) and np.isinf(value)):
        return "∞"
    if 0 < abs(value) < 0.001:
        return f"{value:.1e}".replace("-", "−")
    return as_number(float(value))


def span(interval: tuple[float, float] | None) -> str:
    """An interval in words, or nothing."""
    return "" if interval is None else f"{shown(interval[0])} to {shown(interval[1])}"


def sentence(text: str) -> str:
    """A text with a capital at its beginning.

    >>> sentence("no real images of NV")
    'No real images of NV'
    """
    return text[:1].upper() + text[1:]


def companion_rows(figures: dict[str, Any]) -> list[tuple[str, str, str, str]]:
    """Name, real, synthetic and meaning of every companion."""
    own, copied = figures["near_duplicates"], figures["memorisation"]
    kernel = figures["kernel_distance"]
    spread = "" if kernel["sd"] is None else f" (sd {shown(kernel['sd'])})"
    k = figures["neighbours"]
    return [
        ("Copies of real images", "", shown(copied["copies"]), "share of synthetic images that are a real image"),
        ("Memorised", "0.010", shown(copied["share"]),
         "share closer to a real image than 99 % of real ones are to others"),
        ("Authenticity", "about 0.5", shown(copied["authenticity"]),
         "share further from its nearest real image than that one from another real one; 0 for copies"),
        ("Twins", "0.010", shown(own["share"]),
         "share closer to another synthetic image than 99 % of real ones are to others"),
        ("Copies inside the set", shown(own["copies_real"]), shown(own["copies"]),
         "share with an exact copy in its own set"),
        ("Precision", "1", shown(figures["precision"]),
         f"share that lies among real images ({k} neighbours): fidelity"),
        ("Recall", "1", shown(figures["recall"]), "share of real images that lie among synthetic ones: diversity"),
        ("Density", "1", shown(figures["density"]), "how deep synthetic images lie among real ones"),
        ("Coverage", "1", shown(figures["coverage"]), "share of real images with a synthetic one near by: diversity"),
        ("Vendi score", shown(figures["vendi"]["real"]), shown(figures["vendi"]["synthetic"]),
         "how many images without anything in common the set is worth"),
        ("MS-SSIM", shown(figures["ms_ssim"]["real"]), shown(figures["ms_ssim"]["synthetic"]),
         "mean similarity of pixels of random pairs of one class; higher is less diverse"),
        ("Fréchet distance", "0", shown(figures["frechet_distance"]), "FID on this encoder, embeddings not scaled"),
        ("Kernel distance", "0", shown(kernel["mean"]) + spread, "KID on this encoder, unbiased"),
    ]  # fmt: skip


def _chart(result: SDICEResult) -> str:
    from scantling.run.report_charts import densities

    curves = [
        (f"{side} {kind}", score.histograms[at])
        for kind, score in ((k, getattr(result, k)) for k in KINDS)
        if score.histograms is not None
        for at, side in enumerate(("real", "synthetic"))
        if score.histograms[at].sum() > 0
    ]
    return densities(curves) if curves else ""


def _classes(result: SDICEResult) -> list[dict[str, Any]]:
    """Rows of the table of classes, the rarest real class first."""
    rows = result.classes.records()
    for row, (real, synthetic) in zip(rows, result.counts.T.tolist(), strict=True):
        row |= {"real_images": real, "synthetic_images": synthetic}
    return sorted(rows, key=lambda row: row["real_images"])


def _heat(result: SDICEResult) -> list[tuple[str, list[tuple[float, int] | None]]]:
    """Scores of every two classes: name, and score and sign of each cell; the diagonal is intra."""
    names = result.names
    if not 2 <= len(names) <= MOST_CLASSES:
        return []
    cells: dict[tuple[str, str], tuple[float, int]] = {}
    for row in result.classes.records():
        cells[row["class"], row["class"]] = (row["gamma"], row["sign"])
    for row in result.class_pairs.records():
        cells[row["class"], row["other"]] = cells[row["other"], row["class"]] = (row["gamma"], row["sign"])
    return [(a, [None if np.isnan(cells[a, b][0]) else cells[a, b] for b in names]) for a in names]


def _closest_card(one: Closest) -> dict[str, Any]:
    from scantling.run.report_pictures import jpeg_address

    return {
        "synthetic": jpeg_address(one.synthetic, 224),
        "real": jpeg_address(one.real, 224),
        "similarity": f"{one.similarity:.3f}",
        "label": one.label,
        "real_label": one.real_label,
        "where": f"row {one.row} and row {one.real_row}",
    }


def _typical_sheet(one: Typical) -> dict[str, Any]:
    from scantling.run.report_pictures import jpeg_address

    pictures = [(jpeg_address(image), f"{similarity:.3f}") for image, similarity in one.pictures]
    return {"title": f"{one.name}: the {one.what} typical", "pictures": pictures}
