"""What SDICE tells: the two scores with what they were made of, tables by class, and the index as a whole."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from scantling.assess.distances import EQUAL
from scantling.assess.floor import Floor
from scantling.assess.moments import Moments
from scantling.assess.normalisation import calibrated
from scantling.assess.reading import FEWEST_IMAGES, NEAR, read_pair

Normalisation = Literal["exponential", "calibrated"]
KINDS = ("intra", "inter")


@dataclass(frozen=True)
class Score:
    """One of the two numbers, with what it was made of.

    Args:
        real: moments of the real similarities.
        synthetic: of the synthetic ones.
        distance: d, at least 0, infinite where two point masses differ; NaN where there are no pairs.
        sign: of the synthetic mean less the real mean: 1 means less diverse than real, -1 more diverse.
        gamma: the score in [0, 1].
        one_sided: the score with a set that is more diverse than real left unpunished: 1 for a negative sign.
        interval: 95 % bootstrap interval of ``gamma``; None without replicates.
        distance_interval: of ``distance``.
        floor: distance between halves of the real set, mean (d0) and the 95 % quantile; None where not asked for.
        scale: tau of the calibrated normalisation; None without a floor, NaN where the distance misses the collapse.
        distances: every distance of the menu that could be computed.
        histograms: real and synthetic ``(2, BINS)``; None where not computed.
    """

    real: Moments
    synthetic: Moments
    distance: float
    sign: int
    gamma: float
    one_sided: float
    interval: tuple[float, float] | None
    distance_interval: tuple[float, float] | None
    floor: tuple[float, float] | None
    scale: float | None
    distances: dict[str, float]
    histograms: np.ndarray | None

    @property
    def signed_distance(self) -> float:
        """The distance with its sign: positive for less diverse than real."""
        return self.distance if self.sign == 0 or math.isnan(self.distance) else self.sign * self.distance

    @property
    def calibrated(self) -> float:
        """``exp(-(d - d0) / tau)``; NaN where there is no floor or no scale."""
        if self.floor is None or self.scale is None:
            return float("nan")
        return float(calibrated(self.distance, self.floor[0], self.scale))

    @property
    def below_floor(self) -> bool:
        """Whether two halves of the real set are as far apart."""
        return self.floor is not None and self.distance <= self.floor[1]

    def to_json(self) -> dict[str, Any]:
        """Plain content; ``inf`` as text, since JSON has none."""
        sides = {
            name: {"pairs": _plain(m.count), "mean": _plain(m.mean), "sd": _plain(m.sd)}
            for name, m in (("real", self.real), ("synthetic", self.synthetic))
        }
        return {
            **sides,
            "distance": _plain(self.distance),
            "signed_distance": _plain(self.signed_distance),
            "sign": self.sign,
            "gamma": _plain(self.gamma),
            "one_sided": _plain(self.one_sided),
            "calibrated": _plain(self.calibrated),
            "interval": _ends(self.interval),
            "distance_interval": _ends(self.distance_interval),
            "floor": None if self.floor is None else {"mean": _plain(self.floor[0]), "upper": _plain(self.floor[1])},
            "scale": None if self.scale is None else _plain(self.scale),
            "below_floor": self.below_floor,
            "distances": {name: _plain(d) for name, d in self.distances.items()},
        }


@dataclass(frozen=True)
class Table:
    """Scores of parts: of classes, or of pairs of classes.

    Args:
        names: of the groups.
        rows: indices of the groups, ``(P,)`` for classes or ``(P, 2)`` for pairs.
        real: moments ``(P,)``.
        synthetic: moments ``(P,)``.
        distance: ``(P,)``.
        gamma: ``(P,)``.
    """

    names: tuple[str, ...]
    rows: np.ndarray
    real: Moments
    synthetic: Moments
    distance: np.ndarray
    gamma: np.ndarray

    @property
    def columns(self) -> list[str]:
        """Names of what each row tells."""
        sides = [f"{side}_{what}" for side in ("real", "synthetic") for what in ("pairs", "mean", "sd")]
        return [*(("class",) if self.rows.ndim == 1 else ("class", "other")), *sides, "distance", "sign", "gamma"]

    def records(self) -> list[dict[str, Any]]:
        """One mapping a row, with plain values."""
        out = []
        for i, row in enumerate(self.rows):
            values: list[Any] = [self.names[int(k)] for k in np.atleast_1d(row)]
            for m in (self.real, self.synthetic):
                values += [int(m.count[i]), float(m.mean[i]), float(m.sd[i])]
            sign = sign_of(float(self.real.mean[i]), float(self.synthetic.mean[i]))
            values += [float(self.distance[i]), sign, float(self.gamma[i])]
            out.append(dict(zip(self.columns, values, strict=True)))
        return out


@dataclass(frozen=True)
class SDICEResult:
    """The index with everything that it was made of.

    Args:
        intra: score of the pairs inside classes.
        inter: score of the pairs of different classes.
        distance: name of the distance.
        beta: of the exponential normalisation.
        normalisation: which of the two normalisations ``gamma`` is.
        balance: whether classes had equal weight.
        names: of the classes, or of the sets of findings.
        counts: images of each, ``(2, K)`` int64: real, synthetic.
        classes: table of the classes.
        class_pairs: table of the pairs of classes.
        floor: divisions of the real set; None where not asked for.
        notes: what limits the reading.
    """

    intra: Score
    inter: Score
    distance: str
    beta: float
    normalisation: Normalisation
    balance: bool
    names: tuple[str, ...]
    counts: np.ndarray
    classes: Table
    class_pairs: Table
    floor: Floor | None
    notes: tuple[str, ...]

    @property
    def pair(self) -> tuple[float, float]:
        """``(gamma_intra, gamma_inter)``."""
        return self.intra.gamma, self.inter.gamma

    @property
    def gamma(self) -> float:
        """``sqrt(gamma_intra^2 + gamma_inter^2)`` in [0, sqrt 2]; NaN where one of them is."""
        return math.hypot(*self.pair)

    @property
    def one_sided(self) -> float:
        """The same from the one-sided scores."""
        return math.hypot(self.intra.one_sided, self.inter.one_sided)

    @property
    def reading(self) -> str:
        """What the pair says, in words, and whether the sample can carry it."""
        text = read_pair(self.intra.gamma, self.intra.sign, self.inter.gamma, self.inter.sign)
        both = zip(KINDS, (self.intra, self.inter), strict=True)
        doubts = [kind for kind, score in both if score.below_floor and score.gamma < NEAR]
        if doubts:
            text += f" (two halves of the real set differ as much: {' and '.join(doubts)})"
        there = self.counts[:, (self.counts > 0).all(0)]
        if there.size and there.min() < FEWEST_IMAGES:
            text += f" (with {there.min()} images in the smallest class: below {FEWEST_IMAGES} take it with care)"
        return text

    def to_json(self) -> dict[str, Any]:
        """Plain content."""
        return {
            "sdice": {
                "intra": self.intra.to_json(),
                "inter": self.inter.to_json(),
                "gamma": _plain(self.gamma),
                "one_sided": _plain(self.one_sided),
            },
            "reading": self.reading,
            "distance": self.distance,
            "beta": self.beta,
            "normalisation": self.normalisation,
            "balance": self.balance,
            "images": {
                name: {"real": int(r), "synthetic": int(s)} for name, r, s in zip(self.names, *self.counts, strict=True)
            },
            "floor": None if self.floor is None else {"divisions": len(self.floor.halves), "images": self.floor.images},
            "classes": [_plain_row(r) for r in self.classes.records()],
            "class_pairs": [_plain_row(r) for r in self.class_pairs.records()],
            "notes": list(self.notes),
        }


def sign_of(real: float, synthetic: float) -> int:
    """1 where synthetic similarities are higher on average, -1 where they are lower, 0 where neither."""
    gap = synthetic - real
    return 0 if not abs(gap) >= EQUAL else (1 if gap > 0 else -1)


def _plain(value: Any) -> float | str | None:
    number = float(value)
    if math.isinf(number):
        return "inf" if number > 0 else "-inf"
    return None if math.isnan(number) else number


def _plain_row(row: dict[str, Any]) -> dict[str, Any]:
    return {k: _plain(v) if isinstance(v, float) else v for k, v in row.items()}


def _ends(interval: tuple[float, float] | None) -> list[float | str | None] | None:
    return None if interval is None else [_plain(end) for end in interval]
