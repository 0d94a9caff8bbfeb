"""The report of a run: one HTML file that needs nothing else."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from scantling.core.files import write_text
from scantling.run import report_sections
from scantling.run.report_content import ReportContent
from scantling.run.report_figures import (
    DISTANCES,
    as_amount,
    as_figure,
    as_number,
    as_percent,
    as_span,
    as_strip,
    title_of,
)

if TYPE_CHECKING:
    import pandas as pd


def write_report(path: str | os.PathLike[str], content: ReportContent) -> Path:
    """Write the report as one HTML file without any outside request.

    Args:
        path: the file to write, whole or not at all.
        content: what to tell.

    Returns:
        The path.
    """
    write_text(path, _page(content))
    return Path(path)


def _page(content: ReportContent) -> str:
    import jinja2
    from markupsafe import Markup

    folder = Path(__file__).parent / "templates"
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(folder), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters.update(
        title_of=title_of,
        number=as_number,
        figure=as_figure,
        span=as_span,
        strip=as_strip,
        amount=as_amount,
        percent=as_percent,
    )
    style = Markup((folder / "report.css").read_text(encoding="utf-8"))
    return environment.get_template("report.html.j2").render(
        style=style,
        content=content,
        evaluation=content.evaluation,
        headline=report_sections.headline(content.evaluation),
        counted=report_sections.counted(content.evaluation) if content.evaluation else "",
        facts=report_sections.fact_cards(content),
        confusion=report_sections.confusion_rows(content.evaluation),
        questions=report_sections.question_sections(content.evaluation),
        frequency=(content.evaluation or {}).get("frequency", []),
        class_columns=report_sections.class_columns(content.evaluation),
        charts={name: Markup(svg) for name, svg in _charts(content).items()},
        sheets=report_sections.thumbnail_sheets(content.thumbnails),
        balance=report_sections.balance_rows(content),
        mistakes=[report_sections.mistake_card(m) for m in content.mistakes],
        masks=[report_sections.mask_card(m) for m in content.masks],
        mask_legend=report_sections.mask_legend(content),
        meter=report_sections.meter_rows(content),
        comparison={
            title: report_sections.comparison_table(rows) for title, rows in content.comparison.items() if rows
        },
    )


def _charts(content: ReportContent) -> dict[str, str]:
    from scantling.run import report_charts

    out: dict[str, str] = {}
    if content.class_counts:
        out["balance"] = report_charts.class_balance(content.class_counts)
    curves = _columns(content.curves)
    losses = [n for n in curves if n.endswith("loss")]
    measured = [n for n in curves if n.startswith("val_") and n not in losses]
    headline = content.evaluation["headline"] if content.evaluation else ""
    measured.sort(key=lambda n: n != f"val_{headline}")
    measured = [n for n in measured if n.removeprefix("val_") not in DISTANCES][:5]
    if losses:
        legends = {n: n.removesuffix("loss").strip("_").replace("_", " ") or "loss" for n in losses}
        out["loss"] = report_charts.training_curves(curves, legends, "Loss")
    if measured:
        legends = {n: title_of(n.removeprefix("val_")) for n in measured}
        out["progress"] = report_charts.training_curves(curves, legends, "Validation metrics", measured[0])
    if content.policy:
        operations, magnitudes = content.policy["operations"], content.policy["magnitudes"]
        titles = [title_of(str(name)) for name in content.policy["names"]]
        out["operations"] = report_charts.shares(operations, titles, "Operations of the policy")
        levels = [f"magnitude {i}" for i in range(len(magnitudes[0]))]
        out["magnitudes"] = report_charts.shares(magnitudes, levels, "Magnitudes of the policy")
    if not content.evaluation:
        return out
    calibration = content.evaluation.get("calibration")
    if calibration and any(b["n"] for b in calibration["reliability"]):
        out["reliability"] = report_charts.reliability(calibration)
    for name, histogram in content.evaluation.get("distribution", {}).items():
        if histogram["n"]:
            out[f"distribution_{name}"] = report_charts.distribution(title_of(name), histogram)
    rows = {row["name"]: row for row in content.evaluation.get("per_class", [])}
    for name, points in content.evaluation.get("agreement", {}).items():
        if points["truth"]:
            title = name.upper()
            out[f"agreement_{name}"] = report_charts.bland_altman(
                title, points, rows[title], content.evaluation["unit"]
            )
    for block in report_sections.questions(content.evaluation):
        if block["roc"]:
            marks = [(1 - float(rate), p["value"]) for rate, p in block["sensitivity_at_specificity"].items()]
            legend = f"AUROC {as_figure(block['auroc'])}"
            out["question_roc"] = report_charts.roc([(legend, block["roc"])], [m for m in marks if m[1] is not None])
    drawn = [
        (f"{curve['name']}  {as_number(row['auroc']['value'])}", curve["roc"])
        for curve, row in zip(
            content.evaluation.get("thresholds", {}).get("curves", []), content.evaluation["per_class"], strict=False
        )
        if curve["roc"]
    ]
    if drawn:
        out["class_roc"] = report_charts.roc(drawn)
    return out


def _columns(curves: pd.DataFrame | Mapping[str, Sequence[float]] | None) -> dict[str, np.ndarray]:
    """Numeric columns of a training log that hold anything; empty without epochs."""
    if curves is None:
        return {}
    out = {}
    for name in list(curves):
        try:
            values = np.asarray(curves[str(name)], dtype=np.float64)
        except (TypeError, ValueError):
            continue
        if np.isfinite(values).any():
            out[str(name)] = values
    return out if "epoch" in out else {}
