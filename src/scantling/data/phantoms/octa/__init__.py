"""OCTA phantoms: en-face angiograms of the macula in three grades of quality."""

from scantling.data.phantoms.octa.draw import OctaBatch, draw_octa
from scantling.data.phantoms.octa.write import write_octa

__all__ = ["OctaBatch", "draw_octa", "write_octa"]
