"""One whole structure of a mask, against the same made one mask at a time."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from scantling.measure import clean as module
from scantling.measure.clean import clean


def slowly(mask: np.ndarray) -> np.ndarray:
    labels, count = ndimage.label(mask)
    if count == 0:
        return mask
    largest = labels == 1 + ndimage.sum_labels(mask, labels, range(1, count + 1)).argmax()
    return ndimage.binary_fill_holes(largest)


def test_like_one_at_a_time_on_random_blobs(monkeypatch):
    rng = np.random.default_rng(0)
    noise = ndimage.gaussian_filter(rng.standard_normal((40, 45, 60)), (0, 3, 3))
    masks = noise > np.linspace(-0.05, 0.2, 40)[:, None, None]
    masks[7], masks[8] = False, True
    expected = np.stack([slowly(mask) for mask in masks])
    np.testing.assert_array_equal(clean(masks), expected)
    assert (expected.sum((1, 2)) != masks.sum((1, 2))).mean() > 0.8
    monkeypatch.setattr(module, "CHUNK_PIXELS", 3 * 45 * 60)
    np.testing.assert_array_equal(clean(masks), expected)


def test_masks_of_a_batch_do_not_touch_each_other():
    masks = np.zeros((2, 9, 9), dtype=bool)
    masks[0, :3, :3] = masks[1, 2:8, 2:8] = True
    masks[1, 4, 4] = False
    found = clean(masks)
    np.testing.assert_array_equal(found[0], masks[0])
    assert found[1].sum() == 36


def test_a_bay_at_the_edge_of_the_picture_is_no_hole_and_corners_do_not_join():
    ring = np.ones((1, 6, 6), dtype=bool)
    ring[0, 2:5, 0:4] = False
    np.testing.assert_array_equal(clean(ring), ring)
    corners = np.zeros((1, 5, 5), dtype=bool)
    corners[0, :2, :2] = corners[0, 2:5, 2:5] = True
    assert clean(corners).sum() == 9
    assert clean(np.zeros((0, 4, 4), dtype=bool)).shape == (0, 4, 4)
