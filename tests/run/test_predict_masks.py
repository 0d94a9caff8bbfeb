"""Masks out: volumes lie over their source, structures overlap, DICOM segmentations refer and name nobody."""

import runpy
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from scantling.core.errors import DataError, RecipeError
from scantling.data.readers import read_picture
from scantling.run.model import load
from scantling.run.predict import predict

bundles = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("bundles.py"))))


def volume(path: Path, shape=(12, 14, 6), seed=0) -> np.ndarray:
    """A NIfTI file whose axes are neither in canonical order nor all the canonical way round."""
    import nibabel

    affine = np.array([[0.0, -1.5, 0, 7], [2.0, 0, 0, -3], [0, 0, 3.0, 1], [0, 0, 0, 1]])
    rng = np.random.default_rng(seed)
    nibabel.save(nibabel.Nifti1Image(rng.integers(0, 900, shape).astype(np.int16), affine), path)
    return affine


def picture(path: Path, size=(40, 52), seed=0) -> None:
    Image.fromarray(np.random.default_rng(seed).integers(0, 255, (*size, 3)).astype(np.uint8)).save(path)


@pytest.mark.parametrize("kind", ["mask3", "masks"])
@pytest.mark.parametrize("plane", ["axial", "coronal"])
def test_a_volume_comes_back_whole_with_its_affine_and_its_own_slices(tmp_path, kind, plane):
    import nibabel

    affine = volume(tmp_path / "v.nii.gz")
    bundle = bundles.save(tmp_path / "b", kind)
    found = predict(bundle, [f"{tmp_path}/v.nii.gz#{plane}"], tmp_path / "out", saliency=False, device="cpu").table
    model = load(bundle)
    columns = ["mask"] if kind == "mask3" else ["mask:disc", "mask:cup"]
    for k, column in enumerate(columns):
        assert found[column].nunique() == 1, "all slices are in one file"
        written = tmp_path / "out" / found[column][0]
        image = nibabel.load(written)
        np.testing.assert_allclose(image.affine, affine, atol=1e-6)
        assert image.shape == (12, 14, 6) and image.get_data_dtype() == np.uint8
        assert np.unique(np.asarray(image.dataobj)).size > 1, "a mask of one class would prove nothing"
        for frame in (0, len(found) - 1):
            slice_ = read_picture(tmp_path / "v.nii.gz", plane, frame)
            pixels, _ = model.preprocess.apply(slice_)
            likely = model.predict(pixels[None]).probabilities[0]
            placed = model.preprocess.placement(slice_)
            wanted = placed.classes(likely) if kind == "mask3" else (placed.bits(likely, [0.5, 0.5]) >> k) & 1
            np.testing.assert_array_equal(read_picture(written, plane, frame).pixels[..., 0], wanted)
    assert not (tmp_path / "out" / ".slices.part").exists()


def test_slices_that_were_not_asked_for_have_no_structure(tmp_path):
    volume(tmp_path / "v.nii.gz")
    pd.DataFrame({"image": ["v.nii.gz"] * 2, "frame": [1, 4]}).to_csv(tmp_path / "m.csv", index=False)
    bundle = bundles.save(tmp_path / "b", "mask")
    found = predict(bundle, tmp_path / "m.csv", tmp_path / "out", saliency=False, device="cpu").table
    drawn = [read_picture(tmp_path / "out" / found["mask"][0], None, k).pixels.any() for k in range(6)]
    assert drawn[1] and drawn[4] and not any(drawn[k] for k in (0, 2, 3, 5))


def test_a_row_of_a_whole_volume_is_predicted_slice_by_slice(tmp_path):
    volume(tmp_path / "v.nii.gz")
    pd.DataFrame({"image": ["v.nii.gz"]}).to_csv(tmp_path / "m.csv", index=False)
    found = predict(bundles.save(tmp_path / "b", "mask"), tmp_path / "m.csv", device="cpu").table
    assert found["frame"].tolist() == list(range(6))


def test_a_stopped_volume_is_finished_with_the_slices_it_had(tmp_path, monkeypatch):
    volume(tmp_path / "v.nii.gz")
    bundle = bundles.save(tmp_path / "b", "mask")
    options = {"saliency": False, "device": "cpu", "batch_size": 2}
    whole = predict(bundle, tmp_path / "v.nii.gz", tmp_path / "whole", **options).table

    def stop(done, of):
        if done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        predict(bundle, tmp_path / "v.nii.gz", tmp_path / "out", progress=stop, **options)
    again = predict(bundle, tmp_path / "v.nii.gz", tmp_path / "out", **options).table
    pd.testing.assert_frame_equal(again, whole)
    assert (tmp_path / "out" / again["mask"][0]).read_bytes() == (tmp_path / "whole" / whole["mask"][0]).read_bytes()


def test_structures_that_overlap_have_a_picture_each(tmp_path):
    picture(tmp_path / "a.png")
    bundle = bundles.save(tmp_path / "b", "masks")
    row = predict(bundle, tmp_path / "a.png", tmp_path / "out", device="cpu").table.iloc[0]
    likely = load(bundle).predict([tmp_path / "a.png"]).probabilities[0]
    for k, name in enumerate(("disc", "cup")):
        mask = np.asarray(Image.open(tmp_path / "out" / row[f"mask:{name}"]))
        assert mask.shape == (40, 52) and set(np.unique(mask)) <= {0, 255}
        assert row[f"share_{name}"] == pytest.approx((mask > 0).mean())
        assert (mask > 0).mean() == pytest.approx(float((likely[k] >= 0.5).float().mean()), abs=0.1)
    assert (tmp_path / "out" / "overlays" / "a.png.png").is_file()


def test_uncertainty_is_the_entropy_of_what_was_predicted(tmp_path):
    picture(tmp_path / "a.png", (32, 32))
    bundle = bundles.save(tmp_path / "b", "mask")
    options = {"device": "cpu", "uncertainty": True}
    row = predict(bundle, tmp_path / "a.png", tmp_path / "out", **options).table.iloc[0]
    p = load(bundle).predict([tmp_path / "a.png"]).probabilities[0].double()
    entropy = -(p * p.log2()).sum(0)
    seen = np.asarray(Image.open(tmp_path / "out" / "uncertainty" / "a.png.png")) / 255
    np.testing.assert_allclose(seen, entropy.numpy(), atol=0.003)
    assert row["uncertainty"] == pytest.approx(float(entropy.mean()), abs=1e-5)
    assert not (tmp_path / "out" / "deviation").exists(), "without views there is nothing to deviate"
    predict(bundle, tmp_path / "a.png", tmp_path / "turned", augmentation="flips", **options)
    assert np.asarray(Image.open(tmp_path / "turned" / "deviation" / "a.png.png")).max() > 0


def dicom(path: Path, number=1, series="1.2.3.4", placed=True, seed=0) -> None:
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, SecondaryCaptureImageStorage

    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.SOPClassUID = CTImageStorage if placed else SecondaryCaptureImageStorage
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID
    data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID = f"{series}.{number}"
    data.StudyInstanceUID, data.SeriesInstanceUID = "1.2.3", series
    data.PatientName, data.PatientID, data.PatientBirthDate, data.PatientSex = "Doe^Jane", "4711", "19500101", "F"
    data.StudyID, data.AccessionNumber, data.StudyDate, data.StudyTime = "77", "88", "20200101", "101010"
    data.ReferringPhysicianName, data.Modality, data.SeriesNumber, data.InstanceNumber = "House", "CT", 1, number
    if placed:
        data.FrameOfReferenceUID = "1.2.3.9"
        data.ImagePositionPatient, data.ImageOrientationPatient = [0, 0, 5.0 * number], [1, 0, 0, 0, 1, 0]
        data.PixelSpacing, data.SliceThickness = [0.7, 0.7], 5
    data.Rows, data.Columns, data.SamplesPerPixel, data.PhotometricInterpretation = 24, 20, 1, "MONOCHROME2"
    data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 16, 12, 11, 0
    data.PixelData = np.random.default_rng(seed + number).integers(0, 4000, (24, 20)).astype(np.uint16).tobytes()
    data.save_as(path, enforce_file_format=True)


@pytest.mark.parametrize("kind", ["mask3", "masks"])
def test_a_dicom_series_becomes_one_segmentation_that_refers_to_it_and_names_nobody(tmp_path, kind):
    highdicom = pytest.importorskip("highdicom", reason="needs scantling[dicom]")
    images = tmp_path / "series"
    images.mkdir()
    for number in (3, 1, 2):
        dicom(images / f"{9 - number}.dcm", number)
    bundle = bundles.save(tmp_path / "b", kind)
    options = {"saliency": False, "device": "cpu"}
    found = predict(bundle, images, tmp_path / "out", mask_format="dicom", **options).table
    drawn = predict(bundle, images, tmp_path / "png", mask_format="png", **options).table
    assert found["mask"].nunique() == 1
    path = tmp_path / "out" / found["mask"][0]
    read = highdicom.seg.segread(path)
    assert [s.SegmentLabel for s in read.SegmentSequence] == ["disc", "cup"]
    for k, name in enumerate(("disc", "cup"), 1):
        wanted = []
        for file in ("8.dcm", "7.dcm", "6.dcm"):
            row = drawn[drawn["image"] == file].iloc[0]
            column = "mask" if kind == "mask3" else f"mask:{name}"
            pixels = np.asarray(Image.open(tmp_path / "png" / row[column]))
            wanted.append(pixels == k if kind == "mask3" else pixels > 0)
        names = [f"1.2.3.4.{number}" for number in (1, 2, 3)]
        seen = read.get_pixels_by_source_instance(
            names, segment_numbers=[k], ignore_spatial_locations=True, assert_missing_frames_are_empty=True
        )
        np.testing.assert_array_equal(seen[..., 0].astype(bool), np.stack(wanted))
    assert read.StudyInstanceUID == "1.2.3" and read.FrameOfReferenceUID == "1.2.3.9"
    content = path.read_bytes()
    assert not any(text in content for text in (b"Doe", b"4711", b"19500101", b"House", b"20200101"))
    again = predict(bundle, images, tmp_path / "again", mask_format="dicom", **options).table
    assert highdicom.seg.segread(tmp_path / "again" / again["mask"][0]).SOPInstanceUID == read.SOPInstanceUID


def test_a_dicom_image_without_a_place_in_the_patient_has_a_segmentation_too(tmp_path):
    highdicom = pytest.importorskip("highdicom", reason="needs scantling[dicom]")
    dicom(tmp_path / "a.dcm", placed=False)
    found = predict(
        bundles.save(tmp_path / "b", "mask"), tmp_path / "a.dcm", tmp_path / "out", mask_format="dicom", device="cpu"
    ).table
    read = highdicom.seg.segread(tmp_path / "out" / found["mask"][0])
    assert read.ReferencedSeriesSequence[0].SeriesInstanceUID == "1.2.3.4"


def test_forms_that_cannot_be_are_refused_before_anything_is_written(tmp_path):
    picture(tmp_path / "a.png")
    bundle = bundles.save(tmp_path / "b", "mask")
    with pytest.raises(RecipeError, match="no mask format 'nifty'"):
        predict(bundle, tmp_path / "a.png", tmp_path / "out", mask_format="nifty")
    with pytest.raises(DataError, match="no DICOM file"):
        predict(bundle, tmp_path / "a.png", tmp_path / "out", mask_format="dicom")
    with pytest.raises(RecipeError, match="scales are for models that predict masks"):
        predict(bundles.save(tmp_path / "g", "grade"), tmp_path / "a.png", augmentation="scales", device="cpu")
    assert not (tmp_path / "out" / "masks").exists()
