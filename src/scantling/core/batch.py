"""The names of what a batch holds. A batch is a ``TensorDict`` of batch size ``[B]``.

==================  ==========================  =============================================================
field               shape, dtype                meaning
==================  ==========================  =============================================================
``image``           ``(B, C, H, W)``            uint8 from the loader; float32 in [0, 1] after the transfer
``label``           ``(B,)`` or ``(B, K)``      encoded by the target; missing is -1 (int) or NaN (float)
``mask``            ``(B, H, W)`` int64         class of every pixel; -1 is outside the field of view or unknown
``index``           ``(B,)`` int64              row of the manifest
``fellow_image``    as ``image``                the other eye of the same patient (the eye itself, where missing)
``fellow_present``  ``(B,)`` bool               whether ``fellow_image`` is really another eye
``frozen_image``    ``(B, C, h, w)``            the image at the size that a frozen network sees, as ``image``
``frozen_keys``     ``(B, L, H, T, dh)``        keys of a frozen transformer: blocks, heads, kept tokens, head width
``frozen_values``   as ``frozen_keys``          values of the same tokens
``weight``          ``(B,)`` float32            weight of a sample in the loss, 1 when absent
``saliency``        ``(B, 1, H, W)``            what stands out in the image, as ``image``; 0 outside of it
``synthetic``       ``(B,)`` bool               whether a synthesizer made the sample
==================  ==========================  =============================================================

Derivations add fields under their own names.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tensordict import TensorDict

IMAGE = "image"
LABEL = "label"
MASK = "mask"
INDEX = "index"
FELLOW_IMAGE = "fellow_image"
FELLOW_PRESENT = "fellow_present"
FROZEN_IMAGE = "frozen_image"
FROZEN_KEYS = "frozen_keys"
FROZEN_VALUES = "frozen_values"
WEIGHT = "weight"
SALIENCY = "saliency"
SYNTHETIC = "synthetic"

IMAGES = (IMAGE, FELLOW_IMAGE, FROZEN_IMAGE)
"""Fields that hold pixels in colour or grey."""

MAPS = (SALIENCY,)
"""Fields that say something of every pixel of ``image``: geometry moves them along, colour leaves them."""


def as_float(batch: TensorDict) -> TensorDict:
    """A batch whose uint8 images and maps are float32 in [0, 1]; float ones stay as they are."""
    batch = batch.clone(recurse=False)
    for field in (*IMAGES, *MAPS):
        if field in batch.keys() and not batch[field].is_floating_point():
            batch[field] = batch[field].float().div_(255.0)
    return batch
