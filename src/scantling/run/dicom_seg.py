"""Masks as DICOM segmentations (DICOM PS3.3 A.51), which refer to the images they were drawn on and name no patient."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from scantling import __version__
from scantling.core.errors import DataError, ScantlingError
from scantling.core.files import writing
from scantling.core.target import Target

BLANK = (
    "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "PatientAge", "PatientWeight", "PatientSize",
    "AccessionNumber", "StudyID", "ReferringPhysicianName", "StudyDescription", "StudyDate", "StudyTime",
)  # fmt: skip
"""Attributes that identify a patient or a visit. DICOM lets them be empty; the UIDs that remain tie the segmentation to
its study for those who hold the images."""

_SCHEME = "99SCANTLING"
"""Private coding scheme of the structures' names; DICOM asks private schemes to begin with 99."""


def header(path: Path) -> Any:
    """The header of a DICOM file, without its pixels.

    Raises:
        DataError: no DICOM file.
    """
    import pydicom

    try:
        return pydicom.dcmread(path, stop_before_pixels=True)
    except (pydicom.errors.InvalidDicomError, OSError) as error:
        raise DataError(f"no DICOM file ({error})", where=path, do="ask for mask format auto") from error


def position_along(data: Any) -> float:
    """Where a slice lies along the axis of its series, in millimetres."""
    orientation = np.array([float(v) for v in data.ImageOrientationPatient])
    normal = np.cross(orientation[:3], orientation[3:])
    return float(normal @ np.array([float(v) for v in data.ImagePositionPatient]))


def write_dicom_seg(path: Path, sources: Sequence[Path], coded: np.ndarray, target: Target, key: str) -> None:
    """Write one segmentation over the frames of a DICOM file, or over the files of a series.

    Args:
        path: of the segmentation.
        sources: one file, or the slices of a series in their order.
        coded: ``(frames, H, W)`` uint8, classes or sums of bits.
        target: of masks; each structure becomes a segment.
        key: names the prediction: the same key and sources give the same UIDs.

    Raises:
        ScantlingError: the extra ``dicom`` is not installed.
        DataError: sources that a segmentation cannot refer to.
    """
    try:
        from highdicom.content import AlgorithmIdentificationSequence
        from highdicom.seg import Segmentation as Written
        from highdicom.seg import SegmentationTypeValues, SegmentDescription
        from highdicom.sr.coding import CodedConcept
        from pydicom.sr.codedict import codes
        from pydicom.uid import generate_uid
    except ImportError as error:
        what = "DICOM segmentations need the package highdicom"
        raise ScantlingError(what, do="pip install 'scantling[dicom]'") from error
    algorithm = AlgorithmIdentificationSequence(
        name="Scantling", version=__version__, family=codes.cid7162.ArtificialIntelligence
    )
    segments = [
        SegmentDescription(
            segment_number=number,
            segment_label=name[:64],
            segmented_property_category=codes.SCT.SpatialAndRelationalConcept,
            segmented_property_type=CodedConcept(f"S{number}", _SCHEME, name[:64]),
            algorithm_type="AUTOMATIC",
            algorithm_identification=algorithm,
        )
        for number, name in enumerate(target.structures, 1)
    ]
    images = [header(source) for source in sources]
    if target.kind == "masks":
        drawn = np.stack([(coded >> np.uint8(k)) & np.uint8(1) for k in range(target.size)], axis=-1)
    else:
        drawn = (coded[..., None] == np.arange(1, target.size, dtype=np.uint8)).astype(np.uint8)
    names = [str(image.SOPInstanceUID) for image in images]
    try:
        written: Any = Written(
            source_images=images,
            pixel_array=drawn,
            segmentation_type=SegmentationTypeValues.BINARY,
            segment_descriptions=segments,
            series_instance_uid=generate_uid(entropy_srcs=["series", key, *names]),
            series_number=900,
            sop_instance_uid=generate_uid(entropy_srcs=["instance", key, *names]),
            instance_number=1,
            manufacturer="Scantling",
            manufacturer_model_name="Scantling",
            software_versions=__version__,
            device_serial_number="0",
            omit_empty_frames=bool(drawn.any()),
        )
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        what = f"no segmentation can refer to it ({str(error).splitlines()[0]})"
        raise DataError(what, where=sources[0], do="ask for mask format png") from error
    for name in BLANK:
        if name in written:
            setattr(written, name, "")
    with writing(path) as part:
        written.save_as(part)
