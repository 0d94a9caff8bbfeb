"""Dermoscopy phantoms: skin lesions of seven classes with a long tail."""

from scantling.data.phantoms.skin.draw import SkinBatch, draw_skin
from scantling.data.phantoms.skin.write import write_skin

__all__ = ["SkinBatch", "draw_skin", "write_skin"]
