"""Ultrasound phantoms: standard planes of a fetus, with exact lengths in millimetres."""

from scantling.data.phantoms.ultrasound.draw import UltrasoundBatch, draw_ultrasound
from scantling.data.phantoms.ultrasound.write import write_ultrasound

__all__ = ["UltrasoundBatch", "draw_ultrasound", "write_ultrasound"]
