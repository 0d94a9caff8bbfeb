"""Figures of anomaly detection beyond those of two classes: held-out synthetics, and one area a grade."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor

from scantling.core.seams import Objective
from scantling.core.target import Target
from scantling.data.anomaly import GRADE
from scantling.metrics.bootstrap import bootstrap
from scantling.metrics.evaluation import evaluate_predictions
from scantling.metrics.predictions import Predictions
from scantling.metrics.ranking import binary_areas

GRADE_COLUMNS = (GRADE, "severity")
"""Columns that say how abnormal an image is; the first that is there serves."""


def measure_anomalies(objective: Objective, target: Target, outputs: Tensor, labels: Tensor) -> dict[str, Any]:
    """Figures with intervals of held-out normal images against synthetic ones; none without synthetic ones."""
    if not bool((labels == 1).any()):
        return {}
    score = objective.score(outputs)
    predictions = Predictions(
        target=target,
        labels=labels.numpy(),
        probabilities=objective.decode(outputs).float().detach().numpy(),
        scores=None if score is None else score.float().detach().numpy(),
    )
    values: dict[str, Any] = evaluate_predictions(predictions, by=(), replicates=1000)["metrics"]
    return {name: values[name] for name in ("auroc", *(n for n in values if n != "auroc"))}


def areas_by_grade(predictions: Predictions, replicates: int = 2000, seed: int = 0) -> dict[str, Any] | None:
    """AUROC of every grade of abnormal images against all normal ones, with bootstrap intervals.

    Args:
        predictions: of normal (0) and abnormal (1) images.
        replicates: of the bootstrap.
        seed: of the bootstrap.

    Returns:
        ``{"column", "normal", "grades": {grade: {n, auroc}}}``; None where no column says how abnormal images are.
    """
    column = next((c for c in GRADE_COLUMNS if c in predictions.columns), None)
    if column is None or predictions.scores is None:
        return None
    cells = predictions.columns[column]
    normal, abnormal = predictions.labels == 0, predictions.labels == 1
    grades = sorted({c for c in cells[abnormal].tolist() if c not in {"unknown", ""}}, key=_order)
    if not grades or not normal.any():
        return None
    found: dict[str, Any] = {}
    for grade in grades:
        part = predictions.select(normal | (abnormal & (cells == grade)))
        scores = part.scores
        assert scores is not None

        def measure(
            weights: np.ndarray | None, labels: np.ndarray = part.labels, scores: np.ndarray = scores
        ) -> dict[str, np.ndarray]:
            return {"auroc": binary_areas(labels, scores, weights)[0]}

        values = bootstrap(measure, len(part), np.random.default_rng(seed), part.groups, replicates)
        found[grade] = {"n": int((part.labels == 1).sum()), "auroc": values["auroc"].to_json()}
    return {"column": column, "normal": int(normal.sum()), "grades": found}


def grades_text(areas: dict[str, Any]) -> str:
    """A line a grade."""
    lines = [f"AUROC by {areas['column']}, against {areas['normal']} normal images:"]
    for grade, entry in areas["grades"].items():
        figure = entry["auroc"]
        known = figure["low"] is not None
        interval = f" ({figure['low']:.3f} - {figure['high']:.3f})" if known else ""
        lines.append(f"  {grade}: {figure['value']:.4f}{interval}, n = {entry['n']}")
    return "\n".join(lines)


def _order(grade: str) -> tuple[int, float, str]:
    """Numbers before words."""
    try:
        return 0, float(grade), grade
    except ValueError:
        return 1, 0.0, grade
