"""The operations that policies are made of, by name, for whole batches of 8-bit images.

The first ten are the search space of AADG (Lyu et al. 2022, arXiv 2207.13249) with its ranges, and do what Pillow's
operations of these names do. A magnitude m from 0 to 9 means the value ``low + (high - low) m / 9``:

=================  =====================================  ==========================================================
operation          value                                  remark
=================  =====================================  ==========================================================
``auto_contrast``  none                                   each channel stretched to the whole range
``invert``         none
``equalize``       none                                   values of each channel about equally frequent
``solarize``       threshold 0 to 256                     0 inverts everything, 9 nothing
``posterize``      bits 4 to 8                            4, 4, 4, 5, 5, 6, 6, 7, 7, 8
``contrast``       factor 0.1 to 1.9                      4 and 5 change least
``color``          factor 0.1 to 1.9                      saturation; nothing on grey images
``brightness``     factor 0.1 to 1.9
``sharpness``      factor 0.1 to 1.9
``cutout``         side 0 to 0.2 of the width             a grey square; the mask stays
``gamma``          exponent 0.5 to 2
``offset``         0 to 0.2 of the range, up or down
``hue``            0 to 0.1 of a turn, either way         nothing on grey images
``blur``           standard deviation 0 to 2 pixels
``noise``          standard deviation 0 to 0.1
``illumination``   0 to 0.5                               a smooth field of light
``rotate``         0 to 30 degrees, either way            moves masks and maps
``shear_x``        0 to 0.3, either way                   moves masks and maps, as all that follow
``shear_y``        0 to 0.3, either way
``translate_x``    0 to 0.3 of the width, either way
``translate_y``    0 to 0.3 of the height, either way
``zoom``           factor 0.7 to 1.3
=================  =====================================  ==========================================================
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from scantling.augment.operations import colour, detail, geometric, occlusion, tone
from scantling.augment.operations.operation import (
    DRAWS,
    MAGNITUDES,
    Geometric,
    Operation,
    Pointwise,
    Spatial,
    Statistical,
)
from scantling.core.errors import RecipeError, nearest

ALL: Mapping[str, Operation] = MappingProxyType(
    {
        "auto_contrast": Statistical(compute=tone.auto_contrast),
        "invert": Pointwise(compute=tone.invert),
        "equalize": Statistical(compute=tone.equalize),
        "solarize": Pointwise(0, 256, 256, compute=tone.solarize),
        "posterize": Pointwise(4, 8, 8, compute=tone.posterize),
        "contrast": Statistical(0.1, 1.9, 1, compute=tone.contrast),
        "color": Spatial(0.1, 1.9, 1, compute=colour.saturate, reach=0),
        "brightness": Pointwise(0.1, 1.9, 1, compute=tone.brightness),
        "sharpness": Spatial(0.1, 1.9, 1, compute=detail.sharpness, reach=1),
        "cutout": Spatial(0, 0.2, 0, compute=occlusion.cutout),
        "gamma": Pointwise(0.5, 2.0, 1, compute=tone.gamma),
        "offset": Pointwise(0, 0.2, 0, mirrored=True, compute=tone.offset),
        "hue": Spatial(0, 0.1, 0, mirrored=True, compute=colour.hue, reach=0),
        "blur": Spatial(0, 2, 0, compute=detail.blur),
        "noise": Spatial(0, 0.1, 0, compute=detail.noise),
        "illumination": Spatial(0, 0.5, 0, compute=occlusion.illuminate),
        "rotate": Geometric(0, 30, 0, mirrored=True, compute=geometric.rotate),
        "shear_x": Geometric(0, 0.3, 0, mirrored=True, compute=geometric.shear_x),
        "shear_y": Geometric(0, 0.3, 0, mirrored=True, compute=geometric.shear_y),
        "translate_x": Geometric(0, 0.3, 0, mirrored=True, compute=geometric.translate_x),
        "translate_y": Geometric(0, 0.3, 0, mirrored=True, compute=geometric.translate_y),
        "zoom": Geometric(0.7, 1.3, 1, compute=geometric.zoom),
    }
)
"""Every operation by its name."""

OPERATIONS = tuple(ALL)[:10]
"""The ten operations of AADG, in the order of the paper's code."""

GEOMETRIC = frozenset(name for name, operation in ALL.items() if isinstance(operation, Geometric))
"""Names of operations that move pixels."""


def known_operation(name: object, where: str) -> str:
    """The name, if there is such an operation.

    Raises:
        RecipeError: there is none.
    """
    if name not in ALL:
        raise RecipeError(
            f"unknown operation '{name}'{nearest(str(name), ALL)}", where=where, do=f"use {', '.join(ALL)}"
        )
    return str(name)


__all__ = [
    "ALL",
    "DRAWS",
    "GEOMETRIC",
    "MAGNITUDES",
    "OPERATIONS",
    "Geometric",
    "Operation",
    "Pointwise",
    "Spatial",
    "Statistical",
    "known_operation",
]
