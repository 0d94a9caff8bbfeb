"""The sample-size floor: how far apart two halves of the real set are, and how far a stated collapse is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from scantling.assess.distances import Distance, Similarities
from scantling.assess.embedded import Embedded
from scantling.assess.histogram import pair_histograms
from scantling.assess.moments import pair_sums
from scantling.assess.normalisation import scale_of

FEWEST = 20
"""Divisions into halves that a user may ask for, at least."""
Weights = Callable[[np.ndarray], np.ndarray]
"""From images a group ``(K,)`` to the weights ``(2, K, K)`` of intra and inter pairs."""


@dataclass(frozen=True)
class Floor:
    """Distances that mean nothing, and distances that mean half.

    Args:
        halves: distance between the halves in every division, ``(repeats, 2)``, intra and inter.
        collapsed: distance between one half and the other half, collapsed, ``(repeats, 2)``: for intra half of the
            images of every class are one image, for inter half of the images have a class drawn at random.
        images: in a half.
    """

    halves: np.ndarray
    collapsed: np.ndarray
    images: int

    @property
    def mean(self) -> np.ndarray:
        """d0 of intra and inter, ``(2,)``."""
        return self.halves.mean(0)

    @property
    def upper(self) -> np.ndarray:
        """Distance that 95 % of the divisions stay below, ``(2,)``."""
        return np.quantile(self.halves, 0.95, axis=0, method="inverted_cdf")

    def scale(self, kind: int) -> float:
        """tau of intra (0) or inter (1); NaN where the collapse is no further away than halves may be."""
        collapsed = float(self.collapsed.mean(0)[kind])
        return scale_of(float(self.mean[kind]), collapsed) if collapsed > self.upper[kind] else float("nan")


def similarities(data: Embedded, weights: Weights, histograms: bool = False) -> list[Similarities]:
    """Similarities of intra and of inter pairs of a set."""
    given = weights(data.counts.cpu().numpy())
    sums = pair_sums(data)
    drawn = pair_histograms(data, given).pooled if histograms else (None, None)
    return [Similarities(sums.pooled(w), h) for w, h in zip(given, drawn, strict=True)]


def split_half(
    real: Embedded, distance: Distance, weights: Weights, repeats: int, generator: np.random.Generator
) -> Floor:
    """Divide the real set at random, class by class, and compare the halves.

    Args:
        real: the set; of a group with an odd number of images one is left out.
        distance: between similarities.
        weights: of the pairs.
        repeats: divisions, best 20 or more.
        generator: source of the divisions.
    """
    drawn = distance.needs == "histogram"
    members = [rows.cpu().numpy() for rows in real.members()]
    halves, collapsed = np.full((repeats, 2), np.nan), np.full((repeats, 2), np.nan)
    size = 0
    for k in range(repeats):
        parted = [generator.permutation(rows) for rows in members]
        one, two = (
            real.select(torch.from_numpy(np.concatenate(rows)).to(real.codes.device))
            for rows in zip(*((p[: len(p) // 2], p[len(p) // 2 : 2 * (len(p) // 2)]) for p in parted), strict=True)
        )
        size = len(one)
        left = similarities(one, weights, drawn)
        halves[k] = [distance(a, b) for a, b in zip(left, similarities(two, weights, drawn), strict=True)]
        worse = (copied(two), relabelled(two, generator))
        found = [similarities(one_of, weights, drawn)[axis] for axis, one_of in enumerate(worse)]
        collapsed[k] = [distance(a, b) for a, b in zip(left, found, strict=True)]
    return Floor(halves, collapsed, size)


def copied(data: Embedded, share: float = 0.5) -> Embedded:
    """The set with a share of the images of every group replaced by the group's first image."""
    features = data.features.clone()
    for rows in data.members():
        features[rows[: round(share * len(rows))]] = features[rows[:1]]
    return Embedded(features, data.codes, data.num_groups, data.centre)


def relabelled(data: Embedded, generator: np.random.Generator, share: float = 0.5) -> Embedded:
    """The set with the labels of a share of the images dealt out anew among them."""
    codes = data.codes.clone()
    rows = torch.from_numpy(generator.permutation(len(data))[: round(share * len(data))]).to(codes.device)
    shuffled = torch.from_numpy(generator.permutation(len(rows))).to(codes.device)
    codes[rows] = codes[rows[shuffled]]
    return Embedded(data.features, codes, data.num_groups, data.centre)
