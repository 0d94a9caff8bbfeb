"""DICOM images: rescaled, windowed, MONOCHROME1 turned bright-on-dark, palettes and YBR as RGB, frame by frame.

Nothing that identifies a patient is taken from the header.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.dataset import Dataset
from pydicom.pixels import apply_color_lut, apply_modality_lut, apply_voi, pixel_array

from scantling.core.errors import DataError
from scantling.data.readers.cache import OpenFiles
from scantling.data.readers.picture import Picture

_FACTS = {
    "modality": "Modality", "photometric": "PhotometricInterpretation", "view": "ViewPosition",
    "body_part": "BodyPartExamined",
}  # fmt: skip
_CENTIMETRES = 3
_TWO_DIMENSIONS = 1
_FILES: OpenFiles[Dataset] = OpenFiles(4)


def read(path: Path, part: str | None, frame: int | None, mask: bool = False) -> Picture:
    """One frame: ``(H, W, 1)`` in the modality's units with the window as its range, or ``(H, W, 3)``.

    Without a window the range is that of the stored bits for 8-bit images, else that of the frame's own values, padding
    left aside. Several windows: the first. A mask is read as stored, without window and inversion.
    """
    data = _open(path)
    frames, row = _frames(data), frame or 0
    if row >= frames:
        raise DataError(f"no frame {row}", where=path, do=f"frames are 0 to {frames - 1}")
    stored = _stored(path, data, row)
    info = _info(data, frames)
    between = _first(_find(data, row, "PixelMeasuresSequence", "SpacingBetweenSlices"))
    if between is None:
        between = _first(_find(data, row, "PixelMeasuresSequence", "SliceThickness"))
    if between:
        info["between_slices"] = abs(between)
    spacing = _spacing(data, row)
    if data.PhotometricInterpretation == "PALETTE COLOR":
        colours = apply_color_lut(stored, data)
        return Picture(colours, 0.0, float(np.iinfo(colours.dtype).max), spacing, info)
    if stored.ndim == 3:
        return Picture(stored, 0.0, float(2**data.BitsStored - 1), spacing, info)
    if mask:
        return Picture(stored[..., None], 0.0, float(max(stored.max(), 1)), spacing, info)
    pixels, low, high = _grey(data, stored, row)
    if data.PhotometricInterpretation == "MONOCHROME1":
        pixels = _reflected(pixels, low, high)
    return Picture(np.ascontiguousarray(pixels)[..., None], low, high, spacing, info)


def count(path: Path, part: str | None) -> int:
    """Frames."""
    return _frames(_open(path))


def pixel_size(path: Path, part: str | None, frame: int | None) -> tuple[float, float] | None:
    """Millimetres between rows and between columns of a frame, where the header tells; pixels are not read."""
    return _spacing(pydicom.dcmread(path, force=True, stop_before_pixels=True), frame or 0)


def _open(path: Path) -> Dataset:
    return _FILES.get(path, None, lambda: _load(path))


def _load(path: Path) -> Dataset:
    data = pydicom.dcmread(path, force=True)
    if "Rows" not in data or not any(k in data for k in ("PixelData", "FloatPixelData", "DoubleFloatPixelData")):
        raise DataError("no DICOM image in this file", where=path, do="take its row out of the manifest")
    if "TransferSyntaxUID" not in data.file_meta:
        big, implicit = not data.original_encoding[1], data.original_encoding[0]
        uid = pydicom.uid.ExplicitVRBigEndian if big else pydicom.uid.ExplicitVRLittleEndian
        data.file_meta.TransferSyntaxUID = pydicom.uid.ImplicitVRLittleEndian if implicit else uid
    return data


def _stored(path: Path, data: Dataset, frame: int) -> np.ndarray:
    """Stored values of one frame, in the machine's byte order."""
    try:
        stored = pixel_array(data, index=frame)
    except RuntimeError as error:
        if "plugins" not in str(error):
            raise
        raise DataError(
            f"cannot be decoded ({data.file_meta.TransferSyntaxUID.name})",
            where=path,
            do="install more decoders (pip install pylibjpeg pylibjpeg-libjpeg), or replace the file if it is damaged",
        ) from error
    return stored.astype(stored.dtype.newbyteorder("="), copy=False)


def _frames(data: Dataset) -> int:
    return int(data.get("NumberOfFrames") or 1)


def _grey(data: Dataset, stored: np.ndarray, frame: int) -> tuple[np.ndarray, float, float]:
    """Values in the modality's units and the range that is shown."""
    padding = stored == data.PixelPaddingValue if "PixelPaddingValue" in data else np.zeros(stored.shape, dtype=bool)
    pixels = _rescaled(data, stored, frame)
    if data.get("VOILUTSequence"):
        table = apply_voi(pixels if pixels.dtype.kind in "ui" else np.rint(pixels).astype(np.int32), data)
        return table, 0.0, float(2 ** int(data.VOILUTSequence[0].LUTDescriptor[2]) - 1)
    window = _window(data, frame)
    if window is not None:
        return _windowed(pixels, *window)
    if data.BitsStored <= 8 and pixels is stored and not data.PixelRepresentation:
        return pixels, 0.0, float(2**data.BitsStored - 1)
    seen = pixels[~padding & np.isfinite(pixels)]
    low, high = (float(seen.min()), float(seen.max())) if seen.size else (0.0, 1.0)
    return np.where(padding, np.asarray(low, dtype=pixels.dtype), pixels), low, (high if high > low else low + 1.0)


def _rescaled(data: Dataset, stored: np.ndarray, frame: int) -> np.ndarray:
    if data.get("ModalityLUTSequence"):
        return apply_modality_lut(stored, data)
    slope = _first(_find(data, frame, "PixelValueTransformationSequence", "RescaleSlope"), 1.0)
    intercept = _first(_find(data, frame, "PixelValueTransformationSequence", "RescaleIntercept"), 0.0)
    if (slope, intercept) == (1.0, 0.0):
        return stored
    return stored.astype(np.float32) * np.float32(slope) + np.float32(intercept)


def _window(data: Dataset, frame: int) -> tuple[float, float, str] | None:
    centre = _first(_find(data, frame, "FrameVOILUTSequence", "WindowCenter"))
    width = _first(_find(data, frame, "FrameVOILUTSequence", "WindowWidth"))
    if centre is None or width is None or width <= 0:
        return None
    shape = str(_find(data, frame, "FrameVOILUTSequence", "VOILUTFunction") or "LINEAR").upper()
    return centre, width, shape


def _windowed(pixels: np.ndarray, centre: float, width: float, shape: str) -> tuple[np.ndarray, float, float]:
    """Source: DICOM PS3.3 C.11.2.1.2 and C.11.2.1.3."""
    if shape == "SIGMOID":
        return 1 / (1 + np.exp(-4 * (pixels.astype(np.float32) - centre) / width)), 0.0, 1.0
    if shape == "LINEAR" and width > 1:
        centre, width = centre - 0.5, width - 1
    return pixels, centre - width / 2, centre + width / 2


def _reflected(pixels: np.ndarray, low: float, high: float) -> np.ndarray:
    if pixels.dtype.kind == "u" and low == 0 and high == np.iinfo(pixels.dtype).max:
        return np.iinfo(pixels.dtype).max - pixels
    return np.float32(low + high) - pixels.astype(np.float32)


def _spacing(data: Dataset, frame: int) -> tuple[float, float] | None:
    """Millimetres between rows and columns: in the patient, else on the detector or scanner, else of the ultrasound."""
    for value in (
        _find(data, frame, "PixelMeasuresSequence", "PixelSpacing"),
        data.get("ImagerPixelSpacing"),
        data.get("NominalScannedPixelSpacing"),
    ):
        if value is not None and len(value) == 2 and all(float(v) > 0 for v in value):
            return float(value[0]), float(value[1])
    return _region_spacing(data.get("SequenceOfUltrasoundRegions") or [])


def _region_spacing(regions: Sequence[Dataset]) -> tuple[float, float] | None:
    """Of the regions of an ultrasound frame that show tissue in two dimensions, where they all have the same one.

    Regions of the M mode and of spectra have a time or a velocity for one axis. Deltas are in centimetres a pixel.
    Source: DICOM PS3.3 C.8.5.5.
    """
    found = {
        (abs(10 * float(r.PhysicalDeltaY)), abs(10 * float(r.PhysicalDeltaX)))
        for r in regions
        if r.get("RegionSpatialFormat", _TWO_DIMENSIONS) == _TWO_DIMENSIONS
        and r.get("PhysicalUnitsXDirection") == r.get("PhysicalUnitsYDirection", _CENTIMETRES) == _CENTIMETRES
    }
    spacing = found.pop() if len(found) == 1 else (0.0, 0.0)
    return spacing if min(spacing) > 0 else None


def _info(data: Dataset, frames: int) -> dict[str, Any]:
    facts = {name: str(data.get(keyword)) for name, keyword in _FACTS.items() if data.get(keyword)}
    side = data.get("ImageLaterality") or data.get("Laterality")
    return {**facts, **({"laterality": str(side)} if side else {}), "frames": frames}


def _find(data: Dataset, frame: int, sequence: str, keyword: str) -> Any:
    """An attribute from the data set, else from the functional groups of this frame or of all frames."""
    if data.get(keyword) is not None:
        return data.get(keyword)
    own, shared = data.get("PerFrameFunctionalGroupsSequence") or [], data.get("SharedFunctionalGroupsSequence") or []
    for group in [*own[frame : frame + 1], *shared[:1]]:
        items = group.get(sequence) or []
        if items and items[0].get(keyword) is not None:
            return items[0].get(keyword)
    return None


def _first(value: Any, default: Any = None) -> Any:
    """The first of several values as a float."""
    if value is None or value == "":
        return default
    return float(value[0]) if isinstance(value, (list, tuple, pydicom.multival.MultiValue)) else float(value)
