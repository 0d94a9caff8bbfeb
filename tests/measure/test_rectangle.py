"""Femur lengths: biases in pixels, invariances, and the pixel's edge."""

from __future__ import annotations

import numpy as np
import pytest

from scantling.core.errors import DataError
from scantling.measure import Rectangles, fit_rectangles
from scantling.measure.outline import border_points, isolate
from scantling.measure.rectangle import METHODS

RNG = np.random.default_rng(1)
N, SHAPE = 120, (260, 260)
LENGTH = RNG.uniform(120, 220, N)
TRUE = Rectangles(
    RNG.uniform(125, 135, (N, 2)), np.stack([LENGTH, LENGTH * RNG.uniform(0.10, 0.18, N)], 1), RNG.uniform(-1.5, 1.5, N)
)
MASKS = TRUE.masks(SHAPE)


@pytest.mark.parametrize("method", METHODS)
def test_the_length_has_no_bias(method):
    found = fit_rectangles(MASKS, method=method)
    error = found.length - LENGTH
    assert abs(error.mean()) < 0.04
    assert error.std() < 0.2
    np.testing.assert_allclose(found.sides, TRUE.sides, atol=1.2)
    np.testing.assert_allclose(found.centre, TRUE.centre, atol=0.6)
    assert np.abs(np.sin(found.angle - TRUE.angle)).max() < 0.015


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("turn", "spread"), [(0.0, 0.6), (0.04, 0.6), (np.pi / 2, 0.6), (0.6, 0.3)])
@pytest.mark.parametrize("spacing", [(1.0, 1.0), (0.3, 0.5)])
def test_nor_has_it_at_any_slope_or_width_or_grid(method, turn, spread, spacing):
    """Outermost pixel centres lie half a pixel inside a level border and hardly at all inside a slanting one."""
    rng = np.random.default_rng(5)
    length = rng.uniform(30, 40, 150)
    true = Rectangles(rng.uniform(29, 31, (150, 2)), np.stack([length, rng.uniform(4, 8, 150)], 1), np.full(150, turn))
    masks = true.masks((round(60 / spacing[0]), round(60 / spacing[1])), spacing)
    error = fit_rectangles(masks, spacing, method).length - length
    step = spacing[1] if turn < 1 else spacing[0]
    assert abs(error.mean()) < 0.12 * step
    assert error.std() < spread * step


def test_masks_and_maps_of_one_batch_are_measured_each_in_its_way():
    maps = MASKS[:4].astype(np.float32)
    maps[1::2] = np.where(MASKS[1:4:2], 0.8, 0.1)
    together = fit_rectangles(maps)
    for i in range(4):
        np.testing.assert_allclose(together.sides[i], fit_rectangles(maps[i : i + 1]).sides[0])
    assert (together.length - LENGTH[:4])[1::2].min() > 0.2 > np.abs((together.length - LENGTH[:4])[::2]).max()


def test_the_farthest_pair_would_measure_the_diagonal():
    points = border_points(*isolate(MASKS[:20]), "centres")
    gaps = [np.nanmax(np.linalg.norm(p[:, None] - p[None], axis=-1)) for p in points]
    assert np.mean(gaps - LENGTH[:20]) == pytest.approx(1.07, abs=0.25)


@pytest.mark.parametrize("method", METHODS)
def test_turning_mirroring_shifting_and_units(method):
    masks, spacing = MASKS[:10], np.array([0.31, 0.17])
    plain = fit_rectangles(masks, spacing, method)

    def same(other, sides=plain.sides):
        np.testing.assert_allclose(other.sides, sides, rtol=1e-3)

    same(fit_rectangles(masks[:, ::-1], spacing, method))
    same(fit_rectangles(masks[:, :, ::-1], spacing, method))
    same(fit_rectangles(masks.transpose(0, 2, 1), spacing[::-1], method))
    same(fit_rectangles(np.roll(masks, (2, -2), (1, 2)), spacing, method))
    same(fit_rectangles(masks, 3 * spacing, method), 3 * plain.sides)


@pytest.mark.parametrize("method", METHODS)
def test_any_grid_gives_the_same_millimetres(method):
    truth = Rectangles(np.array([[60.0, 40.0]]), np.array([[70.0, 10.0]]), np.array([0.5]))
    for rows, columns in ((540, 800), (256, 256), (256, 700)):
        spacing = np.array([80 / rows, 120 / columns])
        found = fit_rectangles(truth.masks((rows, columns), spacing), spacing, method)
        np.testing.assert_allclose(found.length, 70, rtol=0.005)


@pytest.mark.parametrize("tau", [1.0, 2.0])
def test_probability_maps_are_measured_below_a_pixel(tau):
    y, x = np.indices(SHAPE)
    moved = np.stack([x, y], -1)[None] - TRUE.centre[:20, None, None]
    cos, sin = np.cos(TRUE.angle[:20])[:, None, None], np.sin(TRUE.angle[:20])[:, None, None]
    along = np.abs(moved[..., 0] * cos + moved[..., 1] * sin) - TRUE.sides[:20, 0, None, None] / 2
    across = np.abs(moved[..., 1] * cos - moved[..., 0] * sin) - TRUE.sides[:20, 1, None, None] / 2
    maps = 1 / (1 + np.exp(np.clip(np.maximum(along, across) / tau, -40, 40)))
    for method in METHODS:
        np.testing.assert_allclose(fit_rectangles(maps, method=method).length, LENGTH[:20], atol=0.08)


def test_single_stray_pixels_move_moments_least():
    masks = MASKS[:20].copy()
    along = np.stack([np.cos(TRUE.angle[:20]), np.sin(TRUE.angle[:20])], -1)
    for i in range(20):
        for reach in np.arange(0, 6, 0.5):
            x, y = np.round(TRUE.centre[i] + along[i] * (LENGTH[i] / 2 + reach)).astype(int)
            masks[i, y, x] = True
    by = {m: np.abs(fit_rectangles(masks, method=m).length - LENGTH[:20]).mean() for m in METHODS}
    assert by["moments"] < 1.0 < 2.0 < min(by["min_area"], by["extent"])


@pytest.mark.parametrize("method", METHODS)
def test_nothing_and_next_to_nothing(method):
    masks = np.zeros((3, 30, 30), dtype=bool)
    masks[1, 5, 5] = True
    masks[2, 10, 3:20] = True
    found = fit_rectangles(masks, method=method)
    assert np.isnan(found.length[0])
    assert 0 <= found.length[1] <= 1.01
    assert 15.9 < found.length[2] < 17.1
    assert np.isnan(fit_rectangles(masks[:1], method=method).length).all()
    assert len(fit_rectangles(masks[:0], method=method)) == 0


def test_corners_and_ends_belong_to_the_rectangle():
    corners, ends = TRUE.corners(), TRUE.ends()
    np.testing.assert_allclose(np.hypot(*(corners[:, 1] - corners[:, 0]).T), TRUE.sides[:, 0])
    np.testing.assert_allclose(np.hypot(*(corners[:, 2] - corners[:, 1]).T), TRUE.sides[:, 1])
    np.testing.assert_allclose(np.hypot(*(ends[:, 0, 1] - ends[:, 0, 0]).T), LENGTH)
    np.testing.assert_allclose(corners.mean(1), TRUE.centre)
    np.testing.assert_allclose((corners[:, 0] + corners[:, 3]) / 2, ends[:, 0, 0])
    with pytest.raises(DataError, match=r"unknown fit 'minarea' \(did you mean 'min_area'"):
        fit_rectangles(MASKS[:1], method="minarea")
