"""One dictionary, ready for JSON, that says how good measurements of lengths are: every figure with its interval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from scantling.core.errors import DataError
from scantling.core.target import Target
from scantling.metrics.bland_altman import NAMES, agreement
from scantling.metrics.bootstrap import bootstrap
from scantling.metrics.evaluation import Statistic, cluster_notes, frame_of, tables_by
from scantling.metrics.kappa import confusion_matrix
from scantling.metrics.segmentation import mean_over_classes

_TOLD = ("mae", "median", "failure_rate")


def evaluate_biometry(
    target: Target,
    lengths: Mapping[str, tuple[np.ndarray, np.ndarray]],
    main: tuple[np.ndarray, np.ndarray],
    dice: np.ndarray,
    planes: tuple[np.ndarray, np.ndarray],
    groups: np.ndarray | None = None,
    columns: Mapping[str, np.ndarray] | None = None,
    by: Sequence[str] = ("site",),
    replicates: int = 2000,
    seed: int = 0,
) -> dict[str, Any]:
    """Everything that is told of measurements, with 95 % bootstrap intervals by patient (by image where none is given).

    Args:
        target: of the kind biometry, with K planes.
        lengths: true and measured values of every length by its name, each ``(N,)``, NaN where there is none.
        main: true and measured value of the main length of each image's true plane, ``(N,)``.
        dice: ``(N,)``, NaN without a true mask.
        planes: true and predicted planes, ``(N,)`` int, -1 where not known.
        groups: patient codes ``(N,)`` as ints, or None.
        columns: other columns of the manifest, ``{name: (N,) str}``.
        by: columns to tabulate by; those not in ``columns`` are passed over.
        replicates: bootstrap replicates.
        seed: of the bootstrap.

    Returns:
        As :func:`scantling.metrics.evaluation.evaluate_predictions`, without ``calibration`` and ``thresholds``.
        ``metrics`` are ``mae``, ``median`` and ``failure_rate`` of the main lengths, ``dice`` and ``plane_accuracy``;
        ``per_class`` has a row a length with all figures of :func:`scantling.metrics.bland_altman.agreement`;
        ``agreement`` has ``truth`` and ``measured`` of every length, in no order that follows the images.

    Raises:
        DataError: no image has a true length, a true mask or a true plane.
    """
    n = len(dice)
    true_plane, called_plane = planes
    known = true_plane >= 0
    right = np.where(known, (true_plane == called_plane).astype(float), np.nan)
    if not (np.isfinite(main[0]).any() or np.isfinite(dice).any() or known.any()):
        raise DataError("no image has a true length, mask or plane", do="evaluate on a manifest with some")

    def of_images(rows: np.ndarray, with_lengths: bool) -> Statistic:
        def measure(weights: np.ndarray | None) -> dict[str, np.ndarray]:
            whole = agreement(main[0][rows], main[1][rows], weights)
            out = {name: whole[name] for name in _TOLD}
            out["dice"] = mean_over_classes(dice[rows, None], weights)
            out["plane_accuracy"] = mean_over_classes(right[rows, None], weights)
            for length, (truth, measured) in lengths.items() if with_lengths else ():
                found = agreement(truth[rows], measured[rows], weights)
                out |= {f"{length} {name}": value for name, value in found.items()}
            return out

        return measure

    generator = np.random.default_rng(seed)
    found = bootstrap(of_images(np.arange(n), True), n, generator, groups, replicates)
    told = [name for name in (*_TOLD, "dice", "plane_accuracy") if np.isfinite(found[name].value)]

    def of_rows(rows: np.ndarray) -> dict[str, Any]:
        part = None if groups is None else groups[rows]
        values = bootstrap(of_images(rows, False), len(rows), generator, part, replicates)
        return {name: values[name].to_json() for name in told}

    confusion = None
    if target.size > 1 and known.any():
        confusion = confusion_matrix(true_plane[known], called_plane[known], target.size).astype(int).tolist()
    return {
        **frame_of(target, groups, n, replicates, seed),
        "n_unlabelled": 0,
        "notes": cluster_notes(groups, n),
        "headline": told[0],
        "metrics": {name: found[name].to_json() for name in told},
        "confusion": confusion,
        "per_class": [
            {
                "name": length.upper(),
                "n": int(np.isfinite(truth).sum()),
                **{name: found[f"{length} {name}"].to_json() for name in NAMES},
            }
            for length, (truth, _) in lengths.items()
            if np.isfinite(truth).any()
        ],
        "calibration": None,
        "thresholds": {},
        "distribution": {},
        "agreement": {length: _points(*pair) for length, pair in lengths.items() if np.isfinite(pair[0]).any()},
        "by": tables_by(columns or {}, groups, by, n, of_rows),
    }


def _points(truth: np.ndarray, measured: np.ndarray) -> dict[str, list[float]]:
    """Pairs in the order of the truth: nothing tells which image they belong to."""
    both = np.isfinite(truth) & np.isfinite(measured)
    order = np.argsort(truth[both], kind="stable")
    return {
        "truth": truth[both][order].round(3).tolist(),
        "measured": measured[both][order].round(3).tolist(),
    }
