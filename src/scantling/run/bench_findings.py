"""Does a difference between two ways to train hold? Seed by seed, and with an interval over seeds and patients."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from scantling.metrics.bootstrap import cluster_codes, plain, resampled_weights
from scantling.metrics.groups import RECALLS, recall_of_group
from scantling.metrics.table import METRICS, Metric

RULE = (
    "A difference is taken seed by seed on the same test images. Its interval comes from a bootstrap that draws test "
    "patients (images, where patients are not known) and seeds anew in every replicate. A comparison is 'yes' when the "
    "whole interval lies above 0, 'opposite' when it lies below, and 'unclear' otherwise. A finding is judged in the "
    "same way on the mean of its comparisons, with a 95 % interval; a finding about sensitivity is 'yes' when any "
    "of its k comparisons, in either direction, has an interval of coverage 1 - 0.05/k without 0."
)
REPLICATES = 4000


@dataclass(frozen=True)
class Outcome:
    """Test predictions of one run.

    Args:
        labels: ``(N,)`` int.
        probabilities: ``(N, K)``.
        groups: patient codes ``(N,)``, or None.
        counts: training images per class ``(K,)``, or None; for the recalls of head, middle and tail.
    """

    labels: np.ndarray
    probabilities: np.ndarray
    groups: np.ndarray | None = None
    counts: np.ndarray | None = None

    @classmethod
    def of(cls, record: dict[str, Any]) -> Outcome:
        """From the record of a run."""
        groups = record.get("groups")
        counts = record.get("splits", {}).get("classes", {}).get("train")
        return cls(
            np.asarray(record["labels"]),
            np.asarray(record["probabilities"]),
            None if groups is None else np.asarray(groups),
            None if counts is None else np.array(list(counts.values())),
        )

    def score(self, metric: str, weights: np.ndarray | None) -> np.ndarray:
        """A metric of these predictions, a scalar, or one value a row of ``weights (R, N)``."""
        return score_of(metric, self.counts)(self.labels, self.probabilities, weights)


@dataclass(frozen=True)
class Difference:
    """A metric's difference between two variants.

    Args:
        values: seed by seed ``(S,)``.
        draws: mean over seeds in every bootstrap replicate ``(R,)``.
    """

    values: np.ndarray
    draws: np.ndarray

    def to_json(self, level: float = 0.95) -> dict[str, Any]:
        """Values, mean, spread over seeds, interval and verdict."""
        low, high = interval(self.draws, level)
        spread = float(self.values.std(ddof=1)) if len(self.values) > 1 else None
        return {
            "values": [round(float(v), 6) for v in self.values],
            "mean": plain(self.values.mean()),
            "sd": spread,
            "low": plain(low),
            "high": plain(high),
            "level": level,
            "holds": verdict(low, high),
        }


def difference(
    better: Sequence[Outcome], worse: Sequence[Outcome], metric: str, seed: int = 0, replicates: int = REPLICATES
) -> Difference:
    """How much better the first variant is.

    Args:
        better: runs of the variant that is expected to be better, by seed.
        worse: runs of the other with the same seeds, on the same test images.
        metric: a name of :data:`scantling.metrics.table.METRICS` or of :data:`scantling.metrics.groups.RECALLS`; larger
            is better.
        seed: of the bootstrap.
        replicates: of the bootstrap.

    Raises:
        ValueError: the two do not have the same seeds or test images.
    """
    if len(better) != len(worse) or not better:
        raise ValueError("both variants need runs with the same seeds")
    labels = better[0].labels
    if any(not np.array_equal(labels, o.labels) for o in (*better, *worse)):
        raise ValueError("the runs were measured on different test images")
    generator = np.random.default_rng(seed)
    values = np.array([_scores(b, w, metric, None) for b, w in zip(better, worse, strict=True)])
    codes = cluster_codes(better[0].groups, len(labels))
    blocks = []
    for weights in resampled_weights(codes, replicates, generator):
        by_seed = np.stack([_scores(b, w, metric, weights) for b, w in zip(better, worse, strict=True)], axis=1)
        chosen = generator.integers(0, len(better), by_seed.shape)
        blocks.append(np.take_along_axis(by_seed, chosen, axis=1).mean(1))
    return Difference(values, np.concatenate(blocks))


def _scores(better: Outcome, worse: Outcome, metric: str, weights: np.ndarray | None) -> np.ndarray:
    return better.score(metric, weights) - worse.score(metric, weights)


def score_of(metric: str, counts: np.ndarray | None) -> Metric:
    """A metric by its name; those of head, middle and tail from the training images per class."""
    if metric in RECALLS and counts is not None:
        return recall_of_group(metric, counts)
    return METRICS[metric]


def interval(draws: np.ndarray, level: float) -> tuple[float, float]:
    """Percentile interval; replicates without a value are left out."""
    if not np.isfinite(draws).any():
        return float("nan"), float("nan")
    low, high = np.nanquantile(draws, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def verdict(low: float, high: float) -> str:
    """``yes``, ``opposite`` or ``unclear``.

    >>> verdict(0.01, 0.2), verdict(-0.3, -0.1), verdict(-0.1, 0.1)
    ('yes', 'opposite', 'unclear')
    """
    return "yes" if low > 0 else "opposite" if high < 0 else "unclear"


def judge(differences: Sequence[Difference], either: bool) -> dict[str, Any]:
    """A finding from its comparisons, after :data:`RULE`.

    Args:
        differences: of the comparisons; those on several data sets are independent of each other.
        either: any difference in any direction counts.
    """
    if not differences:
        return {"holds": "not measured"}
    if either:
        level = 1 - 0.05 / len(differences)
        found = {d.to_json(level)["holds"] for d in differences}
        return {"holds": "yes" if found & {"yes", "opposite"} else "unclear", "level": level}
    low, high = interval(np.mean([d.draws for d in differences], axis=0), 0.95)
    mean = float(np.mean([d.values.mean() for d in differences]))
    return {"holds": verdict(low, high), "mean": plain(mean), "low": plain(low), "high": plain(high), "level": 0.95}
