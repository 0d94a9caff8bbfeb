"""What evaluations take from a manifest: labels beside predictions, patients as codes, columns to tabulate by."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from scantling.core.target import Target
from scantling.metrics.predictions import Predictions

if TYPE_CHECKING:
    import pandas as pd

    from scantling.run.prepare import Prepared

PRIVATE = ("image", "mask", "roi", "label", "target", "text", "patient", "frame", "split")
"""Columns that are not tabulated by: they name a file, a patient, or what is predicted."""


def predictions_of(objective: Any, target: Target, prepared: Prepared, rows: Tensor, outputs: Tensor) -> Predictions:
    """Raw outputs ``(n, ...)`` of some rows as predictions beside labels, patients and sites."""
    table = prepared.manifest.table.iloc[rows.numpy()]
    score = objective.score(outputs)
    return Predictions(
        target=target,
        labels=prepared.labels[rows].numpy(),
        probabilities=objective.decode(outputs).float().detach().numpy(),
        scores=None if score is None else score.float().detach().numpy(),
        groups=patient_codes(table),
        columns=columns_of(table),
        names=table["image"].astype(str).tolist(),
    )


def patient_codes(table: pd.DataFrame) -> np.ndarray | None:
    """Patients as numbers ``(n,)``, -1 where not known; None without any."""
    if "patient" not in table or not table["patient"].notna().any():
        return None
    return table["patient"].astype("category").cat.codes.to_numpy()


def columns_of(table: pd.DataFrame) -> dict[str, np.ndarray]:
    """Other columns as text, ``unknown`` where empty."""
    names = [c for c in table.columns if c not in PRIVATE and not str(c).startswith(("label:", "mask:"))]
    return {c: table[c].astype("string").fillna("unknown").to_numpy(dtype=str) for c in names}
