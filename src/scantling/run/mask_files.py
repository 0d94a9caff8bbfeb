"""Masks as files: which slices belong into one file, and the writing of PNG, NIfTI and DICOM segmentations."""

from __future__ import annotations

import gzip
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from PIL import Image

from scantling.core.errors import DataError, RecipeError, nearest
from scantling.core.files import writing
from scantling.core.target import Target
from scantling.data.readers import count_frames
from scantling.run.listing import Listed

MaskFormat = Literal["auto", "png", "dicom"]

_NIFTI, _DICOM = (".nii", ".nii.gz"), (".dcm", ".dicom", "")


@dataclass(frozen=True)
class Assembly:
    """Slices that are written into one file.

    Args:
        kind: ``nifti`` or ``dicom``.
        stem: path of the file in the folder of results, without its suffix.
        sources: the files that the slices come from; one, or the slices of a DICOM series.
        part: the plane of a NIfTI volume.
        places: of every listed image in it, by its number in the list: which slice it is, from 0.
        slices: how many there are.
    """

    kind: Literal["nifti", "dicom"]
    stem: str
    sources: tuple[Path, ...]
    part: str | None
    places: Mapping[int, int]
    slices: int

    @property
    def suffix(self) -> str:
        """Of its file."""
        return ".nii.gz" if self.kind == "nifti" else ".dcm"


def assemblies(listed: Sequence[Listed], form: MaskFormat) -> list[Assembly]:
    """What is put together from several predicted images.

    Args:
        listed: the images of a prediction.
        form: ``auto``: one NIfTI file for every NIfTI volume, PNG for all others; ``png``: a PNG an image; ``dicom``:
            a DICOM segmentation for every DICOM file, or for every series whose slices are files of their own.

    Raises:
        RecipeError: an unknown form.
        DataError: ``dicom`` for images that are no DICOM files.
    """
    if form not in get_args(MaskFormat):
        words = get_args(MaskFormat)
        raise RecipeError(f"no mask format '{form}'{nearest(form, words)}", do=f"use one of {', '.join(words)}")
    if form == "png":
        return []
    if form == "auto":
        groups: dict[tuple[str, str | None], list[int]] = {}
        for number, one in enumerate(listed):
            if one.source.path.lower().endswith(_NIFTI):
                groups.setdefault((one.source.path, one.source.part), []).append(number)
        return [_volume(listed, numbers) for numbers in groups.values()]
    return _series(listed)


def _volume(listed: Sequence[Listed], numbers: Sequence[int]) -> Assembly:
    first = listed[numbers[0]]
    path, part = Path(first.source.path), first.source.part
    places = {number: listed[number].source.frame or 0 for number in numbers}
    try:
        slices = count_frames(path, part)
    except DataError:
        # A file that cannot be opened fails again when it is read, and then by its row in the table.
        slices = max(places.values()) + 1
    return Assembly("nifti", _stem(first), (path,), part, places, slices)


def _series(listed: Sequence[Listed]) -> list[Assembly]:
    from scantling.run.dicom_seg import header, position_along

    groups: dict[tuple[str, ...], list[tuple[int, Any]]] = {}
    for number, one in enumerate(listed):
        path = Path(one.source.path)
        if path.suffix.lower() not in _DICOM:
            raise DataError("no DICOM file", where=one.name, do="ask for mask format auto")
        data = header(path)
        whole = one.source.frame is not None or "ImagePositionPatient" not in data
        key: tuple[str, ...] = (str(path),)
        if not whole:
            key = ("series", str(data.StudyInstanceUID), str(data.SeriesInstanceUID))
        groups.setdefault(key, []).append((number, data))
    found = []
    for key, members in groups.items():
        first = listed[members[0][0]]
        if key[0] != "series":
            places = {number: listed[number].source.frame or 0 for number, _ in members}
            slices = int(members[0][1].get("NumberOfFrames") or 1)
            found.append(Assembly("dicom", _stem(first), (Path(first.source.path),), None, places, slices))
            continue
        members = sorted(members, key=lambda member: position_along(member[1]))
        sources = tuple(Path(listed[number].source.path) for number, _ in members)
        places = {number: place for place, (number, _) in enumerate(members)}
        found.append(Assembly("dicom", _stem(first), sources, None, places, len(members)))
    return found


def _stem(first: Listed) -> str:
    """``masks/<picture>`` without the number of the frame and without the suffix of a volume."""
    name = first.picture
    if first.source.frame is not None:
        head, mark, tail = name.rpartition(f".{first.source.frame:04}")
        name = head + tail if mark else name
    plane = f"_{first.source.part}" if first.source.part else ""
    name = name.replace(f"#{first.source.part}", "") if first.source.part else name
    for suffix in (".nii.gz", ".nii", ".dcm", ".dicom"):
        if name.lower().endswith(suffix):
            name = name[: -len(suffix)]
            break
    return f"masks/{name}{plane}"


def names_of(stem: str, suffix: str, target: Target) -> dict[str, str]:
    """Column and path of every file of a mask: one of classes, or one a structure that may overlap."""
    if target.kind != "masks":
        return {"mask": f"{stem}{suffix}"}
    return {f"mask:{name}": f"{stem}.{_plain(name)}{suffix}" for name in target.structures}


def layers(coded: np.ndarray, target: Target) -> list[np.ndarray]:
    """What goes into each file of :func:`names_of`: classes, or 0 and 1 of one structure after the other; uint8."""
    if target.kind != "masks":
        return [coded]
    return [(coded >> np.uint8(k)) & np.uint8(1) for k in range(target.size)]


def write_png(path: Path, pixels: np.ndarray) -> None:
    """Write ``(H, W)`` or ``(H, W, 3)`` uint8, whole or not at all."""
    with writing(path) as part:
        Image.fromarray(pixels).save(part, "PNG", compress_level=4)


def write_mask_png(folder: Path, stem: str, coded: np.ndarray, target: Target) -> dict[str, str]:
    """The mask of one image as PNG: class numbers, or 0 and 255 where a file tells two apart.

    Returns:
        The paths in the folder by column, as :func:`names_of`.
    """
    names = names_of(stem, ".png", target)
    two = target.kind == "masks" or target.size == 2
    for name, pixels in zip(names.values(), layers(coded, target), strict=True):
        write_png(folder / name, pixels * np.uint8(255) if two else pixels)
    return names


def write_nifti(folder: Path, assembly: Assembly, coded: np.ndarray, target: Target) -> None:
    """The masks of a volume as NIfTI, uint8, with the affine of the volume.

    Args:
        folder: of the results.
        assembly: of kind ``nifti``.
        coded: ``(D, H, W)`` all the slices in their order.
        target: of masks.
    """
    from scantling.data.readers.nifti import restack

    names = names_of(assembly.stem, assembly.suffix, target)
    for name, slices in zip(names.values(), layers(coded, target), strict=True):
        image = restack(assembly.sources[0], assembly.part, slices)
        with writing(folder / name) as part:
            part.write_bytes(gzip.compress(image.to_bytes(), compresslevel=6, mtime=0))


def _plain(name: str) -> str:
    return "".join(c if c.isalnum() or c in "-_" else "_" for c in name)
