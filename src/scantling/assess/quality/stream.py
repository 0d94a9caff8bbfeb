"""Quality on a stream: images come in batches, the groups follow, and a drift shows."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import torch
from torch import Tensor

from scantling.assess.quality.grading import ClusterModel, Graded, centre_shift, fit_clusters


class QualityStream:
    """Grades images as they come, with groups made of a random sample of those seen so far that are not outstanding.

    Of every image a number follows from its name; the sample is the images with the smallest ones. So neither order nor
    batches matter, and two streams merge into what one stream over all images would hold. Up to ``capacity`` images
    that are not outstanding nothing is left out, and the groups are exactly those of all images at once; beyond it they
    are those of a random sample of that size (:attr:`exact` says which). Grades that were given are not changed by
    images that come later.

    Args:
        threshold: scores at or below it are outstanding.
        capacity: images in the sample, at most.
        seed: of the numbers and of k-means.
        reference: groups that serve until the stream has its own, and from which drift is measured.
    """

    def __init__(
        self, threshold: float, capacity: int = 2000, seed: int = 0, reference: ClusterModel | None = None
    ) -> None:
        self.threshold, self.capacity, self.seed, self.reference = threshold, capacity, seed, reference
        self.seen, self.kept_of = 0, 0
        self._rank: list[str] = []
        self._scores, self._features = torch.empty(0), torch.empty(0, 0)
        self._model: ClusterModel | None = None

    @property
    def exact(self) -> bool:
        """Whether the groups are those of all images seen, and not of a sample of them."""
        return self.kept_of <= self.capacity

    @property
    def model(self) -> ClusterModel:
        """The groups now; those of the reference while the stream's own cannot be divided."""
        if self._model is None:
            said = "all" if self.exact else f"a random sample of {self.capacity} of"
            origin = f"{said} {self.kept_of} images of the stream that are not outstanding"
            self._model = fit_clusters(self._scores, self._features, self.seed, origin=origin)
        if self._model.kind == "none" and self.reference is not None:
            return self.reference
        return self._model

    def update(self, names: Sequence[str], scores: Tensor, features: Tensor) -> Graded:
        """Take in a batch, and grade it.

        Args:
            names: of the images, no two alike in the whole stream.
            scores: ``(B,)``.
            features: ``(B, D)``.
        """
        self.seen += len(names)
        worse = (scores > self.threshold).nonzero()[:, 0].cpu()
        ranks = [self._number(names[row]) for row in worse.tolist()]
        self._take(ranks, scores.cpu()[worse], features.cpu()[worse], len(worse))
        return self.model.grade(scores, features, self.threshold)

    def merge(self, other: QualityStream) -> None:
        """Take in what another stream, of other images, has seen."""
        self.seen += other.seen
        self._take(other._rank, other._scores, other._features, other.kept_of)

    def drift(self) -> dict[str, float] | None:
        """How far the centres lie from those of the reference, see :func:`centre_shift`; None without both."""
        return None if self.reference is None else centre_shift(self.reference, self.model)

    def _take(self, ranks: Sequence[str], scores: Tensor, features: Tensor, count: int) -> None:
        if not ranks:
            self.kept_of += count
            return
        every = [*self._rank, *ranks]
        chosen = sorted(range(len(every)), key=every.__getitem__)[: self.capacity]
        at = torch.tensor(chosen)
        self._scores = torch.cat([self._scores.to(scores), scores])[at]
        self._features = torch.cat([self._features.to(features).view(-1, features.shape[1]), features])[at]
        self._rank = [every[k] for k in chosen]
        self.kept_of += count
        self._model = None

    def _number(self, name: str) -> str:
        return hashlib.blake2b(name.encode(), key=str(self.seed).encode(), digest_size=16).hexdigest()
