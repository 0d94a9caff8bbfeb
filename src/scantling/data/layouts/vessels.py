"""Folders images/ and masks/ with matching names: vessels in fundus photographs, or any other masks."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from scantling.core.errors import DataError
from scantling.data.eyes import eye_of
from scantling.data.readers import is_image


def load(
    source: Path,
    images: str = "images",
    masks: str = "masks",
    site: str | None = None,
    target: str = "mask:background|vessel",
) -> pd.DataFrame:
    """Each image with the mask of the same name, or the one mask whose name begins with the image's.

    Patient and laterality come from the name where it ends in a side (``Image_01L``, ``7_right``, ``12_OD``).

    Args:
        source: the folder that holds both folders.
        images: name of the image folder.
        masks: name of the mask folder.
        site: written into every row; by default the source's name.
        target: names of the mask's classes.
    """
    files = {folder: _files(source / folder) for folder in (images, masks)}
    eyes = [eye_of(stem) for stem in files[images]]
    return pd.DataFrame(
        {
            "image": [str(f) for f in files[images].values()],
            "mask": [_mask(stem, files[masks]) for stem in files[images]],
            "patient": [patient for patient, _ in eyes],
            "laterality": [side for _, side in eyes],
            "site": site or source.resolve().name,
            "target": target,
        }
    )


def _files(folder: Path) -> dict[str, Path]:
    if not folder.is_dir():
        raise DataError("no such folder", where=folder, do="name the folders with images= and masks=")
    return {f.name.split(".")[0]: f for f in sorted(folder.iterdir()) if f.is_file() and is_image(f)}


def _mask(stem: str, masks: dict[str, Path]) -> str | None:
    near = [stem] if stem in masks else [m for m in masks if m.startswith(f"{stem}_")]
    return str(masks[near[0]]) if len(near) == 1 else None
