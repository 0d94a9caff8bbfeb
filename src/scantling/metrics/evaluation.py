"""One dictionary, ready for JSON, that says how good predictions are: every figure with its interval."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from scantling.core.errors import DataError
from scantling.core.target import Target
from scantling.metrics import calibration, classification, segmentation, thresholds
from scantling.metrics.bootstrap import Interval, bootstrap, cluster_codes, plain
from scantling.metrics.groups import FEW, MANY, FrequencyGroup, frequency_groups, group_accuracy, group_recall
from scantling.metrics.kappa import confusion_matrix
from scantling.metrics.predictions import Predictions
from scantling.metrics.ranking import areas, binary_areas, macro_area, roc_curve
from scantling.metrics.table import METRICS
from scantling.metrics.weights import mean_of_defined

FIXED_RATES = (0.80, 0.90, 0.95)
"""Specificities at which the sensitivity is told, and the reverse."""

Statistic = Callable[[np.ndarray | None], dict[str, np.ndarray]]

_ROC_POINTS = 200
_FEW_CLUSTERS = 20
_FEWEST_GROUPED = 3
"""Classes from which on head, middle and tail are told apart."""


def evaluate_predictions(
    predictions: Predictions,
    by: Sequence[str] = ("site",),
    replicates: int = 2000,
    seed: int = 0,
    training_counts: Sequence[int] | None = None,
    groups: str | Sequence[int] = (MANY, FEW),
) -> dict[str, Any]:
    """Everything that is told about predictions, with 95 % bootstrap intervals by patient (by image where no patients
    are given).

    Args:
        predictions: of any target but masks; rows without a label are left out.
        by: columns to tabulate by; those that the predictions do not have are passed over.
        replicates: bootstrap replicates; 0 gives no intervals.
        seed: of the bootstrap.
        training_counts: training images per class, where they are known; not used for findings or fewer than 3 classes.
        groups: what makes a class frequent or rare, see :func:`scantling.metrics.groups.frequency_groups`.

    Returns:
        Plain content for ``evaluation.json``; a figure that is undefined is None.

        - ``target``, ``n``, ``n_unlabelled``, ``n_groups``, ``interval``, ``replicates``, ``seed``, ``headline`` (the
          name of the first metric), ``notes`` (what a reader must know, such as a constant predictor)
        - ``metrics``: ``{name: {value, low, high, replicates_used}}``
        - ``confusion``: counts, true classes in rows; None for findings
        - ``per_class``: a dictionary a class or finding with ``name``, ``n`` (positives), and figures with intervals
        - ``calibration``: ``ece``, ``brier``, ``reliability`` (bins), ``per_class``
        - ``thresholds``: ``referable`` (grades) or ``positive`` (two classes) with ``auroc``, ``auprc``, ``roc`` and
          the sensitivity at fixed specificities and the reverse, each with its threshold; ``curves``: one ROC a class
        - ``by``: ``{column: {value: {n, n_groups, metrics}}}``, each with a bootstrap of its own
        - ``frequency``: with training counts, a dictionary a group (``head``, ``medium``, ``tail``) with ``name``,
          ``rule``, ``classes``, ``n_training``, ``n``, ``recall`` (mean over its classes) and ``accuracy``; then the
          rows of ``per_class`` have ``n_training`` too

    Raises:
        DataError: no labelled row, a mask target, a table by patient, or training counts of other classes.
    """
    target = predictions.target
    if target.dense or target.kind == "none":
        raise DataError(f"a {target.kind} target is not evaluated by classes", do="use evaluate_masks for masks")
    known = predictions.select(predictions.labelled)
    if not len(known):
        raise DataError("no image has a label", do="evaluate on a manifest with labels")
    findings = target.kind == "findings"
    frequency = _frequency(target, training_counts, groups)
    generator = np.random.default_rng(seed)
    statistic = _findings_statistic(known) if findings else _exclusive_statistic(known, frequency)
    found = bootstrap(statistic, len(known), generator, known.groups, replicates)
    confusion = None if findings else confusion_matrix(known.labels, known.predicted, target.size).astype(int).tolist()

    def of_rows(rows: np.ndarray) -> dict[str, Any]:
        part = known.select(rows)
        values = bootstrap(_metrics_statistic(part), len(part), generator, part.groups, replicates)
        return {name: values[name].to_json() for name in target.metrics}

    return {
        **frame_of(target, known.groups, len(known), replicates, seed),
        "n_unlabelled": len(predictions) - len(known),
        "notes": _notes(known) + cluster_notes(known.groups, len(known)),
        "metrics": {name: found[name].to_json() for name in target.metrics},
        "confusion": confusion,
        "per_class": _per_class(known, found, training_counts if frequency else None),
        "frequency": _frequency_rows(known, found, frequency, training_counts),
        "calibration": _calibration(known),
        "thresholds": _thresholds(known, found),
        "by": tables_by(known.columns, known.groups, by, len(known), of_rows),
    }


def evaluate_masks(
    target: Target,
    per_image: Mapping[str, np.ndarray],
    groups: np.ndarray | None = None,
    columns: Mapping[str, np.ndarray] | None = None,
    by: Sequence[str] = ("site",),
    replicates: int = 2000,
    seed: int = 0,
) -> dict[str, Any]:
    """The same dictionary for masks, from values measured image by image.

    Args:
        target: of masks, with S structures (see :attr:`Target.structures`).
        per_image: ``{name: (N, S)}`` such as ``dice``, ``iou`` and ``hd95``; NaN where undefined in an image.
        groups: patient codes ``(N,)`` as ints, or None.
        columns: other columns of the manifest, ``{name: (N,) str}``.
        by: columns to tabulate by; those not in ``columns`` are passed over.
        replicates: bootstrap replicates.
        seed: of the bootstrap.

    Returns:
        As :func:`evaluate_predictions`, without ``calibration``, ``thresholds`` and ``confusion`` (None), and with
        ``distribution``: ``{name: {edges, counts}}``, a histogram over images of the mean over classes. A metric is
        the mean over classes of the mean over images.

    Raises:
        DataError: no image, or arrays of other shapes.
    """
    values = {name: np.asarray(array, dtype=np.float64) for name, array in per_image.items()}
    n = len(next(iter(values.values()), ()))
    if not n:
        raise DataError("no image has a mask", do="evaluate on a manifest with masks")
    for name, array in values.items():
        if array.shape != (n, len(target.structures)):
            raise DataError(f"'{name}' has the shape {array.shape}, not {(n, len(target.structures))}")
    generator = np.random.default_rng(seed)

    def statistic(rows: np.ndarray) -> Statistic:
        def measure(weights: np.ndarray | None) -> dict[str, np.ndarray]:
            out = {}
            for name, array in values.items():
                out[name] = segmentation.mean_over_classes(array[rows], weights)
                out[f"class_{name}"] = segmentation.mean_over_images(array[rows], weights)
            return out

        return measure

    def of_rows(rows: np.ndarray) -> dict[str, Any]:
        part = None if groups is None else groups[rows]
        found = bootstrap(statistic(rows), len(rows), generator, part, replicates)
        return {name: found[name].to_json() for name in values}

    everything = np.arange(n)
    found = bootstrap(statistic(everything), n, generator, groups, replicates)
    first = next(iter(values.values()))
    per_class = [
        {
            "name": name,
            "n": int((~np.isnan(first[:, k])).sum()),
            **{metric: found[f"class_{metric}"].to_json(k) for metric in values},
        }
        for k, name in enumerate(target.structures)
    ]
    headline = target.metrics[0] if target.metrics and target.metrics[0] in values else next(iter(values))
    return {
        **frame_of(target, groups, n, replicates, seed),
        "headline": headline,
        "n_unlabelled": 0,
        "notes": cluster_notes(groups, n),
        "metrics": {name: found[name].to_json() for name in values},
        "confusion": None,
        "per_class": per_class,
        "calibration": None,
        "thresholds": {},
        "distribution": {name: _histogram(array) for name, array in values.items()},
        "by": tables_by(columns or {}, groups, by, n, of_rows),
    }


def tables_by(
    columns: Mapping[str, np.ndarray],
    groups: np.ndarray | None,
    by: Sequence[str],
    n: int,
    of_rows: Callable[[np.ndarray], dict[str, Any]],
) -> dict[str, dict[str, Any]]:
    """Tables ``{column: {value: {n, n_groups, metrics}}}``; empty cells are gathered under "not given".

    Raises:
        DataError: a table by patient, which would name patients.
    """
    out: dict[str, dict[str, Any]] = {}
    for column in by:
        if column.lower() in {"patient", "patient_id"}:
            raise DataError("a table by patient would name patients", do="choose another column")
        if column not in columns:
            continue
        cells = np.array([_cell(value) for value in columns[column]], dtype=object)
        table = {}
        for value in sorted(set(cells.tolist())):
            rows = np.flatnonzero(cells == value)
            part = None if groups is None else groups[rows]
            table[value] = {"n": len(rows), "n_groups": _count_clusters(part, len(rows)), "metrics": of_rows(rows)}
        out[column] = table
    return out


def _cell(value: object) -> str:
    text = str(value).strip()
    return "not given" if text.lower() in {"", "nan", "none", "<na>"} else text


def _count_clusters(groups: np.ndarray | None, n: int) -> int:
    return int(cluster_codes(groups, n).max(initial=-1)) + 1


def frame_of(target: Target, groups: np.ndarray | None, n: int, replicates: int, seed: int) -> dict[str, Any]:
    """How many images and patients were evaluated, and how: what every evaluation begins with."""
    unit = "image" if groups is None else "patient"
    return {
        "target": target.to_json(),
        "headline": target.metrics[0],
        "n": n,
        "n_groups": _count_clusters(groups, n),
        "interval": f"95 % bootstrap by {unit}" if replicates else "none",
        "replicates": replicates,
        "seed": seed,
    }


def _metrics_statistic(predictions: Predictions) -> Statistic:
    """The target's metrics, those that share a sort measured together."""
    labels, probabilities = predictions.labels, predictions.probabilities
    exclusive = labels.ndim == 1

    def measure(weights: np.ndarray | None) -> dict[str, np.ndarray]:
        ranked = areas(labels, probabilities, weights)
        out = {f"class_{name}": per_class for name, per_class in ranked.items()}
        for name in predictions.target.metrics:
            if name in ranked:
                out[name] = macro_area(ranked[name], exclusive)
            else:
                out[name] = METRICS[name](labels, probabilities, weights)
        return out

    return measure


def _exclusive_statistic(predictions: Predictions, frequency: Sequence[FrequencyGroup] = ()) -> Statistic:
    metrics, question = _metrics_statistic(predictions), _question(predictions)

    def measure(weights: np.ndarray | None) -> dict[str, np.ndarray]:
        matrix = confusion_matrix(predictions.labels, predictions.predicted, predictions.target.size, weights)
        out = metrics(weights)
        out["class_precision"] = classification.precision(matrix)
        out["class_recall"] = classification.recall(matrix)
        out["class_f1"] = classification.f1(matrix)
        if frequency:
            out["group_recall"] = group_recall(matrix, frequency)
            out["group_accuracy"] = group_accuracy(matrix, frequency)
        if question is not None:
            _, _, positive, score = question
            out["question_auroc"], out["question_auprc"] = binary_areas(positive, score, weights)
            out["sensitivity"], _ = thresholds.sensitivity_at_specificity(positive, score, FIXED_RATES, weights)
            out["specificity"], _ = thresholds.specificity_at_sensitivity(positive, score, FIXED_RATES, weights)
        return out

    return measure


def _findings_statistic(predictions: Predictions) -> Statistic:
    metrics = _metrics_statistic(predictions)

    def measure(weights: np.ndarray | None) -> dict[str, np.ndarray]:
        matrices = classification.finding_matrices(predictions.labels, predictions.probabilities, weights)
        out = metrics(weights)
        out["class_precision"] = classification.precision(matrices)[..., 1]
        out["class_recall"] = classification.recall(matrices)[..., 1]
        out["class_specificity"] = classification.recall(matrices)[..., 0]
        out["class_f1"] = classification.f1(matrices)[..., 1]
        return out

    return measure


def _question(predictions: Predictions) -> tuple[str, str, np.ndarray, np.ndarray] | None:
    """The yes-or-no question behind a target: its key, what it asks, who is positive, and the score."""
    target, labels = predictions.target, predictions.labels
    if target.kind == "grade" and target.size > thresholds.REFERABLE_FROM:
        first = target.names[thresholds.REFERABLE_FROM]
        asked = f"grade >= {thresholds.REFERABLE_FROM}" + ("" if first.isdigit() else f" ({first} or worse)")
        score = thresholds.referable_score(predictions.probabilities, predictions.scores)
        return "referable", asked, thresholds.referable(labels), score
    if target.kind in {"grade", "class"} and target.size == 2:
        return "positive", target.names[1], labels == 1, predictions.probabilities[:, 1]
    return None


def _frequency(
    target: Target, training_counts: Sequence[int] | None, rule: str | Sequence[int]
) -> list[FrequencyGroup]:
    """Head, middle and tail; none where the counts are not known or there is nothing to divide."""
    if training_counts is None or target.kind == "findings" or target.size < _FEWEST_GROUPED:
        return []
    if len(training_counts) != target.size:
        raise DataError(f"{len(training_counts)} training counts for {target.size} classes")
    return frequency_groups(np.asarray(training_counts), rule)


def _frequency_rows(
    predictions: Predictions,
    found: dict[str, Interval],
    frequency: Sequence[FrequencyGroup],
    training_counts: Sequence[int] | None,
) -> list[dict[str, Any]]:
    counts = np.asarray(training_counts if training_counts is not None else [])
    return [
        {
            "name": group.name,
            "rule": group.rule,
            "classes": [predictions.target.names[k] for k in group.classes],
            "n_training": int(counts[list(group.classes)].sum()),
            "n": int(np.isin(predictions.labels, group.classes).sum()),
            "recall": found["group_recall"].to_json(g),
            "accuracy": found["group_accuracy"].to_json(g),
        }
        for g, group in enumerate(frequency)
    ]


def _per_class(
    predictions: Predictions, found: dict[str, Interval], training_counts: Sequence[int] | None = None
) -> list[dict[str, Any]]:
    rows = []
    for k, name in enumerate(predictions.target.names):
        if predictions.labels.ndim == 1:
            counts = {"n": int((predictions.labels == k).sum())}
        else:
            known = ~np.isnan(predictions.labels[:, k])
            counts = {"n": int((predictions.labels[known, k] > 0.5).sum()), "n_known": int(known.sum())}
        if training_counts is not None:
            counts["n_training"] = int(training_counts[k])
        figures = {n.removeprefix("class_"): v.to_json(k) for n, v in found.items() if n.startswith("class_")}
        rows.append({"name": name, **counts, **figures})
    return rows


def _calibration(predictions: Predictions) -> dict[str, Any]:
    labels, probabilities = predictions.labels, predictions.probabilities
    if labels.ndim == 1:
        confidence, outcome = calibration.top_label(labels, probabilities)
    else:
        known = ~np.isnan(labels)
        confidence, outcome = probabilities[known], labels[known]
    curve = calibration.reliability_curve(confidence, outcome)
    bins = len(curve["weight"])
    errors = calibration.per_class_calibration_error(labels, probabilities)
    scores = calibration.per_class_brier_score(labels, probabilities)
    return {
        "ece": plain(calibration.expected_calibration_error(labels, probabilities)),
        "brier": plain(calibration.brier_score(labels, probabilities)),
        "of": "predicted class" if labels.ndim == 1 else "findings, pooled",
        "reliability": [
            {
                "low": i / bins,
                "high": (i + 1) / bins,
                "n": int(curve["weight"][i]),
                "probability": plain(curve["probability"][i]),
                "frequency": plain(curve["frequency"][i]),
            }
            for i in range(bins)
        ],
        "per_class": [
            {"name": name, "ece": plain(errors[k]), "brier": plain(scores[k])}
            for k, name in enumerate(predictions.target.names)
        ],
    }


def _thresholds(predictions: Predictions, found: dict[str, Interval]) -> dict[str, Any]:
    out: dict[str, Any] = {}
    question = _question(predictions)
    if question is not None:
        key, asked, positive, score = question
        _, at_specificity = thresholds.sensitivity_at_specificity(positive, score, FIXED_RATES)
        _, at_sensitivity = thresholds.specificity_at_sensitivity(positive, score, FIXED_RATES)
        severity = key == "referable" and predictions.scores is not None
        out[key] = {
            "definition": asked,
            "score": "severity" if severity else "probability",
            "n_positive": int(positive.sum()),
            "auroc": found["question_auroc"].to_json(),
            "auprc": found["question_auprc"].to_json(),
            "sensitivity_at_specificity": {
                f"{rate:.2f}": {**found["sensitivity"].to_json(i), "threshold": plain(at_specificity[i])}
                for i, rate in enumerate(FIXED_RATES)
            },
            "specificity_at_sensitivity": {
                f"{rate:.2f}": {**found["specificity"].to_json(i), "threshold": plain(at_sensitivity[i])}
                for i, rate in enumerate(FIXED_RATES)
            },
            "roc": _roc_points(positive, score),
        }
    if predictions.target.size > 2 or predictions.labels.ndim == 2:
        out["curves"] = []
        for k, name in enumerate(predictions.target.names):
            if predictions.labels.ndim == 1:
                points = _roc_points(predictions.labels == k, predictions.probabilities[:, k])
            else:
                known = ~np.isnan(predictions.labels[:, k])
                points = _roc_points(predictions.labels[known, k] > 0.5, predictions.probabilities[known, k])
            out["curves"].append({"name": name, "roc": points})
    return out


def _roc_points(positive: np.ndarray, score: np.ndarray) -> list[list[float]] | None:
    """At most 200 points (false-positive rate, true-positive rate), evenly along the curve; None without a class."""
    false, true, _ = roc_curve(positive, score)
    if np.isnan(false + true).any():
        return None
    chosen = np.searchsorted(false + true, np.linspace(0, 2, _ROC_POINTS))
    chosen = np.unique(np.concatenate([[0], np.clip(chosen, 0, len(false) - 1), [len(false) - 1]]))
    return np.round(np.stack([false[chosen], true[chosen]], axis=1), 5).tolist()


def _histogram(values: np.ndarray) -> dict[str, Any]:
    """Histogram over images of the mean over classes; from 0, up to 1 where all values lie below it."""
    means = mean_of_defined(values)
    means = means[np.isfinite(means)]
    top = 1.0 if means.max(initial=0.0) <= 1 else float(means.max())
    counts, edges = np.histogram(means, bins=20, range=(0.0, top))
    return {"edges": np.round(edges, 6).tolist(), "counts": counts.tolist(), "n": len(means)}


def _notes(predictions: Predictions) -> list[str]:
    notes = []
    names = predictions.target.names
    if predictions.labels.ndim == 1:
        called = np.unique(predictions.predicted)
        if len(called) == 1 and len(predictions) > 1:
            notes.append(f"The model predicts '{names[called[0]]}' for every image.")
        missing = [name for k, name in enumerate(names) if not (predictions.labels == k).any()]
    else:
        missing = [name for k, name in enumerate(names) if not (predictions.labels[:, k] > 0.5).any()]
    if missing:
        notes.append(f"No image is labelled {', '.join(repr(m) for m in missing)}: left out of means over classes.")
    return notes


def cluster_notes(groups: np.ndarray | None, n: int) -> list[str]:
    """What a reader must know of the intervals."""
    count = _count_clusters(groups, n)
    unit = "images" if groups is None else "patients"
    if count < _FEW_CLUSTERS:
        return [f"Only {count} {unit}: the intervals are rough and rather too narrow."]
    if groups is None:
        return ["No patients are given: the intervals treat all images as independent."]
    return []
