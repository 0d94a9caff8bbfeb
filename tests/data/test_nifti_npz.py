"""Volumes and archives: orientation, range, spacing, one decoding for many reads."""

from __future__ import annotations

import os
from pathlib import Path

import nibabel
import numpy as np
import pytest

from scantling.core.errors import DataError
from scantling.data.readers import count_frames, npz, read_mask, read_picture

RNG = np.random.default_rng(0)


def volume(path: Path, voxels: np.ndarray, codes: str = "RAS", zooms: tuple[float, ...] = (1.0, 2.0, 3.0)) -> Path:
    """Write ``voxels`` (given in RAS) as another orientation of the same anatomy."""
    affine = np.diag([*zooms, 1.0])
    image = nibabel.Nifti1Image(voxels, affine)
    turn = nibabel.orientations.ornt_transform(
        nibabel.orientations.io_orientation(affine), nibabel.orientations.axcodes2ornt(codes)
    )
    nibabel.save(image.as_reoriented(turn), path)
    return path


@pytest.mark.parametrize("codes", ["RAS", "LPS", "PIR"])
def test_slices_are_the_same_however_the_file_is_oriented(tmp_path: Path, codes: str) -> None:
    voxels = RNG.integers(0, 1000, (4, 5, 6)).astype(np.int16)
    file = volume(tmp_path / "v.nii.gz", voxels, codes)
    assert [count_frames(file, p) for p in ("sagittal", "coronal", "axial")] == [4, 5, 6]
    axial, coronal, sagittal = (read_picture(file, p, 2) for p in ("axial", "coronal", "sagittal"))
    np.testing.assert_array_equal(axial.pixels[..., 0], voxels[::-1, ::-1, 2].T)
    np.testing.assert_array_equal(coronal.pixels[..., 0], voxels[::-1, 2, ::-1].T)
    np.testing.assert_array_equal(sagittal.pixels[..., 0], voxels[2, ::-1, ::-1].T)
    assert (axial.spacing, coronal.spacing, sagittal.spacing) == ((2, 1), (3, 1), (3, 2))


def test_the_range_is_the_volumes_percentiles_and_shared_by_its_slices(tmp_path: Path) -> None:
    voxels = RNG.normal(100, 20, (20, 20, 20)).astype(np.float32)
    voxels[0, 0, 0] = 1e6
    file = volume(tmp_path / "v.nii", voxels)
    first, last = read_picture(file, None, 0), read_picture(file, None, 19)
    assert (first.low, first.high) == (last.low, last.high)
    assert first.low == pytest.approx(np.percentile(voxels, 0.5))
    assert first.high == pytest.approx(np.percentile(voxels, 99.5))
    assert first.high < 200


def test_volumes_of_a_series_follow_one_another(tmp_path: Path) -> None:
    voxels = RNG.integers(0, 99, (3, 4, 5, 2)).astype(np.uint8)
    nibabel.save(nibabel.Nifti1Image(voxels, np.eye(4)), tmp_path / "v.nii")
    assert count_frames(tmp_path / "v.nii", "axial") == 10
    np.testing.assert_array_equal(
        read_picture(tmp_path / "v.nii", "axial", 7).pixels[..., 0], voxels[::-1, ::-1, 2, 1].T
    )


def test_flat_constant_and_label_volumes(tmp_path: Path) -> None:
    nibabel.save(nibabel.Nifti1Image(np.full((4, 5), 7.0, dtype=np.float32), np.eye(4)), tmp_path / "flat.nii")
    picture = read_picture(tmp_path / "flat.nii")
    assert picture.pixels.shape == (5, 4, 1)
    assert picture.to_uint8().max() == 0
    labels = np.zeros((4, 4, 4), dtype=np.uint8)
    labels[1, 1, 1] = 2
    nibabel.save(nibabel.Nifti1Image(labels, np.eye(4)), tmp_path / "l.nii")
    assert np.unique(read_mask(tmp_path / "l.nii", "axial", 1, num_classes=3)).tolist() == [0, 2]
    assert read_mask(tmp_path / "l.nii", "axial", 1).sum() == 1
    assert read_mask(tmp_path / "l.nii", "axial", 0).sum() == 0


def test_wrong_planes_frames_and_files_are_errors(tmp_path: Path) -> None:
    file = volume(tmp_path / "v.nii", np.zeros((2, 2, 2), dtype=np.uint8))
    with pytest.raises(DataError, match=r"unknown plane 'axail'.*'axial'"):
        read_picture(file, "axail", 0)
    with pytest.raises(DataError, match="no frame 2; frames are 0 to 1"):
        read_picture(file, "axial", 2)
    whole = (volume(tmp_path / "w.nii.gz", RNG.normal(size=(9, 9, 9)))).read_bytes()
    (tmp_path / "w.nii.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"w\.nii\.gz"):
        read_picture(tmp_path / "w.nii.gz", "axial", 0)


def test_a_real_brain_lies_upright_with_its_front_at_the_top(shared_data) -> None:
    picture = read_picture(shared_data("mri_templates") / "avg152T1.nii.gz", "axial", 40)
    assert picture.pixels.shape == (109, 91, 1)
    assert picture.spacing == (2.0, 2.0)
    shown = picture.to_uint8()[..., 0]
    assert 40 < shown.mean() < 160
    assert np.abs(shown[:, ::-1].astype(int) - shown).mean() < 15  # left and right are alike, top and bottom are not
    assert np.abs(shown[::-1].astype(int) - shown).mean() > 15


def test_rows_of_an_archive(tmp_path: Path) -> None:
    colour = RNG.integers(0, 256, (5, 6, 7, 3), dtype=np.uint8)
    grey = RNG.integers(0, 256, (5, 6, 7), dtype=np.uint8)
    np.savez_compressed(tmp_path / "a.npz", colour=colour, grey=grey)
    file = tmp_path / "a.npz"
    assert count_frames(file, "colour") == 5
    np.testing.assert_array_equal(read_picture(file, "colour", 3).pixels, colour[3])
    np.testing.assert_array_equal(read_picture(file, "grey", 4).pixels[..., 0], grey[4])
    with pytest.raises(DataError, match=r"no array 'gray' .*'grey'"):
        read_picture(file, "gray", 0)
    with pytest.raises(DataError, match=r"several arrays; name one of colour, grey"):
        read_picture(file)
    with pytest.raises(DataError, match="no frame 5"):
        read_picture(file, "grey", 5)


def test_float_arrays_share_one_range(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", unit=RNG.random((3, 4, 4)), wide=np.arange(48.0).reshape(3, 4, 4))
    assert (read_picture(tmp_path / "a.npz", "unit", 0).low, read_picture(tmp_path / "a.npz", "unit", 0).high) == (0, 1)
    assert {read_picture(tmp_path / "a.npz", "wide", i).high for i in range(3)} == {47.0}


def test_an_array_is_read_once_until_the_file_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, loads = tmp_path / "a.npz", []
    load = np.load
    monkeypatch.setattr(npz.np, "load", lambda *a, **k: loads.append(a) or load(*a, **k))
    np.savez(file, x=np.zeros((9, 4, 4), dtype=np.uint8))
    assert [int(read_picture(file, "x", i).pixels.max()) for i in range(9)] == [0] * 9
    assert len(loads) == 1
    np.savez(file, x=np.ones((9, 4, 4), dtype=np.uint8))
    os.utime(file, ns=(1, 1))
    assert read_picture(file, "x", 0).pixels.max() == 1
    assert len(loads) == 2


def test_pickles_and_other_things_in_an_archive_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.array([{"a": 1}], dtype=object), y=np.zeros(3), z=np.zeros((2, 3, 3, 7)))
    for part in "xyz":
        with pytest.raises(DataError, match=r"a\.npz"):
            read_picture(tmp_path / "a.npz", part, 0)
    (tmp_path / "b.npz").write_bytes(b"no archive")
    with pytest.raises(DataError, match=r"b\.npz"):
        read_picture(tmp_path / "b.npz", "x", 0)
