"""A gate before a prediction: images of too little quality are withheld from the model, and their rows say so."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from scantling.core.errors import DataError
from scantling.core.quality import GRADES, OUTSTANDING, UNGRADABLE
from scantling.run.quality_model import QualityModel, load_quality
from scantling.run.reading import Seen, as_batch, read_batches

WITHHELD = "withheld"
COLUMNS = ("image_quality", "image_quality_score", WITHHELD)
"""Columns of a prediction behind a gate: the grade, the score, and why an image was not predicted (empty: it was)."""

Level = Literal["ungradable", "outstanding"]
LEVELS: tuple[Level, ...] = ("ungradable", "outstanding")


@dataclass(frozen=True)
class QualityGate:
    """Grades images with the groups that a bundle keeps, so that a grade depends on nothing but the image.

    Args:
        quality: the scorer.
        level: ``ungradable``: withhold ungradable images; ``outstanding``: withhold all but outstanding ones.
    """

    quality: QualityModel
    level: Level

    @property
    def rule(self) -> str:
        """What decides, in words."""
        model = self.quality.clusters
        if self.level == "outstanding" or model is None or model.kind == "none":
            said = f"a score above {self.quality.threshold:.4g} is withheld"
            return said if self.level == "outstanding" else f"the bundle keeps no groups: {said}"
        if model.kind == "score":
            return f"a score above {model.cut:.4g}, the cut that the bundle keeps, is withheld"
        return "images nearer to the ungradable group of the bundle are withheld"

    def rows(self, seen: Sequence[Seen]) -> list[dict[str, Any]]:
        """The columns of every image of a batch, which was preprocessed for the scorer."""
        scores, features = self.quality.measure(as_batch(seen, pairs=False))
        model, threshold = self.quality.clusters, self.quality.threshold
        outstanding = (scores <= threshold).tolist()
        if model is None or model.kind == "none":
            names = [OUTSTANDING if good else f"not {OUTSTANDING}" for good in outstanding]
            held = [not good for good in outstanding]
        else:
            names = [GRADES[grade] for grade in model.grade(scores, features, threshold).grade.tolist()]
            held = [name == UNGRADABLE for name in names]
        if self.level == "outstanding":
            held = [not good for good in outstanding]
        return [
            {"image_quality": name, "image_quality_score": score, WITHHELD: name if out else None}
            for name, score, out in zip(names, scores.tolist(), held, strict=True)
        ]

    def of_images(
        self, listed: Sequence[Any], numbers: Sequence[int], batch_size: int, workers: int
    ) -> dict[int, dict[str, Any]]:
        """The columns of images by their number in the list; those that cannot be read are left out."""
        found: dict[int, dict[str, Any]] = {}
        for seen, _ in read_batches(listed, numbers, self.quality.model.preprocess, batch_size, workers):
            if seen:
                found |= {one.number: row for one, row in zip(seen, self.rows(seen), strict=True)}
        return found


def open_gate(bundle: str | Path | None, level: str, device: str) -> QualityGate | None:
    """The gate that is asked for, or none.

    Raises:
        BundleError: see :func:`scantling.run.quality_model.load_quality`.
        DataError: an unknown level.
    """
    if level not in LEVELS:
        raise DataError(f"no level '{level}'", where="quality_gate_level", do=f"use {' or '.join(LEVELS)}")
    if bundle is None:
        return None
    return QualityGate(load_quality(bundle, device), "outstanding" if level == "outstanding" else "ungradable")
