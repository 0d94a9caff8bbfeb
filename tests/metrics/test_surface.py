"""Surface Dice: closed forms of the tolerance."""

import numpy as np
import pytest

from scantling.metrics.segmentation import by_structure, dice, hd95, iou, sensitivity, specificity, surface_dice


def square(top=10, left=10, side=8, size=32):
    out = np.zeros((1, size, size), dtype=int)
    out[0, top : top + side, left : left + side] = 1
    return out


@pytest.mark.parametrize("shift", [1, 2, 3])
@pytest.mark.parametrize("spacing", [1.0, 0.3])
def test_a_shift_within_the_tolerance_costs_nothing_and_one_beyond_costs(shift, spacing):
    truth, moved = square(), square(left=10 + shift)
    at = surface_dice(truth, moved, 2, tolerance=shift * spacing, spacing=spacing)[0, 0]
    below = surface_dice(truth, moved, 2, tolerance=(shift - 0.5) * spacing, spacing=spacing)[0, 0]
    assert at == 1.0 and below < 1.0


def test_without_tolerance_it_is_the_share_of_boundary_pixels_in_common():
    # Squares of side 8 have 28 boundary pixels; moved by one column they share 14 of the two long edges of 7.
    assert surface_dice(square(), square(left=11), 2, tolerance=0.0)[0, 0] == 14 / 28


def test_it_grows_with_the_tolerance_to_one():
    truth, other = square(), square(top=3, left=18, side=5)
    values = [surface_dice(truth, other, 2, tolerance=t)[0, 0] for t in (0, 2, 4, 8, 16, 32)]
    assert values == sorted(values) and values[0] == 0.0 and values[-1] == 1.0


def test_it_is_symmetric_and_scales_with_the_pixel():
    a, b = square(), square(top=12, left=13, side=6)
    assert surface_dice(a, b, 2, 1.0)[0, 0] == surface_dice(b, a, 2, 1.0)[0, 0]
    assert surface_dice(a, b, 2, 1.0, spacing=1.0)[0, 0] == surface_dice(a, b, 2, 0.25, spacing=0.25)[0, 0]


def test_every_axis_has_its_own_size():
    truth, down = square(), square(top=12)
    assert surface_dice(truth, down, 2, tolerance=1.0, spacing=(0.5, 3.0))[0, 0] == 1.0
    assert surface_dice(truth, down, 2, tolerance=1.0, spacing=(3.0, 0.5))[0, 0] < 1.0


def test_empty_masks():
    full, empty = square(), np.zeros((1, 32, 32), dtype=int)
    assert np.isnan(surface_dice(empty, empty, 2)[0, 0])
    assert surface_dice(full, empty, 2)[0, 0] == surface_dice(empty, full, 2)[0, 0] == 0.0


def test_sensitivity_and_specificity_count_known_pixels_only():
    truth = np.array([[[1, 1, 0, 0, 0, 255, -1]]])
    called = np.array([[[1, 0, 1, 0, 0, 1, 0]]])
    assert sensitivity(truth, called, 2)[0, 0] == 1 / 2
    assert specificity(truth, called, 2)[0, 0] == 2 / 3
    nothing = np.zeros((1, 1, 7), dtype=int)
    assert np.isnan(sensitivity(nothing, called, 2)[0, 0]) and specificity(nothing, nothing, 2)[0, 0] == 1.0


@pytest.mark.parametrize("figure", [dice, iou, hd95, surface_dice, sensitivity, specificity])
def test_structures_that_do_not_overlap_are_measured_as_exclusive_classes(figure):
    rng = np.random.default_rng(0)
    truth, called = (np.kron(rng.integers(0, 3, (3, 6, 6)), np.ones((1, 4, 4), dtype=int)) for _ in range(2))
    truth[:, :2] = 255
    bits = np.array([0, 1, 2])
    as_bits = np.where(truth == 255, 255, bits[np.where(truth == 255, 0, truth)])
    np.testing.assert_allclose(by_structure(figure, as_bits, bits[called], 2), figure(truth, called, 3))


def test_a_pixel_may_belong_to_several_structures():
    truth = np.array([[[3, 1, 2, 0]]])
    np.testing.assert_allclose(by_structure(dice, truth, truth, 2), [[1.0, 1.0]])
    np.testing.assert_allclose(by_structure(dice, truth, np.array([[[1, 1, 0, 0]]]), 2), [[1.0, 0.0]])
