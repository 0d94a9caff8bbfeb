"""Measurements in millimetres from masks and probability maps: fetal biometry, and what follows from it.

Pure functions of arrays. What they give supports a decision; it is no diagnosis.
"""

from scantling.measure.ellipse import Ellipses, fit_ellipses, fit_outline
from scantling.measure.examination import combine, per_examination, propagate, spread
from scantling.measure.growth import growth, median_weight, ratios, weight_at, weight_centile, weight_z_score
from scantling.measure.perimeter import circumference
from scantling.measure.planes import callipers, measure_planes, outline
from scantling.measure.rectangle import Rectangles, fit_rectangles

__all__ = [
    "Ellipses",
    "Rectangles",
    "callipers",
    "circumference",
    "combine",
    "fit_ellipses",
    "fit_outline",
    "fit_rectangles",
    "growth",
    "measure_planes",
    "median_weight",
    "outline",
    "per_examination",
    "propagate",
    "ratios",
    "spread",
    "weight_at",
    "weight_centile",
    "weight_z_score",
]
