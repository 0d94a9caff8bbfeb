"""Figures as a report writes them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

_TITLES = {
    "quadratic_weighted_kappa": "Quadratic weighted kappa",
    "auroc": "AUROC",
    "auprc": "AUPRC",
    "macro_f1": "Macro F1",
    "f1": "F1",
    "hd95": "HD95",
    "iou": "IoU",
    "surface_dice": "Surface Dice",
    "cl_dice": "clDice",
    "ece": "ECE",
    "mae": "Mean absolute error",
    "median": "Median absolute error",
    "lower_limit": "Lower limit of agreement",
    "upper_limit": "Upper limit of agreement",
}
DISTANCES = {
    "hd95", "mae", "mae_head", "mae_abdomen", "mae_femur", "median", "bias", "lower_limit", "upper_limit",
}  # fmt: skip
"""Figures in millimetres or pixels: no shares, whatever their size."""


def title_of(name: str) -> str:
    """A metric's name as a heading."""
    return _TITLES.get(name, name.replace("_", " ").capitalize())


def as_number(value: float | None) -> str:
    """Three decimals, one from 10 on; a dash where undefined."""
    if value is None or not np.isfinite(value):
        return "–"
    return (f"{value:.1f}" if abs(value) >= 10 else f"{value:.3f}").replace("-", "−")


def as_span(figure: Mapping[str, Any]) -> str:
    """The interval of a figure as ``0.812–0.873``, or nothing."""
    if figure.get("low") is None or figure.get("high") is None:
        return ""
    between = " to " if figure["low"] < 0 else "–"
    return f"{as_number(figure['low'])}{between}{as_number(figure['high'])}"


def as_figure(figure: Mapping[str, Any]) -> str:
    """A figure with its interval in brackets, where it has one."""
    span = as_span(figure)
    return as_number(figure["value"]) + (f" ({span})" if span else "")


def as_strip(figure: Mapping[str, Any], name: str) -> dict[str, float] | None:
    """Where a figure and its interval lie between 0 and 1, in percent; None for what is no share."""
    if name in DISTANCES:
        return None
    ends = [figure.get("low"), figure.get("value"), figure.get("high")]
    if any(end is None or not -1 <= end <= 1 for end in ends):
        return None
    low, value, high = (100 * max(0.0, float(end)) for end in ends if end is not None)
    return {"low": round(low, 2), "value": round(value, 2), "width": round(high - low, 2)}


def as_percent(share: float) -> str:
    """A share as a percentage with as many digits as it needs.

    >>> as_percent(0.9), as_percent(0.00123), as_percent(1.0)
    ('90 %', '0.12 %', '100 %')
    """
    percent = 100 * share
    digits = 0 if percent >= 9.95 or percent == 0 else 1 if percent >= 0.95 else 2
    return f"{percent:.{digits}f} %"


def as_amount(count: float) -> str:
    """A large number in short.

    >>> as_amount(23510081), as_amount(512), as_amount(4.09e9)
    ('23.5 M', '512', '4.09 G')
    """
    for limit, letter in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e4, "k")):
        if count >= limit:
            return f"{count / (1e3 if letter == 'k' else limit):.3g} {letter}"
    return f"{count:,.0f}"


def as_bytes(count: float) -> str:
    """Bytes in MiB or GiB.

    >>> as_bytes(3 * 2**30), as_bytes(250 * 2**20)
    ('3.0 GiB', '250 MiB')
    """
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / 2**20:.0f} MiB"


def as_duration(seconds: float) -> str:
    """Seconds as people read them.

    >>> as_duration(4.2), as_duration(305), as_duration(7500)
    ('4.2 s', '5 min 5 s', '2 h 5 min')
    """
    if seconds < 60:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
