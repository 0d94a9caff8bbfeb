"""Further looks of an adapter at every image, read or derived, put beside the images of a run."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from scantling.data.direct import Direct
from scantling.data.joined import Joined, Part, pixels_of
from scantling.data.store import Store, open_images

if TYPE_CHECKING:
    from scantling.core.seams import Derivation, View
    from scantling.data.settings import DataSettings
    from scantling.run.prepare import Prepared

Progress = Callable[[int, int], None]
BATCH = 8
"""Images at a time in a derivation: large frozen networks are no faster with more, and need less memory."""


def add_looks(
    prepared: Prepared,
    looks: Sequence[View],
    settings: DataSettings,
    device: str | torch.device = "cpu",
    pixels: bool = False,
    decoding: Progress | None = None,
    deriving: Progress | None = None,
) -> None:
    """Put the fields of further looks beside the images of a run; what is derived is computed once and kept.

    Each look has a store of its own, of the same files cropped alike, and its derivation is kept beside that store.

    Args:
        prepared: data of the run; changed in place.
        looks: of the adapter.
        settings: where images are kept.
        device: where derivations are computed.
        pixels: give pixels even where there is a derivation, for images that are augmented on the way.
        decoding: called with images decoded and images in all.
        deriving: called with images derived and images in all.

    Raises:
        DataError: images that cannot be read, or results kept under other settings.
        ScantlingError: the disk is full.
    """
    parts = []
    for look in looks:
        preprocess = replace(prepared.preprocess, size=look.size)
        workers = settings.workers or os.cpu_count() or 1
        source = open_images(prepared.manifest, preprocess, settings.store, settings.cache, workers, decoding)
        if look.derivation is None or pixels:
            parts.append(pixels_of(source, look.field))
            continue
        known = set(source.fields)
        if isinstance(source, Store):
            source.derive(look.derivation, BATCH, device, deriving)
        else:
            source.derive(look.derivation, BATCH, device)
        parts.append(Part(source, {n: n for n in source.fields if n not in known}, look.codes))
    if parts:
        prepared.images = Joined(prepared.images, parts)


def add_maps(prepared: Prepared, derivation: Derivation, progress: Progress | None = None) -> None:
    """Put what a derivation gives beside the images of a run, computed once and kept with them.

    Raises:
        DataError: results kept under other settings, or a field that is there already.
    """
    images = prepared.images
    source = images.main if isinstance(images, Joined) else images
    if isinstance(source, Store):
        source.derive(derivation, BATCH, progress=progress)
    elif isinstance(source, Direct):
        source.derive(derivation, BATCH)
