"""The parts of a report's page, as its template takes them: rows, cells, pictures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from scantling.run.report_content import MaskExample, Mistake, ReportContent
from scantling.run.report_figures import as_amount, as_bytes, as_duration, as_number, as_percent, as_span

_METER: dict[str, tuple[str, Callable[[Any], str]]] = {
    "learnable": ("learnable parameters", "{:,}".format),
    "parameters": ("all parameters", "{:,}".format),
    "total": ("all parameters", "{:,}".format),
    "peak_bytes": ("peak memory of a step", as_bytes),
    "activation_bytes": ("activations", as_bytes),
    "optimizer_bytes": ("optimizer", as_bytes),
    "images": ("batch", str),
    "precision": ("precision", str),
    "forward_flops_per_image": ("FLOPs of an image, forward", as_amount),
    "training_flops_per_image": ("FLOPs of an image, training", as_amount),
}


def headline(evaluation: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """The figure that the evaluation is told by, with its name."""
    if not evaluation or evaluation["headline"] not in evaluation["metrics"]:
        return None
    return {"name": evaluation["headline"], **evaluation["metrics"][evaluation["headline"]]}


def counted(evaluation: Mapping[str, Any]) -> str:
    """How many images, and of how many patients."""
    n, groups = evaluation["n"], evaluation["n_groups"]
    by_patient = "patient" in evaluation.get("interval", "")
    images = f"{n:,} image{'s' * (n != 1)}"
    return images + (f", {groups:,} patient{'s' * (groups != 1)}" if by_patient else "")


def questions(evaluation: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The yes-or-no questions of the evaluation: referable or not, positive or not."""
    blocks = evaluation.get("thresholds") or {}
    return [blocks[key] for key in ("referable", "positive") if key in blocks]


def question_sections(evaluation: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """The yes-or-no question with its operating points as rows."""
    out = []
    for block in questions(evaluation or {}):
        rows = []
        for rate, point in block["sensitivity_at_specificity"].items():
            rows.append({"fixed": f"specificity {as_percent(float(rate))}", "told": "sensitivity", **point})
        for rate, point in block["specificity_at_sensitivity"].items():
            rows.append({"fixed": f"sensitivity {as_percent(float(rate))}", "told": "specificity", **point})
        out.append({**block, "rows": rows})
    return out


def confusion_rows(evaluation: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """Every true class with its counts and shares of predictions."""
    if not evaluation or not evaluation.get("confusion"):
        return []
    rows = []
    for name, counts in zip(evaluation["target"]["names"], evaluation["confusion"], strict=True):
        total = sum(counts)
        shares = [count / total if total else 0.0 for count in counts]
        rows.append({"name": name, "total": total, "cells": list(zip(counts, shares, strict=True))})
    return rows


def class_columns(evaluation: Mapping[str, Any] | None) -> list[str]:
    """Names of the figures that are known class by class, in the order of the table."""
    if not evaluation or not evaluation.get("per_class"):
        return []
    order = ["recall", "specificity", "precision", "f1", "auroc", "auprc"]
    there = [n for n, v in evaluation["per_class"][0].items() if isinstance(v, Mapping)]
    return sorted(there, key=lambda n: order.index(n) if n in order else len(order))


def fact_cards(content: ReportContent) -> list[tuple[str, str, str]]:
    """The few figures at the top: name, figure, remark."""
    facts = []
    if content.evaluation:
        facts.append(("evaluated", f"{content.evaluation['n']:,}", f"{content.split} images"))
    meter = content.meter or {}
    if "learnable" in meter:
        total = meter.get("parameters", meter.get("total"))
        remark = f"{as_percent(meter['learnable'] / total)} of {as_amount(total)}" if total else "parameters"
        facts.append(("learnable parameters", as_amount(meter["learnable"]), remark))
    if meter.get("peak_bytes"):
        batch = f", batch of {meter['images']}" if "images" in meter else ""
        facts.append(("peak memory", as_bytes(meter["peak_bytes"]), f"in training{batch}"))
    if content.timing:
        name, seconds = next(iter(content.timing.items()))
        facts.append((f"time to {name}" if name == "train" else name.replace("_", " "), as_duration(seconds), ""))
    return facts


def meter_rows(content: ReportContent) -> list[tuple[str, str]]:
    """What a training step and the run cost: name and figure."""
    rows = [
        (title, show(content.meter[key]))
        for key, (title, show) in _METER.items()
        if content.meter and content.meter.get(key) is not None
    ]
    return rows + [(f"time: {name.replace('_', ' ')}", as_duration(s)) for name, s in (content.timing or {}).items()]


def balance_rows(content: ReportContent) -> list[tuple[str, list[int]]]:
    """Images of every class in every split, and all of them."""
    counts = content.class_counts or {}
    names = list(dict.fromkeys(name for split in counts.values() for name in split))
    rows = [(name, [split.get(name, 0) for split in counts.values()]) for name in names]
    return [*rows, ("all", [sum(split.values()) for split in counts.values()])]


def thumbnail_sheets(thumbnails: Sequence[tuple[np.ndarray, str]]) -> dict[str, list[str]]:
    """Addresses of the thumbnails by caption."""
    from scantling.run.report_pictures import jpeg_address

    sheets: dict[str, list[str]] = {}
    for image, caption in thumbnails:
        sheets.setdefault(caption, []).append(jpeg_address(image))
    return sheets


def mistake_card(mistake: Mistake) -> dict[str, Any]:
    """A mistake with its pictures as addresses."""
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


def mask_card(example: MaskExample) -> dict[str, Any]:
    """A photograph alone and under both masks, as addresses."""
    from scantling.run.report_pictures import jpeg_address, with_mask

    return {
        "image": jpeg_address(example.image, 288),
        "truth": jpeg_address(with_mask(example.image, example.truth), 288),
        "predicted": jpeg_address(with_mask(example.image, example.predicted), 288),
        "dice": example.dice,
        "name": example.name,
    }


def mask_legend(content: ReportContent) -> list[tuple[str, str]]:
    """Name and colour of every class that a mask shows."""
    from scantling.run.report_pictures import MASK_COLOURS

    if not content.masks or not content.evaluation:
        return []
    target = content.evaluation["target"]
    names = {"masks": target["names"], "biometry": ["outline"]}.get(target["kind"], target["names"][1:])
    colours = [MASK_COLOURS[i % len(MASK_COLOURS)].astype(int).tolist() for i in range(len(names))]
    return [(name, "rgb({}, {}, {})".format(*colour)) for name, colour in zip(names, colours, strict=True)]


def comparison_table(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Columns, told numeric or not, and cells of a table of comparison."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    cells = [[_cell(row.get(name)) for name in columns] for row in rows]
    numeric = [all(not isinstance(row.get(name), str) for row in rows) for name in columns]
    return {"columns": list(zip(columns, numeric, strict=True)), "rows": cells}


def _cell(value: Any) -> tuple[str, str]:
    """What a cell shows, and its interval."""
    if isinstance(value, Mapping):
        return as_number(value["value"]), as_span(value)
    if value is None or isinstance(value, float):
        return as_number(value), ""
    return (f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)), ""
