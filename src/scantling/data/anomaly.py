"""Labels for anomaly detection: what a manifest says, read as normal or abnormal."""

from __future__ import annotations

from scantling.core.anomaly import ABNORMAL, ANOMALY_NAMES, NORMAL
from scantling.core.target import Target, label_text
from scantling.data.manifest import Manifest

GRADE, ORGAN = "grade", "organ"
"""Columns: the label from which normal or abnormal was read; the mask of where lesions may lie."""


def is_anomaly(target: Target) -> bool:
    """Whether a target tells normal from abnormal images."""
    return target.kind == "class" and target.names == ANOMALY_NAMES


def with_anomaly_labels(manifest: Manifest) -> Manifest:
    """A manifest whose labels are ``normal`` and ``abnormal``.

    Without labels every image is normal. Whole numbers are grades: 0 is normal, any other is abnormal, and the numbers
    stay in the column ``grade``. Masks of an organ (column ``organ``) take the place of other masks.

    >>> import pandas as pd
    >>> table = with_anomaly_labels(Manifest(pd.DataFrame({"image": ["a.png", "b.png"], "label": ["0", "3"]}))).table
    >>> table["label"].tolist(), table["grade"].tolist()
    (['normal', 'abnormal'], ['0', '3'])
    """
    table = manifest.table.copy()
    table = table.drop(columns=[c for c in table.columns if str(c).startswith(("mask:", "label:"))])
    if ORGAN in table:
        table["mask"] = table[ORGAN]
    if "label" not in table or not table["label"].notna().any():
        table["label"] = NORMAL
    texts = [label_text(value) for value in table["label"]]
    if all(text is None or text.isdigit() for text in texts):
        if GRADE not in table:
            table[GRADE] = texts
        texts = [None if text is None else NORMAL if int(text) == 0 else ABNORMAL for text in texts]
        table["label"] = texts
    table["target"] = f"class:{'|'.join(ANOMALY_NAMES)}"
    return manifest.with_table(table)
