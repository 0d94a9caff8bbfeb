"""DICOM: units, windows, inversion, colours, frames, spacing, and no word about the patient."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage, generate_uid

from scantling.core.errors import DataError
from scantling.data.readers import count_frames, read_picture

RAMP = np.arange(12, dtype=np.uint16).reshape(3, 4) * 100


def written(path: Path, pixels: np.ndarray, **attributes: object) -> Path:
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID = SecondaryCaptureImageStorage
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID = generate_uid()
    data.PatientName, data.PatientID, data.PatientBirthDate = "Doe^Jane", "SECRET-4711", "19700101"
    data.Modality, data.PhotometricInterpretation, data.SamplesPerPixel = "OT", "MONOCHROME2", 1
    data.Rows, data.Columns = pixels.shape[-2:]
    data.BitsAllocated = data.BitsStored = pixels.dtype.itemsize * 8
    data.HighBit, data.PixelRepresentation = data.BitsStored - 1, int(pixels.dtype.kind == "i")
    data.PixelData = pixels.tobytes()
    for name, value in attributes.items():
        setattr(data, name, value)
    data.save_as(path, enforce_file_format=True)
    return path


def test_rescale_gives_units_and_the_window_is_the_range(tmp_path: Path) -> None:
    file = written(
        tmp_path / "a.dcm", RAMP, RescaleSlope="2", RescaleIntercept="-1000", WindowCenter=["40", "0"],
        WindowWidth=["401", "9"],
    )  # fmt: skip
    picture = read_picture(file)
    np.testing.assert_allclose(picture.pixels[..., 0], RAMP * 2.0 - 1000)
    assert (picture.low, picture.high) == (-160.5, 239.5)  # PS3.3 C.11.2.1.2.1: c - 0.5 -+ (w - 1) / 2
    shown = picture.to_uint8()
    assert shown.min() == 0
    assert shown.max() == 255


@pytest.mark.parametrize("shape", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
def test_windows_agree_with_pydicom(tmp_path: Path, shape: str) -> None:
    file = written(tmp_path / "a.dcm", RAMP, WindowCenter="500", WindowWidth="600", VOILUTFunction=shape)
    expected = pydicom.pixels.apply_voi_lut(RAMP, pydicom.dcmread(file)) / 65535 * 255
    np.testing.assert_allclose(read_picture(file).to_uint8()[..., 0], expected, atol=0.51)


def test_a_voi_table_is_applied(tmp_path: Path) -> None:
    table = Dataset()
    table.add_new("LUTDescriptor", "US", [4, 100, 8])
    table.add_new("LUTData", "US", [0, 10, 100, 255])
    pixels = np.array([[0, 100, 101], [102, 103, 999]], dtype=np.uint16)
    picture = read_picture(written(tmp_path / "a.dcm", pixels, VOILUTSequence=Sequence([table])))
    assert (picture.low, picture.high) == (0, 255)
    assert picture.to_uint8()[..., 0].tolist() == [[0, 0, 10], [100, 255, 255]]


@pytest.mark.parametrize("window", [{}, {"WindowCenter": "500", "WindowWidth": "700"}])
def test_monochrome1_is_the_negative_of_monochrome2(tmp_path: Path, window: dict[str, str]) -> None:
    light = read_picture(written(tmp_path / "a.dcm", RAMP, **window)).to_uint8()
    dark = read_picture(written(tmp_path / "b.dcm", RAMP, PhotometricInterpretation="MONOCHROME1", **window)).to_uint8()
    np.testing.assert_allclose(light.astype(int) + dark, 255, atol=1)
    assert light[0, 0] < light[-1, -1]
    assert dark[0, 0] > dark[-1, -1]


def test_eight_bits_keep_their_whole_range_and_dtype_even_inverted(tmp_path: Path) -> None:
    pixels = np.array([[10, 20], [30, 40]], dtype=np.uint8)
    picture = read_picture(written(tmp_path / "a.dcm", pixels, PhotometricInterpretation="MONOCHROME1"))
    assert picture.pixels.dtype == np.uint8
    np.testing.assert_array_equal(picture.to_uint8()[..., 0], 255 - pixels)


def test_padding_does_not_stretch_the_range(tmp_path: Path) -> None:
    pixels = np.array([[-2000, 0], [50, 100]], dtype=np.int16)
    picture = read_picture(written(tmp_path / "a.dcm", pixels, PixelPaddingValue=-2000))
    assert (picture.low, picture.high) == (0, 100)
    assert picture.to_uint8()[..., 0].tolist() == [[0, 0], [128, 255]]


def test_spacing_from_the_plane_else_from_the_detector_else_from_the_ultrasound(tmp_path: Path) -> None:
    region = Dataset()
    region.PhysicalUnitsXDirection, region.PhysicalDeltaX, region.PhysicalDeltaY = 3, 0.02, 0.03
    some = {"ImagerPixelSpacing": ["0.14", "0.15"]}
    assert read_picture(written(tmp_path / "a.dcm", RAMP, PixelSpacing=["0.5", "0.6"], **some)).spacing == (0.5, 0.6)
    assert read_picture(written(tmp_path / "b.dcm", RAMP, **some)).spacing == (0.14, 0.15)
    seen = read_picture(written(tmp_path / "c.dcm", RAMP, SequenceOfUltrasoundRegions=Sequence([region]))).spacing
    assert seen == pytest.approx((0.3, 0.2))
    assert read_picture(written(tmp_path / "d.dcm", RAMP)).spacing is None


def test_frames_are_read_one_by_one_with_their_own_rescale(tmp_path: Path) -> None:
    frames = np.stack([RAMP, RAMP + 1, RAMP + 2])
    groups = []
    for slope in (1, 2, 3):
        item, measures = Dataset(), Dataset()
        measures.RescaleSlope, measures.RescaleIntercept = str(slope), "0"
        item.PixelValueTransformationSequence = Sequence([measures])
        groups.append(item)
    file = written(tmp_path / "a.dcm", frames, NumberOfFrames=3, PerFrameFunctionalGroupsSequence=Sequence(groups))
    assert count_frames(file) == 3
    for i in range(3):
        np.testing.assert_allclose(read_picture(file, frame=i).pixels[..., 0], frames[i] * (i + 1.0))
    with pytest.raises(DataError, match="no frame 3"):
        read_picture(file, frame=3)


def test_nothing_about_the_patient_is_told(tmp_path: Path) -> None:
    file = written(tmp_path / "a.dcm", RAMP, ViewPosition="PA", ImageLaterality="L")
    picture = read_picture(file)
    assert picture.info["view"] == "PA"
    assert picture.info["laterality"] == "L"
    assert not any(secret in repr(picture.info) for secret in ("Doe", "SECRET", "1970"))


def test_a_file_is_recognised_without_its_suffix(tmp_path: Path) -> None:
    file = written(tmp_path / "1.2.840.113619", RAMP)
    assert read_picture(file).pixels.shape == (3, 4, 1)


@pytest.mark.parametrize(
    ("name", "size", "modality"),
    [
        ("CT_small.dcm", (128, 128, 1), "CT"),
        ("MR_small_bigendian.dcm", (64, 64, 1), "MR"),
        ("MR_small_RLE.dcm", (64, 64, 1), "MR"),
        ("examples_palette.dcm", (350, 800, 3), "US"),
        ("examples_rgb_color.dcm", (240, 320, 3), "US"),
        ("examples_ybr_color.dcm", (240, 320, 3), "US"),
        ("examples_jpeg2k.dcm", (480, 640, 3), "US"),
        ("SC_rgb_rle_16bit.dcm", (100, 100, 3), "OT"),
        ("rtdose.dcm", (10, 10, 1), "RTDOSE"),
    ],
)
def test_files_of_many_encodings(name: str, size: tuple[int, int, int], modality: str) -> None:
    picture = read_picture(Path(get_testdata_file(name)))
    assert picture.pixels.shape == size
    assert picture.pixels.dtype.isnative
    assert picture.info["modality"] == modality
    assert picture.to_uint8().std() > 5


def test_encodings_of_one_image_agree() -> None:
    images = [read_picture(Path(get_testdata_file(f"MR_small{e}.dcm"))).to_uint8() for e in ("", "_RLE", "_bigendian")]
    for other in images[1:]:
        np.testing.assert_array_equal(images[0], other)


@pytest.mark.parametrize("name", ["rtplan.dcm", "MR_truncated.dcm", "badVR.dcm"])
def test_objects_without_images_and_damaged_ones_are_errors(name: str) -> None:
    with pytest.raises(DataError, match=name):
        read_picture(Path(get_testdata_file(name)))


def test_garbage_called_dicom_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.dcm").write_bytes(bytes(range(256)) * 8)
    with pytest.raises(DataError, match=r"a\.dcm"):
        read_picture(tmp_path / "a.dcm")
