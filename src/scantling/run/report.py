"""The report of a run: one HTML file that needs nothing else, and a short text for the terminal."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from scantling.core.files import write_text

if TYPE_CHECKING:
    import pandas as pd

_TITLES = {
    "quadratic_weighted_kappa": "Quadratic weighted kappa",
    "auroc": "AUROC",
    "auprc": "AUPRC",
    "macro_f1": "Macro F1",
    "f1": "F1",
    "hd95": "HD95",
    "iou": "IoU",
    "ece": "ECE",
}
_DISTANCES = {"hd95"}


@dataclass(frozen=True)
class Mistake:
    """A picture that the model got wrong.

    Args:
        image: ``(H, W)``, ``(H, W, 1)`` or ``(H, W, 3)`` uint8.
        truth: name of the true class.
        predicted: name of the predicted class.
        probability: of the predicted class, in [0, 1].
        name: of the image; never of a patient.
        saliency: ``(h, w)`` float in [0, 1], where the model looked; None where not known.
    """

    image: np.ndarray
    truth: str
    predicted: str
    probability: float
    name: str = ""
    saliency: np.ndarray | None = None


@dataclass(frozen=True)
class MaskExample:
    """A picture with its true and predicted mask.

    Args:
        image: ``(H, W)``, ``(H, W, 1)`` or ``(H, W, 3)`` uint8.
        truth: ``(H, W)`` int classes; 0 is background, -1 and 255 are unknown.
        predicted: ``(H, W)`` int classes.
        dice: mean over classes, None where undefined.
        name: of the image; never of a patient.
    """

    image: np.ndarray
    truth: np.ndarray
    predicted: np.ndarray
    dice: float | None = None
    name: str = ""


@dataclass(frozen=True)
class ReportContent:
    """What a report tells; whatever is None or empty is left out of the page.

    Args:
        recipe: name of the recipe.
        summary: what it is, in a sentence or two.
        evaluation: from ``metrics.evaluate_predictions`` or ``metrics.evaluate_masks``.
        split: the part of the data that was evaluated.
        class_counts: ``{split: {class: images}}``.
        thumbnails: images uint8 with captions; those of one caption (the class) are shown together.
        curves: the training log, columns as in ``metrics.csv`` with ``epoch``: a table or a mapping of columns.
        mistakes: worst first.
        masks: examples of a segmentation.
        meter: of what is told: ``learnable``, ``parameters`` (or ``total``), ``peak_bytes``, ``activation_bytes``,
            ``optimizer_bytes``, ``forward_flops_per_image``, ``training_flops_per_image``, ``images`` (of the metered
            batch), ``precision``; other keys are passed over.
        timing: seconds by name.
        versions: of packages and of the machine, by name.
        recipe_yaml: the resolved recipe.
        comparison: ``{title: rows}``, each row a mapping of columns; figures may be ``{value, low, high}``.
        created: date and time as text.
    """

    recipe: str
    summary: str = ""
    evaluation: Mapping[str, Any] | None = None
    split: str = "test"
    class_counts: Mapping[str, Mapping[str, int]] | None = None
    thumbnails: Sequence[tuple[np.ndarray, str]] = ()
    curves: pd.DataFrame | Mapping[str, Sequence[float]] | None = None
    mistakes: Sequence[Mistake] = ()
    masks: Sequence[MaskExample] = ()
    meter: Mapping[str, Any] | None = None
    timing: Mapping[str, float] | None = None
    versions: Mapping[str, str] | None = None
    recipe_yaml: str | None = None
    comparison: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)
    created: str = ""


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


def render_text(evaluation: Mapping[str, Any], split: str = "") -> str:
    """A summary of an evaluation for the terminal, in plain text.

    Args:
        evaluation: from ``metrics.evaluate_predictions`` or ``metrics.evaluate_masks``.
        split: name of the part that was evaluated, told where given.

    Returns:
        Lines without a final line break.

    >>> figure = {"value": 0.85, "low": 0.8, "high": 0.9, "replicates_used": 2000}
    >>> frame = {"n": 40, "n_groups": 20, "interval": "95 % bootstrap by patient"}
    >>> print(render_text({**frame, "metrics": {"auroc": figure}}))
    40 images, 20 patients; 95 % bootstrap by patient
      auroc  0.850  (0.800 to 0.900)
    """
    lines = [f"{split}: {_counted(evaluation)}" if split else _counted(evaluation)]
    if evaluation.get("interval", "none") != "none":
        lines[0] += f"; {evaluation['interval']}"
    width = max((len(name) for name in evaluation["metrics"]), default=0)
    lines += [f"  {name:<{width}}  {_plain_figure(value)}" for name, value in evaluation["metrics"].items()]
    for block in _questions(evaluation):
        point = block["sensitivity_at_specificity"]["0.90"]
        lines.append(f"{block['definition']}:")
        lines.append(f"  auroc                            {_plain_figure(block['auroc'])}")
        lines.append(f"  sensitivity at specificity 0.90  {_plain_figure(point)}")
    calibration = evaluation.get("calibration")
    if calibration and calibration["ece"] is not None:
        lines.append(f"calibration: ECE {calibration['ece']:.3f}, Brier {calibration['brier']:.3f}")
    if evaluation.get("confusion"):
        lines += _plain_confusion(evaluation["confusion"], evaluation["target"]["names"])
    for column, table in evaluation.get("by", {}).items():
        lines.append(f"by {column} ({evaluation['headline']}):")
        wide = max((len(value) for value in table), default=0)
        for value, row in table.items():
            lines.append(f"  {value:<{wide}}  n {row['n']:<6} {_plain_figure(row['metrics'][evaluation['headline']])}")
    return "\n".join(lines + [f"note: {note}" for note in evaluation.get("notes", [])])


def _page(content: ReportContent) -> str:
    import jinja2
    from markupsafe import Markup

    folder = Path(__file__).parent / "templates"
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(folder), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters.update(
        title_of=_title_of, number=_number, figure=_figure, span=_span, strip=_strip, amount=_amount, percent=_percent
    )
    style = Markup((folder / "report.css").read_text(encoding="utf-8"))
    return environment.get_template("report.html.j2").render(
        style=style,
        content=content,
        evaluation=content.evaluation,
        headline=_headline(content.evaluation),
        counted=_counted(content.evaluation) if content.evaluation else "",
        facts=_facts(content),
        confusion=_confusion_rows(content.evaluation),
        questions=_question_sections(content.evaluation),
        class_columns=_class_columns(content.evaluation),
        charts={name: Markup(svg) for name, svg in _charts(content).items()},
        sheets=_sheets(content.thumbnails),
        balance=_balance_rows(content),
        mistakes=[_mistake(m) for m in content.mistakes],
        masks=[_mask_example(m) for m in content.masks],
        mask_legend=_mask_legend(content),
        meter=_meter_rows(content),
        comparison={title: _table(rows) for title, rows in content.comparison.items() if rows},
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
    measured = [n for n in measured if n.removeprefix("val_") not in _DISTANCES][:5]
    if losses:
        legends = {n: n.removesuffix("loss").strip("_").replace("_", " ") or "loss" for n in losses}
        out["loss"] = report_charts.training_curves(curves, legends, "Loss")
    if measured:
        legends = {n: _title_of(n.removeprefix("val_")) for n in measured}
        out["progress"] = report_charts.training_curves(curves, legends, "Validation metrics", measured[0])
    if not content.evaluation:
        return out
    calibration = content.evaluation.get("calibration")
    if calibration and any(b["n"] for b in calibration["reliability"]):
        out["reliability"] = report_charts.reliability(calibration)
    for name, histogram in content.evaluation.get("distribution", {}).items():
        if histogram["n"]:
            out[f"distribution_{name}"] = report_charts.distribution(_title_of(name), histogram)
    for block in _questions(content.evaluation):
        if block["roc"]:
            marks = [(1 - float(rate), p["value"]) for rate, p in block["sensitivity_at_specificity"].items()]
            legend = f"AUROC {_figure(block['auroc'])}"
            out["question_roc"] = report_charts.roc([(legend, block["roc"])], [m for m in marks if m[1] is not None])
    drawn = [
        (f"{curve['name']}  {_number(row['auroc']['value'])}", curve["roc"])
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


def _headline(evaluation: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if not evaluation or evaluation["headline"] not in evaluation["metrics"]:
        return None
    return {"name": evaluation["headline"], **evaluation["metrics"][evaluation["headline"]]}


def _counted(evaluation: Mapping[str, Any]) -> str:
    n, groups = evaluation["n"], evaluation["n_groups"]
    by_patient = "patient" in evaluation.get("interval", "")
    images = f"{n:,} image{'s' * (n != 1)}"
    return images + (f", {groups:,} patient{'s' * (groups != 1)}" if by_patient else "")


def _questions(evaluation: Mapping[str, Any]) -> list[dict[str, Any]]:
    blocks = evaluation.get("thresholds") or {}
    return [blocks[key] for key in ("referable", "positive") if key in blocks]


def _question_sections(evaluation: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """The yes-or-no question with its operating points as rows."""
    out = []
    for block in _questions(evaluation or {}):
        rows = []
        for rate, point in block["sensitivity_at_specificity"].items():
            rows.append({"fixed": f"specificity {_percent(float(rate))}", "told": "sensitivity", **point})
        for rate, point in block["specificity_at_sensitivity"].items():
            rows.append({"fixed": f"sensitivity {_percent(float(rate))}", "told": "specificity", **point})
        out.append({**block, "rows": rows})
    return out


def _confusion_rows(evaluation: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    if not evaluation or not evaluation.get("confusion"):
        return []
    rows = []
    for name, counts in zip(evaluation["target"]["names"], evaluation["confusion"], strict=True):
        total = sum(counts)
        shares = [count / total if total else 0.0 for count in counts]
        rows.append({"name": name, "total": total, "cells": list(zip(counts, shares, strict=True))})
    return rows


def _class_columns(evaluation: Mapping[str, Any] | None) -> list[str]:
    if not evaluation or not evaluation.get("per_class"):
        return []
    order = ["recall", "specificity", "precision", "f1", "auroc", "auprc"]
    there = [n for n, v in evaluation["per_class"][0].items() if isinstance(v, Mapping)]
    return sorted(there, key=lambda n: order.index(n) if n in order else len(order))


def _facts(content: ReportContent) -> list[tuple[str, str, str]]:
    """The few figures at the top: name, figure, remark."""
    facts = []
    if content.evaluation:
        facts.append(("evaluated", f"{content.evaluation['n']:,}", f"{content.split} images"))
    meter = content.meter or {}
    if "learnable" in meter:
        total = meter.get("parameters", meter.get("total"))
        remark = f"{_percent(meter['learnable'] / total)} of {_amount(total)}" if total else "parameters"
        facts.append(("learnable parameters", _amount(meter["learnable"]), remark))
    if meter.get("peak_bytes"):
        batch = f", batch of {meter['images']}" if "images" in meter else ""
        facts.append(("peak memory", _bytes(meter["peak_bytes"]), f"in training{batch}"))
    if content.timing:
        name, seconds = next(iter(content.timing.items()))
        facts.append((f"time to {name}" if name == "train" else name.replace("_", " "), _duration(seconds), ""))
    return facts


def _meter_rows(content: ReportContent) -> list[tuple[str, str]]:
    rows = [
        (title, show(content.meter[key]))
        for key, (title, show) in _METER.items()
        if content.meter and content.meter.get(key) is not None
    ]
    return rows + [(f"time: {name.replace('_', ' ')}", _duration(s)) for name, s in (content.timing or {}).items()]


def _balance_rows(content: ReportContent) -> list[tuple[str, list[int]]]:
    counts = content.class_counts or {}
    names = list(dict.fromkeys(name for split in counts.values() for name in split))
    rows = [(name, [split.get(name, 0) for split in counts.values()]) for name in names]
    return [*rows, ("all", [sum(split.values()) for split in counts.values()])]


def _sheets(thumbnails: Sequence[tuple[np.ndarray, str]]) -> dict[str, list[str]]:
    from scantling.run.report_pictures import jpeg_address

    sheets: dict[str, list[str]] = {}
    for image, caption in thumbnails:
        sheets.setdefault(caption, []).append(jpeg_address(image))
    return sheets


def _mistake(mistake: Mistake) -> dict[str, Any]:
    from scantling.run.report_pictures import jpeg_address, with_saliency

    heat = None if mistake.saliency is None else with_saliency(mistake.image, mistake.saliency)
    return {
        "image": jpeg_address(mistake.image, 288),
        "saliency": None if heat is None else jpeg_address(heat, 288),
        "truth": mistake.truth,
        "predicted": mistake.predicted,
        "probability": mistake.probability,
        "name": mistake.name,
    }


def _mask_example(example: MaskExample) -> dict[str, Any]:
    from scantling.run.report_pictures import jpeg_address, with_mask

    return {
        "image": jpeg_address(example.image, 288),
        "truth": jpeg_address(with_mask(example.image, example.truth), 288),
        "predicted": jpeg_address(with_mask(example.image, example.predicted), 288),
        "dice": example.dice,
        "name": example.name,
    }


def _mask_legend(content: ReportContent) -> list[tuple[str, str]]:
    from scantling.run.report_pictures import MASK_COLOURS

    if not content.masks or not content.evaluation:
        return []
    names = content.evaluation["target"]["names"][1:]
    colours = [MASK_COLOURS[i % len(MASK_COLOURS)].astype(int).tolist() for i in range(len(names))]
    return [(name, "rgb({}, {}, {})".format(*colour)) for name, colour in zip(names, colours, strict=True)]


def _table(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    columns = list(dict.fromkeys(name for row in rows for name in row))
    cells = [[_cell(row.get(name)) for name in columns] for row in rows]
    numeric = [all(not isinstance(row.get(name), str) for row in rows) for name in columns]
    return {"columns": list(zip(columns, numeric, strict=True)), "rows": cells}


def _cell(value: Any) -> tuple[str, str]:
    """What a cell shows, and its interval."""
    if isinstance(value, Mapping):
        return _number(value["value"]), _span(value)
    if value is None or isinstance(value, float):
        return _number(value), ""
    return (f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)), ""


def _title_of(name: str) -> str:
    return _TITLES.get(name, name.replace("_", " ").capitalize())


def _number(value: float | None) -> str:
    """Three decimals, one from 10 on; a dash where undefined."""
    if value is None or not np.isfinite(value):
        return "–"
    return (f"{value:.1f}" if abs(value) >= 10 else f"{value:.3f}").replace("-", "−")


def _span(figure: Mapping[str, Any]) -> str:
    """The interval of a figure as ``0.812–0.873``, or nothing."""
    if figure.get("low") is None or figure.get("high") is None:
        return ""
    between = " to " if figure["low"] < 0 else "–"
    return f"{_number(figure['low'])}{between}{_number(figure['high'])}"


def _figure(figure: Mapping[str, Any]) -> str:
    span = _span(figure)
    return _number(figure["value"]) + (f" ({span})" if span else "")


def _strip(figure: Mapping[str, Any], name: str) -> dict[str, float] | None:
    """Where a figure and its interval lie between 0 and 1, in percent; None for what is no share."""
    if name in _DISTANCES:
        return None
    ends = [figure.get("low"), figure.get("value"), figure.get("high")]
    if any(end is None or not -1 <= end <= 1 for end in ends):
        return None
    low, value, high = (100 * max(0.0, float(end)) for end in ends if end is not None)
    return {"low": round(low, 2), "value": round(value, 2), "width": round(high - low, 2)}


def _percent(share: float) -> str:
    """A share as a percentage with as many digits as it needs.

    >>> _percent(0.9), _percent(0.00123), _percent(1.0)
    ('90 %', '0.12 %', '100 %')
    """
    percent = 100 * share
    digits = 0 if percent >= 9.95 or percent == 0 else 1 if percent >= 0.95 else 2
    return f"{percent:.{digits}f} %"


def _amount(count: float) -> str:
    """A large number in short.

    >>> _amount(23510081), _amount(512), _amount(4.09e9)
    ('23.5 M', '512', '4.09 G')
    """
    for limit, letter in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e4, "k")):
        if count >= limit:
            return f"{count / (1e3 if letter == 'k' else limit):.3g} {letter}"
    return f"{count:,.0f}"


def _bytes(count: float) -> str:
    """
    >>> _bytes(3 * 2**30), _bytes(250 * 2**20)
    ('3.0 GiB', '250 MiB')
    """
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / 2**20:.0f} MiB"


def _duration(seconds: float) -> str:
    """
    >>> _duration(4.2), _duration(305), _duration(7500)
    ('4.2 s', '5 min 5 s', '2 h 5 min')
    """
    if seconds < 60:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def _plain_figure(figure: Mapping[str, Any]) -> str:
    if figure["value"] is None:
        return "undefined"
    value, low, high = (_number(figure.get(end)).replace("−", "-") for end in ("value", "low", "high"))
    return value if figure.get("low") is None or figure.get("high") is None else f"{value}  ({low} to {high})"


def _plain_confusion(matrix: Sequence[Sequence[int]], names: Sequence[str]) -> list[str]:
    if len(names) > 12:
        return []
    wide = max(len(name) for name in names)
    cell = max(max(len(str(c)) for row in matrix for c in row), *(min(len(n), 10) for n in names)) + 2
    head = " " * (wide + 2) + "".join(f"{name[:10]:>{cell}}" for name in names)
    rows = [f"  {name:<{wide}}" + "".join(f"{c:>{cell}}" for c in row) for name, row in zip(names, matrix, strict=True)]
    return ["confusion (true in rows, predicted in columns):", head, *rows]


_METER: dict[str, tuple[str, Callable[[Any], str]]] = {
    "learnable": ("learnable parameters", "{:,}".format),
    "parameters": ("all parameters", "{:,}".format),
    "total": ("all parameters", "{:,}".format),
    "peak_bytes": ("peak memory of a step", _bytes),
    "activation_bytes": ("activations", _bytes),
    "optimizer_bytes": ("optimizer", _bytes),
    "images": ("batch", str),
    "precision": ("precision", str),
    "forward_flops_per_image": ("FLOPs of an image, forward", _amount),
    "training_flops_per_image": ("FLOPs of an image, training", _amount),
}
