"""Chest phantoms: CT slices of lungs, healthy or with opacities."""

from scantling.data.phantoms.chest.draw import ChestBatch, draw_chests

__all__ = ["ChestBatch", "draw_chests"]
