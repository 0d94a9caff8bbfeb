"""What a report tells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas as pd


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
        policy: how the probabilities of a search moved: ``operations`` and ``magnitudes``, a row an epoch each, and the
            ``names`` of the operations.
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
    policy: Mapping[str, Sequence[Any]] | None = None
    mistakes: Sequence[Mistake] = ()
    masks: Sequence[MaskExample] = ()
    meter: Mapping[str, Any] | None = None
    timing: Mapping[str, float] | None = None
    versions: Mapping[str, str] | None = None
    recipe_yaml: str | None = None
    comparison: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)
    created: str = ""
