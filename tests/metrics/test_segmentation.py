"""Overlap and boundary distance against brute force, and the conventions for empty masks."""

import numpy as np
import pytest
from scipy.ndimage import binary_erosion
from scipy.spatial.distance import cdist
from sklearn.metrics import f1_score, jaccard_score

from scantling.core.errors import DataError
from scantling.metrics import METRICS
from scantling.metrics.segmentation import boundary_distance, dice, hd95, iou, mean_over_classes, mean_over_images


def blobs(seed: int, n: int = 4, size: int = 24, k: int = 3) -> np.ndarray:
    rng = np.random.default_rng(seed)
    rows, columns = np.indices((size, size))
    out = np.zeros((n, size, size), dtype=int)
    for i in range(n):
        for c in range(1, k):
            centre, radius = rng.uniform(6, size - 6, 2), rng.uniform(2, 6)
            out[i][(rows - centre[0]) ** 2 + ((columns - centre[1]) / rng.uniform(0.6, 1.4)) ** 2 < radius**2] = c
    return out


def brute_hd95(a: np.ndarray, b: np.ndarray, spacing: tuple[float, float]) -> float:
    edges = [np.argwhere(m & ~binary_erosion(m)) * np.array(spacing) for m in (a, b)]
    distance = cdist(*edges)
    return max(np.percentile(distance.min(0), 95), np.percentile(distance.min(1), 95))


def test_overlaps_agree_with_scikit_learn_pixel_by_pixel():
    truth, predicted = blobs(0), blobs(1)
    for n in range(len(truth)):
        arguments = {"labels": [1, 2], "average": None}
        expected = f1_score(truth[n].ravel(), predicted[n].ravel(), **arguments)
        np.testing.assert_allclose(dice(truth, predicted, 3)[n], expected, atol=1e-12)
        expected = jaccard_score(truth[n].ravel(), predicted[n].ravel(), **arguments)
        np.testing.assert_allclose(iou(truth, predicted, 3)[n], expected, atol=1e-12)


def test_dice_and_iou_are_two_scales_of_one_thing():
    d, j = dice(blobs(2), blobs(3), 3), iou(blobs(2), blobs(3), 3)
    np.testing.assert_allclose(d, 2 * j / (1 + j), atol=1e-12)


@pytest.mark.parametrize("spacing", [(1.0, 1.0), (0.7, 0.7), (2.0, 0.5)])
def test_hd95_agrees_with_all_pairs_of_boundary_pixels(spacing):
    truth, predicted = blobs(4, n=6), blobs(5, n=6)
    ours = hd95(truth, predicted, 3, spacing)
    for n in range(6):
        for k in (1, 2):
            a, b = truth[n] == k, predicted[n] == k
            if a.any() and b.any():
                assert abs(ours[n, k - 1] - brute_hd95(a, b, spacing)) < 1e-9


def test_hd95_is_symmetric_scales_with_the_pixel_and_is_zero_for_the_same_mask():
    a, b = blobs(6), blobs(7)
    np.testing.assert_allclose(hd95(a, b, 3), hd95(b, a, 3))
    np.testing.assert_allclose(hd95(a, b, 3, 0.25), 0.25 * hd95(a, b, 3, 1.0))
    per_image = np.array([[1.0, 1.0], [2.0, 2.0], [0.5, 0.5], [1.0, 1.0]])
    np.testing.assert_allclose(hd95(a, b, 3, per_image), hd95(a, b, 3) * per_image[:, :1])
    assert np.nanmax(hd95(a, a, 3)) == 0


def test_a_shift_of_a_square_is_its_distance_wherever_the_image_ends():
    truth, predicted = np.zeros((1, 40, 40), dtype=int), np.zeros((1, 40, 40), dtype=int)
    truth[0, 0:10, 0:10] = 1
    predicted[0, 0:10, 7:17] = 1
    assert hd95(truth, predicted, 2, (1.0, 0.5))[0, 0] == 3.5


def test_empty_masks():
    full, empty = np.ones((1, 3, 4), dtype=int), np.zeros((1, 3, 4), dtype=int)
    assert np.isnan(dice(empty, empty, 2)[0, 0])
    assert np.isnan(hd95(empty, empty, 2)[0, 0])
    assert dice(full, empty, 2)[0, 0] == dice(empty, full, 2)[0, 0] == iou(full, empty, 2)[0, 0] == 0
    assert hd95(full, empty, 2, 2.0)[0, 0] == hd95(empty, full, 2, 2.0)[0, 0] == 10


@pytest.mark.parametrize("unknown", [-1, 255])
def test_unknown_pixels_count_nowhere(unknown):
    truth, predicted = blobs(8), blobs(9)
    ring = np.zeros(truth.shape, dtype=bool)
    ring[:, :3] = True
    hidden = np.where(ring, unknown, truth)
    np.testing.assert_allclose(dice(hidden, predicted, 3), dice(truth[:, 3:], predicted[:, 3:], 3))
    np.testing.assert_allclose(
        hd95(hidden, predicted, 3), hd95(np.where(ring, 0, truth), np.where(ring, 0, predicted), 3)
    )


def test_volumes_are_measured_alike():
    truth = np.zeros((1, 8, 8, 8), dtype=int)
    truth[0, 2:6, 2:6, 2:6] = 1
    moved = np.roll(truth, 1, axis=1)
    assert dice(truth, moved, 2)[0, 0] == 0.75
    assert hd95(truth, moved, 2, (3.0, 1.0, 1.0))[0, 0] == 3.0
    assert boundary_distance(truth[0] == 1, moved[0] == 1, (3.0, 1.0, 1.0), percentile=100) == 3.0


def test_means_leave_undefined_images_out_and_take_weights():
    values = np.array([[1.0, np.nan], [0.5, np.nan], [0.0, np.nan]])
    np.testing.assert_allclose(mean_over_images(values), [0.5, np.nan])
    weights = np.array([[2, 1, 0], [0, 0, 0]])
    np.testing.assert_allclose(mean_over_images(values, weights)[:, 0], [2.5 / 3, np.nan])
    np.testing.assert_allclose(mean_over_classes(values, weights), [2.5 / 3, np.nan])


def test_the_table_takes_probabilities_of_masks():
    truth, predicted = blobs(10), blobs(11)
    probabilities = np.moveaxis(np.eye(3)[predicted], -1, 1)
    assert METRICS["dice"](truth, probabilities) == mean_over_classes(dice(truth, predicted, 3))
    assert METRICS["hd95"](truth, probabilities) == mean_over_classes(hd95(truth, predicted, 3))


def test_shapes_and_classes_are_checked():
    with pytest.raises(DataError, match="shapes"):
        dice(np.zeros((1, 4, 4)), np.zeros((1, 5, 5)), 2)
    with pytest.raises(DataError, match="outside"):
        dice(np.full((1, 4, 4), 3), np.zeros((1, 4, 4)), 2)
