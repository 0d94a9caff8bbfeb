"""Gradable or ungradable: two groups of the images that are not outstanding, named by their scores, with guards."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from scantling.assess.quality.clusters import best_cut, silhouette, two_means
from scantling.assess.quality.pca import Components, fit_components
from scantling.core.errors import DataError
from scantling.core.quality import GRADABLE, GRADES, OUTSTANDING, UNGRADABLE

FEWEST = 10
"""Images that are not outstanding from which on they are divided."""

LEAST_SILHOUETTE = 0.1
"""Silhouette below which two groups are no groups."""

LEAST_MARGIN = 0.1
"""Difference of the distances from both centres, as a share of their sum, below which a grade is in doubt."""

LEAST_GAP = 1.5
"""Difference of the mean scores of two groups, in pooled standard deviations, below which they are no grades. Chosen on
drawn angiograms: groups with a smaller one followed the kind of a fault, and a cut of the score was right more
often."""

DIMENSIONS = 8
"""Principal components that images are grouped in."""

Kind = Literal["features", "score", "none"]


class Graded(NamedTuple):
    """Grades of a batch.

    Args:
        grade: positions in ``GRADES``: 0 ungradable, 1 gradable, 2 outstanding, ``(n,)`` int64.
        sure: ``(n,)`` bool.
    """

    grade: Tensor
    sure: Tensor


@dataclass(frozen=True)
class ClusterModel:
    """How images that are not outstanding are divided; it can be kept, and applied to single images.

    Args:
        kind: by ``features``, by a cut of the ``score``, or not at all (``none``).
        components: of the features.
        centres: of gradable and ungradable images, ``(2, d)``.
        cut: score above which an image is ungradable.
        silhouette: of the groups, in [-1, 1].
        guards: what spoke against groups of features, one line each.
        counts: images of each group, gradable and ungradable.
        scores: mean scores of the two groups.
        origin: of which images they are groups.
    """

    kind: Kind
    components: Components | None = None
    centres: Tensor | None = None
    cut: float | None = None
    silhouette: float | None = None
    guards: tuple[str, ...] = ()
    counts: tuple[int, int] = (0, 0)
    scores: tuple[float, float] | None = None
    origin: str = ""

    def grade(self, scores: Tensor, features: Tensor, threshold: float) -> Graded:
        """Grades of images by their scores ``(n,)`` and features ``(n, D)``; outstanding at or below ``threshold``."""
        outstanding = scores <= threshold
        grade = torch.full(scores.shape, GRADES.index(GRADABLE), dtype=torch.int64, device=scores.device)
        sure = torch.full(scores.shape, self.kind == "features", device=scores.device)
        if self.kind == "features" and self.components is not None and self.centres is not None:
            distance = torch.cdist(self.components(features.cpu()), self.centres).to(scores.device)
            grade[distance[:, 1] < distance[:, 0]] = GRADES.index(UNGRADABLE)
            gap = (distance[:, 1] - distance[:, 0]).abs() / distance.sum(1).clamp(min=1e-300)
            sure = gap >= LEAST_MARGIN
        elif self.kind == "score" and self.cut is not None:
            grade[scores > self.cut] = GRADES.index(UNGRADABLE)
        grade[outstanding] = GRADES.index(OUTSTANDING)
        return Graded(grade, sure | outstanding)

    def to_json(self) -> dict[str, Any]:
        """Plain content."""
        plain: dict[str, Any] = {
            "kind": self.kind, "cut": self.cut, "silhouette": self.silhouette, "guards": list(self.guards),
            "counts": {GRADABLE: self.counts[0], UNGRADABLE: self.counts[1]},
            "mean_scores": None if self.scores is None else dict(zip((GRADABLE, UNGRADABLE), self.scores, strict=True)),
            "origin": self.origin,
        }  # fmt: skip
        if self.components is not None and self.centres is not None:
            plain["mean"] = self.components.mean.tolist()
            plain["axes"] = self.components.axes.tolist()
            plain["centres"] = self.centres.tolist()
        return plain

    @classmethod
    def from_json(cls, plain: Mapping[str, Any], where: object = None) -> ClusterModel:
        """What :meth:`to_json` gave.

        Raises:
            DataError: it is something else.
        """
        try:
            components, centres = None, None
            if plain["kind"] not in ("features", "score", "none"):
                raise ValueError(plain["kind"])
            if plain["kind"] == "features":
                mean, axes = (torch.tensor(plain[k], dtype=torch.float64) for k in ("mean", "axes"))
                components, centres = Components(mean, axes), torch.tensor(plain["centres"], dtype=torch.float64)
                if axes.shape[1] != len(mean) or centres.shape != (2, len(axes)):
                    raise ValueError("sizes differ")
            counts, means = plain["counts"], plain["mean_scores"]
            return cls(
                plain["kind"], components, centres, plain["cut"], plain["silhouette"], tuple(plain["guards"]),
                (int(counts[GRADABLE]), int(counts[UNGRADABLE])),
                None if means is None else (float(means[GRADABLE]), float(means[UNGRADABLE])), str(plain["origin"]),
            )  # fmt: skip
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise DataError(f"holds no groups of images ({error})", where=where, do="train or assess again") from error


def fit_clusters(
    scores: Tensor, features: Tensor, seed: int = 0, dimensions: int = DIMENSIONS, origin: str = ""
) -> ClusterModel:
    """Divide images that are not outstanding into gradable and ungradable ones, without any label.

    Features are reduced to a few principal components and divided by k-means; the group with the greater mean score is
    ungradable. The result does not depend on the order of the images. Guards: fewer than 10 images, or a silhouette
    below 0.1, are not divided at all; groups whose mean scores differ by less than 1.5 pooled standard deviations
    differ by the kind of their faults and not by the severity, and the score is cut in their stead.

    Args:
        scores: ``(n,)``, all above the threshold.
        features: ``(n, D)``.
        seed: of the beginnings of k-means.
        dimensions: principal components, at most.
        origin: of which images, in words.

    Source: stage 3 of UNO-QA (arXiv 2212.10541) reduces multi-scale features and clusters them into two groups at test
    time; how in detail is ours.
    """
    scores, features = scores.double().cpu(), features.double().cpu()
    if len(scores) < FEWEST:
        guard = f"{len(scores)} images are not outstanding: too few to be divided (from {FEWEST} on)"
        return ClusterModel("none", guards=(guard,), counts=(len(scores), 0), origin=origin)
    order = scores.argsort(stable=True)
    scores, features = scores[order], features[order]
    components = fit_components(features, dimensions)
    rows = components(features)
    found = two_means(rows, seed)
    apart = silhouette(rows, found.group)
    means = [float(scores[found.group == k].mean()) if bool((found.group == k).any()) else float("nan") for k in (0, 1)]
    if apart < LEAST_SILHOUETTE or any(mean != mean for mean in means):
        guard = f"the two groups overlap (silhouette {apart:.2f}, less than {LEAST_SILHOUETTE}): not divided"
        return ClusterModel("none", silhouette=apart, guards=(guard,), counts=(len(scores), 0), origin=origin)
    worse = int(means[1] > means[0])
    if abs(means[1] - means[0]) < LEAST_GAP * _pooled_deviation(scores, found.group):
        cut = best_cut(scores)
        upper = scores > cut
        guard = "the two groups differ by the kind of their faults, not by their severity: the score was cut instead"
        return ClusterModel(
            "score", cut=cut, silhouette=apart, guards=(guard,), counts=(int((~upper).sum()), int(upper.sum())),
            scores=(float(scores[~upper].mean()), float(scores[upper].mean())), origin=origin,
        )  # fmt: skip
    bad = int((found.group == worse).sum())
    return ClusterModel(
        "features", components, found.centres[[1 - worse, worse]], silhouette=apart, counts=(len(scores) - bad, bad),
        scores=(means[1 - worse], means[worse]), origin=origin,
    )  # fmt: skip


def centre_shift(before: ClusterModel, after: ClusterModel) -> dict[str, float] | None:
    """How far the centres of two models lie apart, in units of the distance between the earlier two: drift.

    Both are compared in the space of the features, so that other principal components do not matter.

    Returns:
        A figure a grade; None where one of the models has no centres.
    """
    first, second = _in_features(before), _in_features(after)
    if first is None or second is None or first.shape != second.shape:
        return None
    unit = (first[1] - first[0]).norm().clamp(min=1e-300)
    shift = (second - first).norm(dim=1) / unit
    return {GRADABLE: float(shift[0]), UNGRADABLE: float(shift[1])}


def _in_features(model: ClusterModel) -> Tensor | None:
    if model.components is None or model.centres is None:
        return None
    return model.components.mean + model.centres @ model.components.axes


def _pooled_deviation(scores: Tensor, group: Tensor) -> float:
    within = [scores[group == k] - scores[group == k].mean() for k in (0, 1)]
    return float((torch.cat(within).square().sum() / max(1, len(scores) - 2)).sqrt())
