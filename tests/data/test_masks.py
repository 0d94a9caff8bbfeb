"""Masks of several files, fields of view, volumes as rows: what the loader gives for them."""

import nibabel
import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from scantling.core.errors import DataError
from scantling.core.target import Masks
from scantling.data.manifest import Manifest
from scantling.data.settings import DataSettings
from scantling.data.volumes import expanded
from scantling.run.prepare import prepare


def png(path, pixels):
    Image.fromarray(np.asarray(pixels, dtype=np.uint8)).save(path)
    return path.name


def squares(folder, size=16):
    """An image with a cup inside a disc, each in a file, and both as bits; and a round field of view."""
    disc, cup = np.zeros((size, size), bool), np.zeros((size, size), bool)
    disc[4:12, 4:12], cup[6:9, 6:9] = True, True
    roi = np.zeros((size, size), bool)
    roi[2:, :] = True
    return {
        "image": png(folder / "i.png", np.random.default_rng(0).integers(0, 255, (size, size, 3))),
        "disc": png(folder / "disc.png", disc * 255),
        "cup": png(folder / "cup.png", cup * 1),
        "bits": png(folder / "bits.png", disc * 1 + cup * 2),
        "roi": png(folder / "roi.png", roi * 255),
        "small": png(folder / "small.png", np.ones((8, 8)) * 255),
        "wanted": disc * 1 + cup * 2,
    }


def read(folder, columns, rows=1, **settings):
    manifest = Manifest(pd.DataFrame({k: [v] * rows for k, v in columns.items()}), folder)
    options = {"image_size": 16, "store": "memory"} | settings
    prepared = prepare(DataSettings(**options), manifest, split=False)
    return prepared, prepared.loader(torch.arange(len(prepared.manifest)), 8, sampler="sequential").batch(
        torch.arange(len(prepared.manifest))
    )


@pytest.mark.parametrize("columns", ["files", "bits"])
@pytest.mark.parametrize("store", ["memory", "none", "disk"])
def test_a_file_a_structure_and_a_file_of_bits_are_the_same(tmp_path, columns, store):
    made = squares(tmp_path)
    given = {"mask:disc": made["disc"], "mask:cup": made["cup"]} if columns == "files" else {"mask": made["bits"]}
    target = {} if columns == "files" else {"target": "masks:disc|cup"}
    prepared, batch = read(tmp_path, {"image": made["image"], **given, **target}, store=store)
    assert prepared.target == Masks(("disc", "cup"))
    np.testing.assert_array_equal(batch["mask"][0].numpy(), made["wanted"])
    assert batch["label"].tolist() == [[1.0, 1.0]]


def test_a_structure_without_a_file_is_unknown_in_that_image_alone(tmp_path):
    made = squares(tmp_path)
    table = pd.DataFrame({"image": [made["image"]] * 3, "mask:disc": [made["disc"]] * 2 + [None]})
    table["mask:cup"] = [made["cup"], None, None]
    prepared = prepare(DataSettings(image_size=16, store="memory"), Manifest(table, tmp_path), split=False)
    batch = prepared.loader(torch.arange(3), 3, sampler="sequential").batch(torch.arange(3))
    known = batch["label"].isfinite().tolist()
    assert known == [[True, True], [True, False], [False, False]]
    assert batch["mask"][1].unique().tolist() == [0, 1] and (batch["mask"][2] == -1).all()


@pytest.mark.parametrize("column", ["roi", "fov"])
def test_nothing_is_known_outside_the_field_of_view(tmp_path, column):
    made = squares(tmp_path)
    _, batch = read(tmp_path, {"image": made["image"], "mask": made["disc"], column: made["roi"]})
    mask = batch["mask"][0]
    assert (mask[:2] == -1).all() and (mask[2:] >= 0).all()
    assert torch.equal(mask[2:], torch.from_numpy(made["wanted"] > 0)[2:].long())


def test_masks_of_different_sizes_are_told(tmp_path):
    made = squares(tmp_path)
    with pytest.raises(DataError, match=r"16 x 16 and 8 x 8|8 x 8 and 16 x 16"):
        read(tmp_path, {"image": made["image"], "mask:disc": made["disc"], "mask:cup": made["small"]})


def test_a_recipe_that_asks_for_masks_takes_what_the_manifest_draws(tmp_path):
    made = squares(tmp_path)
    columns = {"image": made["image"], "mask:disc": made["disc"], "mask:cup": made["cup"]}
    prepared, _ = read(tmp_path, columns, target="mask")
    assert prepared.target == Masks(("disc", "cup"))
    classes, batch = read(tmp_path, {"image": made["image"], "mask": made["bits"]}, target="mask:background|rim|x|cup")
    assert classes.target.size == 4 and batch["mask"].unique().tolist() == [0, 1, 3]


def volume(folder, name="v.nii.gz", slices=5):
    rng = np.random.default_rng(0)
    image, mask = rng.integers(0, 900, (10, 12, slices)).astype(np.int16), np.zeros((10, 12, slices), np.uint8)
    for k in range(slices):
        mask[2 : 4 + k, 3:9, k] = 1
    affine = np.diag([2.0, -1.5, 4.0, 1.0])
    nibabel.save(nibabel.Nifti1Image(image, affine), folder / name)
    nibabel.save(nibabel.Nifti1Image(mask, affine), folder / f"mask_{name}")
    return mask


def test_a_row_of_a_volume_is_a_row_a_slice_with_its_own_mask(tmp_path):
    mask = volume(tmp_path)
    table = pd.DataFrame({"image": ["v.nii.gz"], "mask": ["mask_v.nii.gz"], "site": ["a"], "split": ["train"]})
    prepared = prepare(DataSettings(image_size=(12, 10), store="memory"), Manifest(table, tmp_path), split=False)
    assert prepared.manifest.table["frame"].tolist() == [0, 1, 2, 3, 4]
    assert set(prepared.manifest.table["site"]) == {"a"} and len(prepared.rows("train")) == 5
    rows = torch.arange(5)
    drawn = prepared.loader(rows, 5, sampler="sequential").batch(rows)["mask"]
    assert drawn.flatten(1).sum(1).tolist() == mask.sum((0, 1)).tolist()


def test_slices_of_a_volume_stay_in_its_split_and_are_one_patient(tmp_path):
    for name in ("a.nii.gz", "b.nii.gz", "c.nii.gz", "d.nii.gz"):
        volume(tmp_path, name, 3)
    names = ["a.nii.gz", "b.nii.gz", "c.nii.gz", "d.nii.gz"]
    table = pd.DataFrame({"image": names, "mask": [f"mask_{n}" for n in names]})
    found = prepare(DataSettings(image_size=8, store="memory", val_fraction=0.5), Manifest(table, tmp_path)).manifest
    assert (found.table.groupby("image")["split"].nunique() == 1).all() and found.table["split"].nunique() == 2
    assert (found.table["patient"] == found.table["image"]).all()


def test_frames_that_are_named_and_single_pictures_stay_as_they_are(tmp_path):
    volume(tmp_path)
    table = pd.DataFrame({"image": ["v.nii.gz", "v.nii.gz", "v.nii.gz#coronal"], "frame": [3, None, None]})
    table["patient"] = ["p", None, "q"]
    found = expanded(Manifest(table, tmp_path)).table
    assert found["frame"].tolist() == [3, *range(5), *range(12)]
    assert found["patient"].tolist() == ["p", *["v.nii.gz"] * 5, *["q"] * 12]
    alone = Manifest(pd.DataFrame({"image": ["a.png"]}), tmp_path)
    assert expanded(alone) is alone
