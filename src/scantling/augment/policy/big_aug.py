"""A deep stack of transformations after BigAug.

Source: Zhang et al. 2020, "Generalizing Deep Learning for Medical Image Segmentation to Unseen Domains via Deep Stacked
Transformation", IEEE TMI 39(7), arXiv 1906.03347.
"""

from __future__ import annotations

import torch
from torch.nn import functional as F

from scantling.augment.geometry import compose
from scantling.augment.operations import DRAWS, geometric
from scantling.augment.policy.apply import NOTHING, Drawn, uniform_numbers
from scantling.augment.policy.base import OperationPolicy
from scantling.augment.policy.framing import Frame
from scantling.core.errors import RecipeError

Range = tuple[float, float]

NODES = 6
"""Displacements are drawn on a lattice of so many points each way, and smooth between them."""


class BigAug(OperationPolicy):
    """Nine transformations one after the other, each with the same probability, of image quality, appearance and shape.

    Rotation, zoom and deformation are carried out by one resampling. A stack in the manner of the paper, for two-
    dimensional 8-bit colour images: its defaults are milder than the published ones, which were made for
    standardised volumes, and contrast and brightness are those of Pillow.

    Args:
        probability: of each transformation, for each image.
        sharpness: range of the factor on distances from a smoothed image.
        blur: range of the standard deviation in pixels.
        noise: range of the standard deviation as a share of the largest value.
        brightness: range of a value that is added, as a share of the largest value.
        gamma: range of the exponent.
        perturbation: range of a factor on all values.
        rotation: range in degrees.
        zoom: range of the factor.
        deformation: largest displacement as a share of the image.

    Raises:
        RecipeError: no probability, or no range.
    """

    def __init__(
        self,
        probability: float = 0.5,
        sharpness: Range = (1.0, 5.0),
        blur: Range = (0.25, 1.5),
        noise: Range = (0.0, 0.1),
        brightness: Range = (-0.1, 0.1),
        gamma: Range = (0.5, 2.0),
        perturbation: Range = (0.9, 1.1),
        rotation: Range = (-20.0, 20.0),
        zoom: Range = (0.7, 1.4),
        deformation: float = 0.03,
    ) -> None:
        super().__init__()
        if not 0 <= probability <= 1:
            raise RecipeError(f"{probability} is no probability", where="probability", do="use 0 to 1")
        ranges = {
            "sharpness": sharpness, "blur": blur, "noise": noise, "gamma": gamma, "brightness": perturbation,
            "offset": brightness, "rotation": rotation, "zoom": zoom,
        }  # fmt: skip
        for name, (low, high) in ranges.items():
            if not low <= high or (name == "zoom" and low <= 0):
                raise RecipeError(f"{[low, high]} is no range", where=name, do="give the smaller number first")
        if deformation < 0:
            raise RecipeError(f"a displacement of {deformation}", where="deformation", do="use 0 or more")
        self.probability, self.ranges, self.deformation = probability, ranges, deformation
        self.space = tuple(ranges)[:6]

    def draw(self, count: int, size: tuple[int, int], generator: torch.Generator) -> tuple[Drawn, Frame]:
        """What each image gets of the stack, and how it is warped."""
        names = tuple(self.ranges)
        numbers = uniform_numbers((count, len(names) + 1, 2), generator)
        chosen = numbers[..., 0] < self.probability
        low, high = torch.tensor(list(self.ranges.values()), dtype=torch.float64).unbind(1)
        values = low + (high - low) * numbers[:, : len(names), 1]
        steps = torch.arange(len(self.space)).expand(count, -1)
        uniform = uniform_numbers((count, len(self.space), DRAWS), generator)
        # The range of an added value has its own sign: none is drawn.
        uniform[..., -1] = 0.5
        depth = len(self.space)
        operations = torch.where(chosen[:, :depth], steps, NOTHING)
        drawn = Drawn(self.space, operations, values[:, :depth], uniform)
        degrees = torch.where(chosen[:, names.index("rotation")], values[:, names.index("rotation")], 0.0).numpy()
        factors = torch.where(chosen[:, names.index("zoom")], values[:, names.index("zoom")], 1.0).numpy()
        maps = compose([geometric.rotate(degrees, size), geometric.zoom(factors, size)])[0]
        lattice = (2 * uniform_numbers((count, 2, NODES, NODES), generator) - 1) * self.deformation
        lattice = (lattice * chosen[:, -1].view(-1, 1, 1, 1)).float()
        return drawn, Frame(maps, size, F.interpolate(lattice, size, mode="bicubic", align_corners=True))
