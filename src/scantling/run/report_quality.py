"""The page of a quality assessment: how many of each grade, where they lie on the score, and what they look like."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from scantling.core.files import write_text
from scantling.core.quality import GRADES
from scantling.run.report_figures import as_number, as_percent
from scantling.run.report_pictures import jpeg_address

if TYPE_CHECKING:
    import pandas as pd
    from torch import Tensor

BINS = 40

Examples = Mapping[str, Sequence[tuple[str, float, np.ndarray]]]


def write_quality_report(
    path: Path, table: pd.DataFrame, record: Mapping[str, Any], examples: Examples, good: Tensor
) -> Path:
    """Write the report as one HTML file without any outside request.

    Args:
        path: the file to write, whole or not at all.
        table: of the assessment.
        record: of the assessment.
        examples: name, score and pixels ``(H, W, C)`` uint8 of some images of every grade.
        good: quantiles of the scores of held-out good images.

    Returns:
        The path.
    """
    import jinja2
    from markupsafe import Markup

    from scantling.run.report_charts import quality_scores

    folder = Path(__file__).parent / "templates"
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(folder), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters.update(number=as_number, percent=as_percent)
    order = list(reversed(GRADES))
    known = table[table["score"].notna()]
    scores = {grade: known.loc[known["grade"] == grade, "score"].to_numpy(dtype=float) for grade in order}
    values = np.concatenate(list(scores.values()))
    chart = quality_scores(scores, float(record["threshold"]), _density(good), BINS) if len(values) else ""
    counts = [(grade, record["composition"][grade], len(known)) for grade in order]
    cards = {
        grade: [{"name": name, "score": score, "image": jpeg_address(pixels, 176)} for name, score, pixels in shown]
        for grade, shown in ((grade, examples.get(grade, ())) for grade in order)
        if shown
    }
    text = environment.get_template("quality.html.j2").render(
        style=Markup((folder / "report.css").read_text(encoding="utf-8")),
        counts=counts, chart=Markup(chart), cards=cards, record=record, agreement=_agreement(record),
        doubtful=int((known["confidence"] == "low").sum()),
    )  # fmt: skip
    write_text(path, text)
    return path


def _density(good: Tensor) -> np.ndarray | None:
    values: np.ndarray = good.numpy()
    return None if np.isnan(values).any() else values


def _agreement(record: Mapping[str, Any]) -> list[tuple[str, float | None]]:
    """Rows of the table of agreement with known grades."""
    found = record.get("agreement")
    if not found:
        return []
    return [
        ("AUROC, outstanding against the rest", found["auroc"]),
        ("sensitivity for the rest", found["sensitivity"]),
        ("specificity", found["specificity"]),
        ("accuracy, three grades", found["grades"]["accuracy"]),
        ("macro F1", found["grades"]["macro_f1"]),
        ("quadratic weighted kappa", found["grades"]["quadratic_weighted_kappa"]),
        ("accuracy of the groups under the best naming", found["clusters"]["accuracy"]),
        ("adjusted Rand index of the groups", found["clusters"]["adjusted_rand"]),
    ]
