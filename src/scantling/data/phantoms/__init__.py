"""Synthetic images with exact truth, for trials, tests and measurements where no data may be shared."""

from scantling.data.phantoms.fundus import FundusBatch, draw_fundus
from scantling.data.phantoms.write import write_fundus

__all__ = ["FundusBatch", "draw_fundus", "write_fundus"]
