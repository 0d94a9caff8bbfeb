"""Evaluation of masks: cases, units, volumes, structures that were not drawn."""

import runpy
from pathlib import Path
from types import SimpleNamespace

import nibabel
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from scantling.core.target import Mask, Masks
from scantling.data.manifest import Manifest
from scantling.data.preprocess import Preprocess
from scantling.metrics import segmentation
from scantling.metrics.pixel_ranking import BINS
from scantling.run.cases import Case, cases_of
from scantling.run.evaluate import evaluate
from scantling.run.mask_figures import mask_figures, unit_of

bundles = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("bundles.py"))))


def nifti(path, size=(20, 30, 4), zooms=(2.0, 1.0, 5.0), kind=np.int16, seed=0, top=900):
    rng = np.random.default_rng(seed)
    voxels = np.kron(rng.integers(0, top, (size[0] // 2, size[1] // 2, size[2])), np.ones((2, 2, 1))).astype(kind)
    nibabel.save(nibabel.Nifti1Image(voxels, np.diag([*zooms, 1.0])), path)


def test_slices_of_a_file_are_one_case_with_the_pixels_that_were_prepared(tmp_path):
    nifti(tmp_path / "v.nii")
    Image.fromarray(np.zeros((40, 20), np.uint8)).save(tmp_path / "a.png")
    table = pd.DataFrame({"image": ["a.png", *["v.nii"] * 4], "frame": [None, 2, 0, 1, 3]})
    table["pixel_spacing"] = ["0.5\\0.25", None, None, None, None]
    found = cases_of(Manifest(table, tmp_path), range(5), Preprocess((10, 10)))
    assert [c.positions for c in found] == [(0,), (2, 3, 1, 4)]
    assert found[0].spacing == pytest.approx((0.5 * 40 / 10, 0.25 * 20 / 10))
    # Axial slices are 30 rows of 1 mm and 20 columns of 2 mm, 5 mm apart.
    assert found[1].spacing == pytest.approx((5.0, 3.0, 4.0)) and unit_of(found) == "mm"
    padded = cases_of(Manifest(table, tmp_path), [1], Preprocess((15, 15), fit="pad"))
    assert padded[0].spacing == pytest.approx((2.0, 4.0))


def test_gaps_between_slices_and_frames_of_arrays_are_images_of_their_own(tmp_path):
    nifti(tmp_path / "v.nii")
    np.savez(tmp_path / "a.npz", x=np.zeros((3, 8, 8), np.uint8))
    table = pd.DataFrame({"image": ["v.nii", "v.nii", "a.npz#x", "a.npz#x"], "frame": [0, 2, 0, 1]})
    found = cases_of(Manifest(table, tmp_path), range(4), Preprocess(8))
    assert [c.positions for c in found] == [(0,), (1,), (2,), (3,)] and unit_of(found) == "px"


def test_a_volume_is_measured_in_three_dimensions():
    truth = np.zeros((4, 12, 12), np.uint8)
    truth[1:3, 3:8, 3:8] = 1
    moved = np.roll(truth, 1, axis=0)
    counts = np.zeros((4, 1, 2, BINS), np.int32)
    target, spacing = Mask(("background", "organ")), (4.0, 1.0, 1.0)
    one = mask_figures(target, [Case((0, 1, 2, 3), spacing)], truth, moved, counts, tolerance=3.0)
    assert one["dice"][0, 0] == 0.5 and one["hd95"][0, 0] == 4.0 and one["surface_dice"][0, 0] < 1
    assert mask_figures(target, [Case((0, 1, 2, 3), spacing)], truth, moved, counts, tolerance=4.0)[
        "surface_dice"
    ] == pytest.approx(1.0)
    apart = mask_figures(target, [Case((p,), None) for p in range(4)], truth, moved, counts)
    np.testing.assert_allclose(apart["dice"], segmentation.dice(truth, moved, 2))


def test_structures_that_were_not_drawn_have_no_figure():
    truth = np.array([[[1, 3], [0, 2]]], np.uint8)
    counts = np.ones((1, 2, 2, BINS), np.int32)
    drawn = np.array([[True, False]])
    found = mask_figures(Masks(("disc", "cup")), [Case((0,), None)], truth, truth, counts, drawn)
    for name, values in found.items():
        assert np.isfinite(values[0, 0]) and np.isnan(values[0, 1]), name


@pytest.mark.parametrize("kind", ["mask", "masks"])
def test_evaluation_of_volumes_tells_unit_tolerance_and_sites(tmp_path, kind):
    for i in range(3):
        nifti(tmp_path / f"v{i}.nii.gz", seed=i)
        nifti(tmp_path / f"m{i}.nii.gz", seed=i + 9, kind=np.uint8, top=2 if kind == "mask" else 4)
    target = "mask:background|vessel" if kind == "mask" else "masks:disc|cup"
    names = [f"v{i}.nii.gz" for i in range(3)]
    table = pd.DataFrame({"image": names, "mask": [f"m{i}.nii.gz" for i in range(3)], "site": ["a", "a", "b"]})
    table.assign(target=target, split="test").to_csv(tmp_path / "m.csv", index=False)
    bundle = bundles.save(tmp_path / "b", kind)
    found = evaluate(
        bundle, tmp_path / "m.csv", out=tmp_path / "out", replicates=20, device="cpu", tolerance=3, batch_size=4,
        augmentation="flips",
    )  # fmt: skip
    content = found.content
    assert (content["n"], content["volumes"], content["images"], content["unit"]) == (3, 3, 0, "mm")
    assert content["tolerance"] == 3 and "Distances are in millimetres" in " ".join(content["notes"])
    assert {k: v["n"] for k, v in content["by"]["site"].items()} == {"a": 2, "b": 1}
    assert [c["name"] for c in content["per_class"]] == (["vessel"] if kind == "mask" else ["disc", "cup"])
    figures = {"dice", "iou", "hd95", "surface_dice", "cl_dice", "sensitivity", "specificity", "auroc"}
    assert set(content["metrics"]) == figures and 0 <= content["metrics"]["surface_dice"]["value"] <= 1
    page = found.report.read_text(encoding="utf-8")
    assert "Surface Dice" in page and "clDice" in page and "slice" in page
