"""SDICE: is a synthetic set as diverse as the real one, within classes and between classes?

The similarities of all pairs of synthetic images are compared with those of all pairs of real images, separately for
pairs of one class (intra) and of two classes (inter); each distance d becomes a score ``gamma = exp(-beta d)``.

Source: Alam et al. 2024, SDICE, arXiv 2409.19436. The paper's F-ratio and its exponent are not in public material:
distances and normalisations are strategies by name, and every result names those it used. Without code by the authors.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from scantling.assess.bootstrap import percentiles, replicates
from scantling.assess.distances import DISTANCES, Distance, Similarities, distance_of
from scantling.assess.embedded import Embedded
from scantling.assess.floor import FEWEST, Floor, Weights, split_half
from scantling.assess.histogram import PairHistograms, pair_histograms
from scantling.assess.labels import Groups, group
from scantling.assess.moments import Moments, PairSums, pair_sums
from scantling.assess.normalisation import calibrated, exponential
from scantling.assess.result import KINDS, Normalisation, Score, SDICEResult, Table, sign_of
from scantling.core.errors import DataError, RecipeError

LEVEL = 0.95


def sdice(
    real: Tensor | np.ndarray,
    real_labels: Any,
    synthetic: Tensor | np.ndarray,
    synthetic_labels: Any,
    *,
    distance: str = "fisher",
    beta: float = 1.0,
    normalisation: Normalisation = "exponential",
    names: Sequence[str] | None = None,
    balance: bool = False,
    centre: bool = False,
    histograms: bool = False,
    bootstrap: int = 0,
    floor: int = 0,
    seed: int | np.random.Generator = 0,
    patients: tuple[np.ndarray | None, np.ndarray | None] = (None, None),
    histogram_images: int | None = None,
) -> SDICEResult:
    """The SDICE index of a synthetic set against a real one.

    Means and variances are exact, in O(N D^2). Histograms look at all pairs.

    Args:
        real: embeddings ``(N, D)`` of one encoder, any scale, on any device.
        real_labels: ``(N,)`` of whole numbers or texts, or findings ``(N, F)`` of 0 and 1: pairs then count as intra by
            the Jaccard index of their findings, and as inter by the rest.
        synthetic: embeddings ``(M, D)`` of the same encoder.
        synthetic_labels: as ``real_labels``.
        distance: one of ``fisher``, ``biometric``, ``variance``, ``wasserstein``, ``energy``, ``ks``, ``kl``, ``js``.
        beta: of the normalisation, above 0.
        normalisation: ``exponential``, or ``calibrated``: 1 at the floor of the real set, 0.5 at a stated collapse
            (see :class:`~scantling.assess.floor.Floor`).
        names: of the classes 0, 1, ... or of the findings.
        balance: average moments over classes (and over pairs of classes) with equal weight; else over pairs, and large
            classes count more.
        centre: subtract the mean of the real embeddings from both sets first.
        histograms: keep histograms, and compute every distance of the menu.
        bootstrap: replicates for intervals, by images (or patients); 0 for none.
        floor: divisions of the real set into halves, at least 20, or 0 for none.
        seed: of replicates and divisions, or a generator.
        patients: codes ``(N,)`` and ``(M,)`` of whose images belong together, negative where not known.
        histogram_images: look at the pairs of at most so many images of each set, drawn at random; None for all. Means
            and variances are always of all.

    Raises:
        DataError: embeddings or labels that do not fit, or rows without a direction.
        RecipeError: an unknown distance or normalisation.

    >>> at = lambda *degrees: np.stack([np.cos(np.radians(degrees)), np.sin(np.radians(degrees))], 1)
    >>> found = sdice(at(0, 60, 90, 150), list("AABB"), at(0, 0, 90, 90), list("AABB"))
    >>> found.intra.distance, found.pair
    (inf, (0.0, 1.0))
    """
    chosen = check_settings(distance, beta, normalisation, floor)
    groups = group(real_labels, synthetic_labels, names)
    sets = embed_both(real, synthetic, groups, centre)
    weights = weights_of(groups.affinity, balance)
    drawn = histograms or chosen.needs == "histogram"
    generator = np.random.default_rng(seed)
    sums = [pair_sums(one) for one in sets]
    chosen_rows = [_some(len(one), histogram_images, generator) for one in sets]
    looked = [one if r is None else one.select(torch.from_numpy(r)) for one, r in zip(sets, chosen_rows, strict=True)]
    shapes = [pair_histograms(one, weights(counts_of(one))) if drawn else None for one in looked]
    by_pairs = chosen.needs == "histogram"
    floors = split_half(looked[0] if by_pairs else sets[0], chosen, weights, floor, generator) if floor else None
    parts = [
        [Similarities(s.pooled(w), None if h is None else h.pooled[k]) for k, w in enumerate(weights(counts_of(one)))]
        for one, s, h in zip(sets, sums, shapes, strict=True)
    ]
    again = [
        replicates(
            few if by_pairs else one, weights(counts_of(few if by_pairs else one)), bootstrap, generator, by_pairs,
            whose[rows] if by_pairs and whose is not None and rows is not None else whose,
        )
        for one, few, rows, whose in zip(sets, looked, chosen_rows, patients, strict=True)
        if bootstrap
    ]  # fmt: skip
    scores = [
        _score(k, chosen, beta, normalisation, [p[k] for p in parts], [a[k] for a in again], floors) for k in (0, 1)
    ]
    counts = np.stack([counts_of(one) for one in sets]).astype(np.int64)
    notes = _notes(groups, counts, scores)
    for note in notes:
        if "undefined" in note:
            warnings.warn(note, stacklevel=2)
    return SDICEResult(
        scores[0], scores[1], distance, beta, normalisation, balance, groups.names, counts,
        *_tables(groups.names, chosen, beta, sums, shapes), floors, tuple(notes),
    )  # fmt: skip


def check_settings(distance: str, beta: float, normalisation: str, floor: int) -> Distance:
    """The distance of settings that can be used.

    Raises:
        RecipeError: an unknown distance or normalisation, ``beta`` not above 0, or too few divisions.
    """
    chosen = distance_of(distance)
    if normalisation not in ("exponential", "calibrated"):
        raise RecipeError(f"unknown normalisation '{normalisation}'", do="use exponential or calibrated")
    if normalisation == "calibrated" and not floor:
        raise RecipeError("a calibrated score needs the floor", where="normalisation", do=f"ask for {FEWEST} divisions")
    if floor and floor < FEWEST:
        raise RecipeError(f"{floor} divisions into halves", where="floor", do=f"use {FEWEST} or more, or 0")
    exponential(0.0, beta)
    return chosen


def embed_both(
    real: Tensor | np.ndarray, synthetic: Tensor | np.ndarray, groups: Groups, centre: bool = False
) -> tuple[Embedded, Embedded]:
    """Both sets with their groups, centred alike.

    Raises:
        DataError: an empty set, sets of different width, or rows without a direction.
    """
    one, two = torch.as_tensor(real), torch.as_tensor(synthetic)
    for features, name in ((one, "real"), (two, "synthetic")):
        if features.ndim != 2 or not len(features):
            raise DataError(f"{name} embeddings of the shape {tuple(features.shape)}", do="give (N, D), N above 0")
    if one.shape[1] != two.shape[1]:
        raise DataError(
            f"real embeddings have {one.shape[1]} numbers and synthetic ones {two.shape[1]}", do="use one encoder"
        )
    mean = one.mean(0, dtype=torch.float64) if centre else None
    size = len(groups.names)
    return (
        Embedded(one, groups.real.to(one.device), size, mean),
        Embedded(two, groups.synthetic.to(two.device), size, None if mean is None else mean.to(two.device)),
    )


def weights_of(affinity: np.ndarray, balance: bool) -> Weights:
    """Weights of intra and inter pairs, ``(2, K, K)``, from images a group."""

    def weights(counts: np.ndarray) -> np.ndarray:
        both = np.stack([affinity, 1.0 - affinity])
        if not balance:
            return both
        pairs = np.outer(counts, counts) - np.diag(counts)
        return np.where(pairs > 0, both / np.maximum(pairs, 1), 0.0)

    return weights


def counts_of(data: Embedded) -> np.ndarray:
    """Images a group ``(K,)`` float64."""
    return data.counts.double().cpu().numpy()


def _some(count: int, most: int | None, generator: np.random.Generator) -> np.ndarray | None:
    """At most so many rows, drawn at random, ascending; None for all."""
    return None if most is None or count <= most else np.sort(generator.permutation(count)[:most])


def score_of(
    chosen: Distance, beta: float, real: Similarities, synthetic: Similarities
) -> tuple[float, int, float, float]:
    """Distance, sign, score and one-sided score of two distributions of similarities."""
    distance = float(chosen(real, synthetic))
    sign = 0 if math.isnan(distance) else sign_of(float(real.moments.mean), float(synthetic.moments.mean))
    gamma = float(exponential(distance, beta))
    return distance, sign, gamma, 1.0 if sign < 0 else gamma


def _score(
    kind: int,
    chosen: Distance,
    beta: float,
    normalisation: Normalisation,
    sides: Sequence[Similarities],
    again: Sequence[Similarities],
    floors: Floor | None,
) -> Score:
    real, synthetic = sides
    distance, sign, gamma, _ = score_of(chosen, beta, real, synthetic)
    floor = None if floors is None else (float(floors.mean[kind]), float(floors.upper[kind]))
    scale = None if floors is None else floors.scale(kind)

    def scored(d: Any) -> Any:
        if normalisation == "exponential" or floor is None or scale is None:
            return exponential(d, beta)
        return calibrated(d, floor[0], scale)

    gamma = float(scored(distance))
    interval = spans = None
    if again:
        drawn = chosen(*again)
        spans, interval = percentiles(drawn, LEVEL), percentiles(scored(drawn), LEVEL)
    return Score(
        real.moments, synthetic.moments, distance, sign, gamma, 1.0 if sign < 0 else gamma, interval, spans, floor,
        scale,
        {name: float(d(real, synthetic)) for name, d in DISTANCES.items() if _possible(d, real)},
        None if real.histogram is None else np.stack([real.histogram, np.asarray(synthetic.histogram)]),
    )  # fmt: skip


def _possible(distance: Distance, one: Similarities) -> bool:
    return distance.needs == "moments" or one.histogram is not None


def _tables(
    names: tuple[str, ...],
    chosen: Distance,
    beta: float,
    sums: Sequence[PairSums],
    shapes: Sequence[PairHistograms | None],
) -> tuple[Table, Table]:
    each = [s.each() for s in sums]
    alone = np.arange(len(names))
    upper = np.stack(np.triu_indices(len(names), 1), 1)
    tables = []
    for rows, at in ((alone, (alone, alone)), (upper, (upper[:, 0], upper[:, 1]))):
        sides = []
        for moments, shape in zip(each, shapes, strict=True):
            histogram = None
            if shape is not None and rows.ndim == 1:
                histogram = shape.own
            elif shape is not None and shape.between is not None:
                histogram = shape.between[at]
            sides.append(Similarities(Moments(moments.count[at], moments.mean[at], moments.variance[at]), histogram))
        distance = chosen(*sides)
        tables.append(Table(names, rows, sides[0].moments, sides[1].moments, distance, exponential(distance, beta)))
    return tables[0], tables[1]


def _notes(groups: Groups, counts: np.ndarray, scores: Sequence[Score]) -> list[str]:
    notes = []
    hard = bool((groups.affinity == np.eye(len(groups.names))).all())
    if math.isnan(scores[1].distance):
        notes.append("gamma_inter is undefined: there are no pairs of different classes in one of the sets")
    if math.isnan(scores[0].distance):
        notes.append("gamma_intra is undefined: no class of one of the sets has two images")
    for side, name in ((0, "real"), (1, "synthetic")):
        missing = [n for n, c in zip(groups.names, counts[side], strict=True) if not c]
        if missing and hard:
            notes.append(f"no {name} images of {', '.join(missing[:6])}{' ...' if len(missing) > 6 else ''}")
    shares = counts / counts.sum(1, keepdims=True)
    if hard and float(np.abs(shares[0] - shares[1]).max()) > 0.05:
        notes.append(
            "the classes have other shares in the two sets, and large classes count more: compare with balance"
        )
    scale = [k for k, s in zip(KINDS, scores, strict=True) if s.scale is not None and math.isnan(s.scale)]
    if scale:
        notes.append(f"the distance does not see the stated collapse ({', '.join(scale)}): no calibrated score")
    return notes
