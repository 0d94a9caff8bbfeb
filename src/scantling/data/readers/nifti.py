"""Slices of NIfTI volumes: ``volume.nii.gz#axial``, slice by ``frame``. The volume is read once a process.

Volumes are brought to the canonical orientation (RAS+). Slices lie as a radiologist sees them and as DICOM stores
them: axial with the front at the top, coronal and sagittal with the head at the top; the patient's right is at the left
of axial and coronal slices, the front at the left of sagittal ones. Slices count from the feet (axial), the back
(coronal) and the patient's left (sagittal). In a 4-D file the volumes follow one another.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from scantling.core.errors import DataError, nearest
from scantling.data.readers.cache import OpenFiles
from scantling.data.readers.picture import Picture

PLANES = {"sagittal": 0, "coronal": 1, "axial": 2}
"""The axis that a plane's slices are counted along."""

PERCENTILES = (0.5, 99.5)
"""Of all voxels: the values that map to 0 and 1."""


@dataclass(frozen=True)
class _Volume:
    voxels: np.ndarray
    zooms: tuple[float, float, float]
    low: float
    high: float
    maximum: float


_VOLUMES: OpenFiles[_Volume] = OpenFiles(4)


def read(path: Path, part: str | None, frame: int | None, mask: bool = False) -> Picture:
    """One slice ``(H, W, 1)``; the range is the volume's, so that all slices of a volume share it."""
    volume, axis = _open(path), _axis(path, part)
    slices = volume.voxels.shape[axis]
    repeat, position = divmod(frame or 0, slices)
    if repeat >= volume.voxels.shape[3]:
        last = slices * volume.voxels.shape[3] - 1
        raise DataError(f"no frame {frame}", where=path, do=f"frames are 0 to {last}")
    plane = volume.voxels[..., repeat].take(position, axis=axis).T[::-1, ::-1]
    across, down = (z for i, z in enumerate(volume.zooms) if i != axis)
    info = {"maximum": volume.maximum, "between_slices": volume.zooms[axis]}
    return Picture(np.ascontiguousarray(plane)[..., None], volume.low, volume.high, (down, across), info)


def pixel_size(path: Path, part: str | None, frame: int | None) -> tuple[float, float] | None:
    """Millimetres between rows and between columns of a slice."""
    return read(path, part, frame).spacing


def count(path: Path, part: str | None) -> int:
    """Slices in the plane, times the volumes of a 4-D file; only the header is read."""
    import nibabel

    image: Any = nibabel.load(path)  # type: ignore[attr-defined]
    shape = (*image.shape, 1, 1)[: max(3, len(image.shape))]
    order = nibabel.orientations.io_orientation(image.affine)[:, 0].tolist()
    return int(shape[order.index(_axis(path, part))]) * math.prod(shape[3:])


def restack(path: Path, part: str | None, slices: np.ndarray) -> Any:
    """Slices as :func:`read` gives them, put together to a NIfTI image that lies over the volume in ``path``.

    Args:
        path: the volume that the slices were taken from.
        part: the plane they were taken in.
        slices: ``(D, H, W)`` of any dtype, all the slices of a volume in their order, those of a 4-D file one volume
            after the other.

    Returns:
        An image with the shape, the affine and the orientation codes of the file, and the dtype of ``slices``.

    Raises:
        DataError: slices of another number or size than the volume's.
    """
    import nibabel
    from nibabel.orientations import apply_orientation, io_orientation

    source: Any = nibabel.load(path)  # type: ignore[attr-defined]
    axis = _axis(path, part)
    order = io_orientation(source.affine)
    spatial = (*source.shape, 1)[:3]
    canonical = [spatial[order[:, 0].tolist().index(i)] for i in range(3)]
    across, down = (n for i, n in enumerate(canonical) if i != axis)
    repeats = math.prod(source.shape[3:])
    if slices.shape != (canonical[axis] * repeats, down, across):
        wanted = f"{canonical[axis] * repeats} of {down} x {across}"
        raise DataError(f"slices of the shape {slices.shape}, not {wanted}", where=path, do="predict the volume again")
    planes = slices[:, ::-1, ::-1].swapaxes(1, 2).reshape(repeats, canonical[axis], across, down)
    stacked = np.moveaxis(np.moveaxis(planes, 1, 1 + axis), 0, -1)
    # Back from the canonical orientation: the inverse of nibabel's own permutation and flips.
    turned = apply_orientation(stacked, _inverse(order))
    header = source.header.copy()
    header.set_data_dtype(slices.dtype)
    header.set_slope_inter(1, 0)
    header["cal_min"] = header["cal_max"] = 0
    kind = type(source)
    return kind(np.ascontiguousarray(turned).reshape(source.shape), source.affine, header)


def _inverse(order: np.ndarray) -> np.ndarray:
    """The orientation that undoes another one."""
    back = np.empty_like(order)
    for here, (there, flip) in enumerate(order):
        back[int(there)] = (here, flip)
    return back


def _axis(path: Path, part: str | None) -> int:
    name = part or "axial"
    if name not in PLANES:
        raise DataError(f"unknown plane '{name}'{nearest(name, PLANES)}", where=path, do=f"use {', '.join(PLANES)}")
    return PLANES[name]


def _open(path: Path) -> _Volume:
    return _VOLUMES.get(path, None, lambda: _load(path))


def _load(path: Path) -> _Volume:
    import nibabel

    image: Any = nibabel.load(path)  # type: ignore[attr-defined]
    if len(image.shape) == 2:
        image = nibabel.Nifti1Image(np.asanyarray(image.dataobj)[..., None], image.affine)  # type: ignore[attr-defined]
    image = nibabel.as_closest_canonical(image)  # type: ignore[attr-defined]
    voxels = np.asanyarray(image.dataobj)
    if voxels.dtype.kind not in "uif":
        raise DataError(f"voxels of type {voxels.dtype}", where=path, do="save the volume with one number a voxel")
    if voxels.ndim < 3 or not voxels.size:
        raise DataError(f"no volume: its shape is {voxels.shape}", where=path, do="give a 2-D, 3-D or 4-D file")
    voxels = voxels.reshape(*voxels.shape[:3], -1)
    kind = np.dtype(np.float32) if voxels.dtype.kind == "f" else voxels.dtype.newbyteorder("=")
    voxels = voxels.astype(kind, copy=False)
    finite = voxels[np.isfinite(voxels)] if voxels.dtype.kind == "f" else voxels
    if not finite.size:
        raise DataError("no finite voxel", where=path, do="replace the file or drop its rows")
    low, high = (float(p) for p in np.percentile(finite, PERCENTILES))
    x, y, z = (float(zoom) for zoom in image.header.get_zooms()[:3])
    return _Volume(voxels, (x, y, z), low, high if high > low else low + 1.0, float(finite.max()))
