"""Measurements in millimetres from masks and probability maps: fetal biometry, and what follows from it.

Pure functions of arrays. What they give supports a decision; it is no diagnosis.
"""

from scantling.measure.ellipse import Ellipses, fit_ellipses, fit_outline
from scantling.measure.perimeter import circumference
from scantling.measure.planes import callipers, measure_planes, outline
from scantling.measure.rectangle import Rectangles, fit_rectangles

__all__ = [
    "Ellipses",
    "Rectangles",
    "callipers",
    "circumference",
    "fit_ellipses",
    "fit_outline",
    "fit_rectangles",
    "measure_planes",
    "outline",
]
