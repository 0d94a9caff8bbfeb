"""Centre lines against scikit-image, and clDice in closed form."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter, label
from skimage.morphology import thin as reference

from scantling.core.errors import DataError
from scantling.metrics.centreline import cl_dice, thin


def blobs(seed, n=6, size=(48, 40)):
    rng = np.random.default_rng(seed)
    return np.stack([gaussian_filter(rng.normal(size=size), s) > 0.02 for s in np.linspace(0.6, 3, n)])


def line(row=8, width=1, size=24):
    out = np.zeros((1, size, size), dtype=int)
    out[0, row : row + width, 4:20] = 1
    return out


def test_all_masks_are_thinned_at_once_as_scikit_image_thins_each():
    masks = blobs(0)
    np.testing.assert_array_equal(thin(masks), np.stack([reference(m) for m in masks]))


def test_a_centre_line_keeps_every_part_lies_inside_and_is_its_own():
    masks = blobs(1)
    lines = thin(masks)
    assert not (lines & ~masks).any() and lines.sum() < masks.sum()
    eight = np.ones((3, 3))
    assert [label(m, eight)[1] for m in masks] == [label(m, eight)[1] for m in lines]
    np.testing.assert_array_equal(thin(lines), lines)


def test_a_line_moved_inside_the_mask_s_width_keeps_its_score_and_beyond_loses_it():
    wide = line(width=5)
    assert cl_dice(wide, np.roll(wide, 2, axis=1), 2)[0, 0] == 1.0
    assert cl_dice(wide, np.roll(wide, 3, axis=1), 2)[0, 0] == 0.0
    assert cl_dice(line(), np.roll(line(), 1, axis=1), 2)[0, 0] == 0.0


def test_half_of_a_line_is_precise_and_half_as_sensitive():
    half = line()
    half[:, :, 12:] = 0
    assert cl_dice(line(), half, 2)[0, 0] == pytest.approx(2 * 1 * 0.5 / 1.5)
    assert cl_dice(half, line(), 2)[0, 0] == pytest.approx(2 / 3)


def test_a_gap_costs_what_it_breaks_not_how_wide_the_vessel_is():
    whole, broken = line(width=5), line(width=5)
    broken[:, :, 11:13] = 0
    thin_whole, thin_broken = line(), line()
    thin_broken[:, :, 11:13] = 0
    assert cl_dice(thin_whole, thin_broken, 2)[0, 0] == pytest.approx(2 * (14 / 16) / (1 + 14 / 16))
    assert cl_dice(whole, broken, 2)[0, 0] < 1.0


def test_unknown_pixels_empty_masks_and_volumes():
    truth = np.where(np.arange(24) < 12, 255, line())
    assert cl_dice(truth, line(), 2)[0, 0] == 1.0
    empty = np.zeros_like(truth)
    assert np.isnan(cl_dice(empty, empty, 2)[0, 0])
    assert cl_dice(line(), empty, 2)[0, 0] == cl_dice(empty, line(), 2)[0, 0] == 0.0
    volume, half = np.repeat(line(), 4, axis=0)[None], np.repeat(line(), 4, axis=0)[None]
    half[:, :2] = 0
    assert cl_dice(volume, half, 2)[0, 0] == pytest.approx(2 / 3)
    with pytest.raises(DataError, match="shapes"):
        cl_dice(line(), line()[:, :3], 2)
