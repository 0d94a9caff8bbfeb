"""Figures of classes that were common, less common and rare in training: the head, the middle and the tail."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from scantling.core.errors import DataError
from scantling.metrics.classification import recall
from scantling.metrics.kappa import confusion_matrix
from scantling.metrics.weights import mean_of_defined, ratio

if TYPE_CHECKING:
    from scantling.metrics.table import Metric

GROUPS = ("head", "medium", "tail")
MANY, FEW = 100, 20
"""More training images than the first make a class part of the head, fewer than the second part of the tail.

Source: Liu et al. 2019, arXiv 1904.05160 (many-, medium- and few-shot classes).
"""
TERTILES = "tertiles"
RECALLS = tuple(f"{name}_recall" for name in GROUPS)
"""Metrics of single groups, see :func:`recall_of_group`."""


@dataclass(frozen=True)
class FrequencyGroup:
    """Classes of like frequency in training.

    Args:
        name: ``head``, ``medium`` or ``tail``.
        classes: their numbers, at least one.
        rule: which classes these are, in words.
    """

    name: str
    classes: tuple[int, ...]
    rule: str


def frequency_groups(counts: np.ndarray, rule: str | Sequence[int] = (MANY, FEW)) -> list[FrequencyGroup]:
    """Head, middle and tail of a training set, the most frequent first; groups without a class are left out.

    Args:
        counts: training images per class, ``(K,)``.
        rule: two counts (many, few), as numbers or as text such as ``"1000,200"``: the head has more than ``many``
            images a class, the tail fewer than ``few``. Or ``tertiles``: the classes in order of their counts, divided
            into three as even as possible; of uneven ones the head and then the middle have one more.

    Raises:
        DataError: a rule that is neither.

    >>> [(g.name, g.classes) for g in frequency_groups(np.array([500, 15, 60, 101]))]
    [('head', (0, 3)), ('medium', (2,)), ('tail', (1,))]
    >>> [g.classes for g in frequency_groups(np.array([5, 40, 30, 20]), "tertiles")]
    [(1, 2), (3,), (0,)]
    """
    counts = np.asarray(counts)
    if rule == TERTILES:
        order = np.argsort(-counts, kind="stable")
        parts = [np.sort(part) for part in np.array_split(order, len(GROUPS))]
        words = ["the most frequent third of the classes", "the third between", "the rarest third"]
    else:
        many, few = _limits(rule)
        parts = [
            np.flatnonzero(counts > many),
            np.flatnonzero((counts <= many) & (counts >= few)),
            np.flatnonzero(counts < few),
        ]
        words = [f"more than {many} training images", f"{few} to {many}", f"fewer than {few}"]
    named = zip(GROUPS, parts, words, strict=True)
    return [FrequencyGroup(n, tuple(map(int, part)), told) for n, part, told in named if len(part)]


def group_recall(matrix: np.ndarray, groups: Sequence[FrequencyGroup]) -> np.ndarray:
    """Mean recall over the classes of each group, ``(..., G)``, from confusion matrices ``(..., K, K)``.

    Classes without samples are left out of the mean; a group without any is NaN.
    """
    per_class = recall(matrix)
    return np.stack([mean_of_defined(per_class[..., list(g.classes)]) for g in groups], axis=-1)


def group_accuracy(matrix: np.ndarray, groups: Sequence[FrequencyGroup]) -> np.ndarray:
    """Share of right predictions among the samples of each group, ``(..., G)``; NaN without samples.

    Where all classes of a group have as many samples, it is the group's recall.
    """
    right, number = np.diagonal(matrix, axis1=-2, axis2=-1), np.sum(matrix, -1)
    shares = [ratio(right[..., list(g.classes)].sum(-1), number[..., list(g.classes)].sum(-1)) for g in groups]
    return np.stack(shares, axis=-1)


def recall_of_group(name: str, counts: np.ndarray, rule: str | Sequence[int] = TERTILES) -> Metric:
    """The mean recall of one group as a metric, like those of :data:`scantling.metrics.table.METRICS`.

    Args:
        name: ``head_recall``, ``medium_recall`` or ``tail_recall``.
        counts: training images per class, ``(K,)``.
        rule: of :func:`frequency_groups`.

    Raises:
        DataError: no class belongs to the group.

    >>> labels, sure = np.array([0, 0, 1, 2]), np.eye(3)[[0, 1, 1, 0]]
    >>> recall_of_group("head_recall", np.array([50, 20, 5]))(labels, sure, None)
    array(0.5)
    """
    groups = [g for g in frequency_groups(counts, rule) if f"{g.name}_recall" == name]
    if not groups:
        raise DataError(f"no class belongs to the group of '{name}'", do="choose another rule for the groups")

    def metric(labels: np.ndarray, probabilities: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
        matrix = confusion_matrix(labels, probabilities.argmax(1), probabilities.shape[1], weights)
        return group_recall(matrix, groups)[..., 0]

    return metric


def _limits(rule: str | Sequence[int]) -> tuple[int, int]:
    cells = rule.split(",") if isinstance(rule, str) else list(rule)
    try:
        many, few = (int(cell) for cell in cells)
    except ValueError as error:
        raise DataError(
            f"'{rule}' does not say which classes are frequent",
            do=f"give two counts such as {MANY},{FEW}, or {TERTILES}",
        ) from error
    if not 0 <= few <= many:
        raise DataError(f"many is {many}, few is {few}", do=f"give the larger count first, such as {MANY},{FEW}")
    return many, few
