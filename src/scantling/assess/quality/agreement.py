"""How well grades of quality agree with known ones. Truth is used here and nowhere else."""

from __future__ import annotations

from typing import Any

import numpy as np

from scantling.core.quality import GRADES, OUTSTANDING
from scantling.metrics.classification import accuracy, macro_f1, recall
from scantling.metrics.kappa import confusion_matrix, quadratic_weighted_kappa
from scantling.metrics.ranking import binary_areas


def agreement(truth: np.ndarray, scores: np.ndarray, grades: np.ndarray) -> dict[str, Any]:
    """Figures of three grades, of the first decision alone, and of the groups alone.

    Args:
        truth: positions in ``GRADES``, ``(n,)``.
        scores: ``(n,)``, greater for worse images.
        grades: as they were found, like ``truth``.

    Returns:
        ``n``; ``auroc`` of the score, and ``sensitivity``, ``specificity``, ``accuracy`` and ``f1`` of the decision,
        positive where not outstanding; ``grades`` with accuracy, macro F1, quadratic kappa and recalls; ``clusters``
        with the accuracy under the best naming (an oracle: it serves reports only), adjusted Rand index and normalised
        mutual information over images that truly are, and were found to be, not outstanding. None where undefined.
    """
    good = GRADES.index(OUTSTANDING)
    bad, called = truth != good, grades != good
    matrix = confusion_matrix(truth, grades, len(GRADES))
    both = bad & called
    return {
        "n": len(truth),
        "auroc": _number(binary_areas(bad.astype(int), scores)[0]) if 0 < bad.sum() < len(bad) else None,
        "sensitivity": _share(called[bad]),
        "specificity": _share(~called[~bad]),
        "accuracy": _share(called == bad),
        "f1": _ratio(2 * both.sum(), bad.sum() + called.sum()),
        "grades": {
            "accuracy": _number(accuracy(matrix)),
            "macro_f1": _number(macro_f1(matrix)),
            "quadratic_weighted_kappa": _number(quadratic_weighted_kappa(matrix)),
            "recall": dict(zip(GRADES, (_number(r) for r in recall(matrix)), strict=True)),
        },
        "clusters": compare_groups(truth[both], grades[both]),
    }


def compare_groups(truth: np.ndarray, found: np.ndarray) -> dict[str, Any]:
    """Accuracy under the best naming, adjusted Rand index and normalised mutual information of two divisions.

    Source: Hubert and Arabie 1985; the mutual information is divided by the mean of the two entropies.

    >>> compare_groups(np.array([0, 0, 1, 1]), np.array([5, 5, 2, 2]))["accuracy"]
    1.0
    """
    if not len(truth):
        return {"n": 0, "accuracy": None, "adjusted_rand": None, "mutual_information": None}
    from scipy.optimize import linear_sum_assignment

    first, second = (np.unique(x, return_inverse=True)[1] for x in (truth, found))
    table = np.zeros((first.max() + 1, second.max() + 1))
    np.add.at(table, (first, second), 1)
    rows, columns = linear_sum_assignment(-table)
    n, a, b = table.sum(), table.sum(1), table.sum(0)
    pairs, of_a, of_b = (float((x * (x - 1) / 2).sum()) for x in (table, a, b))
    expected = of_a * of_b / max(n * (n - 1) / 2, 1)
    spread = (of_a + of_b) / 2 - expected
    joint = table[table > 0] / n
    outer = (a[:, None] * b[None, :] / n**2)[table > 0]
    entropy = [-float((x / n * np.log(x / n)).sum()) for x in (a, b)]
    shared = float((joint * np.log(joint / outer)).sum())
    return {
        "n": int(n),
        "accuracy": float(table[rows, columns].sum() / n),
        "adjusted_rand": 1.0 if spread == 0 else (pairs - expected) / spread,
        "mutual_information": 1.0 if sum(entropy) == 0 else 2 * shared / sum(entropy),
    }


def _number(value: Any) -> float | None:
    found = float(value)
    return found if np.isfinite(found) else None


def _share(values: np.ndarray) -> float | None:
    return float(values.mean()) if len(values) else None


def _ratio(part: Any, whole: Any) -> float | None:
    return float(part / whole) if whole else None
