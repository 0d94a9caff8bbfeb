"""Parts of pictures as images of their own."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from scantling.core.errors import DataError
from scantling.data.layouts.csv import load
from scantling.data.manifest import Manifest
from scantling.data.preprocess import Preprocess
from scantling.data.readers import read_mask, read_picture
from scantling.data.store import Store


@pytest.fixture
def smear(tmp_path):
    pixels = np.random.default_rng(0).integers(1, 255, (40, 60, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "smear.png")
    return tmp_path / "smear.png", pixels


def test_a_region_is_the_same_as_cutting_the_whole(smear):
    path, pixels = smear
    found = read_picture(path, "xywh=10,5,8,20").pixels
    assert np.array_equal(found, pixels[5:25, 10:18])


@pytest.mark.parametrize("part", ["xywh=-3,-2,10,10", "xywh=55,35,10,10"])
def test_outside_the_picture_is_black(smear, part):
    path, pixels = smear
    padded = np.pad(pixels, ((10, 10), (10, 10), (0, 0)))
    left, top, width, height = map(int, part[5:].split(","))
    expected = padded[top + 10 : top + 10 + height, left + 10 : left + 10 + width]
    assert np.array_equal(read_picture(path, part).pixels, expected)


def test_a_changed_file_gives_its_new_pixels(smear):
    import os

    path, pixels = smear
    read_picture(path, "xywh=0,0,4,4")
    Image.fromarray(255 - pixels).save(path)
    os.utime(path, ns=(1, 1))
    assert np.array_equal(read_picture(path, "xywh=0,0,4,4").pixels, 255 - pixels[:4, :4])


def test_a_mask_can_be_cut_as_its_image(smear):
    path, _ = smear
    mask = np.zeros((40, 60), dtype=np.uint8)
    mask[10:20, 30:] = 255
    Image.fromarray(mask).save(path.with_name("mask.png"))
    found = read_mask(path.with_name("mask.png"), "xywh=28,8,4,4")
    assert np.array_equal(found, (mask[8:12, 28:32] > 0).astype(np.uint8))


def test_rows_of_a_table_become_boxes_round_their_centres(smear):
    path, pixels = smear
    table = pd.DataFrame({"image": ["smear.png"] * 2, "x": [20, 30.4], "y": [10, 12], "cls": ["a", "b"]})
    table.to_csv(path.with_name("cells.csv"), index=False)
    rows = load(path.with_name("cells.csv"), label="cls", x="x", y="y", box=8)
    manifest = Manifest(rows, path.parent)
    assert [c.rpartition("#")[2] for c in rows["image"]] == ["xywh=16,6,8,8", "xywh=26,8,8,8"]
    store = Store.in_memory(manifest, Preprocess(8))
    assert np.array_equal(store.data["image"][0].numpy().transpose(1, 2, 0), pixels[6:14, 16:24])


def test_boxes_need_all_three_options_and_numbers(smear):
    path, _ = smear
    pd.DataFrame({"image": ["smear.png"], "x": ["left"], "y": [3]}).to_csv(path.with_name("c.csv"), index=False)
    with pytest.raises(DataError, match="three options"):
        load(path.with_name("c.csv"), x="x", y="y")
    with pytest.raises(DataError, match=r"c\.csv, row 2.*no number"):
        load(path.with_name("c.csv"), x="x", y="y", box=4)
